"""Accuracy of whole networks: an exact Gaussian process over a graph's operators."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, read_config
from nasplug.predictors.features.operators import COSTS, OperatorFeatures
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.options import accuracy_predictor
from nasplug.predictors.prediction import Array
from nasplug.predictors.process_predictor import ProcessPredictor
from nasplug.predictors.statistics.gaussian_process import GaussianProcess, Term
from nasplug.predictors.statistics.units import SMALLEST_SPREAD
from nasplug.search_spaces import Graph, InputError

__all__ = ["AccuracyGP", "AccuracyGPConfig", "accuracy_gp"]

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
# The error is what is missing to this, so that even that of 100 % has a logarithm.
CEILING = 101.0


@dataclass(frozen=True)
class AccuracyGPConfig:
    """Targets and kernel of an `AccuracyGP`.

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


class AccuracyGP(ProcessPredictor):
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

    name = "accuracy-gp"
    noun = "an accuracy-gp"
    fewest = 20

    def __init__(self, config: AccuracyGPConfig | None = None) -> None:
        self.config = config or AccuracyGPConfig()
        kernel = self.config.kernel
        if kernel not in KERNELS:
            raise InputError(f"unknown kernel {kernel!r}; known: {', '.join(KERNELS)}")
        self._rows: dict[str, Array] = {}
        # Logarithms of the errors: standardised, and what that took.
        self._scores: Array = np.empty((0, 0))
        self._center: Array = np.empty(0)
        self._scale: Array = np.empty(0)
        self._features: OperatorFeatures | None = None
        self._process = GaussianProcess(KERNELS[kernel], self.config.hyperparameter_rows)

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
        values, _ = self._labels(targets, len(graphs))
        if values.min() < 0 or values.max() > 100:
            wrong = values[(values < 0) | (values > 100)][0]
            raise InputError(f"accuracy {wrong:g} is not from 0 to 100; give a percentage")
        order = np.random.default_rng(self.config.seed).permutation(len(graphs))
        values, chosen = values[order], [graphs[k] for k in order]
        logs = np.log(CEILING - values)
        self._center, self._scale = logs.mean(0), np.maximum(logs.std(0), SMALLEST_SPREAD)
        self._scores = (logs - self._center) / self._scale
        # Places in a cell mean nothing in a network.
        self._features = replace(OperatorFeatures.of(chosen), one_hot=None)
        self._rows = _unscaled(self._features, chosen)
        self._process.fit(_scaled(self._features, self._rows), self._scores, np.ones(len(order)))
        self._learn_intervals(*self._left_out(self._scores), values)

    def _values(self, scores: Array) -> Array:
        result: Array = CEILING - np.exp(self._center + self._scale * scores)
        return result

    def _posterior(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        assert self._features is not None
        rows = _unscaled(self._features, graphs)
        mean, variance = self._process.predict(_scaled(self._features, rows))
        return mean.reshape(-1, len(self.targets)), variance

    def _parts(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        assert self._features is not None
        types = {name: np.min_scalar_type(int(self._rows[name].max())) for name in COUNTS}
        return {
            "rows": {n: rows.astype(types.get(n, np.float32)) for n, rows in self._rows.items()},
            "scales": self._features.scales,
            "labels": {"scores": self._scores, "center": self._center, "scale": self._scale},
        }

    def _card(self) -> dict[str, Any]:
        assert self._features is not None
        return {
            "kinds": self._features.kinds,
            **{name: list(getattr(self._features, name)) for name in COUNTS},
        }

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> AccuracyGP:
        card, labels = checkpoint.card, checkpoint.section("labels")
        predictor = cls(read_config(AccuracyGPConfig, card["config"]))
        predictor._scores = labels["scores"]
        predictor._center, predictor._scale = labels["center"], labels["scale"]
        if len(predictor.targets) != predictor._scores.shape[1]:
            raise ValueError(f"it does not have {len(predictor.targets)} targets")
        rows = {name: v.astype(float) for name, v in checkpoint.section("rows").items()}
        operators, neighbours = (_columns(card[name]) for name in COUNTS)
        features = OperatorFeatures(
            tuple(card["kinds"]), operators, neighbours, None, checkpoint.section("scales")
        )
        widths = {name: block.shape[1] for name, block in rows.items()}
        wanted = {name: 1 + len(getattr(features, name)) for name in COUNTS}
        wanted["totals"] = (1 + len(features.kinds)) * (1 + len(COSTS)) + 1
        if widths != wanted:
            raise ValueError(f"its arrays have {widths} columns, not {wanted}")
        predictor._features, predictor._rows = features, rows
        predictor._condition(checkpoint, _scaled(features, rows), predictor._scores)
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


accuracy_gp = partial(accuracy_predictor, AccuracyGP, AccuracyGPConfig)
