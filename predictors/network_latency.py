"""Latency of any whole network on any described device, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.calibration import LEVELS
from nasplug.predictors.checkpoint import (
    Checkpoint,
    config_fields,
    load_model,
    restoring,
    save_checkpoint,
)
from nasplug.predictors.column_corrections import ColumnCorrections
from nasplug.predictors.column_heads import ColumnHeads
from nasplug.predictors.device_similarity import mix_similar, similar_columns
from nasplug.predictors.ensemble import member_tensors
from nasplug.predictors.familiarity import Familiarity
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency import DeviceBatch
from nasplug.predictors.latency_intervals import LatencyIntervals
from nasplug.predictors.launch_costs import LaunchCosts
from nasplug.predictors.network_latency_config import (
    NetworkLatencyConfig,
    common_kinds,
    split_groups,
)
from nasplug.predictors.network_scores import network_scores
from nasplug.predictors.prediction import NotFittedError, Prediction
from nasplug.predictors.roofline_transformer import RooflineTransformer, RooflineTransformerConfig
from nasplug.predictors.settings import (
    NUMBERS,
    TEXT,
    Setting,
    describe,
    fingerprint,
    parse_runtime,
)
from nasplug.predictors.training import Examples, TrainingConfig, TrainingResult, train
from nasplug.search_spaces import Graph, InputError

__all__ = ["NetworkLatency", "NetworkLatencyConfig"]

Array = NDArray[np.float64]

# The first numbers of a column's description: operations and bytes a ms, images, bytes a number.
RATES = 4


class NetworkLatency:
    """Latency of whole networks on devices: a sum over operators (see `RooflineTransformer`).

    A prediction for a device and batch size that was measured, and a network like those measured
    there, has the residuals of held-out ones. For a network unlike them, and for a device that was
    not measured, there are the residuals of left-out groups and devices (`set_widths`).
    """

    kind = "latency"
    targets = ("latency",)
    # Any network of ONNX operators, of whatever space.
    whole_networks = True

    def __init__(self, config: NetworkLatencyConfig | None = None, backend: str = "auto") -> None:
        self.config = config or NetworkLatencyConfig()
        self.backend = backend
        self._models: list[RooflineTransformer] = []
        self._columns: tuple[tuple[str, str], ...] = ()
        # The columns as the network reads them.
        self._known = np.zeros((0, 0), dtype=np.float32)
        self._familiar: Familiarity | None = None
        self._corrections: ColumnCorrections | None = None
        self._intervals = LatencyIntervals()

    @property
    def devices(self) -> tuple[str, ...]:
        """Keys of the measured columns, `name@batch` or `name@batch runtime`."""
        return tuple(key for key, _ in self._columns)

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[DeviceBatch] | None = None,
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
        self._columns = tuple((c.key, fingerprint(c)) for c in columns)
        self._known = described.numpy()
        models = []
        for member in range(self.config.members):
            recipe = replace(self.config.training, seed=self.config.training.seed + member)
            with torch.random.fork_rng():
                torch.manual_seed(recipe.seed)
                model = RooflineTransformer(config, self.backend)
            every = Examples(
                model.prepare(graphs),
                torch.tensor(logs, dtype=torch.float32),
                torch.ones(len(graphs)),
                described,
                torch.tensor([order[name] for name in names]),
            )
            place = None if folder is None else Path(folder, f"member-{member}")
            result = train(
                model,
                every.select(learn),
                every.select(check),
                recipe,
                folder=place,
                progress=progress,
            )
            if report is not None:
                report(result)
            models.append(model)
        self._models = models
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
        models = self._fitted()
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

    def _fitted(self) -> list[RooflineTransformer]:
        if not self._models:
            raise NotFittedError("this predictor has learned nothing yet; call fit or load one")
        return self._models

    def _described(self, columns: Sequence[DeviceBatch]) -> torch.Tensor:
        return torch.from_numpy(np.stack([describe(c, self.config.text) for c in columns]))

    def _places(self, columns: Sequence[DeviceBatch]) -> torch.Tensor:
        """Where the network finds its learned vectors of columns."""
        known = {column: k for k, column in enumerate(self._columns)}
        devices = {text.split("|")[0] for _, text in self._columns}
        model = self._fitted()[0]
        places = []
        for column in columns:
            own = column.key, fingerprint(column)
            if own in known:
                places.append(known[own])
            elif own[1].split("|")[0] in devices:
                places.append(model.device_place(column.hardware.name))
            else:
                # A user's own entry under a known name is another device.
                places.append(-1)
        return torch.tensor(places, dtype=torch.long)

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[DeviceBatch]) -> Array:
        """Natural logarithm of the latency in ms, shape `(graphs, columns)`, without intervals.

        A column that was not measured is what the network says of its description, averaged with
        what the measured columns that are like it say (`device_similarity`).

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        self._fitted()
        places = self._places(columns).tolist()
        unknown = {k: describe(columns[k], False) for k, place in enumerate(places) if place < 0}
        similar, alike = similar_columns(unknown, self._known, self.config.similar)
        # Measured columns that are asked for, and those that an unknown one is like, come once.
        needed = sorted({place for place in places if place >= 0} | alike)
        asked = [k for k, place in enumerate(places) if place < 0]
        described = [describe(columns[k], self.config.text) for k in asked]
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
        return result

    def setting(
        self, hardware: Hardware, batch_size: int = 1, runtime: str | None = None
    ) -> Setting:
        """The setting that is meant by a device, a batch size, and one of `RUNTIMES`.

        Without one the usual runtime, unless the device was measured at this batch size in another
        one only.

        Raises:
            InputError: If the runtime is unknown.
        """
        if runtime is not None:
            return Setting(hardware, batch_size, parse_runtime(runtime))
        usual = Setting(hardware, batch_size)
        if usual.key in self.devices:
            return usual
        for key, text in self._columns:
            start, _, runtime = key.partition(f"{usual.key} ")
            other = Setting(hardware, batch_size, runtime)
            if not start and runtime and text == fingerprint(other):
                return other
        return usual

    def measured_in(self, runtime: str) -> tuple[str, ...]:
        """Names of the devices that were measured in one of `RUNTIMES`, at whatever batch size."""
        wanted = parse_runtime(runtime)
        keys = [key.partition("@") for key, _ in self._columns]
        return tuple(
            dict.fromkeys(name for name, _, rest in keys if rest.partition(" ")[2] == wanted)
        )

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
        center = self.log_latency(graphs, [column])[:, 0]
        groups = self.groups(graphs, column)
        known = self._measured(column)
        shape, middle, width = self._intervals.spread(groups, column, known)
        return Prediction(
            self.targets,
            ("ms",),
            (center + middle)[:, None],
            width[:, None],
            LEVELS,
            shape[:, None],
            (True,),
            evidence="measured" if known else "zero-shot",
        )

    def groups(self, graphs: Sequence[Graph], column: DeviceBatch) -> list[str]:
        """For each graph the group of networks measured on a column that it is like, or `""`."""
        assert self._familiar is not None
        measured = self._intervals.groups_on(column.key)
        if not self._measured(column):
            # The device is unknown: what counts is whether such networks are known at all.
            measured = self._familiar.names
        return self._familiar(graphs, measured)

    def _measured(self, column: DeviceBatch) -> bool:
        return (column.key, fingerprint(column)) in self._columns

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
        models = self._fitted()
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

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write `<path>.safetensors` and its card; `about` is added to the card."""
        models = self._fitted()
        assert self._familiar is not None
        tensors: dict[str, NDArray[Any]] = member_tensors(models)
        tensors |= {f"familiar.{name}": value for name, value in self._familiar.tensors().items()}
        tensors |= self._intervals.tensors()
        if self._corrections is not None:
            tensors |= self._corrections.tensors()
        tensors["known"] = self._known
        card = {
            "predictor": "network-latency",
            "config": asdict(self.config),
            "model": asdict(models[0].config),
            "columns": [list(column) for column in self._columns],
            "residuals": [list(pair) for pair in self._intervals.residuals],
            "groups": self._familiar.names,
            **({} if self._corrections is None else self._corrections.described()),
            **(about or {}),
        }
        save_checkpoint(path, tensors, card)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, backend: str = "auto") -> NetworkLatency:
        """The predictor that a checkpoint holds.

        Raises:
            InputError: If the card or the weights do not fit this class.
        """
        card = checkpoint.card
        with restoring("a latency predictor"):
            stored = dict(card["config"])
            training = TrainingConfig(**stored.pop("training"))
            predictor = cls(NetworkLatencyConfig(**stored, training=training), backend)
            config = RooflineTransformerConfig(**config_fields(card["model"]))
            for member in range(predictor.config.members):
                weights = checkpoint.section(f"model-{member}")
                build = partial(RooflineTransformer, config, backend)
                predictor._models.append(load_model(build, weights))
            predictor._columns = tuple((str(a), str(b)) for a, b in card["columns"])
            predictor._known = checkpoint.tensors["known"]
            predictor._intervals = LatencyIntervals.restored(
                checkpoint.tensors["residuals"], card["residuals"], checkpoint.section("widths")
            )
            predictor._familiar = Familiarity.restored(
                checkpoint.section("familiar"), card["groups"], config.vocabulary
            )
            if card.get("heads"):
                predictor._corrections = ColumnCorrections.restored(
                    checkpoint.section("heads"),
                    checkpoint.section("costs"),
                    card,
                    predictor.config.costs,
                )
        return predictor
