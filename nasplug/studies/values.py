"""What the trials of a study gave, and what was expected of them before; read from the study alone.

The study may be anybody's: trials of other samplers count too, but nothing was expected of them,
and attributes that are not as the sampler writes them are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = [
    "ATTRIBUTE",
    "INTERVAL",
    "RETRY",
    "StudyValues",
    "metrics_of",
    "note_of",
    "study_signs",
    "study_values",
    "values_expected",
]

Array = NDArray[np.float64]

# The one user attribute of a trial, a small object with the architecture, its predictions and what
# is expected of it; and the probability of the intervals.
ATTRIBUTE = "nasplug"
# The system attribute of a trial that takes the place of one whose process was lost.
RETRY = "nasplug:retry"
INTERVAL = 0.9
# Predicted quantities that may be a study's values, and which way they are optimised.
_QUANTITIES = {"accuracy": "maximize", "latency": "minimize"}


@dataclass(frozen=True, eq=False)
class StudyValues:
    """The trials of a study that ended with finite values, in the order of their numbers.

    Attributes:
        name: Of the study.
        metrics: What the values are, length m; `"value"`, or `"value 0"`, … if the study does not
            say it.
        sign: Factors that turn values into losses, shape `(m,)`.
        numbers: Of these trials, `(n,)`.
        values: Their values, `(n, m)`.
        feasible: Whether each meets all constraints that it told of, `(n,)`.
        expected: Mean and ends of the interval of each value, by what was known when the trial was
            proposed, `(n, m, 3)`; NaN where nothing was expected.
        learned: Whether that was learned from trials; else a predictor said it.
        chance: Expected probability of feasibility, `(n,)`; NaN where none was expected.
        lost: Numbers of trials that failed, were pruned, or ended without finite values.
    """

    name: str
    metrics: tuple[str, ...]
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
        """Of which trials something was expected, `(n,)`."""
        return np.asarray(np.isfinite(self.expected).all(axis=(1, 2)))


def study_values(study: Study) -> StudyValues:
    """Read a study.

    Raises:
        InputError: If no trial has ended with finite values.
    """
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    done = [t for t in trials if t.state == TrialState.COMPLETE and np.isfinite(t.values).all()]
    if not done:
        raise InputError(
            f"study {study.study_name!r} has no trial that ended with finite values yet; give one "
            "that has"
        )
    numbers = {trial.number for trial in done}
    ended = [t.number for t in trials if t.state.is_finished() and t.number not in numbers]
    directions = [direction.name.lower() for direction in study.directions]
    metrics, sign = metrics_of(study), study_signs(study)
    expected = [values_expected(note_of(trial, "expected").get("losses"), sign) for trial in done]
    learns = any(np.isfinite(row).any() for row in expected)
    if not learns:
        # A sampler that is given its objectives by name predicts them and learns nothing.
        quantities = _quantities(metrics, directions)
        expected = [_predicted(trial, quantities) for trial in done]
    return StudyValues(
        name=study.study_name,
        metrics=metrics,
        sign=sign,
        numbers=np.array([trial.number for trial in done], np.intp),
        values=np.array([trial.values for trial in done], np.float64),
        feasible=np.array([all(v <= 0 for v in trial.constraints.values()) for trial in done]),
        expected=np.array(expected),
        learned=learns,
        chance=np.array([_chance(trial) for trial in done]),
        lost=np.array(ended, np.intp),
    )


def study_signs(study: Study) -> Array:
    """Factors that turn a study's values into losses, `(m,)`."""
    return np.array([-1.0 if d.name == "MAXIMIZE" else 1.0 for d in study.directions])


def metrics_of(study: Study) -> tuple[str, ...]:
    """What a study's values are, by its own word; else `"value"`, or `"value 0"` and so on."""
    given, count = study.metric_names, len(study.directions)
    if given is not None and len(given) == count:
        return tuple(map(str, given))
    return ("value",) if count == 1 else tuple(f"value {k}" for k in range(count))


def _quantities(metrics: tuple[str, ...], directions: list[str]) -> list[str | None]:
    """The predicted quantity that each value is: by its name, or if only one can be meant."""
    found: list[str | None] = []
    for metric, direction in zip(metrics, directions, strict=True):
        word = next((name for name in _QUANTITIES if metric.lower().startswith(name)), None)
        if word is None and metric.startswith("value") and directions.count(direction) == 1:
            word = next(name for name, way in _QUANTITIES.items() if way == direction)
        found.append(word)
    return found


def note_of(trial: FrozenTrial, key: str) -> Mapping[str, Any]:
    """A part of what the sampler keeps of a trial; empty if there is none of that form."""
    note = trial.user_attrs.get(ATTRIBUTE)
    part = note.get(key) if isinstance(note, dict) else None
    return part if isinstance(part, dict) else {}


def values_expected(said: Any, sign: Array) -> Array:
    """Mean, lower and upper end of each value, `(m, 3)`; NaN if what is said is something else.

    Args:
        said: Mean and ends of each loss, as the sampler keeps them.
        sign: Factors that turn values into losses, `(m,)`.
    """
    try:
        losses = np.array(said, np.float64)
    except (TypeError, ValueError):
        losses = np.empty(0)
    if losses.shape != (len(sign), 3):
        return np.full((len(sign), 3), np.nan)
    turned = losses * sign[:, None]
    return np.column_stack([turned[:, 0], turned[:, 1:].min(axis=1), turned[:, 1:].max(axis=1)])


def _predicted(trial: FrozenTrial, quantities: list[str | None]) -> Array:
    rows = np.full((len(quantities), 3), np.nan)
    predicted = note_of(trial, "predicted")
    for k, name in enumerate(quantities):
        said = predicted.get(name) if name is not None else None
        if isinstance(said, dict):
            rows[k] = [_number(said.get(end)) for end in ("mean", "lower", "upper")]
    return rows


def _chance(trial: FrozenTrial) -> float:
    return _number(note_of(trial, "expected").get("feasible"))


def _number(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else np.nan
