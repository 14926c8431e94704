"""Compare samplers by real trainings, under a limit on the latency that is measured here.

    python -m experiments.own_space.real_trainings --folder runs [--minutes 60] [--seeds 0-4]
    python -m experiments.own_space.real_trainings --folder runs --summarize

A trial trains a network of digit_networks.py on cluttered_digits.py with its learning rate, weight
decay and dropout, which the sampler chooses too; its value is the validation accuracy after nine
epochs. Before that, its latency on this machine is measured. A network that misses the limit is not
trained: its value is chance, and its constraint says by how much it misses. The limit is the
30 % quantile of the latencies of 20 random networks, the same one in all studies. Each study has 60
trials; its cost is the seconds of training, as processor time of one thread.

Trainings and latencies are stored as they end, in files of the folder. A script that is stopped at
any moment, and started again, makes the same decisions from them and goes on; several processes
share the studies. A finished study is a line of studies.jsonl; all of these are the rows of
results/own_space.json, which is written after each of them unless `--result` names another file.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

import nasplug
from experiments import RESULTS
from experiments.campaign import Options, Row, limit_threads
from experiments.common import RUNS, write_result
from experiments.own_space.cluttered_digits import CHANCE
from experiments.own_space.digit_networks import EXAMPLE, build
from experiments.own_space.digit_training import (
    BATCH,
    EPOCHS,
    Latencies,
    Trainings,
    latency,
    trained,
)
from experiments.shared_campaign import append_line, claim, read_lines
from nasplug.search_spaces import SearchSpace
from nasplug.search_spaces.files import write_text

DEVICE = "EPYC 9655"
RANDOM, QUANTILE, TRIALS = 20, 0.3, 60
CONSTRAINT = "latency_ms"


class OutOfTimeError(Exception):
    """The minutes are over."""


@dataclass
class Bench:
    """Bench of all studies: the space, the limit, and what was trained and timed by now."""

    space: SearchSpace
    limit: float
    trainings: Trainings
    latencies: Latencies
    deadline: float

    @staticmethod
    def at(folder: Path, deadline: float = float("inf")) -> Bench:
        """The bench of a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        return Bench(
            nasplug.space(build, example=EXAMPLE),
            _limit(folder / "limit.json"),
            Trainings(folder / "trainings.jsonl"),
            Latencies(folder / "latencies.jsonl"),
            deadline,
        )

    def objective(self, trial: optuna.Trial) -> float:
        """Train the network of a trial if it meets the limit."""
        start = time.process_time()
        model: Any = build(trial)
        chosen: Any = {
            "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        }
        trial.set_user_attr("sampling_s", time.process_time() - start)
        arch = self.space.from_params(trial.params)
        ms = self.latencies.of(arch.arch_id, model)
        trial.set_user_attr("latency_ms", ms)
        trial.set_constraint(CONSTRAINT, ms - self.limit)
        if ms > self.limit:
            return CHANCE
        seed, seconds = trial.study.user_attrs["seed"], []
        epochs = self.trainings.run(trial.params, seed, lambda: trained(model, **chosen, seed=seed))
        try:
            for number, epoch in enumerate(epochs, start=1):
                seconds.append(epoch.seconds)
                if time.monotonic() > self.deadline:
                    raise OutOfTimeError
                trial.report(epoch.validation, number)
                if number < EPOCHS and trial.should_prune():
                    raise optuna.TrialPruned
        finally:
            epochs.close()
            trial.set_user_attr("seconds", round(sum(seconds), 3))
            trial.set_user_attr("epochs", len(seconds))
        trial.set_user_attr("test", epoch.test)
        return epoch.validation


def _limit(path: Path) -> float:
    """The limit in ms, measured once."""
    if not path.exists():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1_000))
        times = [round(latency(build(study.ask())), 4) for _ in range(RANDOM)]
        limit = round(float(np.quantile(times, QUANTILE)), 3)
        write_text(path, json.dumps({"limit_ms": limit, "random_ms": times}) + "\n")
    limit = json.loads(path.read_text("utf-8"))["limit_ms"]
    return float(limit)


def _nasplug(bench: Bench, seed: int) -> optuna.samplers.BaseSampler:
    return nasplug.PredictorSampler(
        bench.space,
        hardware=DEVICE,
        constraints=f"latency<={bench.limit}ms",
        batch_size=BATCH,
        seed=seed,
        warn_independent_sampling=False,
    )


def _tpe(bench: Bench, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, multivariate=True)


Maker = Callable[[Bench, int], optuna.samplers.BaseSampler]
# All samplers read the constraint of a trial. Of each: whether Hyperband prunes.
SAMPLERS: dict[str, tuple[Maker, bool]] = {
    "nasplug": (_nasplug, False),
    "random": (lambda bench, seed: optuna.samplers.RandomSampler(seed=seed), False),
    "TPE": (_tpe, False),
    "GP": (lambda bench, seed: optuna.samplers.GPSampler(seed=seed), False),
    "NSGA-II": (
        lambda bench, seed: optuna.samplers.NSGAIISampler(population_size=20, seed=seed),
        False,
    ),
    "TPE, Hyperband": (_tpe, True),
    "nasplug, Hyperband": (_nasplug, True),
}


def studied(bench: Bench, name: str, seed: int, trials: int = TRIALS) -> Row:
    """Run a study, or take it up again."""
    make, is_pruned = SAMPLERS[name]
    pruner = (
        optuna.pruners.HyperbandPruner(1, EPOCHS, 3) if is_pruned else optuna.pruners.NopPruner()
    )
    # Hyperband deals trials out to its brackets by the study's name.
    study = optuna.create_study(
        direction="maximize", sampler=make(bench, seed), pruner=pruner, study_name=f"seed {seed}"
    )
    study.set_user_attr("seed", seed)
    callbacks = []
    if name.startswith("nasplug"):
        callbacks.append(nasplug.LatencyCallback(DEVICE, bench.space, batch_size=BATCH))
    study.optimize(bench.objective, n_trials=trials, callbacks=callbacks)
    sampling = sum(trial.user_attrs["sampling_s"] for trial in study.trials)
    return {
        "sampler": name,
        "seed": seed,
        "sampling_s": round(sampling, 1),
        "trials": [_row(trial) for trial in study.trials],
    }


def _row(trial: optuna.trial.FrozenTrial) -> list[Any]:
    """Value or last report, seconds, epochs, latency, test accuracy if trained in full."""
    is_done = trial.state == TrialState.COMPLETE
    value = trial.value if is_done else list(trial.intermediate_values.values())[-1]
    attrs = trial.user_attrs
    return [
        round(float(value or 0.0), 4),
        attrs.get("seconds", 0.0),
        attrs.get("epochs", 0),
        round(attrs["latency_ms"], 3),
        attrs.get("test"),
    ]


def summarized(folder: Path, result: Path) -> None:
    """Write the finished studies of a folder as a result."""
    about = json.loads((folder / "limit.json").read_text("utf-8"))
    rows = list(read_lines(folder / "studies.jsonl"))
    complete = [
        seed
        for seed in sorted({row["seed"] for row in rows})
        if {row["sampler"] for row in rows if row["seed"] == seed} >= set(SAMPLERS)
    ]
    write_result(
        result,
        device=DEVICE,
        quantile=QUANTILE,
        batch_size=BATCH,
        epochs=EPOCHS,
        chance=CHANCE,
        **about,
        complete_seeds=complete,
        columns=["validation", "seconds", "epochs", "latency_ms", "test"],
        studies=rows,
    )


def _is_done(folder: Path, name: str, seed: int) -> bool:
    studies = read_lines(folder / "studies.jsonl")
    return any((row["sampler"], row["seed"]) == (name, seed) for row in studies)


def main() -> None:
    parser = Options(__doc__, threads=1, seeds="0-4")
    parser.add_argument("--folder", type=Path, default=RUNS / "own_space")
    parser.add_argument("--samplers", default=";".join(SAMPLERS), help="with ; between them")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--summarize", action="store_true", help="only write the result")
    parser.add_argument("--result", type=Path, default=RESULTS / "own_space.json")
    options = parser.parse_args()
    limit_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if not options.summarize:
        bench = Bench.at(options.folder, time.monotonic() + 60 * options.minutes)
        for seed in options.seeds:
            for name in options.samplers.split(";"):
                with claim(options.folder / f"{name}-{seed}", wait=False) as is_ours:
                    if not is_ours or _is_done(options.folder, name, seed):
                        continue
                    print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
                    try:
                        row = studied(bench, name, seed)
                    except OutOfTimeError:
                        sys.exit(f"stopped after {options.minutes} minutes")
                    append_line(options.folder / "studies.jsonl", row)
                summarized(options.folder, options.result)
    summarized(options.folder, options.result)


if __name__ == "__main__":
    main()
