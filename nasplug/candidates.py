"""Every cell of a finite space, scored once: predictions, costs, and what the constraints say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nasplug.constraints import Constraint
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import Prediction
from nasplug.search_spaces import Architecture, FiniteSpace, InputError
from nasplug.search_spaces.simplify import simplify

__all__ = ["OBJECTIVES", "Candidates", "Objective", "Scorer", "score"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]


class Scorer(Protocol):
    """What predicts a quantity of architectures; the predictors of the zoo do."""

    def predict(
        self,
        architectures: Sequence[Architecture],
        hardware: Hardware | None = None,
        batch_size: int = 1,
    ) -> Prediction:
        """Predict architectures, a row each."""


@dataclass(frozen=True)
class Objective:
    """A quantity to optimise: its name, `"maximize"` or `"minimize"`, and its unit."""

    name: str
    direction: Literal["maximize", "minimize"]
    unit: str

    @property
    def sign(self) -> float:
        """The factor that turns it into something to minimise."""
        return -1.0 if self.direction == "maximize" else 1.0


OBJECTIVES = {
    "accuracy": Objective("accuracy", "maximize", "%"),
    "latency": Objective("latency", "minimize", "ms"),
    "flops": Objective("flops", "minimize", "count"),
    "params": Objective("params", "minimize", "count"),
}
_COSTS = ("flops", "params")


@dataclass(frozen=True, eq=False)
class Quantity:
    """A quantity of every cell, in its unit; arrays of shape `(cells,)`.

    A quantity that is counted, not predicted, has no spread and equal ends of its interval.
    """

    mean: Array
    std: Array
    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False)
class Candidates:
    """A finite space with everything that is known before a trial.

    Attributes:
        space: The space.
        cells: Its architectures, in its order.
        ids: Distinct `arch_id`s, in order of first appearance; shape `(ids,)`.
        group: Index into `ids` of each cell, shape `(cells,)`.
        quantities: Name such as `"latency"` to the values of all cells.
        constraints: The limits, length c.
        reachable: The bound that a cell meets with the constraint's probability, in the
            constraint's unit; shape `(c, cells)`.
        met: Whether it meets the constraint, shape `(c, cells)`.
        connected: Whether its output depends on its input, shape `(cells,)`; a network of which it
            does not is nothing to build, however fast.
        cost: What makes one cell cheaper than an equivalent one, shape `(cells,)`.
        zero_shot: Whether the latency is that of a device without measurements.
        interval: Probability that the intervals of the predictions are meant to cover.
    """

    space: FiniteSpace
    cells: tuple[Architecture, ...]
    ids: tuple[str, ...]
    group: Indices
    quantities: Mapping[str, Quantity]
    constraints: tuple[Constraint, ...]
    reachable: Array
    met: Mask
    connected: Mask
    cost: Array
    zero_shot: bool
    interval: float

    @property
    def feasible(self) -> Mask:
        """Whether a cell is connected and meets all constraints; shape `(cells,)`."""
        return np.asarray(self.met.all(axis=0) & self.connected)

    def violations(self) -> Array:
        """How far each limit is missed, relative to its bound; shape `(c, cells)`, ≤ 0 if met."""
        bound = np.array([c.bound for c in self.constraints])[:, None]
        sign = np.array([1.0 if c.is_upper else -1.0 for c in self.constraints])[:, None]
        missed = sign * (self.reachable - bound) / bound
        # Interpolation may disagree with `met` in the last digit; `met` decides the sign.
        result: Array = np.where(self.met, np.minimum(missed, 0.0), np.maximum(missed, 1e-9))
        return result

    def cheapest(self, mask: Mask | None = None) -> Indices:
        """For each `arch_id` the one cell that is cheapest to run, in the order of `ids`.

        Args:
            mask: The cells to choose from, shape `(cells,)`; an id without any is left out.
        """
        return _cheapest(self.group, self.cost, mask)

    def means(self, names: Sequence[str]) -> Array:
        """Predicted means, shape `(cells, names)`."""
        return np.stack([self.quantities[name].mean for name in names], axis=1)

    def stds(self, names: Sequence[str]) -> Array:
        """Predicted standard deviations, shape `(cells, names)`."""
        return np.stack([self.quantities[name].std for name in names], axis=1)

    def summary(self, cell: int) -> dict[str, Any]:
        """What is kept in a trial: the cell, its id, and mean and interval of each prediction."""
        arch = self.cells[cell]
        predicted = {
            name: {"mean": float(q.mean[cell]), "lower": float(q.lower[cell])}
            | {"upper": float(q.upper[cell])}
            for name, q in self.quantities.items()
            if name not in _COSTS
        }
        return {"arch": arch.text, "arch_id": arch.arch_id, "predicted": predicted}

    def check_reachable(self, hardware: Hardware | None) -> None:
        """Check that some cell meets all constraints.

        Raises:
            InputError: If none does; the sentence names the bound that would just be met.
        """
        if not self.constraints or self.feasible.any():
            return
        met = self.met & self.connected
        alone = [k for k in range(len(self.constraints)) if not met[k].any()]
        k = alone[0] if alone else 0
        others = np.delete(met, k, axis=0).all(axis=0) & self.connected
        c = self.constraints[k]
        if alone or not others.any():
            others = self.connected
        values = self.reachable[k][others]
        best = float(values.min() if c.is_upper else values.max())
        shown = Constraint(c.name, _round_away(best, c.is_upper), c.unit, c.sense, c.probability)
        where = f" on {hardware.name}" if hardware and c.name == "latency" else ""
        rest = "" if alone else " together with the other constraints"
        extreme = "smallest" if c.is_upper else "largest"
        risk = "" if c.name in _COSTS else f" with probability {c.probability:g}"
        raise InputError(
            f"no {self.space.name} architecture meets {c}{where}{risk}{rest}; "
            f"the {extreme} reachable bound is {shown}"
        )


def _cheapest(group: Indices, cost: Array, mask: Mask | None = None) -> Indices:
    among = np.arange(len(cost)) if mask is None else np.flatnonzero(mask)
    order = among[np.lexsort((among, cost[among]))]
    _, first = np.unique(group[order], return_index=True)
    return np.asarray(order[first])


def _round_away(value: float, up: bool) -> float:
    """Four significant digits, rounded so that the bound is still met."""
    if value <= 0:
        return max(value, np.finfo(float).tiny)
    unit = 10.0 ** (np.floor(np.log10(value)) - 3)
    # One unit more than needed, since interpolation is not exact in the last digit.
    return float(f"{(np.ceil(value / unit) + 1 if up else np.floor(value / unit) - 1) * unit:.4g}")


def score(
    space: FiniteSpace,
    wanted: Sequence[str],
    *,
    hardware: Hardware | None,
    constraints: Sequence[Constraint],
    batch_size: int,
    dataset: str,
    predictors: Mapping[str, Scorer],
) -> Candidates:
    """Score all cells of a space.

    Args:
        space: The space.
        wanted: Quantities that are needed beside those of the constraints.
        hardware: The device; with it the latency is always predicted.
        constraints: The limits.
        batch_size: Images a forward pass, for the latency.
        dataset: The image set of the accuracy and of the costs.
        predictors: Predictors of `"accuracy"` and `"latency"`; those of the zoo if left out.

    Raises:
        InputError: If there is no predictor of a quantity, or it has other targets or units.
    """
    cells = tuple(space)
    place: dict[str, int] = {}
    group = np.array([place.setdefault(a.arch_id, len(place)) for a in cells], np.intp)
    graphs = space.to_graphs(cells, dataset)
    quantities = {}
    for name in _COSTS:
        counts = np.array([graph.total(name) for graph in graphs])
        quantities[name] = Quantity(counts, np.zeros_like(counts), counts, counts)

    cost = quantities["flops"].mean
    names = {*wanted, *(c.name for c in constraints)}
    predicted: dict[str, tuple[Prediction, str, Indices]] = {}
    if hardware is not None or "latency" in names:
        scorer = predictors.get("latency") or _from_zoo(space, "latency")
        prediction = scorer.predict(cells, hardware, batch_size)
        predicted["latency"] = (prediction, "latency", np.arange(len(cells)))
        cost = prediction.mean[:, prediction.column("latency")]
    if "accuracy" in names:
        # Equivalent cells compute the same function: the one that would be chosen is enough.
        scorer = predictors.get("accuracy") or _from_zoo(space, "accuracy")
        prediction = scorer.predict([cells[k] for k in _cheapest(group, cost)])
        predicted["accuracy"] = (prediction, dataset, group)
    for name, (prediction, target, rows) in predicted.items():
        k = prediction.column(target)
        if prediction.units[k] != OBJECTIVES[name].unit:
            raise InputError(
                f"the predictor of {name} answers in {prediction.units[k]!r}; "
                f"it must answer in {OBJECTIVES[name].unit!r}"
            )
        parts = (prediction.mean, prediction.std, prediction.lower, prediction.upper)
        quantities[name] = Quantity(*(part[:, k][rows] for part in parts))

    reachable = np.empty((len(constraints), len(cells)))
    met = np.empty((len(constraints), len(cells)), np.bool_)
    for row, c in enumerate(constraints):
        if c.name in _COSTS:
            reachable[row] = quantities[c.name].mean
            met[row] = reachable[row] <= c.bound if c.is_upper else reachable[row] >= c.bound
            continue
        prediction, target, rows = predicted[c.name]
        below = prediction.probability_at_most(c.bound, target)
        level = c.probability if c.is_upper else 1 - c.probability
        reachable[row] = prediction.quantile(level)[:, prediction.column(target)][rows]
        met[row] = ((below if c.is_upper else 1 - below) >= c.probability)[rows]

    zero_shot = "latency" in predicted and predicted["latency"][0].zero_shot
    return Candidates(
        space,
        cells,
        tuple(place),
        group,
        quantities,
        tuple(constraints),
        reachable,
        met,
        np.array([len(simplify(graph).edges) > 0 for graph in graphs]),
        cost,
        zero_shot,
        next((prediction.interval for prediction, _, _ in predicted.values()), 0.9),
    )


def _from_zoo(space: FiniteSpace, quantity: str) -> Scorer:
    from nasplug._zoo import load_predictor

    scorer: Scorer = load_predictor(f"{space.name}-{quantity}")
    return scorer
