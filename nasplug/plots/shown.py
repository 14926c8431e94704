"""A study as pictures and pages show it: values in the shown units, labels, axes, and limits.

Units and limits are known where a search of nasplug has made the study.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nasplug.arrays import Array
from nasplug.candidates.constraints import Constraint, parse_constraint
from nasplug.plots.axes import Axis, axis_of, label_of, shown_factor
from nasplug.quantities import QUANTITIES
from nasplug.search_spaces import InputError
from nasplug.studies.values import (
    OBSERVED,
    RECORD,
    StudyValues,
    note_of,
    number_of,
    study_values,
)

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = [
    "in_shown_units",
    "is_search",
    "limited_of",
    "limits_of",
    "shown_values",
    "value_axes",
]


def is_search(study: Study) -> bool:
    """Whether a search has made a study, so that its metrics are quantities of known units."""
    return isinstance(study.user_attrs.get(RECORD), dict)


def shown_values(study: Study) -> StudyValues:
    """Values of a study's trials, in the shown units where these are known.

    Raises:
        InputError: If no trial has ended with finite values.
    """
    values = study_values(study)
    return in_shown_units(values) if is_search(study) else values


def in_shown_units(values: StudyValues) -> StudyValues:
    """Values of a search's study with labels of their quantities, and with counts in millions."""
    factors = np.array([shown_factor(name) for name in values.metrics])
    return replace(
        values,
        values=values.values * factors,
        expected=values.expected * factors[:, None],
        labels=tuple(label_of(name) for name in values.metrics),
        factors=factors,
    )


def value_axes(values: StudyValues, limits: Iterable[Constraint] = ()) -> list[Axis]:
    """Axes of a study's values, with the limits on them."""
    limits = list(limits)
    return [
        axis_of(
            values.labels[k],
            values.values[:, k],
            bool(values.sign[k] < 0),
            _bounds(limit for limit in limits if name in _names(limit)),
            is_accuracy=name.lower().startswith("accuracy"),
        )
        for k, name in enumerate(values.metrics)
    ]


def limits_of(study: Study) -> list[Constraint]:
    """The limits of the search that made a study; none of another study."""
    record = study.user_attrs.get(RECORD)
    kept = record.get("constraints") if isinstance(record, dict) else None
    limits = []
    # A storage may hold anything.
    for entry in kept if isinstance(kept, list) else []:
        try:
            text, probability = entry
            limits.append(parse_constraint(text, probability))
        except (InputError, TypeError, ValueError):
            continue
    return limits


def limited_of(
    study: Study, values: StudyValues, limits: Sequence[Constraint]
) -> tuple[list[Axis], Array]:
    """Quantities that have limits and are no objectives, where a trial tells them.

    Args:
        study: The study.
        values: Its values, n trials.
        limits: Its limits, as of `limits_of`.

    Returns:
        Their axes, and their values in the shown units, `(n, axes)`; NaN if unknown.
    """
    named: dict[str, list[Constraint]] = {}
    for limit in limits:
        if not set(values.metrics) & _names(limit):
            named.setdefault(limit.name, []).append(limit)
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    axes, columns = [], []
    for name, bounds in named.items():
        told = [_told(trials[number], bounds[0]) for number in values.numbers.tolist()]
        column = np.array(told, np.float64) * shown_factor(name)
        if np.isfinite(column).any():
            columns.append(column)
            maximize = not bounds[0].is_upper
            is_accuracy = name == "accuracy"
            axes.append(
                axis_of(label_of(name), column, maximize, _bounds(bounds), is_accuracy=is_accuracy)
            )
    return axes, np.reshape(columns, (len(axes), len(values.numbers))).T


def _names(limit: Constraint) -> set[str]:
    """Names of metrics that a limit is on."""
    return {limit.name, QUANTITIES[limit.name].key}


def _bounds(limits: Iterable[Constraint]) -> list[tuple[float, str]]:
    """Bounds in the shown unit, with their texts."""
    return [(limit.bound * shown_factor(limit.name), limit.shown) for limit in limits]


def _told(trial: FrozenTrial, limit: Constraint) -> float:
    """The quantity of a limit as a trial observed it, or else as predicted; NaN if unknown."""
    kind, observed = QUANTITIES[limit.name], trial.user_attrs.get(OBSERVED)
    if isinstance(observed, dict) and kind.key in observed:
        return number_of(observed[kind.key])
    ends = note_of(trial, "predicted").get(limit.name)
    if isinstance(ends, dict):
        return number_of(ends.get("mean"))
    # What is computed exactly follows from its distance to the bound, relative to that.
    missed = np.nan if kind.is_risky else trial.constraints.get(str(limit), np.nan)
    return limit.bound * (1 + missed if limit.is_upper else 1 - missed)
