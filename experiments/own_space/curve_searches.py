"""Compare samplers with pruners on learning curves that were measured: NAS-Bench-101's budgets.

    python -m experiments.own_space.curve_searches [--seeds 0-29] [--fresh]

The table is that of the cells which EC-NAS's searches visited, where the accuracies after 4, 12, 36
and 108 epochs are known: means of NAS-Bench-101's three trainings of that length. A training of 12
epochs does not go on from the one of 4: each budget has a schedule of its own. So a trial costs the
epochs of every budget that it reaches, 4 + 12 + 36 + 108 in full; without a pruner it trains for
108 epochs at once. A study ends when 4,320 epochs are spent, the price of 40 such trials.

`nasplug` and `TPE` learn from pruned trials; `random` draws cells uniformly. What TPE chooses
stands for the nearest cell that it has not tried. results/curve_searches.json keeps each
improvement of the validation accuracy after 108 epochs, in percent, with the epochs spent and its
test accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from experiments import RESULTS
from experiments.campaign import Campaign, Options
from experiments.common import Array
from experiments.nb101.nb101_labels import SUBSET_FILE, SUBSET_SHA256, subset
from experiments.search.measured_spaces import Measured
from experiments.search.search_rivals import settle
from nasplug import PredictorSampler
from nasplug.search_spaces import space
from nasplug.searching.objectives import suggest

EPOCHS = (4, 12, 36, 108)
BUDGET = 40 * EPOCHS[-1]
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    "successive halving": lambda: optuna.pruners.SuccessiveHalvingPruner(EPOCHS[0], 3),
    "Hyperband": lambda: optuna.pruners.HyperbandPruner(EPOCHS[0], EPOCHS[-1], 3),
}
SAMPLERS = ("nasplug", "TPE", "random")


@dataclass(frozen=True, eq=False)
class Curves:
    """Cells with their accuracies in percent.

    Attributes:
        cells: The cells.
        validation: Validation accuracies after each of `EPOCHS`, `(cells, 4)`.
        test: Test accuracies after the last, `(cells,)`.
    """

    cells: Measured
    validation: Array
    test: Array


@cache
def measured_curves(path: Path | None = None) -> Curves:
    """The cells of the small-cell subset whose accuracies at all budgets are known."""
    table = subset(path)
    columns = [f"val_acc_{epochs}" for epochs in EPOCHS]
    table = table.dropna(subset=[*columns, "test_acc_108"])
    whole = space("nb101")
    texts = zip(table["adjacency"], table["ops"], strict=True)
    archs = [whole.parse(f"{adjacency}:{ops}") for adjacency, ops in texts]
    return Curves(
        Measured(whole, archs),
        100 * table[columns].to_numpy(np.float64),
        100 * table["test_acc_108"].to_numpy(np.float64),
    )


def searched(
    curves: Curves, pruner: str, sampler: str, seed: int, budget: int = BUDGET
) -> dict[str, Any]:
    """Run a study until its epochs are spent."""
    cells = curves.cells
    makers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "nasplug": lambda: PredictorSampler(cells, seed=seed),
        "TPE": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    # Hyperband deals trials out to its brackets by the study's name.
    study = optuna.create_study(
        direction="maximize",
        sampler=makers[sampler](),
        pruner=PRUNERS[pruner](),
        study_name=f"seed {seed}",
    )
    order = np.random.default_rng(seed).permutation(len(cells))
    archs, tried, spent = list(cells), set[int](), 0
    best: list[list[float]] = []
    for number in range(len(cells)):
        if sampler == "random":
            study.enqueue_trial(cells.to_params(archs[order[number]]))
        trial = study.ask()
        arch = cells.nearest(suggest(trial, cells.distributions()), tried)
        if sampler == "TPE":
            settle(study, trial, cells, arch)
        row = cells.index(arch)
        tried.add(row)
        epochs, value = _trained(trial, curves.validation[row], pruner != "none")
        spent += epochs
        if spent > budget:
            break
        study.tell(trial, value, TrialState.PRUNED if value is None else None)
        if value is not None and (not best or value > best[-1][1]):
            best.append([spent, round(value, 4), round(float(curves.test[row]), 4)])
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    return {"trials": len(finished), "complete": len(complete), "best": best}


def _trained(
    trial: optuna.Trial, curve: Sequence[float], is_pruned: bool
) -> tuple[int, float | None]:
    """Epochs that a trial takes, and its value if it is not pruned."""
    spent, value = 0, 0.0
    for epochs, value in zip(EPOCHS, curve, strict=True):
        if not is_pruned and epochs < EPOCHS[-1]:
            continue
        spent += epochs
        trial.report(value, epochs)
        if epochs < EPOCHS[-1] and trial.should_prune():
            return spent, None
    return spent, float(value)


def main() -> None:
    parser = Options(__doc__, threads=1, seeds="0-29", fresh=True)
    parser.add_argument("--subset", type=Path, help=f"the table {SUBSET_FILE}")
    parser.add_argument("--result", type=Path, default=RESULTS / "curve_searches.json")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves = measured_curves(options.subset)
    campaign = Campaign(
        options.result,
        ("pruner", "sampler", "seed"),
        fresh=options.fresh,
        subset_sha256=SUBSET_SHA256,
        cells=len(curves.cells),
        epochs=EPOCHS,
        budget=BUDGET,
        optimum=round(float(curves.validation[:, -1].max()), 4),
    )
    runs = [(p, s, seed) for p in PRUNERS for s in SAMPLERS for seed in options.seeds]
    campaign.complete(runs, lambda *run: searched(curves, *run))


if __name__ == "__main__":
    main()
