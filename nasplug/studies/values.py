"""Values of a study's trials, and the intervals that the sampler announced before them.

Shapes: `n` trials that ended with finite values, `m` objectives. All is read from the study, which
may be any: trials of other samplers count too, without announced intervals, and attributes in
another form than the sampler's are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.arrays import Array
from nasplug.quantities import quantity_named
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = [
    "ATTRIBUTE",
    "INTERVAL",
    "OBSERVED",
    "RECORD",
    "RETRY",
    "StudyValues",
    "metrics_of",
    "note_of",
    "number_of",
    "study_signs",
    "study_values",
    "values_expected",
]

# User attribute of a trial: a small object with its architecture, predictions and announced values.
ATTRIBUTE = "nasplug"
# User attribute of a trial with the metrics that it gave.
OBSERVED = "nasplug:observed"
# User attribute of a study: the arguments of the search that made it.
RECORD = "nasplug:plan"
# System attribute of a trial that takes the place of one whose process was lost.
RETRY = "nasplug:retry"
# Probability of the announced intervals.
INTERVAL = 0.9
# Quantity that a value of no known name may be -> its direction.
_QUANTITIES = {"accuracy": "maximize", "latency": "minimize"}


@dataclass(frozen=True, eq=False)
class StudyValues:
    """Trials of a study that ended with finite values, in the order of their numbers.

    Attributes:
        name: Name of the study.
        metrics: Names of the values, length m; `"value"`, or `"value 0"`, … if the study names
            none.
        labels: Labels of the values: the names in words, and units where they are known.
        factors: Factors from the units of the study's values to those of `values`, `(m,)`.
        sign: Factors that turn values into losses, shape `(m,)`.
        numbers: Numbers of the trials, `(n,)`.
        values: Values of the trials, `(n, m)`.
        feasible: Whether each trial meets all constraints that it reports, `(n,)`.
        expected: Mean, lower and upper end of each value, as announced when the trial was proposed,
            `(n, m, 3)`; NaN where nothing was announced.
        learned: Whether announced values were learned from trials, and not predicted.
        chance: Announced probability of feasibility, `(n,)`; NaN where none was announced.
        lost: Numbers of trials that failed, were pruned, or ended without finite values.
    """

    name: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...]
    factors: Array
    sign: Array
    numbers: NDArray[np.intp]
    values: Array
    feasible: NDArray[np.bool_]
    expected: Array
    learned: bool
    chance: Array
    lost: NDArray[np.intp]

    @property
    def losses(self) -> Array:
        """The values as losses, `(n, m)`."""
        return np.asarray(self.values * self.sign)

    @property
    def foreseen(self) -> NDArray[np.bool_]:
        """Mask of the trials for which the sampler had announced an interval, shape `(n,)`."""
        return np.asarray(np.isfinite(self.expected).all(axis=(1, 2)))

    @property
    def repeats_predictions(self) -> bool:
        """Whether the values are the predictions themselves, as in a search by prediction."""
        rows = self.foreseen
        return not self.learned and bool((self.expected[rows, :, 0] == self.values[rows]).all())


def study_values(study: Study) -> StudyValues:
    """Read the values and announced intervals of a study's trials.

    Raises:
        InputError: If no trial has ended with finite values.
    """
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    valued = [t for t in trials if t.state == TrialState.COMPLETE and np.isfinite(t.values).all()]
    if not valued:
        raise InputError(
            f"study {study.study_name!r} has no trial with finite values yet; run some trials, or "
            "give another study"
        )
    numbers = {trial.number for trial in valued}
    lost = [t.number for t in trials if t.state.is_finished() and t.number not in numbers]
    directions = [direction.name.lower() for direction in study.directions]
    metrics, sign = metrics_of(study), study_signs(study)
    expected = [values_expected(note_of(trial, "expected").get("losses"), sign) for trial in valued]
    learned = any(np.isfinite(row).any() for row in expected)
    if not learned:
        # A sampler that gets its objectives by name predicts them and learns nothing.
        quantities = _quantities(metrics, directions)
        expected = [_predicted(trial, quantities) for trial in valued]
    return StudyValues(
        name=study.study_name,
        metrics=metrics,
        labels=tuple(name.replace("_", " ") for name in metrics),
        factors=np.ones(len(metrics)),
        sign=sign,
        numbers=np.array([trial.number for trial in valued], np.intp),
        values=np.array([trial.values for trial in valued], np.float64),
        feasible=np.array([all(v <= 0 for v in trial.constraints.values()) for trial in valued]),
        expected=np.array(expected),
        learned=learned,
        chance=np.array([_chance(trial) for trial in valued]),
        lost=np.array(lost, np.intp),
    )


def study_signs(study: Study) -> Array:
    """Factors that turn a study's values into losses, `(m,)`."""
    return np.array([-1.0 if d.name == "MAXIMIZE" else 1.0 for d in study.directions])


def metrics_of(study: Study) -> tuple[str, ...]:
    """Names of a study's values, or `"value"`, or `"value 0"` and so on, if it has none."""
    names, count = study.metric_names, len(study.directions)
    if names is not None and len(names) == count:
        return tuple(map(str, names))
    return ("value",) if count == 1 else tuple(f"value {k}" for k in range(count))


def _quantities(metrics: tuple[str, ...], directions: list[str]) -> list[str | None]:
    """Predicted quantity of each value, by its name, or by its direction if that is unique."""
    quantities: list[str | None] = []
    for metric, direction in zip(metrics, directions, strict=True):
        kind = quantity_named(metric)
        quantity = None if kind is None else kind.name
        if quantity is None:
            quantity = next((n for n in _QUANTITIES if metric.lower().startswith(n)), None)
        if quantity is None and metric.startswith("value") and directions.count(direction) == 1:
            quantity = next(name for name, way in _QUANTITIES.items() if way == direction)
        quantities.append(quantity)
    return quantities


def note_of(trial: FrozenTrial, key: str) -> Mapping[str, Any]:
    """Part of the sampler's attribute of a trial; empty if there is none of that form."""
    note = trial.user_attrs.get(ATTRIBUTE)
    part = note.get(key) if isinstance(note, dict) else None
    return part if isinstance(part, dict) else {}


def values_expected(announced: Any, sign: Array) -> Array:
    """Mean, lower and upper end of each value, `(m, 3)`; NaN if they were not announced.

    `announced` has those of the losses, as the sampler stores them, or is anything else.
    """
    try:
        losses = np.array(announced, np.float64)
    except (TypeError, ValueError):
        losses = np.empty(0)
    if losses.shape != (len(sign), 3):
        return np.full((len(sign), 3), np.nan)
    turned = losses * sign[:, None]
    return np.column_stack([turned[:, 0], turned[:, 1:].min(axis=1), turned[:, 1:].max(axis=1)])


def _predicted(trial: FrozenTrial, quantities: list[str | None]) -> Array:
    """Predicted mean, lower and upper end of each value, `(m, 3)`; NaN where none is predicted."""
    rows = np.full((len(quantities), 3), np.nan)
    predicted = note_of(trial, "predicted")
    for k, name in enumerate(quantities):
        ends = predicted.get(name) if name is not None else None
        if isinstance(ends, dict):
            rows[k] = [number_of(ends.get(end)) for end in ("mean", "lower", "upper")]
    return rows


def _chance(trial: FrozenTrial) -> float:
    return number_of(note_of(trial, "expected").get("feasible"))


def number_of(value: Any) -> float:
    """A number that may be anything; NaN if it is none."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else np.nan
