"""Measurements of a network on a device, by the names that people write."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.measurements import MeasurementTable, shipped_measurements
from nasplug.devices.catalogue import catalogue
from nasplug.devices.names import meaning
from nasplug.devices.spellings import catalogue_key
from nasplug.measurements.device_names import without_setting
from nasplug.measurements.networks import is_reference_of_space, network_key, plain_name
from nasplug.search_spaces.errors import InputError

__all__ = ["measured"]

# Steps of training are no latency of a network.
_MODES = ("inference", "request")
_MOST_NAMED = 8
# Letters and digits of a name that may be looked for inside of other names.
_LEAST_KEY = 4


def measured(
    network: str,
    hardware: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    batch_size: int | None = None,
) -> list[dict[str, Any]]:
    """Look up the published measurements of a network, from the table that the package ships.

    Args:
        network: Name of the network, whatever its spelling: "ResNet-50", "resnet50",
            "timm:resnet50" and "torchvision:resnet50" are one; or a reference of the table such as
            "nb201:|nor_conv_3x3~0|+...".
        hardware: Name of the device, as people or systems write it; None for all devices.
        runtime: Runtime, such as "eager", "compiled", "tensorrt" or "tflite"; None for all.
        precision: Precision, such as "fp16" or "int8"; None for all.
        batch_size: Items a call; None for all.

    Returns:
        A row for each measurement, the fastest first within a device: the columns of
        `nasplug.datasets.load("measurements")`; latencies are in milliseconds a batch.

    Raises:
        InputError: If nothing was measured; the sentence names what comes nearest.

    Example:
        >>> import nasplug
        >>> rows = nasplug.measured("ResNet-50", hardware="RTX 3090", batch_size=1024)
        >>> rows[0]["source"], rows[0]["batch"]
        ('huggingface/pytorch-image-models@aa4b585', 1024)
    """
    for name, value in (("network", network), ("hardware", hardware), ("runtime", runtime)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"{name} must be a text, not {type(value).__name__}")
    table = shipped_measurements()
    rows = table.take(_rows_of(table, network))
    title = f"{network!r}"
    if hardware is not None:
        rows = _on_device(rows, hardware, title)
        title += f" on {hardware}"
    for column, word in (("runtime", runtime), ("precision", precision)):
        if word is not None:
            rows = _with_word(rows, column, word.strip().lower(), title)
            title += f" in {word}"
    if batch_size is not None:
        rows = _at_batch(rows, batch_size, title)
    order = np.lexsort((rows.numbers["latency_ms"], rows.codes["hardware"], rows.codes["device"]))
    return list(rows.take(order).records())


@cache
def _names() -> tuple[dict[str, list[int]], dict[str, list[int]], dict[str, str]]:
    """Positions of networks and of graphs by key, and a name for each key, without spaces' own."""
    table = shipped_measurements()
    networks: dict[str, list[int]] = {}
    graphs: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    of_networks = np.unique(table.codes["network"][table.where("kind", ["network"])])
    for k in of_networks.tolist():
        text = table.values["network"][k]
        networks.setdefault(network_key(text), []).append(k)
        names.setdefault(network_key(text), plain_name(text))
    for k, text in enumerate(table.values["graph"]):
        if text and not is_reference_of_space(text):
            graphs.setdefault(network_key(text), []).append(k)
            names.setdefault(network_key(text), plain_name(text))
    return networks, graphs, names


def _rows_of(table: MeasurementTable, network: str) -> NDArray[np.int64]:
    """Positions of the rows of a network.

    Raises:
        InputError: If no network has that name.
    """
    in_mode = table.where("mode", _MODES) & table.where("kind", ["network"])
    if is_reference_of_space(network.strip()):
        is_match = table.where("graph", [network.strip()]) & table.where("mode", _MODES)
        if not is_match.any():
            raise InputError(f"no measurement has the reference {network.strip()[:80]!r}")
        return np.flatnonzero(is_match)
    networks, graphs, names = _names()
    key = network_key(network)
    is_match = in_mode & (
        np.isin(table.codes["network"], networks.get(key, []))
        | np.isin(table.codes["graph"], graphs.get(key, []))
    )
    if not key or not is_match.any():
        near = _near_names(plain_name(network)[:80], {name for name in names.values() if name})
        raise InputError(f"no network called {network[:80]!r} was measured; near are {near}")
    return np.flatnonzero(is_match)


def _near_names(name: str, names: set[str]) -> str:
    by_lower = {text.lower(): text for text in sorted(names)}
    close = get_close_matches(name.lower(), by_lower, n=_MOST_NAMED, cutoff=0.4)
    return _listed([by_lower[match] for match in close])


def _on_device(rows: MeasurementTable, hardware: str, title: str) -> MeasurementTable:
    device = meaning(hardware).device
    key = catalogue_key(without_setting(hardware))
    keys = {text: catalogue_key(without_setting(text)) for text in rows.values["hardware"]}
    is_there = rows.where("hardware", {text for text in keys if keys[text] == key})
    if device is not None:
        is_there |= rows.where("device", [device.name])
    elif not is_there.any() and len(key) >= _LEAST_KEY:
        # "rk3588" is a part of the names of boards.
        is_there = rows.where("hardware", {text for text in keys if key in keys[text]})
    if not is_there.any():
        raise InputError(
            f"{title} was not measured on {hardware[:80]!r}, but on "
            f"{_listed(_near_devices(rows, hardware))}"
        )
    return rows.take(is_there)


def _near_devices(rows: MeasurementTable, hardware: str) -> list[str]:
    """Devices of the rows, those most like a device first: of its microarchitecture, then kind."""
    measured_on = {rows.values["device"][k] for k in np.unique(rows.codes["device"])} - {""}
    device = meaning(hardware).device
    uncatalogued = sorted({rows.values["hardware"][k] for k in np.unique(rows.codes["hardware"])})
    if device is None:
        return sorted(measured_on) or uncatalogued
    described = [other for other in catalogue() if other.name in measured_on]
    described.sort(
        key=lambda other: (
            other.microarchitecture != device.microarchitecture,
            other.kind != device.kind,
            other.vendor != device.vendor,
            abs(other.year - device.year),
        )
    )
    return [other.name for other in described] or uncatalogued


def _with_word(rows: MeasurementTable, column: str, word: str, title: str) -> MeasurementTable:
    matches = rows.where(column, [word])
    if not matches.any():
        words = sorted({rows.values[column][k] for k in np.unique(rows.codes[column])} - {""})
        raise InputError(
            f"{title} was not measured in the {column} {word[:40]!r}; there is {_listed(words)}"
        )
    return rows.take(matches)


def _at_batch(rows: MeasurementTable, batch_size: int, title: str) -> MeasurementTable:
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise InputError(f"batch size must be a whole number of at least 1, not {batch_size!r}")
    matches = rows.numbers["batch"] == batch_size
    if not matches.any():
        sizes = [str(size) for size in np.unique(rows.numbers["batch"]).tolist() if size]
        raise InputError(
            f"{title} was not measured at batch {batch_size}; there is {_listed(sizes)}"
        )
    return rows.take(matches)


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_MOST_NAMED])
    if len(names) > _MOST_NAMED:
        shown.append(f"{len(names) - _MOST_NAMED} others")
    return ", ".join(shown) or "nothing"
