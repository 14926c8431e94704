"""A latency predictor of whole networks that needs no training: rooflines of data sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from nasplug.predictors import Hardware, Prediction
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.statistics.calibration import LEVELS
from nasplug.search_spaces import Graph


class Roofline:
    """The interface of a latency predictor."""

    kind, targets, whole_networks = "latency", ("latency",), True
    devices = (
        *("GTX 1080 Ti@1", "GTX 1080 Ti@64", "Xeon Gold 6226@1", "Pixel 3@1", "Eyeriss@1"),
        *("T4@1 amp", "No Such Device@1", "nonsense"),
    )
    # Of a data sheet's promise, in the logarithm.
    spread = 0.8

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> np.ndarray:
        self.asked |= {column.key for column in columns}
        times = np.empty((len(graphs), len(columns)))
        for k, column in enumerate(columns):
            peak = column.hardware.peak_tflops["fp32"] * 1e9 / column.batch_size
            moved = column.hardware.memory_bandwidth_gbs * 1e6 / column.batch_size
            for row, graph in zip(times, graphs, strict=True):
                parts = [2 * graph.attribute("flops") / peak, graph.attribute("bytes") / moved]
                row[k] = 3 * np.maximum(*parts).sum() + 0.01 * len(graph)
        return np.log(times)

    def predict(
        self, graphs: Sequence[Graph], hardware: Hardware, batch_size: int = 1
    ) -> Prediction:
        center = self.log_latency(graphs, [Setting(hardware, batch_size)])
        return Prediction(
            self.targets,
            ("ms",),
            center,
            np.full_like(center, self.spread),
            LEVELS,
            ndtri(LEVELS)[:, None],
            (True,),
            evidence="zero-shot",
        )
