"""Latencies of known devices, the prior of a new device before it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from nasplug.predictors.features.operators import OperatorFeatures
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.prediction import Array, NotFittedError
from nasplug.predictors.statistics.gaussian_process import GaussianProcess, Term
from nasplug.search_spaces import Graph, InputError

__all__ = ["KnownDevices", "KnownLatencies", "LatencyModel", "PredictedDevices"]


class KnownLatencies(Protocol):
    """Latencies of known devices on any graph of a space."""

    @property
    def graphs(self) -> Sequence[Graph]:
        """Some hundred graphs like those that will be predicted; they set all scales."""

    @property
    def smallest_ms(self) -> float:
        """Latencies below are degenerate, in ms."""

    @property
    def describes(self) -> bool:
        """Whether the last column is what the new device's own description promises."""

    def log_latency(self, graphs: Sequence[Graph]) -> Array:
        """Expected log-latencies in log ms, shape `(graphs, columns)`."""


class LatencyModel(Protocol):
    """A predictor of many devices, such as `latency.LatencyPredictor`."""

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Log-latencies in log ms, shape `(graphs, columns)`."""


class PredictedDevices:
    """Log-latencies as a trained predictor gives them, and of the new device by its description.

    Args:
        model: The predictor.
        columns: Devices that it was trained on.
        described: The new device at its batch size, or None if it is not described.
        graphs: Some hundred graphs like those that will be predicted.
        smallest_ms: Latencies below are degenerate.
    """

    def __init__(
        self,
        model: LatencyModel,
        columns: Sequence[Setting],
        described: Setting | None,
        graphs: Sequence[Graph],
        smallest_ms: float = 0.01,
    ) -> None:
        self.model = model
        self.columns = (*columns, *([] if described is None else [described]))
        self.describes = described is not None
        self.graphs = graphs
        self.smallest_ms = smallest_ms

    def log_latency(self, graphs: Sequence[Graph]) -> Array:
        """Predicted log-latencies in log ms, shape `(graphs, columns)`; a description's last."""
        return self.model.log_latency(graphs, self.columns)


class KnownDevices:
    """Log-latencies of any graph of a space on devices that were measured.

    Args:
        hyperparameter_rows: At most as many graphs decide the kernel's hyperparameters.
        smallest_ms: Latencies below are degenerate.
    """

    describes = False

    def __init__(self, hyperparameter_rows: int = 400, smallest_ms: float = 0.1) -> None:
        self.smallest_ms = smallest_ms
        self.hyperparameter_rows = hyperparameter_rows
        self.graphs: list[Graph] = []
        self._features: OperatorFeatures | None = None
        self._process = GaussianProcess(())
        self._mean, self._std = np.zeros(0), np.ones(0)

    def fit(self, graphs: Sequence[Graph], latencies: Array) -> None:
        """Learn from measured graphs in random order; a thousand or two say nearly all.

        Latencies are in ms, shape `(graphs, devices)`, finite; a graph with a degenerate one is
        left out.

        Raises:
            InputError: If shapes do not fit, or a latency is unknown.
        """
        values = np.asarray(latencies, dtype=np.float64)
        if values.ndim != 2 or len(values) != len(graphs) or not len(graphs):
            raise InputError(
                f"latencies have shape {values.shape}; expected a row for each of the "
                f"{len(graphs)} graphs, and a column per device"
            )
        if not np.isfinite(values).all():
            raise InputError(
                "a latency is unknown; leave out graphs that lack a latency on some device"
            )
        usual = np.flatnonzero((values >= self.smallest_ms).all(1))
        if not len(usual):
            raise InputError(
                f"every graph has a latency below {self.smallest_ms} ms on some device"
            )
        logs = np.log(values[usual])
        self._mean = logs.mean(0)
        self._std = np.where(logs.std(0) > 0, logs.std(0), 1.0)
        self.graphs = [graphs[k] for k in usual.tolist()]
        self._features = OperatorFeatures.of(self.graphs)
        blocks = self._features(self.graphs)
        terms: list[Term] = [((name, "rbf"),) for name in blocks]
        self._process = GaussianProcess(
            [*terms, (("operators", "rbf"), ("totals", "rbf"))], self.hyperparameter_rows
        )
        self._process.fit(blocks, (logs - self._mean) / self._std, np.ones(len(usual)))

    def log_latency(self, graphs: Sequence[Graph]) -> Array:
        """Expected log-latencies in log ms, shape `(graphs, devices)`.

        Raises:
            NotFittedError: If nothing was learned.
        """
        if self._features is None:
            raise NotFittedError("no device was learned yet; call fit")
        mean, _ = self._process.predict(self._features(graphs), variance=False)
        result: Array = mean * self._std + self._mean
        return result
