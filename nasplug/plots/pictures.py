"""Pictures of an Optuna study: its progress, and its sampler's predictions against the trials.

The first works for any study; the others need trials for which `PredictorSampler` announced
intervals. Each function returns a matplotlib figure: save it with
`figure.savefig("hypervolume.png")`, or show it in a notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasplug.plots.drawing import (
    BLUE,
    GREY,
    LINES,
    RED,
    beyond,
    crosses,
    figure_of,
    finish,
    heading,
    limit,
    rug,
    steps,
)
from nasplug.plots.progress import best_so_far, hypervolume_so_far, reference_of
from nasplug.plots.shown import is_search, shown_values
from nasplug.search_spaces import InputError
from nasplug.search_spaces.lazy import from_extra
from nasplug.studies.values import INTERVAL, StudyValues, study_values
from nasplug.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from optuna.study import Study

__all__ = ["calibration", "hypervolume", "predicted_observed"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Fewest trials for which a picture of shares is meaningful.
FEWEST = 5
# Trials in a group with similar expected probability of feasibility.
GROUP = 10


def hypervolume(
    study: Study | Mapping[str, Study],
    *,
    front: ArrayLike | None = None,
    reference: Sequence[float] | None = None,
) -> Figure:
    """Draw the progress of a study after each trial.

    With several objectives that is the hypervolume that its feasible trials dominate, as a share of
    the hypervolume of the true front if it is given, else of the largest that is shown. With one
    objective it is the best feasible value so far, and the value of every trial.

    Args:
        study: A study; or several with equal directions, by the names that the picture shows.
        front: The true front, values of shape `(k, m)` in any order; one number for one objective.
        reference: The values at which the hypervolume ends, length m. Without them it ends a tenth
            of the front's extent beyond its worst values; the front is the true one, or else that
            of all trials shown.

    Raises:
        InputError: If a study has no trial with finite values, studies differ in what they
            optimise, or front and reference do not fit them.

    Example:
        >>> import optuna
        >>> from nasplug import plots
        >>> study = optuna.create_study(study_name="mine")
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
        >>> plots.hypervolume(study).axes[0].get_xlabel()
        'trial'
    """
    with from_extra("plots"):
        from matplotlib.ticker import MaxNLocator

    named = study if isinstance(study, Mapping) else {"": study}
    if not named:
        raise InputError("no study was given; give one, or a dictionary of several")
    # Units are those of all studies or of none, so that all have the same axes.
    read = shown_values if all(map(is_search, named.values())) else study_values
    shown = {name: read(single) for name, single in named.items()}
    first = next(iter(shown.values()))
    if any(values.sign.tolist() != first.sign.tolist() for values in shown.values()):
        raise InputError(
            "the studies have different directions; give studies with the same objectives"
        )
    true_front = _checked_front(front, first)
    figure, (plot,) = figure_of()
    if len(first.metrics) == 1:
        _best_values(plot, shown, true_front)
    else:
        point = _checked_reference(reference, first)
        _hypervolumes(figure, plot, shown, true_front, point)
    plot.set_xlabel("trial", fontsize=12)
    plot.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(plot, above=len(shown) == len(first.metrics) == 1)
    return figure


def predicted_observed(study: Study) -> Figure:
    """Draw expected against observed values of the trials, with 90 % intervals.

    Each objective has a panel. Expected values are those of the moment when the trial was proposed.

    Raises:
        InputError: If nothing was expected of any trial.

    Example:
        >>> import optuna
        >>> from nasplug import InputError, plots
        >>> study = optuna.create_study(study_name="mine")
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
        >>> try:  # only nasplug's sampler tells what it expects
        ...     plots.predicted_observed(study)
        ... except InputError as error:
        ...     print(error)
        no trial of study 'mine' has expected values; ...
    """
    values = _foreseen(study)
    count = len(values.metrics)
    figure, plots = figure_of(count)
    for k, plot in enumerate(plots):
        _scatter(plot, values, k)
    shown = int(values.foreseen.sum())
    heading(figure, f"{values.name}: {counted(shown, 'trial')} with expected values")
    return figure


def calibration(study: Study) -> Figure:
    """Draw how often values lay in the intervals that the sampler announced.

    Each objective has a line: the share of trials whose value lay in the central interval of each
    probability. The sampler announces the interval of 90 %, which is marked; the others are scaled
    from it by a normal distribution, each side by itself. Where the probability of feasibility was
    announced, a second panel shows the share of feasible trials against it, in groups of ten.

    Raises:
        InputError: If something was expected of fewer than five trials.

    Example:
        >>> import optuna
        >>> from nasplug import InputError, plots
        >>> study = optuna.create_study(study_name="mine")
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
        >>> try:  # only nasplug's sampler tells what it expects
        ...     plots.calibration(study)
        ... except InputError as error:
        ...     print(error)
        no trial of study 'mine' has expected values; ...
    """
    values = _foreseen(study)
    shown = int(values.foreseen.sum())
    if shown < FEWEST:
        raise InputError(
            f"study {values.name!r} has {counted(shown, 'trial')} with expected values; the plot "
            f"needs at least {FEWEST}"
        )
    announced = np.isfinite(values.chance)
    figure, plots = figure_of(2 if announced.sum() >= FEWEST else 1, square=True)
    _coverage(plots[0], values)
    if len(plots) > 1:
        _feasibility(plots[1], values.chance[announced], values.feasible[announced])
    return figure


def _checked_front(front: ArrayLike | None, values: StudyValues) -> Array | None:
    if front is None:
        return None
    count = len(values.metrics)
    points = np.atleast_1d(_numbers(front))
    points = points.reshape(-1, 1) if count == 1 else points
    if points.ndim != 2 or points.shape[1] != count or not len(points):
        raise InputError(
            f"the front has shape {np.shape(front)}; give values of shape (k, {count}), with the "
            f"columns {', '.join(values.metrics)}"
        )
    if not np.isfinite(points).all():
        raise InputError("the front has values that are not finite; remove these points")
    return points * values.factors


def _numbers(values: ArrayLike) -> Array:
    """Convert a user's values to numbers; to none at all if they are no numbers."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return np.empty(0)


def _checked_reference(reference: Sequence[float] | None, values: StudyValues) -> Array | None:
    if reference is None:
        return None
    point = _numbers(reference)
    if point.shape != values.sign.shape or not np.isfinite(point).all():
        raise InputError(
            f"the reference is {reference!r}; give a finite number for each of "
            f"{', '.join(values.metrics)}"
        )
    return np.asarray(point * values.factors)


def _best_values(plot: Axes, shown: Mapping[str, StudyValues], front: Array | None) -> None:
    alone = len(shown) == 1
    for (name, values), color in zip(shown.items(), cycle(LINES), strict=False):
        label = "best so far" if alone else name
        steps(plot, *_to_the_end(values, best_so_far(values)), color, label)
        if alone:
            ok, heights = values.feasible, values.values[:, 0]
            plot.scatter(
                values.numbers[ok], heights[ok], s=16, color=GREY, label="a trial", zorder=1
            )
            crosses(plot, values.numbers[~ok], heights[~ok])
            rug(plot, {"failed": (values.lost, GREY)})
    if front is not None:
        sign = next(iter(shown.values())).sign[0]
        optimum = float((front * sign).min() * sign)
        plot.axhline(optimum, color=RED, linestyle="--", linewidth=1.6, label="the optimum")
    if alone:
        limit(plot.set_ylim, heights, front)
        beyond(plot, heights[None], plot.get_ylim())
    plot.set_ylabel(next(iter(shown.values())).labels[0], fontsize=12)


def _hypervolumes(
    figure: Figure,
    plot: Axes,
    shown: Mapping[str, StudyValues],
    front: Array | None,
    reference: Array | None,
) -> None:
    first = next(iter(shown.values()))
    if reference is None:
        reference = reference_of([front] if front is not None else list(shown.values()), first.sign)
    curves = {name: hypervolume_so_far(values, reference) for name, values in shown.items()}
    if front is not None:
        largest = hypervolume_so_far(_as_study(first, front), reference)[-1]
    else:
        largest = max(float(curve[-1]) for curve in curves.values())
    if largest <= 0:
        subject = "trial" if front is None else "point of the front"
        raise InputError(
            f"no feasible {subject} is better than the reference {_point(reference)} in every "
            "objective; give a worse reference"
        )
    alone = len(shown) == 1
    for (name, values), color in zip(shown.items(), cycle(LINES), strict=False):
        x, y = _to_the_end(values, curves[name] / largest)
        trials = counted(len(values.numbers) + len(values.lost), "trial")
        last = f"{y[-1]:.1%} after {trials}"
        # A single study without a true front ends at 100 % by definition, so this is not shown.
        label = trials if alone and front is None else f"{name}: {last}" if name else last
        steps(plot, x, y, color, label)
        if alone:
            missed = values.numbers[~values.feasible]
            rug(plot, {"violates a constraint": (missed, RED), "failed": (values.lost, GREY)})
    plot.set_ylim(0, 1.05)
    denominator = "of the true front" if front is not None else "of the last value"
    plot.set_ylabel(f"hypervolume, as a share {denominator}", fontsize=12)
    worst = ", ".join(f"{first.labels[k]} = {end:.4g}" for k, end in enumerate(reference))
    heading(figure, f"hypervolume up to {worst}")


def _as_study(like: StudyValues, values: Array) -> StudyValues:
    """Treat points as the feasible trials of a study with the metrics of `like`."""
    numbers, feasible = np.arange(len(values)), np.ones(len(values), np.bool_)
    return replace(
        like, numbers=numbers, values=values, feasible=feasible, lost=np.empty(0, np.intp)
    )


def _point(reference: Array) -> str:
    return f"({', '.join(f'{end:.4g}' for end in reference)})"


def _to_the_end(values: StudyValues, curve: Array) -> tuple[Array, Array]:
    """Extend a curve over trial numbers to the last trial, even if that failed."""
    last = max([int(values.numbers[-1]), *values.lost.tolist()])
    return np.append(values.numbers, last).astype(np.float64), np.append(curve, curve[-1])


def _foreseen(study: Study) -> StudyValues:
    """Read a study, and check that some trials have expected values that are not their values."""
    values = shown_values(study)
    if not values.foreseen.any():
        raise InputError(
            f"no trial of study {values.name!r} has expected values; PredictorSampler stores them "
            "for all but its first trials, and other samplers never do"
        )
    if values.repeats_predictions:
        raise InputError(
            f"the values of study {values.name!r} are predictions; give a study whose trials were "
            "evaluated by a table, a command or a training run"
        )
    return values


def _inside(values: StudyValues) -> Mask:
    """Whether each value lay in its interval, `(n, m)`."""
    lower, upper = values.expected[..., 1], values.expected[..., 2]
    return np.asarray((lower <= values.values) & (values.values <= upper))


def _scatter(plot: Axes, values: StudyValues, k: int) -> None:
    rows = values.foreseen
    seen, mean = values.values[rows, k], values.expected[rows, k, 0]
    lower, upper = values.expected[rows, k, 1], values.expected[rows, k, 2]
    inside, ok = _inside(values)[rows, k], values.feasible[rows]
    # A calibrated interval need not hold the central prediction; a bar cannot be negative.
    bars = np.maximum([mean - lower, upper - mean], 0.0)
    groups = {
        f"inside its 90 % interval: {inside.sum()}": (inside, BLUE),
        f"outside: {(~inside).sum()}": (~inside, RED),
    }
    for label, (mask, color) in groups.items():
        if mask.any():
            x, y, bar = seen[mask], mean[mask], bars[:, mask]
            plot.errorbar(x, y, bar, fmt="none", ecolor=color, elinewidth=0.9, alpha=0.5, zorder=2)
            plot.scatter(x, y, s=20, color=color, label=label, zorder=3)
    if not ok.all():
        plot.scatter(
            seen[~ok],
            mean[~ok],
            s=70,
            facecolors="none",
            edgecolors="black",
            linewidths=1.0,
            label=f"violates a constraint: {(~ok).sum()}",
            zorder=4,
        )
    both = np.concatenate([seen, mean])
    # Both axes have the same limits, so that the line y = x is the diagonal.
    limit(plot.set_xlim, both)
    limit(plot.set_ylim, both)
    beyond(plot, both.reshape(2, -1), plot.get_xlim())
    plot.axline((0.0, 0.0), slope=1.0, color="black", linewidth=1, alpha=0.6, zorder=1)
    plot.set_xlabel(f"{values.labels[k]}, observed", fontsize=12)
    plot.set_ylabel(f"{values.labels[k]}, expected", fontsize=12)
    finish(plot, above=True)


def _coverage(plot: Axes, values: StudyValues) -> None:
    rows = values.foreseen
    count = int(rows.sum())
    levels = np.linspace(0.0, 1.0, 201)
    low, high = _binomial(levels, count)
    label = f"chance, {counted(count, 'trial')}"
    plot.fill_between(levels, low, high, color=GREY, alpha=0.25, linewidth=0, label=label)
    plot.plot([0, 1], [0, 1], color="black", linewidth=1, alpha=0.6, label="calibrated")
    coverage = _inside(values)[rows].mean(axis=0)
    for k, (share, color) in enumerate(zip(coverage, LINES * len(coverage), strict=False)):
        reached = _level(values.values[rows, k], values.expected[rows, k])
        shares = (reached[None, :] <= levels[:, None]).mean(axis=1)
        label = f"{values.labels[k]}: {share:.0%} inside 90 % intervals"
        plot.plot(levels, shares, color=color, linewidth=1.8, label=label)
        plot.plot([INTERVAL], [share], "o", color=color, markersize=7)
    title = f"{values.name}: calibration of intervals"
    _unit_square(plot, "probability of the interval", "share of trials inside it", title)


def _level(seen: Array, expected: Array) -> Array:
    """Probability of the narrowest central interval that holds each value, `(n,)`."""
    from scipy.special import ndtr, ndtri

    mean, lower, upper = expected.T
    above = seen > mean
    reach = np.where(above, upper - mean, mean - lower) / ndtri(0.5 + INTERVAL / 2)
    gap = np.abs(seen - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(gap > 0, np.where(reach > 0, gap / reach, np.inf), 0.0)
    return np.asarray(2 * ndtr(scaled) - 1)


def _feasibility(plot: Axes, chance: Array, feasible: Mask) -> None:
    order = np.argsort(chance, kind="stable")
    groups = np.array_split(order, max(len(order) // GROUP, 1))
    middles = np.array([chance[rows].mean() for rows in groups])
    shares = np.array([feasible[rows].mean() for rows in groups])
    bounds = _binomial(middles, np.array([len(rows) for rows in groups]))
    # Range of shares that chance alone gives around the announced probability.
    plot.vlines(middles, *bounds, color=GREY, alpha=0.5, linewidth=6, label="chance")
    plot.plot([0, 1], [0, 1], color="black", linewidth=1, alpha=0.6, label="calibrated")
    label = f"all trials: {chance.mean():.0%} expected, {feasible.mean():.0%} observed"
    plot.plot(middles, shares, "o-", color=BLUE, markersize=7, label=label)
    x, y = "expected probability of feasibility", "share of feasible trials"
    _unit_square(plot, x, y, "constraints")


def _unit_square(plot: Axes, x: str, y: str, title: str) -> None:
    plot.set_xlabel(x, fontsize=12)
    plot.set_ylabel(y, fontsize=12)
    plot.set_title(title, fontsize=10)
    plot.set_xlim(-0.02, 1.02)
    plot.set_ylim(-0.02, 1.02)
    plot.set_aspect("equal")
    finish(plot)


def _binomial(probability: Array, count: int | NDArray[np.int64]) -> Array:
    """Ends of the central 90 % of the share of successes in `count` draws, `(2, …)`."""
    from scipy.stats import binom

    return np.asarray(binom.ppf([[0.05], [0.95]], count, probability) / count)
