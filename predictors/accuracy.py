"""Predicts accuracies of graphs: an ensemble of sibling transformers with calibrated intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.calibration import LEVELS, Calibration
from nasplug.predictors.checkpoint import Checkpoint, save_checkpoint
from nasplug.predictors.ensemble import (
    calibration_count,
    ensemble_scores,
    load_members,
    member_tensors,
    train_members,
)
from nasplug.predictors.features import vocabulary_of
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import NotFittedError, Prediction
from nasplug.predictors.sibling_transformer import SiblingTransformer, SiblingTransformerConfig
from nasplug.predictors.training import Examples, TrainingConfig, TrainingResult
from nasplug.search_spaces import Graph, InputError

__all__ = ["AccuracyConfig", "AccuracyPredictor"]

Array = NDArray[np.float64]

# Points of the stored quantile functions of the training targets.
GRID_POINTS = 1000


@dataclass(frozen=True)
class AccuracyConfig:
    """Sizes and training of an `AccuracyPredictor`.

    Attributes:
        targets: Names of the columns, such as image sets.
        units: Unit of all columns.
        members: Models in the ensemble.
        dim: Model width.
        num_layers: Blocks.
        ffn_ratio: Feed-forward ratio.
        dropout: Dropout.
        calibration_share: Share of the examples kept for calibration.
        validation_share: Share of the rest that chooses each member's epoch; a different share for
            each member.
        training: How each member is trained.
    """

    targets: tuple[str, ...] = ("accuracy",)
    units: str = "%"
    members: int = 4
    dim: int = 64
    num_layers: int = 3
    ffn_ratio: float = 2.0
    dropout: float = 0.1
    calibration_share: float = 0.15
    validation_share: float = 0.1
    training: TrainingConfig = field(default_factory=TrainingConfig)


class AccuracyPredictor:
    """Ranks graphs by learned normal scores and maps them to units by calibration.

    Each target is turned into normal scores of its rank before training, so a crowd of good
    architectures is told apart as well as a few bad ones. A score is turned back by the quantiles
    of the training targets, which end where they end, and then calibrated. Equal functions (see
    `search_spaces.simplify`) are averaged and scored alike.
    """

    kind = "accuracy"

    def __init__(self, config: AccuracyConfig | None = None, backend: str = "auto") -> None:
        self.config = config or AccuracyConfig()
        self.backend = backend
        self._models: list[SiblingTransformer] = []
        self._quantiles: Array = np.empty((0, 0))
        self._calibration: Calibration | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the predicted columns."""
        return self.config.targets

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
            folder: Where members keep their training state to be resumed.
            progress: Whether to show progress bars.
            report: Called with each member's training result.

        Raises:
            InputError: If shapes do not fit or values are not finite, or there are too few graphs.
        """
        values = _checked(targets, len(graphs), self.config)
        goal = _checked(
            values if calibration_targets is None else calibration_targets,
            len(graphs),
            self.config,
        )
        vocabulary = vocabulary_of(graphs)
        config = SiblingTransformerConfig(
            vocabulary,
            self.config.targets,
            dim=self.config.dim,
            num_layers=self.config.num_layers,
            ffn_ratio=self.config.ffn_ratio,
            dropout=self.config.dropout,
        )
        learn = len(graphs) - calibration_count(len(graphs), self.config.calibration_share)
        scores = _normal_scores(values[:learn])
        models = train_members(
            self.config.members,
            config,
            self.backend,
            lambda model, seed: self._examples(model, graphs[:learn], scores, seed),
            self.config.training,
            folder=folder,
            progress=progress,
            report=report,
        )
        self._models = models
        self._quantiles = _quantile_grid(values[:learn])
        raw = ensemble_scores(models, graphs[learn:]).mean(0)
        self._calibration = Calibration.fit(_values_at(raw, self._quantiles), goal[learn:])

    def _examples(
        self, model: SiblingTransformer, graphs: Sequence[Graph], scores: Array, seed: int
    ) -> tuple[Examples, Examples]:
        """Training and validation examples, equal functions averaged and on one side."""
        groups: dict[str, list[int]] = {}
        prepared = model.prepare(graphs)
        for k, graph in enumerate(prepared):
            groups.setdefault(graph.canonical_hash, []).append(k)
        members = list(groups.values())
        order = np.random.default_rng(seed).permutation(len(members))
        count = max(1, round(self.config.validation_share * len(members)))

        def take(which: NDArray[np.int64]) -> Examples:
            rows = [members[k] for k in which]
            mean = np.array([scores[row].mean(0) for row in rows])
            # The mean of n labels is worth more than one, but their noise is not all that errs.
            weight = np.sqrt([len(row) for row in rows])
            return Examples(
                [prepared[row[0]] for row in rows],
                torch.tensor(mean, dtype=torch.float32),
                torch.tensor(weight / weight.mean(), dtype=torch.float32),
            )

        return take(order[count:]), take(order[:count])

    def scores(self, graphs: Sequence[Graph]) -> Array:
        """Raw ranking scores, `(members, graphs, targets)`.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        if not self._models:
            raise NotFittedError("this predictor has learned nothing yet; call fit or load one")
        return ensemble_scores(self._models, graphs)

    def predict(
        self, graphs: Sequence[Graph], hardware: Hardware | None = None, batch_size: int = 1
    ) -> Prediction:
        """Predict all targets of graphs; device and batch size make no difference.

        Raises:
            NotFittedError: If nothing was learned or loaded.
            InputError: If a graph has an operation that was not in the training graphs.
        """
        raw = self.scores(graphs).mean(0)
        assert self._calibration is not None
        columns = range(len(self.targets))
        values = _values_at(raw, self._quantiles)
        center, spread, residuals = self._calibration.apply(values, columns)
        return Prediction(
            self.targets,
            (self.config.units,) * len(self.targets),
            center,
            spread,
            LEVELS,
            residuals,
            (False,) * len(self.targets),
        )

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write `<path>.safetensors` and its card; `about` is added to the card."""
        if self._calibration is None:
            raise NotFittedError("this predictor has learned nothing yet; there is nothing to save")
        tensors = {f"calibration.{k}": v for k, v in self._calibration.tensors().items()}
        tensors["training.quantiles"] = self._quantiles
        tensors |= member_tensors(self._models)
        config = asdict(self.config)
        model_config = asdict(self._models[0].config)
        card = {"predictor": self.kind, "config": config, "model": model_config, **(about or {})}
        save_checkpoint(path, tensors, card)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, backend: str = "auto") -> AccuracyPredictor:
        """The predictor that a checkpoint holds.

        Raises:
            InputError: If the card or the weights do not fit this class.
        """
        try:
            stored = dict(checkpoint.card["config"])
            training = TrainingConfig(**stored.pop("training"))
            stored["targets"] = tuple(stored["targets"])
            config = AccuracyConfig(**stored, training=training)
            predictor = cls(config, backend)
            predictor._models = load_members(checkpoint, config.members, backend)
            calibration = Calibration(**checkpoint.section("calibration"))
            quantiles = checkpoint.tensors["training.quantiles"]
        except (KeyError, TypeError) as error:
            raise InputError(f"the card does not describe an accuracy predictor: {error}") from None
        predictor._quantiles, predictor._calibration = quantiles, calibration
        return predictor


def _checked(targets: Array, graphs: int, config: AccuracyConfig) -> Array:
    values = np.asarray(targets, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.shape != (graphs, len(config.targets)):
        raise InputError(
            f"targets have shape {values.shape}, expected ({graphs}, {len(config.targets)}): "
            f"a row a graph, a column for each of {', '.join(config.targets)}"
        )
    if not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values).all(1)))
        raise InputError(f"the target of graph {row} is not finite; leave such graphs out")
    return values


def _normal_scores(values: Array) -> Array:
    """Φ⁻¹((rank − 1/2)/n) of each column; equal values share the mean rank."""
    from scipy.stats import norm, rankdata

    ranks = np.stack([rankdata(column) for column in values.T], axis=1)
    result: Array = norm.ppf((ranks - 0.5) / len(values))
    return result


def _quantile_grid(values: Array) -> Array:
    """Quantiles of each target at evenly spaced probabilities, shape `(targets, points)`."""
    result: Array = np.quantile(values, _grid_levels(), axis=0).T
    return result


def _grid_levels() -> Array:
    return (np.arange(GRID_POINTS) + 0.5) / GRID_POINTS


def _values_at(scores: Array, quantiles: Array) -> Array:
    """Normal scores turned back into values of the training targets, strictly increasing."""
    from scipy.special import ndtri

    at = ndtri(_grid_levels())
    columns = []
    for score, values in zip(scores.T, quantiles, strict=True):
        # The slight slope keeps an order where the targets have ties, and beyond their ends.
        slope = 1e-4 * max(float(np.ptp(values)), 1e-9)
        columns.append(np.interp(score, at, values) + slope * score)
    return np.stack(columns, axis=1)
