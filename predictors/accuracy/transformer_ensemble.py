"""Predicts accuracies of graphs: an ensemble of sibling transformers with calibrated intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, read_config
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.models.ledgformer import LeDGFormer
from nasplug.predictors.models.sibling_transformer import SiblingTransformer
from nasplug.predictors.options import accuracy_config, check_options, field_names, grouped
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.calibration import Calibration
from nasplug.predictors.statistics.normal_scores import normal_scores, quantile_grid, values_at
from nasplug.predictors.training.config import Examples, TrainingConfig, TrainingResult
from nasplug.predictors.training.ensemble import (
    EnsembleConfig,
    calibration_count,
    ensemble_scores,
    rows_by_function,
    train_members,
)
from nasplug.predictors.training.ensemble_predictor import EnsemblePredictor
from nasplug.search_spaces import Graph

__all__ = ["AccuracyConfig", "AccuracyPredictor", "transformer_ensemble"]


@dataclass(frozen=True)
class AccuracyConfig(EnsembleConfig):
    """Targets, sizes and training of an `AccuracyPredictor`.

    Attributes:
        targets: Names of the columns, such as image sets.
        units: Unit of all columns.
    """

    targets: tuple[str, ...] = ("accuracy",)
    units: str = "%"


class AccuracyPredictor(EnsemblePredictor):
    """Ranks graphs by learned normal scores and maps them to units by calibration.

    Each target is turned into normal scores of its rank before training, so a crowd of good
    architectures is told apart as well as a few bad ones. A score is turned back by the quantiles
    of the training targets, which end where they end, and then calibrated. Graphs that `simplify`
    makes isomorphic are averaged and scored alike, up to rounding.
    """

    name = "accuracy"
    noun = "an accuracy predictor"

    def __init__(self, config: AccuracyConfig | None = None, backend: str = "auto") -> None:
        super().__init__(config or AccuracyConfig(), backend)
        _, self._network = self.config.kinds()
        self._quantiles: Array = np.empty((0, 0))

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Hardware] | None = None,
        *,
        calibration_targets: Array | None = None,
        folder: str | Path | None = None,
        progress: bool | None = None,
        report: Callable[[TrainingResult], None] | None = None,
    ) -> None:
        """Learn from graphs with known targets.

        Args:
            graphs: Training graphs in random order; part of them validates, part calibrates.
            targets: Values in units, shape `(graphs, targets)` or `(graphs,)`, finite.
            hardware: Not used; accuracy does not depend on it.
            calibration_targets: Values that the calibration maps scores to, if they are another
                measurement of the same targets (a test accuracy while `targets` are validation
                accuracies); the same shape. The ranking never sees them.
            folder, progress, report: See `train_members`.

        Raises:
            InputError: If shapes do not fit or values are not finite, or there are too few graphs.
        """
        values, goal = self._labels(targets, len(graphs), calibration_targets)
        config = self.config.sized(vocabulary_of(graphs), self.targets)
        learn = len(graphs) - calibration_count(len(graphs), self.config.calibration_share)
        scores = normal_scores(values[:learn])
        self._models = train_members(
            self.config.members,
            partial(self._network, config, self.backend),
            lambda model, seed: self._examples(model, graphs[:learn], scores, seed),
            self.config.training,
            folder=folder,
            progress=progress,
            report=report,
        )
        self._quantiles = quantile_grid(values[:learn])
        if learn < len(graphs):
            raw = ensemble_scores(self._models, graphs[learn:]).mean(0)
            self._calibration = Calibration.fit(values_at(raw, self._quantiles), goal[learn:])
        else:
            self._calibration = Calibration.identity([np.array([np.nan])] * len(self.targets))

    @property
    def reads_functions(self) -> bool:
        """Whether graphs of equal function count as one."""
        return bool(self.config.options.get("simplified", True))

    def _examples(
        self,
        model: SiblingTransformer | LeDGFormer,
        graphs: Sequence[Graph],
        scores: Array,
        seed: int,
    ) -> tuple[Examples, Examples]:
        """Training and validation examples, equal functions averaged and on one side."""
        prepared = model.prepare(graphs)
        functions = rows_by_function(prepared)
        order = np.random.default_rng(seed).permutation(len(functions))
        count = max(1, round(self.config.validation_share * len(functions)))

        def take(which: NDArray[np.int64]) -> Examples:
            rows = [functions[k] for k in which]
            means = np.array([scores[row].mean(0) for row in rows])
            counts = np.array([len(row) for row in rows], dtype=np.float64)
            return Examples.of([prepared[row[0]] for row in rows], means, counts)

        return take(order[count:]), take(order[:count])

    def scores(self, graphs: Sequence[Graph]) -> Array:
        """Raw ranking scores, `(members, graphs, targets)`.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        self._check_fitted()
        return ensemble_scores(self._models, graphs)

    def _distribution(self, graphs: Sequence[Graph]) -> tuple[Array, Array, Array]:
        assert self._calibration is not None
        values = values_at(self.scores(graphs).mean(0), self._quantiles)
        return self._calibration.apply(values, range(len(self.targets)))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {**super()._arrays(), "training.quantiles": self._quantiles}

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> AccuracyPredictor:
        predictor = cls(read_config(AccuracyConfig, checkpoint.card["config"]), backend)
        predictor._load(checkpoint, *predictor.config.kinds())
        predictor._quantiles = checkpoint.tensors["training.quantiles"]
        return predictor


def transformer_ensemble(
    kind: str = "accuracy",
    targets: Sequence[str] = ("accuracy",),
    backend: str = "auto",
    **options: Any,
) -> AccuracyPredictor:
    """An ensemble of sibling transformers that is trained on labels alone.

    Args:
        kind: `"accuracy"`; latencies have `latency.LatencyPredictor`.
        targets: Names of the columns.
        backend: Of the network's layers.
        **options: Fields of `AccuracyConfig` and of its `TrainingConfig`.

    Raises:
        InputError: If the kind or an option is unknown.
    """
    names = field_names(AccuracyConfig, ("targets", "training"))
    recipe_names = field_names(TrainingConfig)
    if kind == "accuracy":
        check_options(options, [*names, *recipe_names])
    settings, recipe = grouped(options, names, recipe_names)
    settings["training"] = TrainingConfig(**recipe)
    return AccuracyPredictor(accuracy_config(AccuracyConfig, kind, targets, settings), backend)
