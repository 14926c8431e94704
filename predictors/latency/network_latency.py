"""Latency of any whole network on any described device, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, joined, read_config
from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.features.roofline import roofline_ms
from nasplug.predictors.features.settings import (
    NUMBERS,
    TEXT,
    Setting,
    alike_runtimes,
    parse_runtime,
    usual_runtime,
)
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.batch_growth import never_falling
from nasplug.predictors.latency.column_heads import ColumnHeads
from nasplug.predictors.latency.corrections import ColumnCorrections
from nasplug.predictors.latency.device_similarity import mix_similar, similar_columns
from nasplug.predictors.latency.gpu_roofline import GpuRoofline, gpu_setting
from nasplug.predictors.latency.intervals import LatencyIntervals
from nasplug.predictors.latency.launch_costs import LaunchCosts
from nasplug.predictors.latency.network_latency_config import (
    NetworkLatencyConfig,
    common_kinds,
    split_groups,
)
from nasplug.predictors.latency.network_scores import network_scores
from nasplug.predictors.models.roofline_transformer import (
    SMALLEST_MS,
    RooflineTransformer,
    RooflineTransformerConfig,
)
from nasplug.predictors.prediction import Prediction
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.predictors.training.config import Examples, TrainingResult
from nasplug.predictors.training.ensemble import member_tensors, train_members
from nasplug.predictors.training.ensemble_predictor import EnsemblePredictor
from nasplug.search_spaces import Graph, InputError

__all__ = ["NetworkLatency", "NetworkLatencyConfig"]

Array = NDArray[np.float64]

# The first numbers of a column's description: operations and bytes a ms, images, bytes a number.
RATES = 4


class NetworkLatency(EnsemblePredictor):
    """Latency of whole networks on devices: a sum over operators (see `RooflineTransformer`).

    A prediction for a device and batch size that was measured, and a network like those measured
    there, has the residuals of held-out ones. For a network unlike them, and for a device that was
    not measured, there are the residuals of left-out groups and devices (`set_widths`).
    """

    kind = "latency"
    name = "network-latency"
    noun = "a latency predictor"
    targets = ("latency",)
    # Any network of ONNX operators, of whatever space.
    whole_networks = True

    def __init__(self, config: NetworkLatencyConfig | None = None, backend: str = "auto") -> None:
        super().__init__(config or NetworkLatencyConfig(), backend)
        self._columns: tuple[tuple[str, str], ...] = ()
        # The columns as the network reads them.
        self._known = np.zeros((0, 0), dtype=np.float32)
        self._architectures: tuple[str, ...] = ()
        self._familiar: Familiarity | None = None
        self._corrections: ColumnCorrections | None = None
        self._gpus: GpuRoofline | None = None
        self._intervals = LatencyIntervals()

    @property
    def devices(self) -> tuple[str, ...]:
        """Keys of the measured columns, `name@batch` or `name@batch runtime`."""
        return tuple(key for key, _ in self._columns)

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
            folder: Where members keep their training state to be resumed.
            progress: Whether to show progress bars.
            report: Called with each member's training result.

        Raises:
            InputError: If shapes do not fit, two columns have one key, or there are too few graphs.
        """
        columns = list(hardware or ())
        values = np.asarray(targets, dtype=np.float64)
        if not columns or values.shape != (len(graphs), len(columns)):
            raise InputError(
                f"latencies have shape {values.shape}, expected ({len(graphs)}, {len(columns)}): "
                "a row a graph and a column a device"
            )
        keys = [column.key for column in columns]
        if len(set(keys)) < len(keys):
            raise InputError(f"two columns are {max(keys, key=keys.count)}; join them")
        names = list(groups) if groups is not None else ["all"] * len(graphs)
        with np.errstate(invalid="ignore"):
            logs = np.where(values >= self.config.smallest_ms, np.log(values), np.nan)
        learn, check, hold = split_groups(names, self.config)
        if min(len(learn), len(check), len(hold)) == 0:
            raise InputError(f"{len(graphs)} graphs are too few to train and calibrate on")
        config = RooflineTransformerConfig(
            vocabulary=common_kinds([graphs[k] for k in learn]),
            devices=tuple(column.hardware.name for column in columns),
            text=TEXT if self.config.text else 0,
            numbers=NUMBERS,
            **self.config.options,
        )
        described = self._described(columns)
        order = {name: k for k, name in enumerate(dict.fromkeys(names))}
        self._columns = tuple((c.key, c.fingerprint) for c in columns)
        self._architectures = tuple(column.hardware.microarchitecture for column in columns)
        self._known = described.numpy()

        def split(model: RooflineTransformer, _: int) -> tuple[Examples, Examples]:
            every = Examples(
                model.prepare(graphs),
                torch.tensor(logs, dtype=torch.float32),
                torch.ones(len(graphs)),
                described,
                torch.tensor([order[name] for name in names]),
            )
            return every.select(learn), every.select(check)

        models = self._models = train_members(
            self.config.members,
            lambda: RooflineTransformer(config, self.backend),
            split,
            self.config.training,
            folder=folder,
            progress=progress,
            report=report,
        )
        self._familiar = Familiarity.of(
            [graphs[k] for k in learn], [names[k] for k in learn], models[0].config.vocabulary
        )
        self._corrections = None
        if self.config.heads:
            seen = learn + check
            shown = [graphs[k] for k in seen], np.exp(logs[seen]), [names[k] for k in seen]
            self._corrections = self._corrected(*shown)
        rest = [graphs[k] for k in hold]
        errors = logs[hold] - self.log_latency(rest, columns)
        self._intervals = LatencyIntervals.of(errors, [names[k] for k in hold], keys)

    def _corrected(
        self, graphs: Sequence[Graph], latencies: Array, groups: Sequence[str]
    ) -> ColumnCorrections:
        """The corrections that networks that were learned call for."""
        models = self._models
        states, said = network_scores(
            models, graphs, torch.from_numpy(self._known), torch.arange(len(self._known))
        )
        heads = ColumnHeads.of(states, np.log(latencies) - said, groups, self.devices)
        costs = None
        if self.config.costs:
            rates = self._known[:, :RATES]
            kinds = models[0].config.vocabulary
            costs = LaunchCosts.of(graphs, latencies, groups, self.devices, rates, kinds)
        return ColumnCorrections(heads, costs, self.config.costs)

    def set_widths(self, residuals: Mapping[str, Array]) -> None:
        """Tell how wrong predictions are where nothing was measured.

        Args:
            residuals: Quantiles at `calibration.LEVELS` of log(truth) − log(prediction), of each
                `device_group`: `"zero-shot <group>"` of devices that were left out of training,
                `"unfamiliar <group>"` of groups of networks that were left out.
        """
        self._intervals.widths = {n: np.asarray(r, np.float64) for n, r in residuals.items()}

    def set_gpu_roofline(self, gpus: GpuRoofline | None) -> None:
        """Tell what has a share in predictions for GPUs and settings that were not measured.

        Args:
            gpus: Learned from measurements of GPUs, with any number of networks each.
        """
        self._gpus = gpus

    def _described(self, columns: Sequence[Setting]) -> torch.Tensor:
        return torch.from_numpy(np.stack([c.features(self.config.text) for c in columns]))

    def _places(self, columns: Sequence[Setting]) -> torch.Tensor:
        """Where the network finds its learned vectors of columns."""
        known = {column: k for k, column in enumerate(self._columns)}
        devices = {text.split("|")[0] for _, text in self._columns}
        model = self._models[0]
        places = []
        for column in columns:
            own = column.key, column.fingerprint
            if own in known:
                places.append(known[own])
            elif own[1].split("|")[0] in devices:
                places.append(model.device_place(column.hardware.name))
            else:
                # A user's own entry under a known name is another device.
                places.append(-1)
        return torch.tensor(places, dtype=torch.long)

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Natural logarithm of the latency in ms, shape `(graphs, columns)`, without intervals.

        It does not fall as the batch grows (`never_falling`). A column that was not measured is
        what the network says of its description, averaged with what the measured columns that are
        like it say (`device_similarity`). On a GPU that is so for networks whose kind was measured
        on such columns; others are what `GpuRoofline` says.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        self._check_fitted()
        return never_falling(
            columns,
            self._measured_batches,
            lambda asked: self._log_latency(graphs, asked),
            lambda asked: _least(graphs, asked),
        )

    def _log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        places = self._places(columns).tolist()
        unknown = {k: columns[k].features(False) for k, place in enumerate(places) if place < 0}
        own_architectures = {k: columns[k].hardware.microarchitecture for k in unknown}
        similar, alike = similar_columns(
            unknown, self._known, self.config.similar, own_architectures, self._architectures
        )
        # Measured columns that are asked for, and those that an unknown one is like, come once.
        needed = sorted({place for place in places if place >= 0} | alike)
        asked = [k for k, place in enumerate(places) if place < 0]
        described = [columns[k].features(self.config.text) for k in asked]
        described += [self._known[place] for place in needed]
        states, said = network_scores(
            self._models,
            graphs,
            torch.from_numpy(np.stack(described)),
            torch.tensor([places[k] for k in asked] + needed, dtype=torch.long),
        )
        measured = said[:, len(asked) :]
        if self._corrections is not None:
            assert self._familiar is not None
            own = [(self._columns[place][0], self._known[place, :RATES]) for place in needed]
            self._corrections(graphs, states, measured, own, self._familiar)
        result = np.empty((len(graphs), len(columns)))
        result[:, asked] = said[:, : len(asked)]
        for k, place in enumerate(places):
            if place >= 0:
                result[:, k] = measured[:, needed.index(place)]
        mix_similar(result, similar, measured, needed)
        gpus = [k for k in asked if compute_class(columns[k].hardware) == "gpu"]
        if self._gpus is not None and gpus:
            said = self._gpus.log_latency(graphs, [columns[k] for k in gpus])
            familiar = self._familiar
            assert familiar is not None
            # Batch sizes of one device mostly ask among the same kinds.
            told = cache(lambda among: familiar(graphs, among))
            weights = [similar[k].weights if k in similar else np.zeros(0) for k in gpus]
            share = [
                self._known_elsewhere(told, columns[k], own)
                for k, own in zip(gpus, weights, strict=True)
            ]
            result[:, gpus] = said + np.stack(share, axis=1) * (result[:, gpus] - said)
        return result

    def _known_elsewhere(
        self,
        familiar: Callable[[tuple[str, ...]], list[str]],
        column: Setting,
        weights: Array,
    ) -> Array:
        """Tell how much similar GPUs say of networks on one that was not measured.

        Args:
            familiar: Names the kind of each network among some kinds.
            column: The GPU, and how they are run.
            weights: Of the measured columns, summing to one.

        Returns:
            Twice the weight, at most 1, of those on which networks of each one's kind were run in
            the same way, other than the kinds that `GpuRoofline` has learned; shape `(graphs,)`.
        """
        assert self._gpus is not None
        way = column.is_half, gpu_setting(column)
        kinds: list[tuple[float, set[str]]] = []
        for place in np.flatnonzero(weights):
            key = self._columns[place][0]
            other = Setting(column.hardware, 1, key.partition("@")[2].partition(" ")[2])
            if (other.is_half, gpu_setting(other)) == way:
                own = set(self._intervals.groups_on(key)) - set(self._gpus.groups)
                kinds.append((float(weights[place]), own))
        names = familiar(tuple(sorted(set().union(*(own for _, own in kinds)))))
        found = [sum(weight for weight, own in kinds if name in own) for name in names]
        return np.minimum(2 * np.array(found), 1.0)

    def _measured_batches(self, column: Setting) -> list[int]:
        """Batch sizes at which a column's device was measured in its runtime."""
        settings = self._measured_settings(column.hardware)
        return [batch for batch, runtime in settings if runtime == column.runtime]

    def _measured_settings(self, hardware: Hardware) -> list[tuple[int, str]]:
        """Batch sizes and runtimes that a device was measured in."""
        device = Setting(hardware).fingerprint.split("|")[0]
        found = []
        for key, text in self._columns:
            own, _, setting = text.partition("|")
            batch, _, runtime = setting.partition(" ")
            if own == device and key.startswith(f"{hardware.name}@"):
                found.append((int(batch), runtime))
        return found

    def setting(
        self, hardware: Hardware, batch_size: int = 1, runtime: str | None = None
    ) -> Setting:
        """The setting that is meant by a device, a batch size, and one of `RUNTIMES`.

        Without one the device's usual runtime (`usual_runtime`), the same at all batch sizes.

        Raises:
            InputError: If the runtime is unknown.
        """
        if runtime is not None:
            return Setting(hardware, batch_size, parse_runtime(runtime))
        known = [name for _, name in self._measured_settings(hardware)]
        return Setting(hardware, batch_size, usual_runtime(hardware, known))

    def measured_in(self, runtime: str) -> tuple[str, ...]:
        """Names of the devices that were measured in one of `RUNTIMES`, at whatever batch size."""
        wanted = parse_runtime(runtime)
        keys = [key.partition("@") for key, _ in self._columns]
        names = [name for name, _, rest in keys if rest.partition(" ")[2] == wanted]
        gpus = () if self._gpus is None else self._gpus.devices.get(wanted, ())
        return tuple(dict.fromkeys([*names, *gpus]))

    def alike(self, hardware: Hardware, batch_size: int, runtime: str) -> tuple[str, ...]:
        """Other `RUNTIMES` that get the same prediction (`settings.alike_runtimes`)."""

        def way(column: Setting) -> tuple[object, ...]:
            chip = self._gpus is not None and compute_class(column.hardware) == "gpu"
            return column.way, gpu_setting(column) if chip else None

        return alike_runtimes(self.setting(hardware, batch_size, runtime), self._measured, way)

    def predict(
        self,
        graphs: Sequence[Graph],
        hardware: Hardware | None = None,
        batch_size: int = 1,
        runtime: str | None = None,
    ) -> Prediction:
        """Predict latency in ms.

        Args:
            graphs: Any number of whole networks.
            hardware: The device; required.
            batch_size: Images a forward pass.
            runtime: How the networks are run, see `setting`.

        Returns:
            One column; its evidence is `"measured"` if the device was measured at this batch size,
            else `"zero-shot"`. Networks unlike those measured have wider intervals.

        Raises:
            InputError: If no device is given, the batch size is out of range, or the runtime is
                unknown.
            NotFittedError: If nothing was learned or loaded.
        """
        if hardware is None:
            raise InputError("a latency needs a device; name one as hardware")
        column = self.setting(hardware, batch_size, runtime)
        self._check_fitted()
        spreads: dict[str, tuple[Array, Array, Array]] = {}

        def spread(one: Setting) -> tuple[Array, Array, Array]:
            # Batch sizes that were not measured have the same.
            key = one.key if self._measured(one) else ""
            if key not in spreads:
                groups = self.groups(graphs, one)
                spreads[key] = self._intervals.spread(groups, one, bool(key))
            return spreads[key]

        def medians(asked: Sequence[Setting]) -> Array:
            middles = np.stack([spread(one)[1] for one in asked], axis=1)
            return self._log_latency(graphs, asked) + middles

        known = self._measured(column)
        shape, _, width = spread(column)
        center = never_falling(
            [column], self._measured_batches, medians, lambda asked: _least(graphs, asked)
        )
        evidence = "measured" if known else "zero-shot"
        return self._prediction(center, width[:, None], shape[:, None], evidence)

    def groups(self, graphs: Sequence[Graph], column: Setting) -> list[str]:
        """For each graph the group of networks measured on a column that it is like, or `""`."""
        assert self._familiar is not None
        measured = self._intervals.groups_on(column.key)
        if not self._measured(column):
            # The device is unknown: what counts is whether such networks are known at all.
            measured = self._familiar.names
        return self._familiar(graphs, measured)

    def _measured(self, column: Setting) -> bool:
        return (column.key, column.fingerprint) in self._columns

    @torch.inference_mode()
    def explain(
        self,
        graph: Graph,
        hardware: Hardware,
        batch_size: int = 1,
        runtime: str | None = None,
        mean: float | None = None,
    ) -> tuple[Array, float]:
        """How the predicted latency is made up.

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
        models = self._models
        column = self.setting(hardware, batch_size, runtime)
        batch = models[0].collate(models[0].prepare([graph]))
        described, places = self._described([column]), self._places([column])
        times = [model.node_times(batch, described, places) for model in models]
        nodes = torch.stack([t for t, _ in times]).mean(0)[:, 0].double().numpy()
        rest = float(torch.stack([o for _, o in times]).mean())
        if mean is None:
            mean = float(self.predict([graph], hardware, batch_size, runtime).mean[0, 0])
        scale = mean / (nodes.sum() + rest)
        return nodes * scale, rest * scale

    def _arrays(self) -> dict[str, NDArray[Any]]:
        assert self._familiar is not None
        gpus = {} if self._gpus is None else self._gpus.tensors()
        return {
            **member_tensors(self._models),
            **joined({"familiar": self._familiar.tensors(), "gpus": gpus}),
            **self._intervals.tensors(),
            **({} if self._corrections is None else self._corrections.tensors()),
            "known": self._known,
        }

    def _card(self) -> dict[str, Any]:
        assert self._familiar is not None
        return {
            **super()._card(),
            "columns": [list(column) for column in self._columns],
            "architectures": list(self._architectures),
            "residuals": [list(pair) for pair in self._intervals.residuals],
            "groups": self._familiar.names,
            **({} if self._corrections is None else self._corrections.described()),
            **({} if self._gpus is None else {"gpus": self._gpus.described()}),
        }

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> NetworkLatency:
        card = checkpoint.card
        predictor = cls(read_config(NetworkLatencyConfig, card["config"]), backend)
        config = read_config(RooflineTransformerConfig, card["model"])
        build = partial(RooflineTransformer, config, backend)
        predictor._load(checkpoint, build, calibrated=False)
        predictor._columns = tuple((str(a), str(b)) for a, b in card["columns"])
        # Checkpoints of earlier versions do not say.
        architectures = card.get("architectures", [""] * len(predictor._columns))
        predictor._architectures = tuple(map(str, architectures))
        predictor._known = checkpoint.tensors["known"]
        predictor._intervals = LatencyIntervals.restored(
            checkpoint.tensors["residuals"], card["residuals"], checkpoint.section("widths")
        )
        predictor._familiar = Familiarity.restored(
            checkpoint.section("familiar"), card["groups"], config.vocabulary
        )
        if "gpus" in card:
            predictor._gpus = GpuRoofline.restored(checkpoint.section("gpus"), **card["gpus"])
        if card.get("heads"):
            predictor._corrections = ColumnCorrections.restored(
                checkpoint.section("heads"),
                checkpoint.section("costs"),
                card,
                predictor.config.costs,
            )
        return predictor


def _least(graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
    """Logarithm of ms by the roofline, `(graphs, columns)`; none on GPUs, whose engines fuse."""
    result = np.full((len(graphs), len(columns)), -np.inf)
    for k, column in enumerate(columns):
        if compute_class(column.hardware) != "gpu":
            rates = column.hardware, column.batch_size, column.is_half
            sums = [roofline_ms(graph, *rates).sum() for graph in graphs]
            result[:, k] = np.log(np.maximum(sums, SMALLEST_MS))
    return result
