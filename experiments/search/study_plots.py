"""The pictures of docs/plots.md, and how often values lay in the intervals that were announced.

    python -m experiments.search.study_plots [--trials 80] [--seeds 5] [--fronts]

Studies of measured cells: CIFAR-10 validation accuracy and the latency of a GTX 1080 Ti. They are
kept in runs/study_plots.journal, so a run that was stopped goes on. Writes docs/images/study-*.png
and results/study_plots.json. The pictures of three objectives are of a search by prediction among
language models; `--fronts` draws these two alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from matplotlib.figure import Figure

from experiments import ROOT
from experiments.campaign import Options
from experiments.common import RUNS, write_result
from experiments.search.search_tasks import Task, task
from nasplug import PredictorSampler, plots, search
from nasplug.pareto import pareto_mask
from nasplug.search_spaces.files import atomic_path
from nasplug.studies.storages import open_storage
from nasplug.studies.values import INTERVAL, study_values

IMAGES = ROOT / "docs" / "images"
METRICS = ["accuracy (%)", "latency (ms)"]
TASK, LIMIT_MS = "nb201-cifar10-gtx1080ti", 8.48
# Trials whose programs crash, as some do.
CRASHED = (17, 42)


def study(
    storage: Any, name: str, search: Task, sampler: Any, trials: int, crashed: Sequence[int] = ()
) -> optuna.Study:
    """A study of this name with so many trials; those it has already are not repeated."""
    made = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=sampler,
        directions=list(search.directions),
        load_if_exists=True,
    )
    made.set_metric_names(METRICS[: len(made.directions)])

    def objective(trial: optuna.Trial) -> Any:
        row = search.row(trial)
        if trial.number in crashed:
            raise MemoryError("as if the device had no room")
        return search.evaluate(trial, row)

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
    read = [study_values(made) for made in studies]
    shares: dict[str, Any] = {"studies": len(read)}
    shares["trials"] = sum(int(observed.foreseen.sum()) for observed in read)
    values = np.concatenate([observed.values[observed.foreseen] for observed in read])
    expected = np.concatenate([observed.expected[observed.foreseen] for observed in read])
    inside = (expected[:, :, 1] <= values) & (values <= expected[:, :, 2])
    shares |= dict(zip(read[0].metrics, inside.mean(axis=0).tolist(), strict=True))
    chance = np.concatenate([observed.chance for observed in read])
    feasible = np.concatenate([observed.feasible for observed in read])
    has_chance = np.isfinite(chance)
    if has_chance.any():
        shares["expected_feasible"] = float(chance[has_chance].mean())
        shares["feasible"] = float(feasible[has_chance].mean())
    return shares


def fronts() -> dict[str, Figure]:
    """Pictures of a front of three objectives under a limit on a fourth quantity."""
    found = search(
        "gpt:s",
        "H100",
        "memory<=400MB",
        objectives=["perplexity", "latency", "energy"],
        precision="bf16",
        storage="memory",
        study_name="language models",
    )
    return {"parallel": plots.parallel(found.study), "pairs": plots.pairs(found.study)}


def write(figures: dict[str, Figure]) -> None:
    """Write figures to docs/images."""
    for name, figure in figures.items():
        with atomic_path(IMAGES / f"study-{name}.png") as path:
            figure.savefig(path, format="png", dpi=100)


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fronts", action="store_true")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    write(fronts())
    if options.fronts:
        return
    RUNS.mkdir(exist_ok=True)
    storage = open_storage(RUNS / "study_plots.journal", heartbeat=None)
    seeds, trials = range(options.seeds), options.trials
    free, limit = task(TASK), task(f"{TASK}-{LIMIT_MS}ms")
    both = [study(storage, f"nasplug {s}", free, ours(s), trials) for s in seeds]
    limited = [study(storage, f"limit {s}", limit, ours(s), trials, CRASHED) for s in seeds]
    rivals = {"TPE": optuna.samplers.TPESampler(seed=0), "random": optuna.samplers.RandomSampler(0)}
    others = {
        name: study(storage, f"{name} 0", free, sampler, trials) for name, sampler in rivals.items()
    }
    assert free.reference is not None
    figures: dict[str, Figure] = {
        "hypervolume": plots.hypervolume(
            {"nasplug": both[0], **others},
            front=free.values[pareto_mask(free.losses)],
            reference=(free.reference * free.sign).tolist(),
        ),
        "progress": plots.hypervolume(limited[0], front=limit.goal),
        "predicted": plots.predicted_observed(both[0]),
        "calibration": plots.calibration(limited[0]),
    }
    write(figures)
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
