"""Measurements beside the predictions of class models for devices that they never saw.

    python -m experiments.devices.left_out_residuals [--only gpu] [--fresh]

Chips of a class are split into parts; each part is predicted by a model that learned the others.
Measurements and fits are those of zoo/train_class_models.py; predictions are for a source that
nobody knows, as a user's machine is. Kept in runs/; after a change of a class model, `--fresh`
makes them anew.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.campaign import Options
from experiments.common import RUNS, Array
from experiments.zoo import train_class_models
from experiments.zoo.train_class_models import Rows
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.departure_learning import DeviceResiduals
from nasplug.predictors.latency.departure_process import Located
from nasplug.predictors.latency.fused_terms import Script
from nasplug.predictors.latency.network_features import network_features
from nasplug.search_spaces.files import atomic_path

__all__ = ["CLASSES", "Residuals", "left_out_residuals"]

CLASSES = ("gpu", "cpu", "other")
PARTS = 8
# Measurements of each source, setting and package of networks.
OF_FORM = 40
Texts = NDArray[np.str_]


class Residuals(NamedTuple):
    """Measurements of a class, `(n,)` each, and features of the networks, `(n, features)`.

    Some are of single operators.
    """

    reference: Texts
    family: Texts
    device: Texts
    way: Texts
    part: NDArray[np.int64]
    logs: Array
    promised: Array
    features: Array
    is_operator: NDArray[np.bool_]

    @property
    def residuals(self) -> Array:
        """Log of measured over promised ms."""
        return self.logs - self.promised

    def take(self, places: NDArray[Any]) -> Residuals:
        """Some of the measurements."""
        return Residuals(*(column[places] for column in self))

    def networks(self) -> Residuals:
        """Residuals of whole networks alone."""
        return self.take(np.flatnonzero(~self.is_operator))

    def located(self, places: Sequence[int] | NDArray[Any]) -> Located:
        """Some of the networks."""
        ways = [tuple(text.split("|")) for text in self.way[list(places)].tolist()]
        return Located(self.features[list(places)], ways)

    def devices(self, chosen: NDArray[np.bool_]) -> list[DeviceResiduals]:
        """Residuals of each device, of the chosen measurements."""
        places = [np.flatnonzero(chosen & (self.device == d)) for d in np.unique(self.device)]
        return [
            DeviceResiduals(self.located(rows), self.residuals[rows], self.family[rows])
            for rows in places
            if len(rows) > 2
        ]


def left_out_residuals(name: str, fresh: bool = False) -> Residuals:
    """Measurements of a class of processors; made anew if they are not in runs/."""
    path = RUNS / f"left_out_residuals_{name}.npz"
    if fresh or not path.exists():
        RUNS.mkdir(exist_ok=True)
        made = _made(name)._asdict()
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **made)  # type: ignore[arg-type]
    with np.load(path) as stored:
        return Residuals(**{field: stored[field] for field in Residuals._fields})


def _made(name: str) -> Residuals:
    """Networks of a class, and single operators where its model learns them, too."""
    learned = train_class_models.CLASSES[name]
    every, more = learned.rows(), learned.more() if learned.more else None
    tables = [(every, _thinned(every))]
    if more is not None:
        tables.append((more, _thinned(more)))
    judged = [table.take(places) for table, places in tables]
    chips = sorted(set(every.chips))
    order = np.random.default_rng(0).permutation(chips).tolist()
    parts = dict(zip(order, (np.arange(len(chips)) % PARTS).tolist(), strict=True))
    promised = [np.full(len(rows.ms), np.nan) for rows in judged]
    for k in range(PARTS):
        beside = None if more is None else _without(more, parts, k)
        model = learned.fit(_without(every, parts, k), beside)
        for rows, logs in zip(judged, promised, strict=True):
            own = np.flatnonzero([parts.get(chip) == k for chip in rows.chips])
            few = rows.take(own)
            logs[own] = model.log_latency(few.graphs, few.columns, learned.unnamed(few.sources))
            errors = np.abs(np.expm1(logs[own] - np.log(few.ms)))
            print(name, k, len(own), f"{100 * np.median(errors):.1f} %", file=sys.stderr)
    made = [
        _residuals(rows, logs, parts, is_operator)
        for rows, logs, is_operator in zip(judged, promised, (False, True), strict=False)
    ]
    return Residuals(*(np.concatenate(columns) for columns in zip(*made, strict=True)))


def _residuals(
    rows: Rows, promised: Array, parts: Mapping[str, int], is_operator: bool
) -> Residuals:
    """Measurements on chips of the parts."""
    inside = np.flatnonzero(np.isfinite(promised))
    rows, promised = rows.take(inside), promised[inside]
    about = zip(rows.columns, rows.sources, strict=True)
    return Residuals(
        np.array(rows.references),
        np.array([train_class_models.family_of(reference) for reference in rows.references]),
        np.array([column.hardware.name for column in rows.columns]),
        np.array([_way(column, source) for column, source in about]),
        np.array([parts[chip] for chip in rows.chips]),
        np.log(rows.ms),
        promised,
        network_features(rows.graphs, rows.columns),
        np.full(len(promised), is_operator),
    )


def _without(rows: Rows, parts: Mapping[str, int], part: int) -> Rows:
    """Measurements on the chips of the other parts."""
    return rows.take(np.flatnonzero([parts.get(chip) != part for chip in rows.chips]))


def _way(setting: Setting, source: str | Script) -> str:
    name = source.name if isinstance(source, Script) else source
    processor = f"{setting.unit} {setting.threads}"
    return "|".join((setting.runtime, setting.precision, processor, name.partition("@")[0]))


def _thinned(rows: Rows) -> NDArray[np.int64]:
    """At most `OF_FORM` rows of each source, setting and package, drawn at random."""
    counts: Counter[Any] = Counter()
    kept = []
    for k in np.random.default_rng(0).permutation(len(rows.ms)).tolist():
        column, package = rows.columns[k], rows.references[k].partition(":")[0]
        form = (column.key, _way(column, rows.sources[k]), package)
        counts[form] += 1
        if counts[form] <= OF_FORM:
            kept.append(k)
    return np.sort(np.array(kept))


def main() -> None:
    parser = Options(__doc__, fresh=True)
    parser.add_argument("--only", choices=CLASSES)
    options = parser.parse_args()
    for name in [options.only] if options.only else CLASSES:
        left_out_residuals(name, options.fresh)


if __name__ == "__main__":
    main()
