"""Gaussian process over path features, the strongest of the cheap methods on cells."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.accuracy.classical import ClassicalPredictor, sklearn
from nasplug.predictors.checkpoint import Checkpoint
from nasplug.predictors.features.cells import Matrix, OneHot, Paths
from nasplug.predictors.prediction import Array

__all__ = ["PathGP"]

# Cells that the hyperparameters are fitted on; the process itself learns from all.
SUBSET = 1000


class PathGP(ClassicalPredictor):
    """Gaussian process over path features; its residuals are leave-one-out, in closed form.

    Two squared-exponential kernels and noise, their hyperparameters by maximum likelihood on at
    most 1,000 cells.

    Args:
        **options: See `ClassicalPredictor`.
    """

    name = "path-gp"
    noun = "a path-gp predictor"
    storable = True

    @property
    def parameters(self) -> int | None:
        """Hyperparameters, and the weight of each training example, of all targets."""
        result: int | None = sum(len(gp.kernel_.theta) + gp.alpha_.size for gp in self._models)
        return result

    def _learn(self, x: Array, scores: Array) -> tuple[Any, tuple[Array, Array]]:
        from scipy.linalg import cho_solve

        subset = np.random.default_rng(self.seed).permutation(len(x))[:SUBSET]
        errors = sklearn("exceptions")
        with warnings.catch_warnings():
            # A hyperparameter at its bound is no fault: the data may be without noise.
            warnings.simplefilter("ignore", errors.ConvergenceWarning)
            first = _process(_kernel(), "fmin_l_bfgs_b", self.seed).fit(x[subset], scores[subset])
        model = _process(first.kernel_, None, self.seed).fit(x, scores)
        variance = 1 / np.diag(cho_solve((model.L_, True), np.eye(len(x))))
        scale = float(model._y_train_std)
        mean = scores - scale * model.alpha_.ravel() * variance
        return model, (mean, scale * np.sqrt(variance))

    def _say(self, model: Any, x: Array) -> tuple[Array, Array]:
        mean, std = model.predict(x, return_std=True)
        return mean, std

    def _arrays(self) -> dict[str, NDArray[Any]]:
        models = self._models
        scores = [model.y_train_ * model._y_train_std + model._y_train_mean for model in models]
        return {
            "x": models[0].X_train_,
            "scores": np.stack(scores),
            "theta": np.stack([model.kernel_.theta for model in models]),
            "quantiles": self._quantiles,
            "floor": self._floor,
            "residuals": self._residuals,
        }

    def _stored_config(self) -> dict[str, Any]:
        names = ("targets", "features", "seed", "nodes")
        return {name: getattr(self, name) for name in names}

    def _card(self) -> dict[str, Any]:
        encode: Any = self._encode
        paths = encode if isinstance(encode, Paths) else None
        one_hot = encode if isinstance(encode, OneHot) else encode.one_hot
        return {
            "vocabulary": one_hot.vocabulary,
            "nodes": one_hot.nodes,
            "sequences": paths.sequences if paths else [],
            "scale": paths.scale if paths else [],
        }

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> PathGP:
        card, tensors = checkpoint.card, checkpoint.tensors
        predictor = cls(**card["config"])
        one_hot = OneHot(tuple(card["vocabulary"]), int(card["nodes"]))
        predictor._encode = Matrix(one_hot) if predictor.features == "matrix" else one_hot
        if predictor.features == "paths":
            sequences = tuple(tuple(sequence) for sequence in card["sequences"])
            predictor._encode = Paths(one_hot, sequences, tuple(card["scale"]))
        predictor._quantiles, predictor._floor = tensors["quantiles"], tensors["floor"]
        predictor._residuals = tensors["residuals"]
        predictor._models = [
            _process(_kernel().clone_with_theta(theta), None, predictor.seed).fit(
                tensors["x"], scores
            )
            for theta, scores in zip(tensors["theta"], tensors["scores"], strict=True)
        ]
        return predictor


def _kernel() -> Any:
    kernels = sklearn("gaussian_process.kernels")
    constant, rbf = kernels.ConstantKernel, kernels.RBF
    return constant(1.0) * rbf(3.0) + constant(1.0) * rbf(10.0) + kernels.WhiteKernel(0.05)


def _process(kernel: Any, optimizer: str | None, seed: int) -> Any:
    regressor = sklearn("gaussian_process").GaussianProcessRegressor
    return regressor(kernel, optimizer=optimizer, normalize_y=True, random_state=seed)
