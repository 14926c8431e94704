"""Compare what pruned trials teach: estimates of their losses, and searches with pruners.

    python -m experiments.search.pruned_trials [--parts estimates,searches] [--seeds 0-9]

`estimates`: on learning curves of NAS-Bench-101 (4, 12, 36 and 108 epochs, the small-cell subset)
and made-up curves of NAS-Bench-201, random architectures are pruned by the median rule; each way to
estimate their final losses is compared with the truth, by rank correlation over all trials and by
the error over the pruned ones, in standard deviations of the final losses.

`searches`: PredictorSampler, as it is (`nasplug`), with another estimate or with `repeat=3`, TPE
and random sampling with MedianPruner (5 start-up trials) and HyperbandPruner, 40 trials. `flops`:
the logarithm of an NB201 cell's FLOPs, reported once; `curves`: CIFAR-10 accuracy of NB201 with
made-up learning curves of 27 epochs. Written to results/pruned_trials.json.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState
from scipy.stats import spearmanr

from experiments import RESULTS
from experiments.campaign import Campaign, Options, Row
from experiments.common import Array, accuracies, cells
from nasplug import PredictorSampler
from nasplug.sampling import learned_choice, learning_curves
from nasplug.sampling.learning_curves import line_estimate
from nasplug.search_spaces import space
from nasplug.searching.objectives import suggest

EPOCHS = 27
SUBSET = "nb101_real_subset.csv.gz"
NB101_EPOCHS = (4, 12, 36, 108)
TRIALS = 40
# Share of the cells of NAS-Bench-201 that count as the best.
BEST_SHARE = 0.005
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5),
    "hyperband": lambda: optuna.pruners.HyperbandPruner(1, EPOCHS, 3),
}
_STREAM = 0x63757276


# --- learning curves ---


@cache
def made_up() -> Array:
    """Made-up curves of all NB201 cells, `(15625, EPOCHS)`; the end is the measured accuracy.

    Each cell has a gap at the first epoch and a speed of its own, and noise that fades, so that
    curves cross.
    """
    final = accuracies()[0][:, 0]
    rng = np.random.default_rng(_STREAM)
    epochs = np.arange(1, EPOCHS + 1)
    gap = (final - 10) * np.clip(rng.normal(0.6, 0.1, len(final)), 0.2, 0.95)
    speed = np.exp(rng.normal(0.3, 0.3, len(final)))[:, None]
    left = (1 - (epochs - 1) / (EPOCHS - 1)) * epochs ** (-speed)
    noise = rng.normal(0, 0.6, (len(final), EPOCHS)) * (1 - epochs / EPOCHS)
    return np.asarray(final[:, None] - gap[:, None] * left + noise)


def nb101_curves() -> tuple[Array, tuple[int, ...]]:
    """Validation accuracies of the subset of NAS-Bench-101, in percent, `(cells, 4)`."""
    mirror = os.environ["NASPLUG_MIRROR"].removeprefix("file://")
    content = (Path(mirror).parent / "derived" / SUBSET).read_bytes()
    table = pd.read_csv(io.BytesIO(gzip.decompress(content)))
    curves = table[[f"val_acc_{e}" for e in NB101_EPOCHS]].dropna().to_numpy(np.float64)
    return 100 * curves, NB101_EPOCHS


# --- estimates ---


def last_value(before: Array, finals: Array, shown: Array) -> tuple[Array, Array]:
    """The last value itself."""
    return shown, np.zeros(len(shown))


def shifted(before: Array, finals: Array, shown: Array) -> tuple[Array, Array]:
    """The last value and the mean of what complete trials gained since."""
    if not len(finals):
        return shown, np.zeros(len(shown))
    gained = finals - before
    return shown + gained.mean(), np.full(len(shown), gained.var())


def ranks(before: Array, finals: Array, shown: Array) -> tuple[Array, Array]:
    """The final loss of the same rank at the step, beyond the worst along the last slope."""
    if len(finals) < 2:
        return shown, np.zeros(len(shown))
    x, y = np.sort(before), np.sort(finals)
    slope = (y[-1] - y[0]) / max(x[-1] - x[0], 1e-9)
    estimate = np.interp(shown, x, y) + slope * np.maximum(shown - x[-1], 0.0)
    _, variance = line_estimate(before, finals, shown)
    return np.asarray(estimate), variance


ESTIMATES: dict[str, Callable[[Array, Array, Array], tuple[Array, Array]]] = {
    "line": line_estimate,
    "last value": last_value,
    "mean gain": shifted,
    "ranks": ranks,
}


def estimates(curves: Array, steps: tuple[int, ...], seed: int, way: str) -> Row:
    """Compare estimates with the truth over 40 random architectures."""
    rng = np.random.default_rng([_STREAM, seed])
    losses = -curves[rng.permutation(len(curves))[:TRIALS]]
    complete: list[int] = []
    ended = np.full(TRIALS, len(steps) - 1)
    for k, row in enumerate(losses):
        for step in range(len(steps) - 1):
            # As MedianPruner has it: the best so far against the median of complete trials.
            if len(complete) >= 5 and row[: step + 1].min() > np.median(losses[complete, step]):
                ended[k] = step
                break
        else:
            complete.append(k)
    estimate = losses[:, -1].copy()
    for step in range(len(steps) - 1):
        pruned = np.flatnonzero(ended == step)
        if len(pruned):
            finals, past = losses[complete, -1], slice(None, step + 1)
            if way == "power law":
                epochs = np.array([*steps[: step + 1], steps[-1]], np.float64)
                before, shown = losses[complete, past], losses[pruned, past]
                estimate[pruned] = power_law(before, finals, shown, epochs)
                continue
            before, shown = losses[complete, step], losses[pruned, step]
            estimate[pruned], _ = ESTIMATES[way](before, finals, shown)
    pruned = np.flatnonzero(ended < len(steps) - 1)
    errors = (estimate - losses[:, -1])[pruned] / losses[:, -1].std()
    return {
        "complete": len(complete),
        "spearman": round(float(spearmanr(estimate, losses[:, -1])[0]), 4),
        "rmse": round(float(np.sqrt(np.mean(errors**2))), 4),
        "median_error": round(float(np.median(np.abs(errors))), 4),
    }


def power_law(before: Array, finals: Array, shown: Array, epochs: Array) -> Array:
    """Ends of power laws through the curves, whose exponent is the best for complete trials.

    Args:
        before: Losses of complete trials up to a step, `(k, steps)`.
        finals: Their final losses, `(k,)`.
        shown: Losses of the others up to the step, `(n, steps)`.
        epochs: Epochs of these steps and of the end, `(steps + 1,)`.
    """
    best, estimate = np.inf, shown[:, -1]
    for exponent in (0.25, 0.5, 1.0, 2.0):
        falls = epochs**-exponent
        design = np.stack([np.ones(len(falls)), falls], axis=1)
        # A curve of one point ends where the mean gain would lead.
        gain = float(np.mean((before[:, -1] - finals) / (falls[-2] - falls[-1])))
        ends = [_ends(curves, design, gain) for curves in (before, shown)]
        error = float(np.sum((ends[0] - finals) ** 2))
        if error < best:
            best, estimate = error, ends[1]
    return estimate


def _ends(curves: Array, design: Array, gain: float) -> Array:
    """Ends of curves, fitted with a slope that is pulled to the mean gain."""
    past = design[:-1]
    solve = np.linalg.solve(past.T @ past + np.diag([1e-6, 0.1]), past.T)
    residual = curves - gain * past[:, 1]
    return np.asarray((solve @ residual.T).T @ design[-1] + gain * design[-1, 1])


# --- searches ---


@cache
def finals(case: str) -> Array:
    """Final values of all NB201 cells in a case, `(15625,)`."""
    if case == "curves":
        return accuracies()[0][:, 0]
    return np.log10([graph.total("flops") for graph in cells()[1]])


def flops(trial: optuna.Trial) -> float:
    """The logarithm of the FLOPs, reported before it is returned."""
    nb201 = space("nb201")
    graph = nb201.to_graph(nb201.from_params(suggest(trial, nb201.distributions())))
    value = float(np.log10(graph.total("flops")))
    trial.report(value, 0)
    if trial.should_prune():
        raise optuna.TrialPruned
    return value


def trained(trial: optuna.Trial) -> float:
    """An accuracy at the end of a made-up curve."""
    nb201: Any = space("nb201")
    row = nb201.index(nb201.from_params(suggest(trial, nb201.distributions())))
    for epoch, value in enumerate(made_up()[row], start=1):
        trial.report(float(value), epoch)
        trial.set_user_attr("epochs", epoch)
        if epoch < EPOCHS and trial.should_prune():
            raise optuna.TrialPruned
    return float(made_up()[row, -1])


OBJECTIVES = {"flops": flops, "curves": trained}


@contextlib.contextmanager
def estimating(way: str) -> Iterator[None]:
    """Have the sampler estimate losses in another way; `ignored` learns nothing from them."""
    if way == "ignored":
        with mock.patch.object(learned_choice, "estimated_finals", lambda tried: tried):
            yield
    else:
        with mock.patch.object(learning_curves, "line_estimate", ESTIMATES[way]):
            yield


def searched(case: str, pruner: str, sampler: str, seed: int) -> Row:
    """Search, and count."""
    makers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "TPE": lambda: optuna.samplers.TPESampler(seed=seed),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "nasplug, repeat 3": lambda: PredictorSampler("nb201", seed=seed, repeat=3),
    }
    way = sampler.removeprefix("nasplug").removeprefix(", ") or "line"
    made = makers[sampler]() if sampler in makers else PredictorSampler("nb201", seed=seed)
    # Hyperband deals trials out to its brackets by the study's name.
    study = optuna.create_study(
        direction="maximize", sampler=made, pruner=PRUNERS[pruner](), study_name=f"seed {seed}"
    )
    with estimating(way if way in (*ESTIMATES, "ignored") else "line"):
        study.optimize(OBJECTIVES[case], n_trials=TRIALS)
    nb201 = space("nb201")
    ids = {nb201.from_params(trial.params).arch_id for trial in study.trials}
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    least = np.quantile(finals(case), 1 - BEST_SHARE)
    best = [trial for trial in complete if trial.value is not None and trial.value >= least]
    return {
        "complete": len(complete),
        "complete_architectures": len({nb201.from_params(t.params).arch_id for t in complete}),
        "complete_among_best": len({nb201.from_params(t.params).arch_id for t in best}),
        "architectures": len(ids),
        "best": round(study.best_value, 4),
        "epochs": sum(trial.user_attrs.get("epochs", 1) for trial in study.trials),
    }


def main() -> None:
    parser = Options(__doc__, threads=1, seeds="0-9", fresh=True)
    parser.add_argument("--parts", default="estimates,searches")
    parser.add_argument(
        "--samplers", default="nasplug,nasplug:ignored,nasplug:ranks,nasplug:repeat 3,TPE,random"
    )
    parser.add_argument("--cases", default="flops,curves")
    parser.add_argument("--result", type=Path, default=RESULTS / "pruned_trials.json")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    keys = ("part", "case", "pruner", "sampler", "seed")
    campaign = Campaign(options.result, keys, ("nb201-accuracy",), rows="rows", fresh=options.fresh)
    runs: list[tuple[Any, ...]] = []
    if "estimates" in options.parts:
        cases = ("NAS-Bench-101", "made-up")
        runs += [
            ("estimates", c, "median", w, s)
            for c in cases
            for w in (*ESTIMATES, "power law")
            for s in options.seeds
        ]
    if "searches" in options.parts:
        names = [name.replace(":", ", ") for name in options.samplers.split(",")]
        runs += [
            ("searches", case, pruner, name, seed)
            for case in options.cases.split(",")
            for pruner in PRUNERS
            for name in names
            for seed in options.seeds
        ]

    def measure(part: str, case: str, pruner: str, name: str, seed: int) -> Row:
        if part == "searches":
            return searched(case, pruner, name, seed)
        curves = (
            nb101_curves() if case == "NAS-Bench-101" else (made_up(), tuple(range(1, EPOCHS + 1)))
        )
        return estimates(*curves, seed, name)

    campaign.complete(runs, measure)


if __name__ == "__main__":
    main()
