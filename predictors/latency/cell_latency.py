"""Predicts latencies of graphs on a described device, with calibrated intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, joined, read_config
from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.features.runtimes import renamed_key
from nasplug.predictors.features.settings import DeviceBatch, Setting
from nasplug.predictors.latency.batch_growth import never_falling
from nasplug.predictors.latency.device_similarity import mix_similar
from nasplug.predictors.latency.many_devices import ManyDevices
from nasplug.predictors.latency.measured_columns import MeasuredColumns, log_latencies, runtime_of
from nasplug.predictors.models.ledgformer import LeDGFormer
from nasplug.predictors.models.sibling_transformer import SiblingTransformer
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.calibration import Calibration
from nasplug.predictors.training.config import Examples, TrainingConfig, TrainingResult
from nasplug.predictors.training.ensemble import (
    EnsembleConfig,
    calibration_count,
    ensemble_scores,
    random_split,
    train_members,
)
from nasplug.search_spaces import Graph, InputError

__all__ = ["DeviceBatch", "LatencyConfig", "LatencyPredictor"]


@dataclass(frozen=True, kw_only=True)
class LatencyConfig(EnsembleConfig):
    """Sizes and training of a `LatencyPredictor`.

    Attributes:
        smallest_ms: Latencies below are degenerate measurements and are left out, in ms.
        similar: Share of the measured columns that an unknown one is like in its prediction.
    """

    members: int = 2
    num_layers: int = 2
    dropout: float = 0.05
    smallest_ms: float = 0.1
    validation_share: float = 0.08
    similar: float = 0.75
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(epochs=80, rank_weight=0.0, weight_decay=0.01)
    )


class LatencyPredictor(ManyDevices):
    """Log-latency of a graph on a device, from the graph with its costs and the data sheet.

    A device that was in the training data also has a learned vector and residuals of its own. Any
    other is predicted from its description and from what is predicted of the measured ones that it
    is like (`device_similarity`), and gets the residuals of the left-out devices of its class
    (`set_zero_shot`).
    """

    name = "latency"

    def __init__(self, config: LatencyConfig | None = None, backend: str = "auto") -> None:
        super().__init__(config or LatencyConfig(), backend)
        _, self._network = self.config.kinds()
        self._shift, self._scale = 0.0, 1.0
        self._groups: dict[str, Array] = {}
        # The measured columns as the network reads them.
        self._described = torch.empty(0, 0)

    @property
    def devices(self) -> tuple[str, ...]:
        """Keys of the measured devices, `name@batch`."""
        return self._models[0].config.devices if self._models else ()

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Setting] | None = None,
        *,
        folder: str | Path | None = None,
        progress: bool | None = None,
        report: Callable[[TrainingResult], None] | None = None,
    ) -> None:
        """Learn from measured latencies.

        Args:
            graphs: Training graphs in random order; part of them validates, part calibrates.
            targets: Latencies in ms, shape `(graphs, devices)`; NaN where unknown.
            hardware: Device, batch size and runtime of each column.
            folder, progress, report: See `train_members`.

        Raises:
            InputError: If the columns do not match the devices, or there are too few graphs.
        """
        columns = list(hardware or ())
        logs = log_latencies(targets, len(graphs), columns, self.config.smallest_ms)
        learn = len(graphs) - calibration_count(len(graphs), self.config.calibration_share)
        self._shift, self._scale = float(np.nanmean(logs)), float(np.nanstd(logs)) or 1.0
        standard = (logs[:learn] - self._shift) / self._scale
        config = self.config.sized(
            vocabulary_of(graphs),
            self.targets,
            simplified=False,
            hardware=True,
            devices=tuple(column.plain_key for column in columns),
        )
        described = torch.from_numpy(np.stack([config.read_device(c) for c in columns]))

        def split(model: SiblingTransformer | LeDGFormer, seed: int) -> tuple[Examples, Examples]:
            prepared = model.prepare(graphs[:learn])
            everything = Examples.of(prepared, standard, hardware=described)
            return random_split(everything, self.config.validation_share, seed)

        build = partial(self._network, config, self.backend)
        members, recipe = self.config.members, self.config.training
        self._models = train_members(
            members, build, split, recipe, folder=folder, progress=progress, report=report
        )
        self._columns = MeasuredColumns.of(columns, config.device_text, with_text=False)
        self._described = described
        center = self._log_latency(graphs[learn:], columns)
        residuals = logs[learn:] - center
        self._calibration = Calibration.identity([r[np.isfinite(r)] for r in residuals.T])

    def set_zero_shot(self, residuals: Mapping[str, Array]) -> None:
        """Tell how wrong predictions for never-measured devices are.

        Args:
            residuals: Class of processors (`compute_class`) to residuals log(truth) −
                log(prediction) of devices that were left out of training, at `calibration.LEVELS`
                as quantiles.
        """
        self._groups = {group: np.asarray(r, np.float64) for group, r in residuals.items()}

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Natural logarithm of the latency in ms, shape `(graphs, columns)`, without intervals.

        A column without a runtime is in the usual one of its device (`settings.usual_runtime`).

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        self._check_fitted()
        settings = [c if c.way.text else self.setting(c.hardware, c.batch_size) for c in columns]
        return self._log_latency(graphs, settings)

    def _log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        return never_falling(
            columns, self._columns.batches, lambda asked: self._raw_log_latency(graphs, asked)
        )

    def _raw_log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        places = [self._columns.place(column) for column in columns]
        unknown = {k: columns[k] for k, place in enumerate(places) if place < 0}
        similar, alike = self._columns.similar(unknown, self.config.similar)
        # Columns that an unknown one is like come once, after those that are asked for.
        needed = sorted(alike)
        read = self._models[0].config.read_device
        asked = torch.from_numpy(np.stack([read(column) for column in columns]))
        described = torch.cat([asked, self._described[needed]]) if needed else asked
        raw = ensemble_scores(self._models, graphs, described, torch.tensor(places + needed))
        logs, measured = np.split(raw.mean(0) * self._scale + self._shift, [len(columns)], axis=1)
        mix_similar(logs, similar, measured, needed)
        return logs

    def _distribution_on(
        self, graphs: Sequence[Graph], column: Setting
    ) -> tuple[Array, Array, Array]:
        center = self._log_latency(graphs, [column])
        assert self._calibration is not None
        place = self._columns.place(column)
        if place >= 0:
            return self._calibration.apply(center, [place])
        group = compute_class(column.hardware)
        if group not in self._groups:
            raise InputError(
                f"{column.hardware.name} at batch size {column.batch_size} was not measured, and "
                "this predictor did not learn its errors on unknown devices; measured: "
                f"{', '.join(self.devices)}"
            )
        return center, np.ones_like(center), self._groups[group][:, None]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        columns = {"settings": self._columns.numbers, "described": self._described.numpy()}
        return {**super()._arrays(), **joined({"zero-shot": self._groups, "known": columns})}

    def _card(self) -> dict[str, Any]:
        return {
            **super()._card(),
            "scaling": {"shift": self._shift, "scale": self._scale},
            "measured": dict(zip(self.devices, self._columns.texts, strict=True)),
            "runtimes": [runtime_of(key) for key in self._columns.keys],
            "architectures": self._columns.architectures,
        }

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> LatencyPredictor:
        card = checkpoint.card
        predictor = cls(read_config(LatencyConfig, card["config"]), backend)
        config = predictor._load(checkpoint, *predictor.config.kinds())
        predictor._shift = float(card["scaling"]["shift"])
        predictor._scale = float(card["scaling"]["scale"])
        runtimes = tuple(card["runtimes"])
        # Checkpoints of earlier versions do not say.
        architectures = card.get("architectures", [""] * len(runtimes))
        known = checkpoint.section("known")
        devices, described = predictor.devices, torch.from_numpy(known["described"])
        parts = (runtimes, architectures, known["settings"], described)
        if any(len(part) != len(devices) for part in parts):
            raise InputError(
                f"the description of its {len(devices)} measured devices is incomplete"
            )
        predictor._described = described
        predictor._columns = MeasuredColumns(
            tuple(renamed_key(f"{k} {r}") for k, r in zip(devices, runtimes, strict=True)),
            tuple(card["measured"][key] for key in devices),
            tuple(map(str, architectures)),
            known["settings"],
            config.device_text,
        )
        predictor._groups = checkpoint.section("zero-shot")
        return predictor
