"""HW-GPT-Bench: perplexities of language models, and runs of them on a GPU and on a CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasplug.datasets.layout import foreign, shown
from nasplug.datasets.safe_pickle import NUMPY_SCALARS, load_pickle
from nasplug.datasets.tables import Table
from nasplug.search_spaces import space
from nasplug.search_spaces.networks.gpt import GPTSpace
from nasplug.search_spaces.networks.gpt_text import PUBLISHED, PUBLISHED_LISTS

__all__ = ["BATCHES", "DEVICES", "JOULES", "import_cpu", "import_gpu", "import_perplexity"]

BATCHES = {"s": 8, "m": 4, "l": 1}
"""Scale -> sequences that a forward pass had."""

DEVICES = {"latency_h100": "H100", "latency_cpu_meta": "Xeon Gold (Cascade Lake)"}
"""Folder of the source -> device in the catalogue."""

JOULES = 3_600.0
"""Joules of a watt-hour."""

_ALLOWED = NUMPY_SCALARS - {"_codecs.encode"}
# Runs state the unit of each latency.
_MILLISECONDS = {"s": 1e3, "ms": 1.0, "us": 1e-3}
_PERPLEXITY = ("perplexity", "next_token_accuracy")


def _results(path: Path, keys: set[str]) -> list[dict[str, Any]]:
    """Read the results in a file, which have at least some keys."""
    results = load_pickle(path, _ALLOWED)
    if not isinstance(results, list) or not results:
        raise foreign(path, "it is no list of results")
    for row, result in enumerate(results):
        if not isinstance(result, dict) or not keys <= result.keys():
            raise foreign(path, f"result {row} is not an object with {', '.join(sorted(keys))}")
    return results


def _text(path: Path, row: int, opened: GPTSpace, arch: object) -> str:
    """Text of a network; its lists may go on beyond its last layer, and its layers are the first.

    The benchmark drops layers from the end: `sample_layer_indices` counts up from 0.
    """
    known = {*PUBLISHED.values(), *PUBLISHED_LISTS.values(), "sample_layer_indices"}
    if not isinstance(arch, dict) or arch.keys() != known:
        raise foreign(path, f"result {row} has no network of {opened.name}")
    chosen = {name: arch[key] for name, key in PUBLISHED.items()}
    count = chosen["layers"]
    if type(count) is not int or type(chosen["bias"]) is not bool:
        raise foreign(path, f"result {row} has {shown(count)} layers")
    if arch["sample_layer_indices"] != list(range(count)):
        raise foreign(path, f"result {row} leaves other layers out than the last ones")
    for name, key in PUBLISHED_LISTS.items():
        numbers = arch[key]
        if not isinstance(numbers, list) or len(numbers) < count:
            raise foreign(path, f"result {row} has {shown(numbers)} for {key}")
        chosen |= {f"{name}_{k}": number for k, number in enumerate(numbers[:count], 1)}
    for decision in opened.family.decisions:
        value = chosen.get(decision.name, decision.default)
        if type(value) is not type(decision.default) or value not in decision.choices:
            raise foreign(path, f"result {row} has {shown(value)} for {decision.name}")
    return opened.from_params(chosen).text


def _positive(path: Path, row: int, name: str, value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        number = float(value)
        if math.isfinite(number):
            return number
    raise foreign(path, f"result {row} has {shown(value)} for {name}")


def _median(path: Path, row: int, name: str, values: object) -> float:
    if not isinstance(values, list) or not values:
        raise foreign(path, f"result {row} has {shown(values)} for {name}")
    return float(np.median([_positive(path, row, name, value) for value in values]))


def _milliseconds(path: Path, row: int, times: object, units: object) -> float:
    """Median of the runs of a forward pass, each of which has a unit of its own."""
    if (
        not isinstance(times, list)
        or not isinstance(units, list)
        or len(times) != len(units)
        or not set(units) <= _MILLISECONDS.keys()
    ):
        raise foreign(path, f"result {row} has the units {shown(units)}")
    scaled = [
        _positive(path, row, "a latency", time) * _MILLISECONDS[unit]
        for time, unit in zip(times, units, strict=True)
    ]
    return _median(path, row, "the latencies", scaled)


def _table(rows: Mapping[str, Sequence[float]], columns: Sequence[str]) -> Table:
    """Make a table of values by the text of a network, in the order of the texts."""
    texts = tuple(sorted(rows))
    return Table(
        index=np.arange(len(texts)),
        columns=tuple(columns),
        values=np.array([rows[text] for text in texts]).reshape(-1, len(columns)),
        archs=texts,
    )


def import_perplexity(files: Mapping[str, Path], scale: str) -> Table:
    """Build the table of the perplexities of a scale from `ppl_observations_tracker_*.pkl`.

    Returns:
        A row a network: perplexity on OpenWebText with the weights of the super-network, and
        accuracy of the next token in percent.
    """
    opened = space(f"gpt:{scale}")
    assert isinstance(opened, GPTSpace)
    rows = {}
    for path in files.values():
        for row, result in enumerate(_results(path, {"arch", "perplexity", "accuracy"})):
            text = _text(path, row, opened, result["arch"])
            accuracy = _positive(path, row, "accuracy", result["accuracy"])
            if accuracy > 1:
                raise foreign(path, f"result {row} has an accuracy above 1")
            perplexity = _positive(path, row, "perplexity", result["perplexity"])
            rows[text] = (perplexity, 100 * accuracy)
    return _table(rows, _PERPLEXITY)


def _runs(
    files: Mapping[str, Path], pattern: str, times: str, units: str
) -> Iterator[tuple[str, float]]:
    """Yield the text and the latency of each network of scale s."""
    opened = space("gpt:s")
    assert isinstance(opened, GPTSpace)
    for name, path in files.items():
        if name.startswith(pattern):
            for row, result in enumerate(_results(path, {"arch", times, units})):
                text = _text(path, row, opened, result["arch"])
                yield text, _milliseconds(path, row, result[times], result[units])


def import_cpu(files: Mapping[str, Path]) -> Table:
    """Build the table of the runs of scale s on a CPU from `efficiency_observations_*.pkl`.

    Returns:
        A row a network: median of ten forward passes of eight sequences, in ms. The source's own
        deviations are its means again, and left out.
    """
    runs = _runs(files, "efficiency_observations", "times_profiler_cpu", "unit_cpu")
    column = f"{DEVICES['latency_cpu_meta']}@{BATCHES['s']}"
    return _table({text: (latency,) for text, latency in runs}, [column])


def import_gpu(files: Mapping[str, Path]) -> Table:
    """Build the table of the runs of scale s on the H100.

    Latencies are in `efficiency_observations_*.pkl`, energies of a quarter of the networks in
    `efficiency_energy_observations_tracker_*.pkl`, which says kWh and means Wh.

    Returns:
        A row a network: median of ten forward passes of eight sequences, in ms; joules of one and
        watts, medians of fifty, NaN where the files have none.
    """
    runs = _runs(files, "efficiency_observations", "times_profiler_gpu", "unit_gpu")
    rows = {text: [latency, np.nan, np.nan] for text, latency in runs}
    opened = space("gpt:s")
    assert isinstance(opened, GPTSpace)
    for name, path in files.items():
        if not name.startswith("efficiency_energy"):
            continue
        keys = {"arch", "energy_gpu", "emissions_gpu", "unit"}
        for row, result in enumerate(_results(path, keys)):
            text = _text(path, row, opened, result["arch"])
            if text not in rows or result["unit"] != "W":
                raise foreign(path, f"result {row} is of an unknown network or unit")
            watt_hours = _median(path, row, "energy_gpu", result["energy_gpu"])
            watts = _median(path, row, "emissions_gpu", result["emissions_gpu"])
            rows[text][1:] = [watt_hours * JOULES, watts]
    device = DEVICES["latency_h100"]
    setting = f"{device}@{BATCHES['s']}"
    return _table(rows, [setting, f"{setting} J", f"{setting} W"])
