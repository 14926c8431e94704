"""The parts of a search's result that reports read, and the quantities that they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nasplug.arrays import Indices
from nasplug.objectives import Objective
from nasplug.plots.axes import kind_of, label_of, shown_factor

if TYPE_CHECKING:
    from optuna.study import Study

    from nasplug.candidates.candidates import Candidates
    from nasplug.candidates.constraints import Constraint
    from nasplug.choices import Choice
    from nasplug.predictors.hardware import Hardware

__all__ = [
    "ReportedQuantity",
    "ReportedSearch",
    "is_measured",
    "limited_quantities",
    "quantities",
    "some_untried",
]

# Most architectures that were not tried, and that a picture shows behind the trials.
SOME = 1_000


class ReportedSearch(Protocol):
    """The parts of a search's result that reports show; see `nasplug.SearchResult`."""

    def heading(self) -> str: ...  # noqa: D102
    def notes(self, brief: bool = False) -> list[str]: ...  # noqa: D102
    def to_json(self) -> dict[str, Any]: ...  # noqa: D102
    def choices(self) -> list[Choice]: ...  # noqa: D102

    @property
    def space(self) -> str: ...  # noqa: D102
    @property
    def seed(self) -> int | None: ...  # noqa: D102
    @property
    def predictor(self) -> Mapping[str, str | None]: ...  # noqa: D102
    @property
    def runtime(self) -> str | None: ...  # noqa: D102
    @property
    def seconds(self) -> Mapping[str, float]: ...  # noqa: D102
    @property
    def hardware(self) -> Hardware | None: ...  # noqa: D102
    @property
    def dataset(self) -> str: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def n_trials(self) -> int: ...  # noqa: D102
    @property
    def objectives(self) -> tuple[Objective, ...]: ...  # noqa: D102
    @property
    def constraints(self) -> tuple[Constraint, ...]: ...  # noqa: D102
    @property
    def pareto(self) -> list[dict[str, Any]]: ...  # noqa: D102
    @property
    def trials(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def front(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def study(self) -> Study: ...  # noqa: D102
    @property
    def candidates(self) -> Candidates: ...  # noqa: D102
    @property
    def proxy(self) -> str | None: ...  # noqa: D102
    @property
    def quality(self) -> str | None: ...  # noqa: D102
    @property
    def accuracy_source(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class ReportedQuantity:
    """A quantity that a report shows.

    Attributes:
        name: Name of the quantity.
        label: Quantity and unit, for an axis.
        factor: Factor to the shown unit.
        limits: Bounds in the shown unit, with their texts.
    """

    name: str
    label: str
    factor: float
    limits: tuple[tuple[float, str], ...]


def is_measured(result: ReportedSearch, name: str) -> bool:
    """Whether a quantity of all architectures was measured, so that it has no interval."""
    return name == "accuracy" and result.accuracy_source is not None


def quantities(result: ReportedSearch) -> tuple[ReportedQuantity, ...]:
    """Quantities of a search by prediction: usually the quality, then the cost."""
    return tuple(_quantity(result, objective.name) for objective in result.objectives)


def limited_quantities(result: ReportedSearch) -> tuple[tuple[ReportedQuantity, bool], ...]:
    """Quantities that have limits and are no objectives, and whether more of them is better."""
    named = {objective.name for objective in result.objectives}
    ways = {c.name: not c.is_upper for c in result.constraints if c.name not in named}
    return tuple((_quantity(result, name), maximize) for name, maximize in ways.items())


def _quantity(result: ReportedSearch, name: str) -> ReportedQuantity:
    """A quantity with its limits in the shown unit."""
    factor = shown_factor(name)
    limits = tuple((c.bound * factor, c.shown) for c in result.constraints if c.name == name)
    return ReportedQuantity(name, _label(result, name), factor, limits)


def _label(result: ReportedSearch, name: str) -> str:
    """Label of a quantity that says whether it was predicted, and for which device or images."""
    kind = kind_of(name)
    if kind is None or kind.source == "counted":
        return label_of(name) + ", a proxy for accuracy" * (name == result.proxy)
    source = "measured" if is_measured(result, name) else "predicted"
    if name == "accuracy":
        return f"{source} {result.dataset} {label_of(name)}"
    device = name.partition("@")[2] or (result.hardware.name if result.hardware else "")
    if kind.needs_device and device:
        return f"{source} {label_of(name, f'on {device}, batch {result.batch_size}')}"
    return label_of(name)


def some_untried(
    result: ReportedSearch, shown_quantities: Sequence[ReportedQuantity]
) -> tuple[Indices, int]:
    """Architectures that were scored, could be proposed, and were not tried.

    Args:
        result: Result of a search by prediction.
        shown_quantities: Quantities that must be known of them.

    Returns:
        Indices of up to `SOME` of them, evenly in the order of the candidates, and the number of
        all.
    """
    candidates = result.candidates
    mask = np.asarray(candidates.scores.connected).copy()
    mask[list(result.trials)] = False
    for quantity in shown_quantities:
        mask &= np.isfinite(candidates.quantities[quantity.name].mean)
    untried = np.flatnonzero(mask)
    places = np.linspace(0, len(untried) - 1, min(len(untried), SOME)).astype(np.intp)
    return untried[places], len(untried)
