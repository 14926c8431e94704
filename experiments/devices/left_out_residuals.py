"""Measurements beside what the models of classes say of devices that they never saw.

Chips of a class are split into parts; each part is predicted by a model that learned the others,
with at most `LEARNED` measurements. GPUs are read from latency/gpu_rows.py, CPUs from
latency/cpu_data.py, and other processors from the package's table. Kept in runs/.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common import RUNS, Array
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.measurements.graphs import graph_of
from nasplug.measurements.settings import learning_rows
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.calibrated_networks import processor_class
from nasplug.predictors.latency.departure_learning import DeviceResiduals
from nasplug.predictors.latency.departure_process import Located
from nasplug.predictors.latency.network_features import network_features
from nasplug.search_spaces import Graph

__all__ = ["CLASSES", "Residuals", "left_out_residuals"]

CLASSES = ("gpu", "cpu", "other")
PARTS, LEARNED = 8, 3500
# Measurements of each source, setting and package of networks.
OF_FORM = 40
Texts = NDArray[np.str_]


class Residuals(NamedTuple):
    """Measurements of a class, `(n,)` each, and features of the networks, `(n, features)`."""

    reference: Texts
    family: Texts
    device: Texts
    way: Texts
    part: NDArray[np.int64]
    logs: Array
    promised: Array
    features: Array

    @property
    def residuals(self) -> Array:
        """Log of measured over promised ms."""
        return self.logs - self.promised

    def located(self, places: Sequence[int] | NDArray[Any]) -> Located:
        """Some of the networks."""
        ways = [tuple(text.split("|")) for text in self.way[list(places)].tolist()]
        return Located(self.features[list(places)], ways)

    def devices(self, chosen: NDArray[np.bool_]) -> list[DeviceResiduals]:
        """Residuals of each device, of the chosen measurements."""
        places = [np.flatnonzero(chosen & (self.device == d)) for d in np.unique(self.device)]
        return [
            DeviceResiduals(self.located(rows), self.residuals[rows])
            for rows in places
            if len(rows) > 2
        ]


class _Rows(NamedTuple):
    """Measurements of a class, and functions that fit a model and predict with it."""

    references: list[str]
    graphs: list[Graph]
    settings: list[Setting]
    ms: Array
    sources: list[str]
    chips: list[str]
    fit: Callable[[list[int]], Any]
    predict: Callable[[Any, list[int]], Array]


def left_out_residuals(name: str) -> Residuals:
    """Measurements of a class of processors; made anew if they are not in runs/."""
    path = RUNS / f"left_out_residuals_{name}.npz"
    if not path.exists():
        RUNS.mkdir(exist_ok=True)
        np.savez_compressed(path, **_made(name)._asdict())  # type: ignore[arg-type]
    with np.load(path) as stored:
        return Residuals(**{field: stored[field] for field in Residuals._fields})


def _made(name: str) -> Residuals:
    rows = {"gpu": _gpus, "cpu": _cpus, "other": _others}[name]()
    rng = np.random.default_rng(0)
    chips = sorted(set(rows.chips))
    parts = dict(zip(rng.permutation(chips).tolist(), np.arange(len(chips)) % PARTS, strict=True))
    part = np.array([parts[chip] for chip in rows.chips])
    promised = np.empty(len(part))
    for k in range(PARTS):
        learned = rng.permutation(np.flatnonzero(part != k))[:LEARNED]
        judged = np.flatnonzero(part == k).tolist()
        promised[judged] = rows.predict(rows.fit(sorted(learned.tolist())), judged)
        errors = np.abs(np.expm1(promised[judged] - np.log(rows.ms[judged])))
        print(name, k, len(judged), f"{100 * np.median(errors):.1f} %", file=sys.stderr)
    networks = shipped_network_graphs()
    return Residuals(
        np.array(rows.references),
        np.array([_family(networks, reference) for reference in rows.references]),
        np.array([setting.hardware.name for setting in rows.settings]),
        np.array([_way(s, who) for s, who in zip(rows.settings, rows.sources, strict=True)]),
        part,
        np.log(rows.ms),
        promised,
        network_features(rows.graphs, rows.settings),
    )


def _family(networks: Any, reference: str) -> str:
    if reference in networks:
        return str(networks.families[networks.references.index(reference)])
    return reference.partition(":")[0]


def _way(setting: Setting, source: str) -> str:
    processor = f"{setting.unit} {setting.threads}"
    return "|".join((setting.runtime, setting.precision, processor, source.partition("@")[0]))


def _thinned(keys: Sequence[Any]) -> list[int]:
    """At most `OF_FORM` places of each key, drawn at random."""
    counts: Counter[Any] = Counter()
    kept = []
    for k in np.random.default_rng(0).permutation(len(keys)).tolist():
        counts[keys[k]] += 1
        if counts[keys[k]] <= OF_FORM:
            kept.append(k)
    return sorted(kept)


def _gpus() -> _Rows:
    from experiments.latency.gpu_rows import gpu_rows
    from nasplug.predictors.latency.fused_roofline import FusedRoofline

    every = gpu_rows()
    rows = [every[k] for k in _thinned([(row.form, row.column.batch_size) for row in every])]
    graphs, columns = [row.graph for row in rows], [row.column for row in rows]
    ms, scripts = np.array([row.ms for row in rows]), [row.script for row in rows]

    def fit(places: list[int]) -> FusedRoofline:
        chosen = ([values[k] for k in places] for values in (graphs, columns))
        return FusedRoofline.of(*chosen, ms[places], [scripts[k] for k in places])

    def predict(model: FusedRoofline, places: list[int]) -> Array:
        chosen = ([values[k] for k in places] for values in (graphs, columns, scripts))
        return model.log_latency(*chosen)

    names, chips = [row.reference for row in rows], [row.chip for row in rows]
    return _Rows(names, graphs, columns, ms, [row.source for row in rows], chips, fit, predict)


def _cpus() -> _Rows:
    from experiments.latency.cpu_data import cpu_graphs, cpu_measurements
    from nasplug.predictors.latency.cpu_roofline import CpuRoofline

    every, known = cpu_measurements(), cpu_graphs()
    keys = [(r.source, r.column.key, r.reference.partition(":")[0]) for r in every]
    rows = [every[k] for k in _thinned(keys)]
    graphs, columns = [known[row.reference] for row in rows], [row.column for row in rows]
    ms, sources = np.array([row.ms for row in rows]), [row.source for row in rows]
    weights = np.array([row.weight for row in rows])

    def fit(places: list[int]) -> CpuRoofline:
        chosen = ([values[k] for k in places] for values in (graphs, columns))
        return CpuRoofline.of(*chosen, ms[places], [sources[k] for k in places], weights[places])

    def predict(model: CpuRoofline, places: list[int]) -> Array:
        return model.log_latency([graphs[k] for k in places], [columns[k] for k in places])

    names, chips = [row.reference for row in rows], [row.chip for row in rows]
    return _Rows(names, graphs, columns, ms, sources, chips, fit, predict)


def _others() -> _Rows:
    from nasplug.predictors.latency.npu_roofline import NpuRoofline

    table = learning_rows(units=["gpu", "npu"], kinds=["network"], most=OF_FORM)
    every = [table.settings[k] for k in table.setting]
    rows = [k for k, setting in enumerate(every) if processor_class(setting) == "other"]
    names = [table.references[table.graph[k]] for k in rows]
    known = {name: graph_of(name) for name in dict.fromkeys(names)}
    graphs, columns = [known[name] for name in names], [every[k] for k in rows]
    ms, sources = table.ms[rows], [table.sources[table.source[k]] for k in rows]

    def fit(places: list[int]) -> NpuRoofline:
        chosen = ([values[k] for k in places] for values in (graphs, columns))
        return NpuRoofline.of(*chosen, ms[places], [sources[k] for k in places])

    def predict(model: NpuRoofline, places: list[int]) -> Array:
        chosen = ([values[k] for k in places] for values in (graphs, columns, sources))
        return model.log_latency(*chosen)

    chips = [column.hardware.name for column in columns]
    return _Rows(names, graphs, columns, ms, sources, chips, fit, predict)
