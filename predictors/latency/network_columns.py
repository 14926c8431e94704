"""Latencies of whole networks on columns: the network's, and all that corrects them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.features.roofline import roofline_ms
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.batch_growth import never_falling
from nasplug.predictors.latency.class_models import ClassModels
from nasplug.predictors.latency.column_heads import ColumnHeads
from nasplug.predictors.latency.device_similarity import mix_similar
from nasplug.predictors.latency.intervals import LatencyIntervals
from nasplug.predictors.latency.measured_columns import MeasuredColumns
from nasplug.predictors.models.roofline_transformer import SMALLEST_MS, RooflineTransformer
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.predictors.training.ensemble import sized_batches, unique_graphs
from nasplug.search_spaces import Graph

__all__ = ["NetworkColumns", "network_scores"]

# Kinds of networks that models of classes learned on many devices.
LEARNED = frozenset({"timm"})
# Nodes and columns that are scored at once.
NODES, COLUMNS = 20_000, 8


@dataclass(frozen=True, eq=False)
class NetworkColumns:
    """Log-latencies of whole networks on measured and on unmeasured columns.

    A measured column has the network's prediction with the correction of its head, for networks of
    a kind that was measured on it. Any other prediction is that of the model of the column's class
    (`ClassModels`), with what is known of how measured columns like it depart from theirs. Where
    there is no model of the class it is the network's prediction for the column's description,
    averaged with those of the measured columns that are like it.

    Attributes:
        models: Trained with the same configuration.
        measured: The measured columns.
        familiar: Tells which kind of networks a graph is like.
        intervals: Tells which kinds were measured on a column.
        heads: Corrections of measured columns; None to do without.
        classes: Models of classes of processors; None to do without.
        text: Whether the network reads the text of a device's description.
        similar: Share of the measured columns that an unknown one is like.
    """

    models: Sequence[RooflineTransformer]
    measured: MeasuredColumns
    familiar: Familiarity | None
    intervals: LatencyIntervals
    heads: ColumnHeads | None
    classes: ClassModels | None
    text: bool
    similar: float

    def places(self, columns: Sequence[Setting]) -> torch.Tensor:
        """Indices of the learned vectors of columns; see `RooflineTransformer`."""
        devices = {text.split("|")[0] for text in self.measured.texts}
        places = [self.measured.place(column) for column in columns]
        for k, column in enumerate(columns):
            # A user's own entry under a known name is another device.
            if places[k] < 0 and column.fingerprint.split("|")[0] in devices:
                places[k] = self.models[0].device_place(column.hardware.name)
        return torch.tensor(places, dtype=torch.long)

    def never_falling(
        self, graphs: Sequence[Graph], columns: Sequence[Setting], predict: Callable[..., Array]
    ) -> Array:
        """Predictions of `predict`, `(graphs, columns)`, that never fall as batches grow."""

        def least(asked: Sequence[Setting]) -> Array:
            return _least(graphs, asked)

        return never_falling(
            columns, self.measured.batches, predict, None if self.classes else least
        )

    def __call__(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Log-latencies in log ms, `(graphs, columns)`; they may fall as the batch grows."""
        classes = self.classes
        of_class = [k for k, c in enumerate(columns) if classes is not None and classes.knows(c)]
        others = [k for k in range(len(columns)) if k not in of_class]
        result = np.empty((len(graphs), len(columns)))
        for name in dict.fromkeys(columns[k].hardware.name for k in of_class):
            own = [k for k in of_class if columns[k].hardware.name == name]
            result[:, own] = self._by_class(graphs, [columns[k] for k in own])
        if others:
            result[:, others] = self._by_network(graphs, [columns[k] for k in others])
        return result

    def _by_class(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Predictions of the models of classes on a device, with departures of measured columns."""
        assert self.classes is not None
        result = self.classes.log_latency(graphs, columns)
        anchors = self.measured.settings
        if not anchors or not len(graphs):
            return result
        weights = self.measured.anchors.weights(columns)
        used = np.flatnonzero(weights.any(0))
        own = columns[0].hardware.name
        kinds = [self._kinds_on(int(k), anchors[k].hardware.name == own) for k in used]
        assert self.familiar is not None
        names = {among: self.familiar(graphs, among) for among in set(kinds)}
        # A network unlike those measured on a column says nothing of how the column departs.
        is_known = np.array([[bool(name) for name in names[among]] for among in kinds]).T
        if not is_known.any():
            return result
        for pattern in np.unique(is_known, axis=0):
            rows = np.flatnonzero((is_known == pattern).all(1)).tolist()
            places = used[pattern]
            if not len(places):
                continue
            part, near = [graphs[row] for row in rows], [anchors[k] for k in places]
            on_anchors = self._by_network(part, near) - self.classes.log_latency(part, near)
            result[rows] += on_anchors @ self.measured.anchors.weights(columns, places).T
        return result

    def _kinds_on(self, place: int, is_own: bool) -> tuple[str, ...]:
        """Kinds of networks whose departures on a measured column are carried.

        Those of another device are not carried for kinds that classes have learned on many devices.
        """
        kinds = self.intervals.groups_on(self.measured.keys[place])
        return tuple(kind for kind in kinds if is_own or kind not in LEARNED)

    def _by_network(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Predictions of the network, with corrections by heads, and of similar columns."""
        places = self.places(columns).tolist()
        asked = [k for k, place in enumerate(places) if place < 0]
        similar, alike = self.measured.similar({k: columns[k] for k in asked}, self.similar)
        # Measured columns that are asked for, and those that an unknown one is like, come once.
        needed = sorted({place for place in places if place >= 0} | alike)
        numbers = self.measured.numbers
        described = [columns[k].features(self.text) for k in asked]
        described += [numbers[place].astype(np.float32) for place in needed]
        states, scores = network_scores(
            self.models,
            graphs,
            torch.from_numpy(np.stack(described)),
            torch.tensor([places[k] for k in asked] + needed, dtype=torch.long),
        )
        on_measured = scores[:, len(asked) :]
        if self.heads is not None:
            assert self.familiar is not None
            keys = [self.measured.keys[place] for place in needed]
            self.heads.correct(graphs, states, on_measured, keys, self.familiar)
        known = [k for k, place in enumerate(places) if place >= 0]
        result = np.empty((len(graphs), len(columns)))
        result[:, asked] = scores[:, : len(asked)]
        result[:, known] = on_measured[:, [needed.index(places[k]) for k in known]]
        mix_similar(result, similar, on_measured, needed)
        return result


def _least(graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
    """Logarithm of ms by the roofline, `(graphs, columns)`; none on GPUs, whose engines fuse."""
    result = np.full((len(graphs), len(columns)), -np.inf)
    for k, column in enumerate(columns):
        if compute_class(column.hardware) != "gpu":
            rates = column.hardware, column.batch_size, column.is_half
            sums = [roofline_ms(graph, *rates).sum() for graph in graphs]
            result[:, k] = np.log(np.maximum(sums, SMALLEST_MS))
    return result


@torch.inference_mode()
def network_scores(
    models: Sequence[RooflineTransformer],
    graphs: Sequence[Graph],
    described: torch.Tensor,
    places: torch.Tensor,
) -> tuple[Array, Array]:
    """The first model's pooled states `(graphs, features)`, and log-latencies `(graphs, columns)`.

    The latter are means over models of one configuration. Equal networks are scored once; columns
    are described as a network reads them, with the place of their learned vector, or −1.
    """
    distinct, inverse = unique_graphs(models[0].prepare(graphs))
    result = np.zeros((len(distinct), len(described)))
    pooled: list[Array] = [np.zeros(0)] * len(distinct)
    for chosen, batch in sized_batches(models[0], distinct, NODES):
        states = [model.encode(batch) for model in models]
        rows = models[0].pool(batch, states[0]).double().numpy()
        for k, row in zip(chosen, rows, strict=True):
            pooled[k] = row
        for start in range(0, len(described), COLUMNS):
            cut = slice(start, start + COLUMNS)
            scores = [
                model(batch, described[cut], places[cut], state)
                for model, state in zip(models, states, strict=True)
            ]
            result[chosen, cut] = torch.stack(scores).mean(0).double().numpy()
    return np.array(pooled)[inverse], result[inverse]
