"""Measurements beside what the models of classes say of devices that they never saw.

Chips of a class are split into parts; each part is predicted by a model that learned the others,
with at most `LEARNED` measurements of networks. Measurements and fits are those of
zoo/train_class_models.py; predictions are for a source that nobody knows, as a user's machine is.
Kept in runs/.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common import RUNS, Array
from experiments.zoo import train_class_models
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.departure_learning import DeviceResiduals
from nasplug.predictors.latency.departure_process import Located
from nasplug.predictors.latency.fused_terms import Script
from nasplug.predictors.latency.network_features import network_features

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


def left_out_residuals(name: str) -> Residuals:
    """Measurements of a class of processors; made anew if they are not in runs/."""
    path = RUNS / f"left_out_residuals_{name}.npz"
    if not path.exists():
        RUNS.mkdir(exist_ok=True)
        np.savez_compressed(path, **_made(name)._asdict())  # type: ignore[arg-type]
    with np.load(path) as stored:
        return Residuals(**{field: stored[field] for field in Residuals._fields})


def _made(name: str) -> Residuals:
    learned = train_class_models.CLASSES[name]
    every = learned.rows()
    about = zip(every.references, every.columns, every.sources, strict=True)
    ways = [_way(column, source) for _, column, source in about]
    keys = [
        (column.key, way, reference.partition(":")[0])
        for reference, column, way in zip(every.references, every.columns, ways, strict=True)
    ]
    places = np.array(_thinned(keys))
    rows, more = every.take(places), learned.more() if learned.more else None
    rng = np.random.default_rng(0)
    chips = sorted(set(rows.chips))
    parts = dict(zip(rng.permutation(chips).tolist(), np.arange(len(chips)) % PARTS, strict=True))
    part = np.array([parts[chip] for chip in rows.chips])
    promised = np.empty(len(part))
    for k in range(PARTS):
        known = np.sort(rng.permutation(np.flatnonzero(part != k))[:LEARNED])
        own = np.flatnonzero(part == k)
        beside = None
        if more is not None:
            beside = more.take(np.flatnonzero([parts.get(chip) != k for chip in more.chips]))
        model, judged = learned.fit(rows.take(known), beside), rows.take(own)
        sources = learned.unnamed(judged.sources)
        promised[own] = model.log_latency(judged.graphs, judged.columns, sources)
        errors = np.abs(np.expm1(promised[own] - np.log(judged.ms)))
        print(name, k, len(own), f"{100 * np.median(errors):.1f} %", file=sys.stderr, flush=True)
    return Residuals(
        np.array(rows.references),
        np.array([train_class_models.family_of(reference) for reference in rows.references]),
        np.array([column.hardware.name for column in rows.columns]),
        np.array([ways[k] for k in places]),
        part,
        np.log(rows.ms),
        promised,
        network_features(rows.graphs, rows.columns),
    )


def _way(setting: Setting, source: str | Script) -> str:
    name = source.name if isinstance(source, Script) else source
    processor = f"{setting.unit} {setting.threads}"
    return "|".join((setting.runtime, setting.precision, processor, name.partition("@")[0]))


def _thinned(keys: Sequence[Any]) -> list[int]:
    """At most `OF_FORM` places of each key, drawn at random."""
    counts: Counter[Any] = Counter()
    kept = []
    for k in np.random.default_rng(0).permutation(len(keys)).tolist():
        counts[keys[k]] += 1
        if counts[keys[k]] <= OF_FORM:
            kept.append(k)
    return sorted(kept)
