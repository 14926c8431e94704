"""Latency on one measured device: an exact Gaussian process over a graph's operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, config_fields, restoring, save_checkpoint
from nasplug.predictors.features.graph_arrays import pack, unpack
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.features.operators import OperatorFeatures
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.cell_latency import DeviceBatch, description
from nasplug.predictors.options import check_options
from nasplug.predictors.prediction import NotFittedError, Prediction
from nasplug.predictors.statistics.calibration import LEVELS, Calibration
from nasplug.predictors.statistics.gaussian_process import GaussianProcess, Term
from nasplug.search_spaces import Graph, InputError

__all__ = ["LatencyGP", "LatencyGPConfig", "latency_gp"]

Array = NDArray[np.float64]

FEWEST = 10
TERMS: tuple[Term, ...] = (
    (("totals", "rbf"),),
    (("operators", "rbf"),),
    (("operators", "rbf"), ("totals", "rbf")),
    (("neighbours", "rbf"),),
)
PLACES: tuple[Term, ...] = ((("places", "rbf"),),)


@dataclass(frozen=True)
class LatencyGPConfig:
    """How a `LatencyGP` learns.

    Attributes:
        smallest_ms: Latencies below are degenerate measurements and are left out, in ms.
        hyperparameter_rows: At most as many graphs decide the kernel's hyperparameters; all are
            learned from.
        seed: Decides which.
    """

    smallest_ms: float = 0.01
    hyperparameter_rows: int = 500
    seed: int = 0


class LatencyGP:
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
    targets = ("latency",)

    def __init__(self, config: LatencyGPConfig | None = None) -> None:
        self.config = config or LatencyGPConfig()
        self._graphs: list[Graph] = []
        self._logs: Array = np.empty(0)
        self._features: OperatorFeatures | None = None
        self._process = GaussianProcess(TERMS)
        self._calibration: Calibration | None = None
        self._device: dict[str, str] = {}

    @property
    def parameters(self) -> int:
        """Hyperparameters of the kernel, and the weight of each training graph."""
        return len(self._process.hyperparameters) + len(self._graphs)

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[DeviceBatch] | None = None,
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
            raise InputError(f"{len(columns)} devices are given; this predictor learns exactly one")
        values = np.asarray(targets, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape != (len(graphs), 1):
            raise InputError(
                f"latencies have shape {np.shape(targets)}; expected one for each of the "
                f"{len(graphs)} graphs"
            )
        known = np.flatnonzero(values[:, 0] >= self.config.smallest_ms)
        if len(known) < FEWEST:
            raise InputError(
                f"{len(known)} measured graphs are too few to learn from; give {FEWEST}"
            )
        order = np.random.default_rng(self.config.seed).permutation(known)
        self._device = description(columns[0])
        self._graphs = [graphs[k] for k in order]
        self._logs = np.log(values[order, 0])
        blocks = self._learn_features()
        self._process.fit(blocks, self._standard(), np.ones(len(order)))
        mean, variance = self._process.leave_one_out(np.arange(len(order)), self._standard())
        errors = (self._standard()[:, 0] - mean[:, 0]) / np.sqrt(variance + self._process.noise)
        self._calibration = Calibration.identity([errors])

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

    def predict(
        self, graphs: Sequence[Graph], hardware: Hardware | None = None, batch_size: int = 1
    ) -> Prediction:
        """Predict latency in ms.

        Args:
            graphs: Any number of graphs.
            hardware: The device that was learned, or None for it.
            batch_size: Its batch size, with `hardware`.

        Raises:
            NotFittedError: If nothing was learned or loaded.
            InputError: If it is another device or batch size.
        """
        if self._features is None or self._calibration is None:
            raise NotFittedError("this predictor has learned nothing yet; call fit or load one")
        if hardware is not None:
            asked = DeviceBatch(hardware, batch_size)
            if description(asked) != self._device:
                raise InputError(
                    f"{asked.key} was not learned; this predictor knows {self._device['key']} only"
                )
        mean, variance = self._process.predict(self._features(graphs))
        return Prediction(
            self.targets,
            ("ms",),
            mean * self._scale + self._logs.mean(),
            np.sqrt(variance + self._process.noise)[:, None] * self._scale,
            LEVELS,
            self._calibration.residuals.T,
            (True,),
        )

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write `<path>.safetensors` and its card; `about` is added to the card."""
        if self._calibration is None:
            raise NotFittedError("this predictor has learned nothing yet; there is nothing to save")
        vocabulary = vocabulary_of(self._graphs)
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            "graphs": pack(self._graphs, vocabulary),
            "rows": {"logs": self._logs},
            "process": self._process.state(),
            "calibration": self._calibration.tensors(),
        }
        card = {
            "predictor": self.name,
            "config": asdict(self.config),
            "vocabulary": vocabulary,
            "device": self._device,
            **(about or {}),
        }
        tensors = {f"{part}.{n}": v for part, held in parts.items() for n, v in held.items()}
        save_checkpoint(path, tensors, card)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, backend: str = "auto") -> LatencyGP:
        """The predictor that a checkpoint holds.

        Raises:
            InputError: If the card or the arrays do not fit this class.
        """
        card = checkpoint.card
        with restoring("a latency-gp"):
            predictor = cls(LatencyGPConfig(**config_fields(card["config"])))
            predictor._device = dict(card["device"])
            predictor._graphs = unpack(checkpoint.section("graphs"), tuple(card["vocabulary"]))
            predictor._logs = checkpoint.section("rows")["logs"]
            predictor._calibration = Calibration(**checkpoint.section("calibration"))
            process = checkpoint.section("process")
            blocks = predictor._learn_features()
            predictor._process.condition(
                blocks,
                predictor._standard(),
                np.ones(len(predictor._graphs)),
                process["hyperparameters"],
                dict(zip(predictor._process.names, process["units"].tolist(), strict=True)),
            )
        return predictor


def latency_gp(
    kind: str = "latency", targets: Sequence[str] = ("latency",), **options: Any
) -> LatencyGP:
    """The process for one device; for many devices at once there is `latency.LatencyPredictor`.

    Args:
        kind: `"latency"`.
        targets: The one column.
        **options: Fields of `LatencyGPConfig`.

    Raises:
        InputError: If the kind, a column or an option is unknown.
    """
    if kind != "latency" or tuple(targets) != ("latency",):
        raise InputError(f"this predictor is one of latency, not of {kind} {', '.join(targets)}")
    check_options(options, [f.name for f in fields(LatencyGPConfig)])
    return LatencyGP(LatencyGPConfig(**options))
