"""Accuracy of whole networks: an exact Gaussian process over a graph's operators."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, config_fields, restoring, save_checkpoint
from nasplug.predictors.features.operators import COSTS, OperatorFeatures
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.options import check_accuracy
from nasplug.predictors.prediction import NotFittedError, Prediction
from nasplug.predictors.statistics.calibration import LEVELS, Calibration
from nasplug.predictors.statistics.gaussian_process import GaussianProcess, Term
from nasplug.predictors.statistics.normal_scores import finite_columns
from nasplug.search_spaces import Graph, InputError

__all__ = ["AccuracyGP", "AccuracyGPConfig", "accuracy_gp"]

Array = NDArray[np.float64]

FEWEST = 20
_SUM: tuple[Term, ...] = ((("totals", "rbf"),), (("operators", "rbf"),))
_PRODUCT: tuple[Term, ...] = (*_SUM, (("operators", "rbf"), ("totals", "rbf")))
# Name -> summands of the kernel.
KERNELS: dict[str, tuple[Term, ...]] = {
    "full": (*_PRODUCT, (("neighbours", "rbf"),)),
    "product": _PRODUCT,
    "sum": _SUM,
    "operators": _SUM[1:],
    "totals": _SUM[:1],
}
# Blocks that are counts, and those that are not.
COUNTS, NUMBERS = ("operators", "neighbours"), ("totals",)
# Points of the quadrature from logarithms to units, and the smallest spread in units.
QUADRATURE = 15
SMALLEST_SPREAD = 1e-9
# The error is what is missing to this, so that even that of 100 % has a logarithm.
CEILING = 101.0


@dataclass(frozen=True)
class AccuracyGPConfig:
    """What an `AccuracyGP` predicts and how.

    Attributes:
        targets: Names of the columns, such as image sets.
        kernel: One of `KERNELS`.
        hyperparameter_rows: At most as many graphs decide the kernel's hyperparameters; all are
            learned from.
        seed: Decides which.
    """

    targets: tuple[str, ...] = ("accuracy",)
    kernel: str = "full"
    hyperparameter_rows: int = 500
    seed: int = 0


class AccuracyGP:
    """Accuracies in percent of whole networks of one space, by the logarithm of their error.

    The logarithm tells the best ones apart, and goes on beyond the best that was learned, where a
    search looks. A network is what its operators are: totals by kind, and how often each distinct
    operator, and each kind of operator between such kinds, occurs. `TransformerGP` is for cells,
    whose paths can be listed. It learns from a few dozen to a few thousand networks. Intervals are
    made from leave-one-out errors.

    Args:
        config: What to predict and how.

    Raises:
        InputError: If the kernel is unknown.
    """

    kind = "accuracy"
    name = "accuracy-gp"

    def __init__(self, config: AccuracyGPConfig | None = None) -> None:
        self.config = config or AccuracyGPConfig()
        kernel = self.config.kernel
        if kernel not in KERNELS:
            raise InputError(f"unknown kernel {kernel!r}; there are {', '.join(KERNELS)}")
        self._rows: dict[str, Array] = {}
        # Logarithms of the errors: standardised, and what that took.
        self._scores: Array = np.empty((0, 0))
        self._center: Array = np.empty(0)
        self._scale: Array = np.empty(0)
        self._features: OperatorFeatures | None = None
        self._process = GaussianProcess(KERNELS[kernel], self.config.hyperparameter_rows)
        self._calibration: Calibration | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the predicted columns."""
        return self.config.targets

    @property
    def parameters(self) -> int:
        """Hyperparameters of the kernel, and the weights of each training graph."""
        return len(self._process.hyperparameters) + self._scores.size

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Hardware] | None = None,
    ) -> None:
        """Learn from graphs with known targets.

        Args:
            graphs: Training graphs, at least 20.
            targets: Values in percent, shape `(graphs, targets)` or `(graphs,)`.
            hardware: Not used; accuracy does not depend on it.

        Raises:
            InputError: If shapes do not fit, a value is not from 0 to 100, or there are too few
                graphs.
        """
        values = finite_columns(targets, len(graphs), self.targets)
        if len(graphs) < FEWEST:
            raise InputError(f"{len(graphs)} graphs are too few to learn from; give {FEWEST}")
        if values.min() < 0 or values.max() > 100:
            wrong = values[(values < 0) | (values > 100)][0]
            raise InputError(f"accuracy {wrong:g} is not from 0 to 100; give percent")
        order = np.random.default_rng(self.config.seed).permutation(len(graphs))
        values, chosen = values[order], [graphs[k] for k in order]
        logs = np.log(CEILING - values)
        self._center, self._scale = logs.mean(0), np.maximum(logs.std(0), SMALLEST_SPREAD)
        self._scores = (logs - self._center) / self._scale
        # Places in a cell mean nothing in a network.
        self._features = replace(OperatorFeatures.of(chosen), one_hot=None)
        self._rows = _unscaled(self._features, chosen)
        self._process.fit(_scaled(self._features, self._rows), self._scores, np.ones(len(order)))
        mean, variance = self._process.leave_one_out(np.arange(len(order)), self._scores)
        center, spread = self._in_units(mean, variance)
        self._calibration = Calibration.identity(list(((values - center) / spread).T))

    def _in_units(self, mean: Array, variance: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of a label, from those of its score."""
        reach = np.sqrt(variance + self._process.noise)[:, None]
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
        logs = [self._center + self._scale * (mean + node * reach) for node in nodes]
        values = CEILING - np.exp(np.stack(logs))
        center = np.average(values, axis=0, weights=weights)
        spread = np.sqrt(np.average((values - center) ** 2, axis=0, weights=weights))
        return center, np.maximum(spread, SMALLEST_SPREAD)

    def predict(
        self, graphs: Sequence[Graph], hardware: Hardware | None = None, batch_size: int = 1
    ) -> Prediction:
        """Predict all targets of graphs; device and batch size make no difference.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        if self._features is None or self._calibration is None:
            raise NotFittedError("this predictor has learned nothing yet; call fit or load one")
        rows = _unscaled(self._features, graphs)
        mean, variance = self._process.predict(_scaled(self._features, rows))
        center, spread = self._in_units(mean.reshape(-1, len(self.targets)), variance)
        return Prediction(
            self.targets,
            ("%",) * len(self.targets),
            center,
            spread,
            LEVELS,
            self._calibration.residuals.T,
            (False,) * len(self.targets),
        )

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write `<path>.safetensors` and its card; `about` is added to the card."""
        if self._calibration is None or self._features is None:
            raise NotFittedError("this predictor has learned nothing yet; there is nothing to save")
        most = {name: int(self._rows[name].max()) for name in COUNTS}
        counts = {n: self._rows[n].astype(np.min_scalar_type(most[n])) for n in COUNTS}
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            "rows": counts | {name: self._rows[name].astype(np.float32) for name in NUMBERS},
            "scales": self._features.scales,
            "labels": {"scores": self._scores, "center": self._center, "scale": self._scale},
            "process": self._process.state(),
            "calibration": self._calibration.tensors(),
        }
        card = {
            "predictor": self.name,
            "config": asdict(self.config),
            "kinds": self._features.kinds,
            **{name: list(getattr(self._features, name)) for name in COUNTS},
            **(about or {}),
        }
        tensors = {f"{part}.{n}": v for part, held in parts.items() for n, v in held.items()}
        save_checkpoint(path, tensors, card)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, backend: str = "auto") -> AccuracyGP:
        """The predictor that a checkpoint holds.

        Raises:
            InputError: If the card or the arrays do not fit this class.
        """
        card = checkpoint.card
        with restoring("an accuracy-gp"):
            predictor = cls(AccuracyGPConfig(**config_fields(card["config"])))
            labels, process = checkpoint.section("labels"), checkpoint.section("process")
            predictor._scores = labels["scores"]
            predictor._center, predictor._scale = labels["center"], labels["scale"]
            if len(predictor.targets) != predictor._scores.shape[1]:
                raise ValueError(f"it has not {len(predictor.targets)} targets")
            predictor._calibration = Calibration(**checkpoint.section("calibration"))
            predictor._rows = {n: v.astype(float) for n, v in checkpoint.section("rows").items()}
            operators, neighbours = (_columns(card[name]) for name in COUNTS)
            predictor._features = OperatorFeatures(
                tuple(card["kinds"]), operators, neighbours, None, checkpoint.section("scales")
            )
            widths = {n: block.shape[1] for n, block in predictor._rows.items()}
            wanted = {n: 1 + len(getattr(predictor._features, n)) for n in COUNTS}
            wanted["totals"] = (1 + len(predictor._features.kinds)) * (1 + len(COSTS)) + 1
            if widths != wanted:
                raise ValueError(f"its arrays have {widths} columns, not {wanted}")
            predictor._process.condition(
                _scaled(predictor._features, predictor._rows),
                predictor._scores,
                np.ones(len(predictor._scores)),
                process["hyperparameters"],
                dict(zip(predictor._process.names, process["units"].tolist(), strict=True)),
            )
        return predictor


def _unscaled(features: OperatorFeatures, graphs: Sequence[Graph]) -> dict[str, Array]:
    """Rows of the graphs as they are stored, and as they are read again."""
    if not graphs:
        return {name: np.empty((0, len(scale))) for name, scale in features.scales.items()}
    rows = replace(features, scales={})(graphs)
    # Single precision is enough, and half of the file.
    return rows | {name: rows[name].astype(np.float32).astype(float) for name in NUMBERS}


def _scaled(features: OperatorFeatures, rows: Mapping[str, Array]) -> dict[str, Array]:
    return {name: block / features.scales[name] for name, block in rows.items()}


def _columns(keys: Sequence[Any]) -> dict[Hashable, int]:
    """Column of each operator, whose tuples JSON turned into lists."""

    def frozen(key: Any) -> Hashable:
        return tuple(map(frozen, key)) if isinstance(key, list) else key

    return {frozen(key): k for k, key in enumerate(keys)}


def accuracy_gp(
    kind: str = "accuracy", targets: Sequence[str] = ("accuracy",), **options: Any
) -> AccuracyGP:
    """The process for whole networks; cells have `transformer_gp.transformer_gp`.

    Args:
        kind: `"accuracy"`.
        targets: Names of the columns.
        **options: Fields of `AccuracyGPConfig`.

    Raises:
        InputError: If the kind or an option is unknown.
    """
    check_accuracy(kind, AccuracyGPConfig, options)
    return AccuracyGP(AccuracyGPConfig(tuple(targets), **options))
