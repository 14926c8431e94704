"""Latency of any whole network on any described device, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, joined, read_config
from nasplug.predictors.features.runtimes import EAGER, known_way, parse_way, renamed_key
from nasplug.predictors.features.settings import NUMBERS, TEXT, Setting
from nasplug.predictors.hardware import Hardware, as_data, hardware_of
from nasplug.predictors.latency.class_models import ClassModels, Parts, told_key
from nasplug.predictors.latency.column_heads import ColumnHeads
from nasplug.predictors.latency.intervals import LatencyIntervals
from nasplug.predictors.latency.many_devices import ManyDevices
from nasplug.predictors.latency.measured_columns import (
    MeasuredColumns,
    column_parts,
    log_latencies,
    renamed_text,
)
from nasplug.predictors.latency.network_columns import NetworkColumns, network_scores
from nasplug.predictors.latency.network_groups import chosen, common_kinds, split_groups
from nasplug.predictors.models.roofline_transformer import (
    RooflineTransformer,
    RooflineTransformerConfig,
)
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.predictors.training.config import Examples, TrainingConfig, TrainingResult
from nasplug.predictors.training.ensemble import member_tensors, train_members
from nasplug.search_spaces import Graph, InputError

__all__ = ["NetworkLatency", "NetworkLatencyConfig"]


@dataclass(frozen=True)
class NetworkLatencyConfig:
    """Sizes and training of a `NetworkLatency`.

    Attributes:
        members: Networks in the ensemble.
        text: Whether the description of a device is read as text, too.
        heads: Whether measured columns have `ColumnHeads`.
        similar: Share of the measured columns that an unknown one is like in its prediction.
        smallest_ms: Latencies below are degenerate measurements and are left out, in ms.
        calibration_share: Share of each group's graphs kept for calibration.
        validation_share: Share of the rest that chooses each member's epoch.
        training: How each member is trained; member k has `seed + k`.
        options: Fields of `RooflineTransformerConfig` that differ from the usual ones.
    """

    members: int = 1
    text: bool = True
    heads: bool = True
    similar: float = 0.75
    smallest_ms: float = 0.1
    calibration_share: float = 0.15
    validation_share: float = 0.05
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            epochs=30,
            batch_size=8,
            learning_rate=4e-3,
            weight_decay=0.01,
            rank_weight=0.0,
            device_dropout=0.3,
            columns_a_step=8,
            loss="robust",
        )
    )
    options: Mapping[str, Any] = field(default_factory=dict)


class NetworkLatency(ManyDevices):
    """Latency of whole networks on devices: a sum over operators (see `RooflineTransformer`).

    A prediction for a device and batch size that was measured, and a network like those measured
    there, has the residuals of held-out ones. For a network unlike them, and for a device that was
    not measured, there are the residuals of left-out groups and devices (`set_widths`).
    """

    name = "network-latency"
    # Any network of ONNX operators, of whatever space.
    whole_networks = True

    def __init__(self, config: NetworkLatencyConfig | None = None, backend: str = "auto") -> None:
        super().__init__(config or NetworkLatencyConfig(), backend)
        self._familiar: Familiarity | None = None
        self._heads: ColumnHeads | None = None
        self._classes: ClassModels | None = None
        self._intervals = LatencyIntervals()

    @property
    def devices(self) -> tuple[str, ...]:
        """Keys of the measured columns, `name@batch` or `name@batch runtime`."""
        return self._columns.keys

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Setting] | None = None,
        *,
        groups: Sequence[str] | None = None,
        folder: str | Path | None = None,
        progress: bool | None = None,
        report: Callable[[TrainingResult], None] | None = None,
    ) -> None:
        """Learn from measured latencies.

        Args:
            graphs: Whole networks in random order; part of each group validates and calibrates.
            targets: Latencies in ms, shape `(graphs, columns)`; NaN where unknown.
            hardware: Device, batch size and runtime of each column.
            groups: Group of each graph, such as its space; one group if left out. The graphs of a
                group should be known on the same columns.
            folder, progress, report: See `train_members`.

        Raises:
            InputError: If shapes do not fit, two columns have one key, or there are too few graphs.
        """
        columns = list(hardware or ())
        logs = log_latencies(targets, len(graphs), columns, self.config.smallest_ms)
        keys = _distinct_keys(columns)
        names = list(groups) if groups is not None else ["all"] * len(graphs)
        learn, check, hold = split_groups(names, self.config)
        shown, shown_names = chosen(learn, graphs, names)
        config = RooflineTransformerConfig(
            vocabulary=common_kinds(shown),
            devices=tuple(column.hardware.name for column in columns),
            text=TEXT if self.config.text else 0,
            numbers=NUMBERS,
            **self.config.options,
        )
        self._columns = MeasuredColumns.of(columns, with_text=self.config.text)
        described = torch.from_numpy(self._columns.numbers)
        order = list(dict.fromkeys(names))

        def split(model: RooflineTransformer, _: int) -> tuple[Examples, Examples]:
            places = [order.index(name) for name in names]
            every = Examples.of(model.prepare(graphs), logs, hardware=described, groups=places)
            return every.select(learn), every.select(check)

        build = partial(RooflineTransformer, config, self.backend)
        members, recipe = self.config.members, self.config.training
        self._models = train_members(
            members, build, split, recipe, folder=folder, progress=progress, report=report
        )
        self._familiar = Familiarity.of(shown, shown_names, config.vocabulary)
        seen, seen_names = chosen(learn + check, graphs, names)
        self._heads = None
        if self.config.heads:
            states, predicted = network_scores(
                self._models, seen, described, torch.arange(len(columns))
            )
            residuals = logs[learn + check] - predicted
            self._heads = ColumnHeads.of(states, residuals, seen_names, keys)
        held, held_names = chosen(hold, graphs, names)
        errors = logs[hold] - self.log_latency(held, columns)
        self._intervals = LatencyIntervals.of(errors, held_names, keys)

    def set_widths(
        self, residuals: Mapping[str, Array], counts: Mapping[str, int] | None = None
    ) -> None:
        """Tell how wrong predictions are where nothing was measured.

        Args:
            residuals: Quantiles at `calibration.LEVELS` of log(truth) − log(prediction), of each
                `device_group`: `"zero-shot <group>"` of devices that were left out of training,
                `"unfamiliar <group>"` of groups of networks that were left out.
            Narrower groups are those of `intervals.width_names`.
            counts: Name of a group -> devices that were left out.
        """
        self._intervals.counts = dict(counts or {})
        self._intervals.widths = {n: np.asarray(r, np.float64) for n, r in residuals.items()}

    def set_class_models(self, classes: ClassModels | None) -> None:
        """Predict what was not measured by models of classes of processors."""
        self._classes = classes

    @property
    def _latencies(self) -> NetworkColumns:
        """Log-latencies with all that is known by now."""
        return NetworkColumns(
            self._models,
            self._columns,
            self._familiar,
            self._intervals,
            self._heads,
            self._classes,
            self.config.text,
            self.config.similar,
        )

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Natural logarithm of the latency in ms, shape `(graphs, columns)`, without intervals.

        It does not fall as the batch grows (`never_falling`); see `NetworkColumns`.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        self._check_fitted()
        latencies = self._latencies
        return latencies.never_falling(graphs, columns, lambda asked: latencies(graphs, asked))

    def measured_in(self, runtime: str) -> tuple[str, ...]:
        """Names of the devices that were measured in a way, at whatever batch size."""
        way = known_way(runtime)
        if self._classes is None:
            return super().measured_in(replace(way, unit="").text or EAGER)
        # Columns do not name their unit.
        columns = () if way.unit else super().measured_in(runtime)
        return tuple(dict.fromkeys([*columns, *self._classes.measured_in(way)]))

    def learned(self, column: Setting) -> int:
        """See `ManyDevices.learned`."""
        return 0 if self._classes is None else self._classes.learned.get(told_key(column), 0)

    def _read(self, column: Setting) -> tuple[object, ...]:
        if self._classes is not None and self._classes.knows(column):
            return (column,)
        return column.flags

    def _distribution_on(
        self, graphs: Sequence[Graph], column: Setting
    ) -> tuple[Array, Array, Array]:
        latencies = self._latencies
        spreads: dict[str, tuple[Array, Array, Array]] = {}

        def spread(setting: Setting) -> tuple[Array, Array, Array]:
            # Batch sizes that were not measured have the same.
            key = setting.key if self._measured(setting) else ""
            if key not in spreads:
                groups = self.groups(graphs, setting)
                spreads[key] = self._intervals.spread(groups, setting, bool(key))
            return spreads[key]

        def medians(settings: Sequence[Setting]) -> Array:
            middles = np.stack([spread(setting)[1] for setting in settings], axis=1)
            return latencies(graphs, settings) + middles

        shape, _, width = spread(column)
        center = latencies.never_falling(graphs, [column], medians)
        return center, width[:, None], shape[:, None]

    def groups(self, graphs: Sequence[Graph], column: Setting) -> list[str]:
        """For each graph the group of learned networks that it is like, or `""`.

        Groups that were measured on the column come first. Other networks there are predicted by
        the model of the class, as on a device that was not measured.
        """
        assert self._familiar is not None
        own = [""] * len(graphs)
        if self._measured(column):
            own = self._familiar(graphs, self._intervals.groups_on(column.key))
            if all(own) or self._classes is None or not self._classes.knows(column):
                return own
        known = None if self._classes is None else self._classes.are_known(graphs, column)
        if known is None:
            # What counts is whether such networks are known at all.
            others = self._familiar(graphs, self._familiar.names)
        else:
            others = ["measured" if is_known else "" for is_known in known]
        return [group or other for group, other in zip(own, others, strict=True)]

    @torch.inference_mode()
    def explain(
        self,
        graph: Graph,
        hardware: Hardware,
        batch_size: int = 1,
        runtime: str | None = None,
        mean: float | None = None,
    ) -> Parts:
        """Share a predicted latency out among the operators.

        Args:
            graph: A whole network.
            hardware: The device.
            batch_size: Images a forward pass.
            runtime: How it is run, see `setting`.
            mean: The predicted mean in ms, if it is known already.

        Returns:
            Time of each node in ms, shape `(nodes,)`, and the time of no node; together they are
            the predicted mean.
        """
        self._check_fitted()
        column = self.setting(hardware, batch_size, runtime)
        if self._classes is not None and self._classes.explains(column):
            parts = self._classes.parts(graph, column)
        else:
            parts = self._network_parts(graph, column)
        if mean is None:
            mean = float(self.predict([graph], hardware, batch_size, runtime).mean[0, 0])
        scale = mean / (parts.ms.sum() + parts.rest_ms)
        return Parts(parts.ms * scale, parts.rest_ms * scale, parts.bounds)

    def _network_parts(self, graph: Graph, column: Setting) -> Parts:
        """Times of operators as the network has them."""
        models = self._models
        batch = models[0].collate(models[0].prepare([graph]))
        described = torch.from_numpy(column.features(self.config.text)[None])
        places = self._latencies.places([column])
        times = [model.node_times(batch, described, places) for model in models]
        nodes = torch.stack([t for t, _ in times]).mean(0)[:, 0].double().numpy()
        return Parts(nodes, float(torch.stack([o for _, o in times]).mean()))

    def rests_on(self, graphs: Sequence[Graph], column: Setting) -> str:
        """The errors that intervals on a device reflect, in words, for the first network."""
        group = self.groups(graphs[:1], column)[0]
        return self._intervals.rests_on(group, column, self._measured(column))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        assert self._familiar is not None
        classes = {} if self._classes is None else self._classes.tensors()
        return {
            **member_tensors(self._models),
            **joined({"familiar": self._familiar.tensors()}),
            **classes,
            **self._intervals.tensors(),
            **({} if self._heads is None else joined({"heads": self._heads.tensors()})),
            "known": self._columns.numbers,
        }

    def _card(self) -> dict[str, Any]:
        assert self._familiar is not None
        return {
            **super()._card(),
            "columns": [list(p) for p in zip(self._columns.keys, self._columns.texts, strict=True)],
            "architectures": list(self._columns.architectures),
            "residuals": [list(pair) for pair in self._intervals.residuals],
            "groups": self._familiar.names,
            "left_out": self._intervals.counts,
            **({} if self._heads is None else {"heads": [list(p) for p in self._heads.pairs]}),
            **({} if self._classes is None else {"classes": self._classes.described()}),
            **({} if self._classes is None else {"learned": dict(self._classes.learned)}),
            "devices": [
                as_data(hardware)
                for hardware in {
                    c.hardware.name: c.hardware for c in self._columns.settings
                }.values()
            ],
        }

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> NetworkLatency:
        card = _renamed(checkpoint.card)
        predictor = cls(read_config(NetworkLatencyConfig, card["config"]), backend)
        form, network = RooflineTransformerConfig, RooflineTransformer
        config = predictor._load(checkpoint, form, network, calibrated=False)
        pairs = [(str(key), str(text)) for key, text in card["columns"]]
        predictor._columns = MeasuredColumns(
            tuple(key for key, _ in pairs),
            tuple(text for _, text in pairs),
            # Checkpoints of earlier versions do not say.
            tuple(map(str, card.get("architectures", [""] * len(pairs)))),
            checkpoint.tensors["known"],
            settings=_settings_of([key for key, _ in pairs], card.get("devices", ())),
        )
        predictor._intervals = LatencyIntervals.restored(
            checkpoint.tensors["residuals"], card["residuals"], checkpoint.section("widths")
        )
        predictor._intervals.counts = {str(k): int(n) for k, n in card.get("left_out", {}).items()}
        predictor._familiar = Familiarity.restored(
            checkpoint.section("familiar"), card["groups"], config.vocabulary
        )
        if "classes" in card:
            predictor._classes = ClassModels.restored(
                {name: checkpoint.section(f"class {name}") for name in card["classes"]},
                card["classes"],
                # Checkpoints of earlier versions do not say.
                card.get("learned"),
            )
        if card.get("heads"):
            predictor._heads = ColumnHeads.restored(
                checkpoint.section("heads"), card["groups"], card["heads"]
            )
        return predictor


def _renamed(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card in today's words for runtimes; those of earlier versions say "amp nhwc"."""
    renamed = dict(card)
    for name in ("residuals", "heads"):
        renamed[name] = [(group, renamed_key(str(key))) for group, key in card.get(name) or ()]
    renamed["columns"] = [(renamed_key(str(k)), renamed_text(str(t))) for k, t in card["columns"]]
    # A share of launch costs in networks unlike all that were learned, which class models predict.
    renamed["config"] = {name: v for name, v in card["config"].items() if name != "costs"}
    return renamed


def _settings_of(keys: Sequence[str], devices: Sequence[Mapping[str, Any]]) -> tuple[Setting, ...]:
    """Settings of measured columns; empty if the card lacks a device."""
    known = {hardware.name: hardware for hardware in map(hardware_of, devices)}
    parts = [column_parts(key) for key in keys]
    if not known.keys() >= {name for name, _, _ in parts}:
        return ()
    return tuple(Setting.of(known[name], int(n), parse_way(way)) for name, n, way in parts)


def _distinct_keys(columns: Sequence[Setting]) -> list[str]:
    keys = [column.key for column in columns]
    if len(set(keys)) < len(keys):
        raise InputError(f"two columns are {max(keys, key=keys.count)}; merge them")
    return keys
