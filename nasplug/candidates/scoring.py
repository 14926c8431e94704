"""Scoring of architectures before a trial: predictions, costs, and how they meet constraints.

`Scoring` asks a scorer for each predicted quantity and makes `Scores`. With several devices a
quantity that one of them decides has its name, as in `latency@RTX 3090`; the name without a device
is another one for that on the first.

Notation: n architectures, c constraints; a prediction may have a row for several architectures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nasplug.arrays import Array, Indices, Mask
from nasplug.candidates.constraints import Constraint
from nasplug.candidates.scores import Quantity, Scores
from nasplug.objectives import COSTS, PROXIES
from nasplug.predicting import zoo
from nasplug.predicting.energy import latency_of_energy
from nasplug.predicting.measured_accuracy import HasAccuracies
from nasplug.predicting.memory import MemoryScorer, file_megabytes
from nasplug.predicting.structure_accuracy import StructureAccuracy
from nasplug.predicting.zoo import ArchitecturePredictor, Scorer
from nasplug.predictors.capabilities import ReadsCodes, TellsFamiliar, reads_networks
from nasplug.predictors.features.runtimes import Way, parse_way
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import Prediction
from nasplug.quantities import (
    COUNTED,
    QUALITIES,
    QUANTITIES,
    images_per_second,
    on_device,
    without_device,
)
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace
from nasplug.search_spaces.simplify import simplify

__all__ = ["Scoring", "cheapest", "model_of"]

# Quantities that are predicted, in the order of prediction.
_ORDER = ("latency", "memory", "energy", *QUALITIES)
# A prediction, its column, and the row of each architecture in it.
Predicted = tuple[Prediction, str, Indices]


@runtime_checkable
class _HasModel(Protocol):
    @property
    def model(self) -> Any: ...


def model_of(scorer: object) -> Any:
    """The predictor of graphs behind a scorer, or None for one that has none."""
    return scorer.model if isinstance(scorer, _HasModel) else None


@dataclass(frozen=True, eq=False)
class Scoring:
    """Scores architectures of a space.

    Attributes:
        space: The space.
        wanted: Quantities that are needed beside those of the constraints.
        hardware: The first device; with it the latency is always predicted.
        constraints: Constraints on predicted and counted quantities.
        batch_size: Images a forward pass, for the latency.
        dataset: The image set of the accuracy and of the costs.
        predictors: Predictors by their quantity, `"accuracy"`, `"perplexity"`, `"latency"` or
            `"energy"`; those of the zoo if left out.
        precision: Precision for memory and file size; that in which the latency is predicted if it
            is empty.
        others: Further devices, whose quantities are predicted where they are named.
    """

    space: SearchSpace
    wanted: tuple[str, ...]
    hardware: Hardware | None
    constraints: tuple[Constraint, ...]
    batch_size: int
    dataset: str
    predictors: Mapping[str, Scorer]
    precision: str = ""
    others: tuple[Hardware, ...] = ()

    def __call__(self, archs: Sequence[Architecture]) -> Scores:
        """Score architectures, at least one.

        Raises:
            InputError: If there is no predictor of a quantity, or it has other targets or units.
        """
        summed = None if self.predicted else self._summed(archs)
        if summed is not None:
            return summed
        group = _groups(archs)
        first, graphs = self.space.tasks[0], self.space.to_graphs(archs, self.dataset)
        counts = {name: np.array([graph.total(name) for graph in graphs]) for name in COSTS}
        predicted: dict[str, Predicted] = {}
        cost = counts["flops"]
        read = {self.dataset: graphs}
        if first not in read:
            read[first] = self.space.to_graphs(archs)
        every = np.arange(len(archs))
        for name in self.predicted:
            base = without_device(name)
            if base in QUALITIES:
                continue
            inputs = (
                self._timed(archs, read) if base == "latency" else self._whole(base, archs, read)
            )
            time = predicted.get(name.replace("energy", "latency", 1)) if base == "energy" else None
            made = self._predict(name, archs, inputs, None if time is None else time[0])
            predicted[name] = (made, base, every)
        if self._latencies:
            prediction = predicted[self._latencies[0]][0]
            cost = prediction.mean[:, prediction.column("latency")]
        for name in QUALITIES:
            if name in self.predicted:
                # Equivalent cells compute the same function: the cheapest of them is enough.
                chosen = cheapest(group, cost)
                prediction = self._predict(
                    name, [archs[k] for k in chosen], [read[first][k] for k in chosen]
                )
                predicted[name] = (prediction, self.target(name), group)
        connected = np.array([len(simplify(graph).edges) > 0 for graph in graphs])
        return self.joined(counts, predicted, connected)

    def _summed(self, archs: Sequence[Architecture]) -> Scores | None:
        """Scores by counts alone, which sums of few graphs tell of some spaces; None of others."""
        sums = self.space.summands(archs, self.dataset)
        if sums is None:
            return None
        graphs, numbers = sums
        totals = np.array([[graph.total(name) for name in COSTS] for graph in graphs])
        counts = dict(zip(COSTS, (numbers @ totals).T, strict=True))
        return self.joined(counts, {}, np.ones(len(archs), np.bool_))

    @cached_property
    def predicted(self) -> tuple[str, ...]:
        """The quantities that are predicted, in the order of prediction."""
        names = set(self._named)
        names |= {n.replace("throughput", "latency", 1) for n in names if _is("throughput", n)}
        if self.hardware is not None:
            names.add(self._full("latency"))
        devices = ["", *(device.name for device in self._devices)]
        every = (on_device(base, d) if d else base for base in _ORDER for d in devices)
        return tuple(name for name in every if name in names)

    @property
    def _devices(self) -> tuple[Hardware, ...]:
        return () if self.hardware is None else (self.hardware, *self.others)

    @property
    def _latencies(self) -> list[str]:
        """Names of the predicted latencies, that on the first device first."""
        return [name for name in self.predicted if _is("latency", name)]

    @property
    def _named(self) -> set[str]:
        return {self._full(name) for name in (*self.wanted, *(c.name for c in self.constraints))}

    def _full(self, name: str) -> str:
        """Name of a quantity with the device that it is on, if there are several."""
        if not self.others or "@" in name or not QUANTITIES[name].needs_device:
            return name
        assert self.hardware is not None
        return on_device(name, self.hardware.name)

    def device_of(self, name: str) -> Hardware | None:
        """The device of a quantity, the first one unless its name says another."""
        name = name.partition("@")[2]
        return next((d for d in self._devices if d.name == name), self.hardware)

    @cached_property
    def way(self) -> Way:
        """The way to run the networks, for memory and file size."""
        way = Way()
        if self.hardware is not None:
            latency = self._scorer("latency")
            if isinstance(latency, ArchitecturePredictor):
                way = parse_way(latency.runtime_on(self.hardware) or "")
        return replace(way, precision=self.precision or way.precision)

    def joined(
        self, counts: Mapping[str, Array], predicted: Mapping[str, Predicted], connected: Mask
    ) -> Scores:
        """The scores of architectures from the values of `COSTS` and predicted quantities.

        Raises:
            InputError: If a predictor has other targets or units.
        """
        quantities = {name: _counted(counts[name]) for name in COSTS}
        if "size" in self._named:
            size = np.asarray(file_megabytes(counts["params"], self.way), np.float64)
            quantities["size"] = _counted(size)
        for name, (prediction, target, rows) in predicted.items():
            quantities[name] = _predicted(name, prediction, target, rows)
        is_trained = isinstance(self.space, HasAccuracies)
        for latency in self._latencies:
            name = latency.replace("latency", "throughput", 1)
            if name in self._named or is_trained:
                quantities[name] = self.throughput(quantities[latency])
        for name in list(quantities):
            # That on the first device has two names.
            if name == self._full(without_device(name)):
                quantities[without_device(name)] = quantities[name]
        cost = quantities[self._latencies[0] if self._latencies else "flops"].mean
        reachable, met = self._constrained(quantities, predicted)
        evidence = {
            name: (predicted[name][0].evidence, predicted[name][0].learned)
            for name in (*self._latencies, *predicted)
            if without_device(name) in ("latency", "energy")
        }
        # Memory has no interval.
        intervals = [p.interval for name, (p, _, _) in predicted.items() if name != "memory"]
        interval = next(iter(intervals), 0.9)
        return Scores(quantities, reachable, met, connected, cost, interval, evidence)

    def predict(self, quantity: str, archs: Sequence[Architecture]) -> tuple[Prediction, str]:
        """The prediction of a quantity of architectures, and the name of its column in it."""
        base = without_device(quantity)
        if base == "latency":
            graphs = self.timed_graphs(archs)
        elif base in QUALITIES:
            graphs = self.space.to_graphs(archs)
        else:
            graphs = self._whole(base, archs, {})
        return self._predict(quantity, archs, graphs), self.target(quantity)

    def target(self, quantity: str) -> str:
        """The column of a quantity in its prediction."""
        return self.dataset if quantity == "accuracy" else without_device(quantity)

    def throughput(self, latency: Quantity) -> Quantity:
        """The throughput of networks with these latencies."""
        mean, lower, upper = (
            np.asarray(images_per_second(end, self.batch_size))
            for end in (latency.mean, latency.upper, latency.lower)
        )
        return Quantity(mean, mean * latency.std / latency.mean, lower, upper)

    def predict_codes(self, quantity: str, codes: NDArray[np.uint32]) -> Prediction | None:
        """The prediction of a quantity of members of a `CodedSpace`, by arrays alone.

        None if the predictor reads one graph at a time.
        """
        scorer = self._scorer(without_device(quantity))
        for predictor in (scorer, model_of(scorer)):
            if isinstance(predictor, ReadsCodes):
                device = self.device_of(quantity)
                setting = () if quantity in QUALITIES else (device, self.batch_size)
                return predictor.predict_codes(codes, *setting)
        return None

    def timed_graphs(self, archs: Sequence[Architecture]) -> Sequence[Graph]:
        """The graphs of architectures whose latency is predicted."""
        task = self.latency_dataset
        return self._timed(archs, {task: self.space.to_graphs(archs, task)})

    def _timed(
        self, archs: Sequence[Architecture], read: Mapping[str, Sequence[Graph]]
    ) -> Sequence[Graph]:
        """The graphs whose latency is predicted; cells are expanded for a predictor of networks."""
        task = self.latency_dataset
        if reads_networks(model_of(self._scorer("latency"))) and not self.space.whole_networks:
            return [self.space.to_network(arch, task) for arch in archs]
        return read[task]

    def _whole(
        self, quantity: str, archs: Sequence[Architecture], read: Mapping[str, Sequence[Graph]]
    ) -> Sequence[Graph]:
        """The graphs of whole networks, whose memory or energy is asked for.

        None of them for a scorer that was given and reads architectures.

        Raises:
            InputError: If the space has graphs of cells alone.
        """
        given = self.predictors.get(quantity)
        if given is not None and not _reads_graphs(given):
            return ()
        if not self.space.has_networks:
            raise InputError(
                f"space {self.space.name} has graphs of cells alone, so the {quantity} of its "
                f"networks is not known; known: {', '.join((*COUNTED, 'latency', 'throughput'))}"
            )
        if not self.space.whole_networks:
            return [self.space.to_network(arch, self.dataset) for arch in archs]
        return read.get(self.dataset) or self.space.to_graphs(archs, self.dataset)

    @property
    def latency_dataset(self) -> str:
        """The image set of the networks whose latency is predicted.

        A predictor of any network reads that of `dataset`; one of this space the first one, on
        which devices were measured.
        """
        is_any = reads_networks(model_of(self._scorer("latency")))
        return self.dataset if is_any else self.space.tasks[0]

    def familiar(self, archs: Sequence[Architecture]) -> Mask | None:
        """Whether architectures resemble those that the accuracy was learned from, `(n,)`.

        None if no accuracy is wanted, or its predictor cannot tell.
        """
        if "accuracy" not in {*self.wanted, *(c.name for c in self.constraints)}:
            return None
        scorer = self._scorer("accuracy")
        return scorer.familiar(archs) if isinstance(scorer, TellsFamiliar) else None

    def _scorer(self, quantity: str) -> Any:
        if quantity in self.predictors:
            return self.predictors[quantity]
        if quantity == "memory":
            return MemoryScorer(self.way)
        if quantity == "energy" and not zoo.is_known(self.space, quantity):
            device = "" if self.hardware is None else f" on {self.hardware.name}"
            others = {"energy", *QUALITIES} - {self.space.quality}
            known = [name for name in QUANTITIES if name not in others]
            raise InputError(
                f"the energy of {self.space.name}'s networks{device} is not known; known: "
                f"{', '.join(known)}"
            )
        return _from_zoo(self.space, quantity)

    def _predict(
        self,
        quantity: str,
        archs: Sequence[Architecture],
        graphs: Sequence[Graph],
        latency: Prediction | None = None,
    ) -> Prediction:
        """Predict a quantity; `latency` is that of the same graphs on its device, if known."""
        scorer = self._scorer(without_device(quantity))
        if isinstance(scorer, StructureAccuracy):
            return scorer.predict_graphs(graphs)
        # A predictor that reads graphs need not make them again.
        inputs = graphs if _reads_graphs(scorer) else archs
        if quantity in QUALITIES:
            result: Prediction = scorer.predict(inputs)
            return result
        device = self.device_of(quantity)
        known = None
        if latency is not None:
            known = latency_of_energy(scorer, self._scorer("latency"), device, latency)
        more = {} if known is None else {"latency": known}
        result = scorer.predict(inputs, device, self.batch_size, **more)
        return result

    def _constrained(
        self,
        quantities: Mapping[str, Quantity],
        predicted: Mapping[str, Predicted],
    ) -> tuple[Array, Mask]:
        """The bounds that architectures meet, and whether they meet the constraints; `(c, n)`."""
        count = len(next(iter(quantities.values())).mean)
        reachable = np.empty((len(self.constraints), count))
        met = np.empty((len(self.constraints), count), np.bool_)
        for row, c in enumerate(self.constraints):
            if c.name in COUNTED:
                reachable[row] = quantities[c.name].mean
                met[row] = reachable[row] <= c.bound if c.is_upper else reachable[row] >= c.bound
                continue
            name, bound, is_upper = self._full(c.name), c.bound, c.is_upper
            is_rate = _is("throughput", name)
            if is_rate:
                # Images of a batch divided by its latency: a limit on one is a limit on the other.
                bound = images_per_second(bound, self.batch_size)
                name, is_upper = name.replace("throughput", "latency", 1), not is_upper
            prediction, target, rows = predicted[name]
            below = prediction.probability_at_most(bound, target)
            level = c.probability if is_upper else 1 - c.probability
            values = prediction.quantile(level)[:, prediction.column(target)][rows]
            if is_rate:
                values = np.asarray(images_per_second(values, self.batch_size))
            reachable[row] = values
            met[row] = ((below if is_upper else 1 - below) >= c.probability)[rows]
        return reachable, met


def _reads_graphs(scorer: object) -> bool:
    """Whether a scorer takes graphs, so that it need not make them of architectures."""
    return isinstance(scorer, (ArchitecturePredictor, MemoryScorer))


def _is(base: str, name: str) -> bool:
    """Whether a name is that of a quantity, on any device."""
    return without_device(name) == base


def cheapest(group: Indices, cost: Array, mask: Mask | None = None) -> Indices:
    """Index of the cheapest member in a mask of each group, ascending; the first of equals."""
    among = np.arange(len(cost)) if mask is None else np.flatnonzero(mask)
    order = among[np.lexsort((among, cost[among]))]
    _, first = np.unique(group[order], return_index=True)
    return np.asarray(order[first])


def _groups(archs: Sequence[Architecture]) -> Indices:
    index: dict[str, int] = {}
    return np.array([index.setdefault(arch.arch_id, len(index)) for arch in archs], np.intp)


def _counted(counts: Array) -> Quantity:
    return Quantity(counts, np.zeros_like(counts), counts, counts)


def _predicted(name: str, prediction: Prediction, target: str, rows: Indices) -> Quantity:
    k = prediction.column(target)
    unit = QUANTITIES[name].unit
    if prediction.units[k] != unit:
        raise InputError(
            f"the predictor of {name} predicts in {prediction.units[k]!r}; it must predict in "
            f"{unit!r}"
        )
    parts = (prediction.mean, prediction.std, prediction.lower, prediction.upper)
    return Quantity(*(part[:, k][rows] for part in parts))


def _from_zoo(space: SearchSpace, quantity: str) -> Scorer:
    if quantity in QUALITIES and not zoo.is_known(space, quantity):
        raise InputError(
            f"the package has no {quantity} predictor for space {space.name}; give your own, or "
            f"use a proxy such as {' or '.join(f'more {proxy}' for proxy in PROXIES)}"
        )
    scorer: Scorer = zoo.load_shipped(space, quantity)
    return scorer
