"""Worker processes on one study, some of them killed, against one process alone.

    python -m experiments.search.search_workers [--storages journal,postgresql] [--workers 8]
        [--trials 400] [--kill 2,0] [--task nb201-cifar10-gtx1080ti] [--result FILE] [--fresh]

Every worker has the same seed, and trials take no time, so that they choose the same architectures
at the same moments as often as can be. With --kill 2 two workers are killed at random moments, and
not replaced. Each run is kept in results/search_workers.json; one that is there is not repeated.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments import RESULTS
from experiments.campaign import Campaign, Options
from experiments.search.postgres_server import new_storages
from experiments.search.search_tasks import Task, task
from nasplug import PredictorSampler
from nasplug.studies.heartbeats import WORKER, fail_lost, retries
from nasplug.studies.storages import open_storage

RESULT = RESULTS / "search_workers.json"
STUDY = "workers"
CHECKPOINTS = (10, 20, 50, 100, 200, 300, 400)
# Workers are killed after this share of the trials at the earliest and at the latest.
KILLED_WITHIN = (0.1, 0.7)
# Seconds; the lock of a journal whose holder was killed is broken after thirty.
HEARTBEAT = 60
PAUSE = 0.02

Row = dict[str, Any]


def open_study(storage: str, search: Task, seed: int) -> optuna.Study:
    """The study of all workers, made by whoever comes first."""
    sampler = PredictorSampler(
        search.space,
        seed=seed,
        equivalents="once" if search.device is None else "apart",
        warn_independent_sampling=False,
    )
    return optuna.create_study(
        storage=open_storage(storage, HEARTBEAT),
        study_name=STUDY,
        directions=list(search.directions),
        sampler=sampler,
        load_if_exists=True,
    )


def work(storage: str, search: Task, trials: int, seed: int) -> None:
    """Try architectures until so many trials of the study are complete."""
    study = open_study(storage, search, seed)

    def done() -> int:
        return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    while done() < trials:
        study.optimize(search.objective, n_trials=1)


def learn_space(search: Task, seed: int) -> None:
    """Have this process keep what is the same for all samplers of the space."""
    search.row(open_study("memory", search, seed).ask())


def rows_of(search: Task, trials: list[FrozenTrial]) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Positions of the architectures of complete trials, in the order in which they ended."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    complete.sort(key=lambda trial: (trial.datetime_complete, trial.number))
    return np.array(
        [search.space.index(search.space.from_params(t.params)) for t in complete], np.intp
    )


def curve(search: Task, rows: np.ndarray[Any, np.dtype[np.intp]]) -> dict[str, float]:
    """Share of the hypervolume after so many trials."""
    reached = search.curve(rows)
    return {str(n): round(float(reached[n - 1]), 6) for n in CHECKPOINTS if n <= len(reached)}


def run(search: Task, kind: str, workers: int, trials: int, kill: int, seed: int) -> Row:
    """Run one study of so many workers, some of which are killed."""
    rng = np.random.default_rng([seed, workers, kill])
    moments = sorted(rng.uniform(*KILLED_WITHIN, kill) * trials)
    learn_space(search, seed)
    with new_storages(kind) as new:
        storage = new()
        # Forked, so that all have the features of the space at once; each opens the storage itself.
        context = multiprocessing.get_context("fork")
        running = [
            context.Process(target=work, args=(storage, search, trials, seed))
            for _ in range(workers)
        ]
        began = time.perf_counter()
        for process in running:
            process.start()
        study = open_study(storage, search, seed)
        killed: list[int] = []
        while any(process.is_alive() for process in running):
            done = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
            if moments and done >= moments[0]:
                moments.pop(0)
                # At any point of a trial, but before the others have done them all.
                time.sleep(rng.uniform(0, (time.perf_counter() - began) / max(done, 1)))
                alive = [process for process in running if process.is_alive()]
                victim = alive[int(rng.integers(len(alive)))]
                victim.kill()
                killed.append(victim.pid or 0)
            time.sleep(PAUSE)
        seconds = time.perf_counter() - began
        # What was left by one that died last, if all others ended before they saw it.
        fail_lost(study)
        stored = study.get_trials(deepcopy=False)
    codes = [process.exitcode for process in running if process.pid not in killed]
    return summary(search, stored, trials, killed) | {
        "task": search.name,
        "storage": kind,
        "workers": workers,
        "killed": len(killed),
        "asked": trials,
        "seed": seed,
        "exit_codes": codes,
        "seconds": round(seconds, 1),
    }


def summary(search: Task, found: list[FrozenTrial], trials: int, killed: list[int]) -> Row:
    """Count the outcomes of the trials; duplicates are counted over all that are complete."""
    rows = rows_of(search, found)
    states = Counter(trial.state.name.lower() for trial in found)
    lost = [t for t in found if t.system_attrs.get(WORKER, {}).get("pid") in killed]
    lost = [t for t in lost if t.state != TrialState.COMPLETE]
    again = {k for t in found if retries(t) for k in t.system_attrs["retry_history"]}
    return {
        "trials": len(found),
        "states": dict(sorted(states.items())),
        "numbers_are_whole": [t.number for t in found] == list(range(len(found))),
        "duplicates": int(len(rows) - len(np.unique(search.identity[rows]))),
        "lost": len(lost),
        "lost_and_tried_again": sum(t.number in again for t in lost),
        "curve": curve(search, rows[:trials]),
    }


def main() -> None:
    parser = Options(__doc__, threads=None, fresh=True)
    parser.add_argument("--storages", default="journal,postgresql")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--kill", default="2,0", help="how many workers to kill, in each run")
    parser.add_argument("--task", default="nb201-cifar10-gtx1080ti")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", type=int, default=1, help="0 for no run of one worker")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    search = task(options.task)
    runs = [("journal", 1, 0)] if options.alone else []
    for kill in map(int, options.kill.split(",")):
        runs += [(kind, options.workers, kill) for kind in options.storages.split(",")]
    keys = ("task", "storage", "workers", "killed", "asked", "seed")
    data = ("nb201-accuracy", "nb201-latency")
    campaign = Campaign(options.result, keys, data, rows="rows", fresh=options.fresh)
    asked = [(search.name, *run, options.trials, options.seed) for run in runs]
    for _, kind, workers, kill, trials, seed in campaign.left(asked):
        campaign.add(run(search, kind, workers, trials, kill, seed))


if __name__ == "__main__":
    main()
