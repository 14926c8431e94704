"""Processes that start together on a storage that does not exist yet.

    python -m experiments.reliability.study_starts [--storages sqlite,journal,postgresql]
        [--processes 8] [--starts 20] [--trials 4]

Each start has a new SQLite file, journal, or database of a PostgreSQL server. All processes are let
go at one moment; each opens the storage, makes or joins the study, and evaluates trials until it
has all of them. A process fails if it ends by any error. Written to results/study_starts.json.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from typing import Any

import optuna
from optuna.trial import TrialState

from experiments.campaign import Options
from experiments.common import write_result
from experiments.search.postgres_server import NoServer, new_storages
from nasplug.studies.storages import open_storage, open_study
from nasplug.studies.trials import run_trials

STUDY, SETTINGS = "starts", {"seed": 0}
# Seconds after which a process counts as stuck.
STUCK = 300


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def start(storage: str, trials: int, barrier: Any, failures: Any) -> None:
    """Run one of the processes: begin with the others, and report what went wrong."""
    try:
        barrier.wait(STUCK)
        study = open_study(open_storage(storage), STUDY, ["minimize"], SETTINGS)
        run_trials(study, objective, lambda: trials)
    except BaseException:
        failures.put(traceback.format_exc().strip().splitlines()[-1])
        raise SystemExit(1) from None


def started(storage: str, processes: int, trials: int) -> dict[str, Any]:
    """Start processes together: how many failed, why, and whether the study is whole."""
    # Forked, so that they begin within a moment; each opens the storage itself.
    context = multiprocessing.get_context("fork")
    barrier, failures = context.Barrier(processes), context.SimpleQueue()
    running = [
        context.Process(target=start, args=(storage, trials, barrier, failures))
        for _ in range(processes)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join(STUCK)
    for process in running:
        process.kill()
        process.join()
    errors = []
    while not failures.empty():
        errors.append(failures.get())
    stored = optuna.load_study(study_name=STUDY, storage=open_storage(storage)).get_trials()
    complete = sum(trial.state == TrialState.COMPLETE for trial in stored)
    return {
        "failed": sum(process.exitcode != 0 for process in running),
        "said": errors,
        "whole": complete == trials and [t.number for t in stored] == list(range(len(stored))),
    }


def run(kind: str, processes: int, starts: int, trials: int) -> dict[str, Any]:
    """All starts of a kind of storage."""
    began = time.perf_counter()
    with new_storages(kind) as new:
        rows = [started(new(), processes, trials) for _ in range(starts)]
    return {
        "storage": kind,
        "processes": processes,
        "starts": starts,
        "tried": processes * starts,
        "failed": sum(row["failed"] for row in rows),
        "studies_not_whole": sum(not row["whole"] for row in rows),
        "said": sorted({text for row in rows for text in row["said"]})[:5],
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--storages", default="sqlite,journal,postgresql")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--trials", type=int, default=4)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = []
    for kind in options.storages.split(","):
        try:
            rows.append(run(kind, options.processes, options.starts, options.trials))
        except NoServer as error:
            rows.append({"storage": kind, "tried": 0, "why": str(error)})
        print(rows[-1], flush=True)
    write_result("study_starts", rows=rows)


if __name__ == "__main__":
    main()
