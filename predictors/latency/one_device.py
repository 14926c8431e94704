"""Latency on one measured device: an exact Gaussian process over a graph's operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, read_config
from nasplug.predictors.features.graph_arrays import pack, unpack
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.features.operators import OperatorFeatures
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.options import check_options, field_names
from nasplug.predictors.prediction import Array
from nasplug.predictors.process_predictor import ProcessPredictor
from nasplug.predictors.statistics.gaussian_process import GaussianProcess, Term
from nasplug.search_spaces import Graph, InputError

__all__ = ["LatencyGP", "LatencyGPConfig", "latency_gp"]

TERMS: tuple[Term, ...] = (
    (("totals", "rbf"),),
    (("operators", "rbf"),),
    (("operators", "rbf"), ("totals", "rbf")),
    (("neighbours", "rbf"),),
)
PLACES: tuple[Term, ...] = ((("places", "rbf"),),)


@dataclass(frozen=True)
class LatencyGPConfig:
    """Options of a `LatencyGP`.

    Attributes:
        smallest_ms: Latencies below are degenerate measurements and are left out, in ms.
        hyperparameter_rows: At most as many graphs decide the kernel's hyperparameters; all are
            learned from.
        seed: Decides which.
    """

    smallest_ms: float = 0.01
    hyperparameter_rows: int = 500
    seed: int = 0


class LatencyGP(ProcessPredictor):
    """Log-latency of graphs of one space on one device at one batch size.

    A graph is what its operators are: totals by kind, and how often each distinct operator occurs,
    which makes the process a table of operator costs that knows how they depart from a sum. It
    learns from a few dozen to a few thousand graphs; time grows with the cube of their number.
    Intervals are made from leave-one-out errors.

    Args:
        config: How it learns.
    """

    kind = "latency"
    name = "latency-gp"
    noun = "a latency-gp"
    targets = ("latency",)
    fewest = 10

    def __init__(self, config: LatencyGPConfig | None = None) -> None:
        self.config = config or LatencyGPConfig()
        self._graphs: list[Graph] = []
        self._logs: Array = np.empty(0)
        self._features: OperatorFeatures | None = None
        self._process = GaussianProcess(TERMS)
        self._device: dict[str, str] = {}

    @property
    def parameters(self) -> int:
        """Hyperparameters of the kernel, and the weight of each training graph."""
        return len(self._process.hyperparameters) + len(self._graphs)

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Setting] | None = None,
    ) -> None:
        """Learn from measured latencies.

        Args:
            graphs: Training graphs.
            targets: Latencies in ms, shape `(graphs,)` or `(graphs, 1)`; NaN where unknown.
            hardware: The device and its batch size, as the one item.

        Raises:
            InputError: If there is not one device, shapes do not fit, or there are too few graphs.
        """
        columns = list(hardware or ())
        if len(columns) != 1:
            raise InputError(
                f"{len(columns)} devices were given, but this predictor learns exactly one"
            )
        values = np.asarray(targets, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape != (len(graphs), 1):
            raise InputError(
                f"latencies have shape {np.shape(targets)}; expected one per graph, {len(graphs)} "
                "in all"
            )
        measured = np.flatnonzero(values[:, 0] >= self.config.smallest_ms)
        if len(measured) < self.fewest:
            raise InputError(
                f"{len(measured)} measured graphs are too few to learn from; give at least "
                f"{self.fewest}"
            )
        order = np.random.default_rng(self.config.seed).permutation(measured)
        self._device = columns[0].description
        self._graphs = [graphs[k] for k in order]
        self._logs = np.log(values[order, 0])
        blocks = self._learn_features()
        self._process.fit(blocks, self._standard(), np.ones(len(order)))
        self._learn_intervals(*self._left_out(self._standard()), self._logs[:, None])

    def _learn_features(self) -> dict[str, Array]:
        self._features = OperatorFeatures.of(self._graphs)
        blocks = self._features(self._graphs)
        terms = (*TERMS, *PLACES) if "places" in blocks else TERMS
        self._process = GaussianProcess(terms, self.config.hyperparameter_rows)
        return blocks

    def _standard(self) -> Array:
        """Logarithms of the latencies, mean 0 and unit variance, `(graphs, 1)`."""
        result: Array = (self._logs - self._logs.mean())[:, None] / self._scale
        return result

    @property
    def _scale(self) -> float:
        return float(self._logs.std()) or 1.0

    def _values(self, scores: Array) -> Array:
        result: Array = scores * self._scale + self._logs.mean()
        return result

    def _posterior(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        assert self._features is not None
        return self._process.predict(self._features(graphs))

    def _check_device(self, hardware: Hardware, batch_size: int) -> None:
        asked = Setting(hardware, batch_size)
        if asked.description != self._device:
            raise InputError(
                f"{asked.key} was not learned; this predictor learned {self._device['key']} only"
            )

    def _parts(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        graphs = pack(self._graphs, vocabulary_of(self._graphs))
        return {"graphs": graphs, "rows": {"logs": self._logs}}

    def _card(self) -> dict[str, Any]:
        return {"vocabulary": vocabulary_of(self._graphs), "device": self._device}

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> LatencyGP:
        card = checkpoint.card
        predictor = cls(read_config(LatencyGPConfig, card["config"]))
        predictor._device = dict(card["device"])
        predictor._graphs = unpack(checkpoint.section("graphs"), tuple(card["vocabulary"]))
        predictor._logs = checkpoint.section("rows")["logs"]
        blocks = predictor._learn_features()
        predictor._condition(checkpoint, blocks, predictor._standard())
        return predictor


def latency_gp(
    kind: str = "latency", targets: Sequence[str] = ("latency",), **options: Any
) -> LatencyGP:
    """The process for one device, with fields of `LatencyGPConfig` as options.

    Raises:
        InputError: If the kind, a column or an option is unknown.
    """
    if kind != "latency" or tuple(targets) != ("latency",):
        raise InputError(
            f"this predictor predicts the column latency, not {', '.join(targets)} of {kind}"
        )
    check_options(options, field_names(LatencyGPConfig))
    return LatencyGP(LatencyGPConfig(**options))
