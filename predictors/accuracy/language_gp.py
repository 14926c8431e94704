"""Perplexity of language models: a Gaussian process that is linear in features of their layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from nasplug.predictors.checkpoint import Checkpoint, joined, read_config
from nasplug.predictors.features.language_models import (
    SCALE_NAMES,
    LanguageModels,
    features_of,
    read_models,
)
from nasplug.predictors.fitted import FittedPredictor
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import Array, Prediction
from nasplug.predictors.statistics.calibration import Calibration
from nasplug.search_spaces import Graph, InputError

__all__ = ["LanguageGP", "LanguageGPConfig"]

# Mean and deviation of the logarithm of a variance, before anything is seen.
_PRIOR = (-4.0, 4.0)
_BOUNDS = (-16.0, 6.0)
_STEPS = 60
# Labels that the deviation of a width counts as, beside those that it has.
_SHRINKAGE = 5.0


@dataclass(frozen=True)
class LanguageGPConfig:
    """Targets and settings of a `LanguageGP`.

    Attributes:
        targets: Name of the column.
        units: Unit of the column.
        hyperparameter_rows: At most as many networks of a scale decide the variances; all are
            learned from.
        seed: Decides which.
    """

    targets: tuple[str, ...] = ("perplexity",)
    units: str = ""
    hyperparameter_rows: int = 500
    seed: int = 0


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Weights and deviations that were learned of one scale.

    Attributes:
        weights: Weight of each feature, in logarithms of perplexity, `(features,)`.
        center: Mean logarithm of the training labels.
        deviation: Deviation of a left-out label of each width, in logarithms, `(widths,)`.
    """

    weights: Array
    center: float
    deviation: Array


class LanguageGP(FittedPredictor):
    """Perplexities of the language models of HW-GPT-Bench's scales, by their logarithm.

    Each scale is learned by itself. A network is what its decisions are: its width, depth and bias,
    the sums of its heads and MLPs, the course of both over the layers, each layer, and products of
    the whole; all of them once for the scale and once for each width. Each such group of features
    has weights of one variance, which the marginal likelihood decides, so that a few dozen networks
    teach sums, and thousands single layers. Intervals come from labels that were left out.

    Args:
        config: What to predict and how.
    """

    kind = "perplexity"
    name = "language-gp"
    noun = "a language-gp"
    fewest = 20

    def __init__(self, config: LanguageGPConfig | None = None) -> None:
        self.config = config or LanguageGPConfig()
        self._scales: dict[str, _Fitted] = {}
        self._calibration: Calibration | None = None

    @property
    def parameters(self) -> int:
        """Weights of all scales."""
        return sum(fitted.weights.size for fitted in self._scales.values())

    @property
    def _is_fitted(self) -> bool:
        return self._calibration is not None

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Hardware] | None = None,
    ) -> None:
        """Learn from graphs with known perplexities.

        Args:
            graphs: Training graphs, at least 20 of each scale that is to be predicted.
            targets: Perplexities, shape `(graphs,)` or `(graphs, 1)`.
            hardware: Not used; perplexity does not depend on it.

        Raises:
            InputError: If shapes do not fit, a value is not above 1, a graph is of no scale, or
                there are too few graphs.
        """
        values, _ = self._labels(targets, len(graphs))
        self.fit_models(read_models(graphs), values)

    def fit_models(self, models: LanguageModels, values: Array) -> None:
        """Learn from decisions instead of graphs; perplexities have the shape `(n, 1)`."""
        if values.shape[1] != 1 or values.min() <= 1:
            raise InputError("perplexities are one column of numbers above 1")
        logs = np.log(values[:, 0])
        self._scales = {}
        errors = []
        for scale in SCALE_NAMES:
            rows = np.flatnonzero(models.scales == scale)
            if 0 < len(rows) < self.fewest:
                raise InputError(
                    f"{len(rows)} graphs of scale {scale} are too few to learn from; give at least "
                    f"{self.fewest}, or none"
                )
            if len(rows):
                self._scales[scale], left_out = self._learned(models.take(rows), logs[rows])
                errors.append(left_out)
        self._calibration = Calibration.identity([np.concatenate(errors)])

    def _learned(self, models: LanguageModels, logs: Array) -> tuple[_Fitted, Array]:
        """Learn one scale; also returns the standardised errors of labels that were left out."""
        features, groups = features_of(models)
        center, scale = float(logs.mean()), float(logs.std()) or 1.0
        labels = (logs - center) / scale
        order = np.random.default_rng(self.config.seed).permutation(len(labels))
        some = order[: self.config.hyperparameter_rows]
        widths = models.width_index
        variances, noise = _variances(features[some], groups, labels[some], widths[some])
        scaled = features * np.sqrt(variances[groups])
        weight = 1 / noise[widths]
        precision = scaled.T @ (scaled * weight[:, None]) + np.eye(features.shape[1])
        factor = cho_factor(precision)
        weights = cho_solve(factor, scaled.T @ (weight * labels))
        leverage = weight * np.einsum("ij,ji->i", scaled, cho_solve(factor, scaled.T))
        errors = (labels - scaled @ weights) / np.maximum(1 - leverage, 1e-3)
        overall = float(np.mean(errors**2))
        counts = np.bincount(widths, minlength=len(noise))
        squares = np.bincount(widths, errors**2, minlength=len(noise))
        deviation = np.sqrt((squares + _SHRINKAGE * overall) / (counts + _SHRINKAGE))
        fitted = _Fitted(scale * weights * np.sqrt(variances[groups]), center, scale * deviation)
        return fitted, errors / deviation[widths]

    def _distribution(self, graphs: Sequence[Graph]) -> tuple[Array, Array, Array]:
        return self._of_models(read_models(graphs))

    def predict_models(self, models: LanguageModels) -> Prediction:
        """Predict from decisions instead of graphs."""
        self._check_fitted()
        return self._prediction(*self._of_models(models))

    def _of_models(self, models: LanguageModels) -> tuple[Array, Array, Array]:
        assert self._calibration is not None
        logs, deviation = np.empty(len(models.scales)), np.empty(len(models.scales))
        for scale in SCALE_NAMES:
            rows = np.flatnonzero(models.scales == scale)
            if not len(rows):
                continue
            if scale not in self._scales:
                raise InputError(f"no perplexity of a network of scale {scale} was learned")
            fitted, part = self._scales[scale], models.take(rows)
            logs[rows] = fitted.center + features_of(part)[0] @ fitted.weights
            deviation[rows] = fitted.deviation[part.width_index]
        center = np.exp(logs)[:, None]
        return center, center * deviation[:, None], self._calibration.residuals.T

    def _card(self) -> dict[str, Any]:
        return {"centers": {scale: fitted.center for scale, fitted in self._scales.items()}}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        assert self._calibration is not None
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            scale: {"weights": fitted.weights, "deviation": fitted.deviation}
            for scale, fitted in self._scales.items()
        }
        return joined({**parts, "calibration": self._calibration.tensors()})

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> LanguageGP:
        predictor = cls(read_config(LanguageGPConfig, checkpoint.card["config"]))
        if len(predictor.targets) != 1:
            raise ValueError("it does not have one target")
        for scale, center in checkpoint.card["centers"].items():
            if scale not in SCALE_NAMES:
                raise ValueError(f"{scale} is no scale")
            part = checkpoint.section(scale)
            predictor._scales[scale] = _Fitted(part["weights"], float(center), part["deviation"])
        predictor._calibration = Calibration(**checkpoint.section("calibration"))
        return predictor


def _variances(
    features: Array, groups: NDArray[np.intp], labels: Array, widths: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Variances of the weights of each group, and of the noise of each width.

    They have the largest marginal likelihood, with a broad prior on their logarithms.
    """
    count, kinds = int(groups.max()) + 1, int(widths.max()) + 1
    kernels = []
    for group in range(count):
        block = features[:, groups == group]
        kernels.append(block @ block.T)
    rows = np.arange(len(labels))
    identity = np.eye(len(labels))

    def loss(logs: Array) -> tuple[float, Array]:
        values = np.exp(logs)
        kernel = sum(v * k for v, k in zip(values, kernels, strict=False))
        kernel[rows, rows] += values[count + widths]
        try:
            factor = cho_factor(kernel, lower=True)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(logs)
        solved = cho_solve(factor, labels)
        slope = np.outer(solved, solved) - cho_solve(factor, identity)
        gradient = [-0.5 * float(np.sum(slope * k)) for k in kernels]
        gradient += np.bincount(widths, -0.5 * np.diag(slope), minlength=kinds).tolist()
        far = (logs - _PRIOR[0]) / _PRIOR[1]
        value = 0.5 * labels @ solved + np.log(np.diag(factor[0])).sum() + 0.5 * far @ far
        return float(value), np.array(gradient) * values + far / _PRIOR[1]

    start = np.full(count + kinds, _PRIOR[0])
    # The first group is the width, which decides most.
    start[0] = 0.0
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[_BOUNDS] * len(start),
        options={"maxiter": _STEPS},
    )
    values = np.exp(found.x)
    return values[:count], values[count:]
