"""The pictures of docs/plots.md, and how often values lay in the intervals that were announced.

    python -m experiments.search.study_plots [--trials 80] [--seeds 5]

Studies of measured cells: CIFAR-10 validation accuracy and the latency of a GTX 1080 Ti. They are
kept in runs/study_plots.journal, so a run that was stopped goes on. Writes docs/images/study-*.png
and results/study_plots.json.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna

from experiments import ROOT
from experiments.campaign import Options
from experiments.common import RUNS, write_result
from nasplug import PredictorSampler, datasets, plots, space
from nasplug.pareto import pareto_mask
from nasplug.search_spaces.files import atomic_path
from nasplug.searching.objectives import suggest
from nasplug.studies.storages import open_storage
from nasplug.studies.values import INTERVAL, study_values

IMAGES = ROOT / "docs" / "images"
METRICS = ["accuracy (%)", "latency (ms)"]
DEVICE, LIMIT_MS = "GTX 1080 Ti@1", 8.48
REFERENCE_ACCURACY = 80.0
# Trials whose programs crash, as some do.
CRASHED = (17, 42)


def table() -> np.ndarray:
    """Accuracy and latency of all cells, `(15625, 2)`."""
    accuracy = datasets.load("nb201-accuracy")["cifar10_val"]
    return np.column_stack([accuracy, datasets.load("nb201-latency")[DEVICE]]).astype(np.float64)


def study(storage: Any, name: str, sampler: Any, trials: int, limited: bool) -> optuna.Study:
    """A study of this name with so many trials; those it has already are not repeated."""
    nb201: Any = space("nb201")
    values = table()
    made = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=sampler,
        directions=["maximize"] if limited else ["maximize", "minimize"],
        load_if_exists=True,
    )
    made.set_metric_names(METRICS[: len(made.directions)])

    def objective(trial: optuna.Trial) -> Any:
        row = nb201.index(nb201.from_params(suggest(trial, nb201.distributions())))
        accuracy, latency = values[row].tolist()
        if limited:
            if trial.number in CRASHED:
                raise MemoryError("as if the device had no room")
            trial.set_constraint("latency_ms", latency - LIMIT_MS)
            return accuracy
        return accuracy, latency

    left = trials - len(made.get_trials(deepcopy=False))
    made.optimize(objective, n_trials=max(left, 0), catch=(MemoryError,))
    return made


def ours(seed: int) -> PredictorSampler:
    """nasplug's sampler as in search_quality.py: nothing is known beforehand."""
    return PredictorSampler(
        "nb201", equivalents="apart", probability=0.5, seed=seed, warn_independent_sampling=False
    )


def held(studies: list[optuna.Study]) -> dict[str, Any]:
    """Share of values in the announced intervals, over all these studies."""
    shares: dict[str, Any] = {"studies": len(studies)}
    read = [study_values(one) for one in studies]
    shares["trials"] = sum(int(one.foreseen.sum()) for one in read)
    for k, metric in enumerate(read[0].metrics):
        inside = [
            (one.expected[:, k, 1] <= one.values[:, k])
            & (one.values[:, k] <= one.expected[:, k, 2])
            for one in read
        ]
        foreseen = [one.foreseen for one in read]
        shares[metric] = float(
            np.concatenate([i[t] for i, t in zip(inside, foreseen, strict=True)]).mean()
        )
    chance = np.concatenate([one.chance for one in read])
    feasible = np.concatenate([one.feasible for one in read])
    has_chance = np.isfinite(chance)
    if has_chance.any():
        shares["expected_feasible"] = float(chance[has_chance].mean())
        shares["feasible"] = float(feasible[has_chance].mean())
    return shares


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    RUNS.mkdir(exist_ok=True)
    storage = open_storage(RUNS / "study_plots.journal", heartbeat=None)
    seeds, trials = range(options.seeds), options.trials
    both = [study(storage, f"nasplug {s}", ours(s), trials, False) for s in seeds]
    limited = [study(storage, f"limit {s}", ours(s), trials, True) for s in seeds]
    rivals = {"TPE": optuna.samplers.TPESampler(seed=0), "random": optuna.samplers.RandomSampler(0)}
    others = {
        name: study(storage, f"{name} 0", sampler, trials, False)
        for name, sampler in rivals.items()
    }
    values = table()
    front = values[pareto_mask(values * [-1.0, 1.0])]
    best = values[values[:, 1] <= LIMIT_MS, 0].max()
    reference = [REFERENCE_ACCURACY, float(values[:, 1].max())]
    figures = {
        "hypervolume": plots.hypervolume(
            {"nasplug": both[0], **others}, front=front, reference=reference
        ),
        "progress": plots.hypervolume(limited[0], front=best),
        "predicted": plots.predicted_observed(both[0]),
        "calibration": plots.calibration(limited[0]),
    }
    for name, figure in figures.items():
        with atomic_path(IMAGES / f"study-{name}.png") as path:
            figure.savefig(path, format="png", dpi=100)
    write_result(
        "study_plots",
        "nb201-accuracy",
        "nb201-latency",
        interval=INTERVAL,
        trials_a_study=trials,
        limit_ms=LIMIT_MS,
        **{"two objectives": held(both), "one objective under a limit": held(limited)},
    )


if __name__ == "__main__":
    main()
