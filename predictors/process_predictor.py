"""The engine of predictors whose scores come from a Gaussian process.

One line runs from graphs to intervals, and a predictor chooses its parts:

    reader: graphs -> blocks of features -> process: mean and variance of a score
        -> scale: values in units -> intervals: errors of training labels that were left out
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, joined
from nasplug.predictors.fitted import FittedPredictor
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.calibration import Calibration
from nasplug.predictors.statistics.gaussian_process import GaussianProcess
from nasplug.predictors.statistics.units import by_quadrature
from nasplug.search_spaces import Graph

__all__ = ["ProcessPredictor"]


class ProcessPredictor(FittedPredictor):
    """Predicts by a Gaussian process over features of graphs.

    A subclass reads graphs (`_posterior`) and maps scores to units (`_values`). Its `fit` fits the
    process and then asks for `_learn_intervals`; its checkpoints hold `_parts` beside the process.
    """

    _process: GaussianProcess
    _calibration: Calibration | None = None

    @property
    def _is_fitted(self) -> bool:
        return self._calibration is not None

    @property
    def _noise(self) -> float:
        """Variance of the score of one label around the process."""
        return self._process.noise

    @abstractmethod
    def _posterior(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        """Means `(graphs, targets)` and variances `(graphs,)` of scores, without labels' noise."""

    @abstractmethod
    def _values(self, scores: Array) -> Array:
        """Values of scores in the scale of the prediction, `(n, targets)` each."""

    def _in_units(self, mean: Array, variance: Array) -> tuple[Array, Array]:
        """Mean and deviation of a label `(n, targets)`, from mean and variance of its score."""
        return by_quadrature(self._values, mean, variance + self._noise)

    def _left_out(
        self, labels: Array, rows: NDArray[np.int64] | None = None, expected: Array | float = 0.0
    ) -> tuple[Array, Array]:
        """Each label as predicted without it: its mean and deviation in units, `(n, targets)`.

        Labels are scores `(n, targets)`, each of a row of the process, one each by default, and
        with a prior mean that is expected of it, which the process has not seen.
        """
        rows = np.arange(len(labels)) if rows is None else rows
        mean, variance = self._process.leave_one_out(rows, labels - expected)
        return self._in_units(mean + expected, variance)

    def _learn_intervals(self, center: Array, spread: Array, goal: Array) -> None:
        """Keep the quantiles of the errors of left-out labels, `(n, targets)` each, in units."""
        self._calibration = Calibration.identity(list(((goal - center) / spread).T))

    def _distribution(self, graphs: Sequence[Graph]) -> tuple[Array, Array, Array]:
        assert self._calibration is not None
        return *self._in_units(*self._posterior(graphs)), self._calibration.residuals.T

    def _arrays(self) -> dict[str, NDArray[Any]]:
        assert self._calibration is not None
        process = {**self._process.state(), "weights": self._process.weights}
        fitted = {"process": process, "calibration": self._calibration.tensors()}
        return joined({**fitted, **self._parts()})

    def _parts(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Arrays of the checkpoint beside those of the process and of the intervals."""
        return {}

    def _condition(
        self,
        checkpoint: Checkpoint,
        blocks: Mapping[str, Array],
        scores: Array,
        counts: Array | None = None,
    ) -> None:
        """Condition the process as it is stored on training rows, with the stored intervals."""
        counts = np.ones(len(scores)) if counts is None else counts
        process = checkpoint.section("process")
        # Checkpoints of earlier versions lack the weights.
        weights = process.get("weights")
        self._process.condition(blocks, scores, counts, process, weights)
        self._calibration = Calibration(**checkpoint.section("calibration"))
