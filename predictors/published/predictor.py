"""Any network of `recipes` as a predictor: trained, calibrated, saved through one interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nasplug.predictors.checkpoint import Checkpoint, read_config
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.options import field_names
from nasplug.predictors.prediction import Array
from nasplug.predictors.published.recipes import form_of
from nasplug.predictors.statistics.calibration import LEVELS, Calibration
from nasplug.predictors.statistics.normal_scores import target_columns
from nasplug.predictors.training.config import Examples, TrainingConfig, TrainingResult
from nasplug.predictors.training.ensemble import (
    calibration_count,
    ensemble_scores,
    random_split,
    train_members,
)
from nasplug.predictors.training.ensemble_predictor import EnsemblePredictor
from nasplug.search_spaces import Graph, InputError

__all__ = ["OWN_FIELDS", "NetworkPredictor", "NetworkPredictorConfig"]

# Where a softplus has underflowed, in ms.
SMALLEST_LATENCY = 1e-6
# Fields of a network's config that the predictor sets, never a caller.
OWN_FIELDS = ("vocabulary", "targets", "images")


@dataclass(frozen=True)
class NetworkPredictorConfig:
    """Parts of a `NetworkPredictor`.

    Attributes:
        network: A key of `recipes.NETWORKS`.
        kind: `"accuracy"` (percent) or `"latency"` (ms).
        targets: Names of the columns; a latency predictor has one.
        recipe: How each member is trained; member k has `seed + k`.
        options: Fields of the network's config that differ from the published ones.
        members: Networks that answer together, by the mean of their predictions.
        calibration_share: Share of the examples, the last ones, kept for calibration; 0 to train on
            all and give no intervals.
        validation_share: Share of the rest that chooses the epoch, if the recipe asks for it.
        smallest_ms: Latencies below are degenerate measurements and are left out, in ms.
    """

    network: str
    kind: str = "accuracy"
    targets: tuple[str, ...] = ("accuracy",)
    recipe: TrainingConfig = field(default_factory=TrainingConfig)
    options: Mapping[str, Any] = field(default_factory=dict)
    members: int = 1
    calibration_share: float = 0.0
    validation_share: float = 0.1
    smallest_ms: float = 0.1


class NetworkPredictor(EnsemblePredictor):
    """Trains a network on targets in units and predicts in units.

    An accuracy predictor is calibrated like `AccuracyPredictor`, a latency predictor by the
    residuals of its log-latency, if there is a calibration share. Without one it keeps nothing
    aside, so nothing tells how wrong it is on graphs that it has not seen: `std`, `lower`, `upper`
    and the probabilities of its predictions are NaN.

    Args:
        config: What it is made of.
        backend: Of the network's layers.

    Raises:
        InputError: If the network, the kind or an option is unknown, or a number is out of range.
    """

    name = "network"
    noun = "a network predictor"

    def __init__(self, config: NetworkPredictorConfig, backend: str = "auto") -> None:
        self._form = form_of(config.network, config.kind)
        allowed = field_names(self._form.config, OWN_FIELDS)
        unknown = [name for name in config.options if name not in allowed]
        if unknown:
            raise InputError(f"{config.network} has no {unknown[0]!r}; known: {', '.join(allowed)}")
        if not config.targets or (config.kind == "latency" and len(config.targets) > 1):
            raise InputError(
                f"there are {len(config.targets)} targets, but a latency predictor has exactly one"
            )
        if config.members < 1:
            raise InputError(f"members is {config.members}; give at least 1")
        if not 0 <= config.calibration_share < 1 or not 0 < config.validation_share < 1:
            raise InputError("calibration_share and validation_share must lie between 0 and 1")
        super().__init__(config, backend)
        self.kind = config.kind
        self._shift, self._scale = np.zeros(1), np.ones(1)
        self._described: dict[str, Any] = {}

    @property
    def parameters(self) -> int:
        """Trainable parameters of one member.

        Raises:
            NotFittedError: If nothing was learned or loaded; the count depends on the graphs.
        """
        result: int = super().parameters // self.config.members
        return result

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Setting] | None = None,
        *,
        calibration_targets: Array | None = None,
        folder: str | Path | None = None,
        progress: bool | None = None,
        report: Callable[[TrainingResult], None] | None = None,
    ) -> None:
        """Learn from graphs with known targets.

        Args:
            graphs: Training graphs in random order.
            targets: Values in units, shape `(graphs, targets)` or `(graphs,)`; NaN where unknown.
            hardware: The device and batch size of a latency, as the one item; not used otherwise.
            calibration_targets: Values that the calibration maps to, if they are another
                measurement of the same targets; the same shape.
            folder, progress, report: See `train_members`.

        Raises:
            InputError: If shapes do not fit, a value is infinite, a column is unknown throughout,
                there are too few graphs, or a latency comes without its device.
        """
        columns = list(hardware or ()) if self.kind == "latency" else []
        if self.kind == "latency" and len(columns) != 1:
            raise InputError(
                f"{len(columns)} devices were given, but this predictor learns exactly one"
            )
        values = self._checked(targets, len(graphs))
        goal = self._checked(
            values if calibration_targets is None else calibration_targets, len(graphs)
        )
        share = self.config.calibration_share
        learn = len(graphs) - (calibration_count(len(graphs), share) if share else 0)
        if np.isnan(values[:learn]).all(0).any():
            raise InputError("a target has no values for the training graphs; leave its column out")
        if self.kind == "accuracy" and np.isnan(goal[learn:]).any():
            raise InputError(
                "calibration needs a value of every target for every graph; leave incomplete "
                "targets out"
            )
        config = self._network_config(vocabulary_of(graphs), columns)
        shift, scale = _scaling(values[:learn], self._form.scale)
        scaled = (values[:learn] - shift) * scale
        self._models = train_members(
            self.config.members,
            partial(self._form.network, config, self.backend),
            lambda model, seed: self._split(model, graphs[:learn], scaled, seed),
            self.config.recipe,
            folder=folder,
            progress=progress,
            report=report,
        )
        self._shift, self._scale = shift, scale
        self._described = columns[0].description if self.kind == "latency" else {}
        self._calibration = None
        if share:
            self._calibrate(self.scores(graphs[learn:]).mean(0), goal[learn:])

    def _split(
        self, model: Any, graphs: Sequence[Graph], values: Array, seed: int
    ) -> tuple[Examples, Examples | None]:
        everything = Examples.of(model.prepare(graphs), values)
        if self.config.recipe.selection == "last":
            return everything, None
        return random_split(everything, self.config.validation_share, seed)

    def _calibrate(self, center: Array, goal: Array) -> None:
        if self.kind == "latency":
            errors = np.log(goal) - np.log(np.maximum(center, SMALLEST_LATENCY))
            residuals = [column[np.isfinite(column)] for column in errors.T]
            if not all(map(len, residuals)):
                raise InputError("no graph of the calibration share has a known latency")
            self._calibration = Calibration.identity(residuals)
        else:
            self._calibration = Calibration.fit(center, goal)

    def _network_config(self, vocabulary: tuple[str, ...], columns: list[Setting]) -> Any:
        options = dict(self.config.options)
        if columns and "images" in field_names(self._form.config):
            options["images"] = columns[0].batch_size
        return self._form.config(vocabulary=vocabulary, targets=self.targets, **options)

    def _checked(self, targets: Array, graphs: int) -> Array:
        values = target_columns(targets, graphs, self.targets)
        if np.isinf(values).any():
            row = int(np.isinf(values).any(1).argmax())
            raise InputError(f"the target of graph {row} is infinite")
        if self.kind == "latency":
            values = np.where(values >= self.config.smallest_ms, values, np.nan)
        elif self.config.recipe.loss == "relative" and (values <= 0).any():
            row = int((values <= 0).any(1).argmax())
            raise InputError(f"the target of graph {row} is not above 0, as a relative loss needs")
        return values

    def scores(self, graphs: Sequence[Graph]) -> Array:
        """Predict with each member, in units and before calibration: `(members, graphs, targets)`.

        Raises:
            NotFittedError: If nothing was learned or loaded.
            InputError: If a graph has an operation that was not in the training graphs.
        """
        self._check_fitted()
        return ensemble_scores(self._models, graphs) / self._scale + self._shift

    def _distribution(self, graphs: Sequence[Graph]) -> tuple[Array, Array, Array]:
        center = self.scores(graphs).mean(0)
        if self.kind == "latency":
            center = np.log(np.maximum(center, SMALLEST_LATENCY))
        if self._calibration is None:
            return center, np.full_like(center, np.nan), np.zeros((len(LEVELS), center.shape[1]))
        return self._calibration.apply(center, range(len(self.targets)))

    def _check_device(self, hardware: Hardware, batch_size: int) -> None:
        if Setting(hardware, batch_size).description != self._described:
            raise InputError(
                f"{hardware.name} at batch size {batch_size} was not learned; this predictor "
                f"learned {self._described['key']} only"
            )

    def _card(self) -> dict[str, Any]:
        return {
            **super()._card(),
            "scaling": {"shift": self._shift.tolist(), "scale": self._scale.tolist()},
            "device": self._described,
        }

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> NetworkPredictor:
        card = checkpoint.card
        predictor = cls(read_config(NetworkPredictorConfig, card["config"]), backend)
        form = predictor._form
        calibrated = bool(predictor.config.calibration_share)
        predictor._load(checkpoint, form.config, form.network, calibrated=calibrated)
        predictor._described = dict(card["device"])
        predictor._shift = np.array(card["scaling"]["shift"], dtype=np.float64)
        predictor._scale = np.array(card["scaling"]["scale"], dtype=np.float64)
        return predictor


def _scaling(values: Array, scale: float | None) -> tuple[Array, Array]:
    """Shift and factor, `(targets,)` each, that turn values in units into the network's targets."""
    columns = values.shape[1]
    if scale is not None:
        return np.zeros(columns), np.full(columns, scale)
    spread = np.nanstd(values, axis=0)
    return np.nanmean(values, axis=0), 1 / np.where(spread > 0, spread, 1.0)
