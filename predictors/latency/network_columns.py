"""Latencies of whole networks on columns: the network's, and all that corrects them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.features.roofline import roofline_ms
from nasplug.predictors.features.runtimes import parse_way
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.batch_growth import never_falling
from nasplug.predictors.latency.corrections import ColumnCorrections
from nasplug.predictors.latency.device_similarity import mix_similar
from nasplug.predictors.latency.gpu_roofline import GpuRoofline, gpu_setting
from nasplug.predictors.latency.intervals import LatencyIntervals
from nasplug.predictors.latency.measured_columns import MeasuredColumns, runtime_of
from nasplug.predictors.models.roofline_transformer import SMALLEST_MS, RooflineTransformer
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.predictors.training.ensemble import sized_batches, unique_graphs
from nasplug.search_spaces import Graph

__all__ = ["RATES", "NetworkColumns", "network_scores"]

# The first numbers of a column's description: operations and bytes a ms, images, bytes a number.
RATES = 4
# Nodes and columns that are scored at once.
NODES, COLUMNS = 20_000, 8


@dataclass(frozen=True, eq=False)
class NetworkColumns:
    """Log-latencies of whole networks on measured and on unmeasured columns.

    A measured column has the network's prediction with its corrections; another has the network's
    prediction for its description, averaged with those of the measured columns that are like it. On
    a GPU that holds for networks whose kind was measured on such columns; others have the
    prediction of `GpuRoofline`.

    Attributes:
        models: Trained with the same configuration.
        measured: The measured columns.
        familiar: Tells which kind of networks a graph is like.
        intervals: Tells which kinds were measured on a column.
        corrections: Of measured columns; None to do without.
        gpus: Learned from measurements of GPUs; None to do without.
        text: Whether the network reads the text of a device's description.
        similar: Share of the measured columns that an unknown one is like.
    """

    models: Sequence[RooflineTransformer]
    measured: MeasuredColumns
    familiar: Familiarity | None
    intervals: LatencyIntervals
    corrections: ColumnCorrections | None
    gpus: GpuRoofline | None
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
        return never_falling(
            columns, self.measured.batches, predict, lambda asked: _least(graphs, asked)
        )

    def __call__(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Log-latencies in log ms, `(graphs, columns)`; they may fall as the batch grows."""
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
        if self.corrections is not None:
            assert self.familiar is not None
            keys = [(self.measured.keys[place], numbers[place, :RATES]) for place in needed]
            self.corrections(graphs, states, on_measured, keys, self.familiar)
        known = [k for k, place in enumerate(places) if place >= 0]
        result = np.empty((len(graphs), len(columns)))
        result[:, asked] = scores[:, : len(asked)]
        result[:, known] = on_measured[:, [needed.index(places[k]) for k in known]]
        mix_similar(result, similar, on_measured, needed)
        gpus = [k for k in asked if compute_class(columns[k].hardware) == "gpu"]
        if self.gpus is not None and gpus:
            roofline = self.gpus.log_latency(graphs, [columns[k] for k in gpus])
            familiar = self.familiar
            assert familiar is not None
            # Batch sizes of one device mostly ask among the same kinds.
            names = cache(lambda among: familiar(graphs, among))
            weights = {k: similar[k].weights if k in similar else np.zeros(0) for k in gpus}
            shares = [self._known_elsewhere(names, columns[k], weights[k]) for k in gpus]
            result[:, gpus] = roofline + np.stack(shares, axis=1) * (result[:, gpus] - roofline)
        return result

    def _known_elsewhere(
        self,
        familiar: Callable[[tuple[str, ...]], list[str]],
        column: Setting,
        weights: Array,
    ) -> Array:
        """Tell how much similar GPUs say of networks on one that was not measured, `(graphs,)`.

        It is twice the weight, at most 1, of the measured columns on which networks of each one's
        kind were run in the same way, other than the kinds that `GpuRoofline` has learned.
        `familiar` names the kind of each network among some kinds; all weights sum to one.
        """
        assert self.gpus is not None
        way = column.is_half, gpu_setting(column)
        kinds: list[tuple[float, set[str]]] = []
        for place in np.flatnonzero(weights):
            key = self.measured.keys[place]
            other = Setting.of(column.hardware, 1, parse_way(runtime_of(key)))
            if (other.is_half, gpu_setting(other)) == way:
                measured = set(self.intervals.groups_on(key)) - set(self.gpus.groups)
                kinds.append((float(weights[place]), measured))
        names = familiar(tuple(sorted(set().union(*(measured for _, measured in kinds)))))
        sums = [sum(weight for weight, measured in kinds if name in measured) for name in names]
        result: Array = np.minimum(2 * np.array(sums), 1.0)
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
