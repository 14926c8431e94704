"""The catalogue of devices, and the check of a device's description."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from nasplug.devices.spellings import catalogue_key
from nasplug.predictors.hardware import KINDS, PRECISIONS, UNITS, Hardware, Processor
from nasplug.search_spaces.errors import InputError, closest
from nasplug.text import shortened

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "MAX_NAME",
    "catalogue",
    "check_figures",
    "check_unique",
    "is_line",
    "parse",
    "shown",
]

# Range of any real number, in the unit of its field; outside of it ratios overflow or vanish.
LEAST, MOST = 1e-6, 1e9
MAX_NAME = 200
_MOST_SHOWN = 80
# Categories that one line of text cannot hold: control characters, line breaks, surrogates.
_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})


@cache
def catalogue() -> tuple[Hardware, ...]:
    """Every device of the catalogue, file after file (sorted by name), in the order of the file.

    Raises:
        InputError: If an entry is bad, or two entries share a name or an alias.
    """
    catalogue_files = files("nasplug.hardware_catalogue").iterdir()
    devices = []
    for file in sorted(catalogue_files, key=lambda f: f.name):
        if not file.name.endswith(".toml"):
            continue
        entries = tomllib.loads(file.read_text(encoding="utf-8")).get("device", [])
        devices += [parse(entry, f"{file.name}, entry {i}") for i, entry in enumerate(entries, 1)]
    check_unique(devices)
    return tuple(devices)


def check_unique(devices: list[Hardware]) -> None:
    """Check that no two devices share a spelling of a name.

    Raises:
        InputError: If two devices do.
    """
    owner: dict[str, Hardware] = {}
    for device in devices:
        for spelling in (device.name, *device.aliases):
            other = owner.setdefault(catalogue_key(spelling), device)
            if other is not device:
                raise InputError(
                    f"the catalogue has {spelling!r} twice, for {other.name} and {device.name}"
                )


def parse(table: Mapping[str, Any], where: str) -> Hardware:
    """Read the device that a TOML table describes; catalogue and user entries are checked alike.

    Args:
        table: The fields of `Hardware`; only those in `_DEFAULTS` may be missing.
        where: Name of the file, for messages.

    Raises:
        InputError: If a field is missing, unknown or wrong; the sentence names it.
    """
    unknown = [key for key in table if key not in _CHECKS]
    if unknown:
        raise InputError(
            f"{where}: unknown field {shown(unknown[0])}; known: "
            f"{closest(unknown[0][:50], _CHECKS)}"
        )
    fields: dict[str, Any] = {}
    for field, (check, wanted) in _CHECKS.items():
        if field not in table:
            if field not in _DEFAULTS:
                raise InputError(f"{where}: the field {field} is missing; it must be {wanted}")
            fields[field] = _DEFAULTS[field]
            continue
        value = table[field]
        if not check(value):
            raise InputError(f"{where}: {field} must be {wanted}, not {shown(value)}")
        fields[field] = tuple(value) if field == "aliases" else value
    fields["peak_tflops"] = _peaks(fields["peak_tflops"], where)
    fields["processors"] = tuple(
        _processor(part, f"{where}, processor {i}")
        for i, part in enumerate(fields["processors"], 1)
    )
    for field in _REAL_FIELDS:
        fields[field] = float(fields[field])
    return Hardware(**fields)


def _processor(table: Mapping[str, Any], where: str) -> Processor:
    wrong = sorted((set(table) ^ set(_PROCESSOR_CHECKS)) - {"on_chip_memory_mb"})
    if wrong:
        state = "unknown" if wrong[0] in table else "missing"
        raise InputError(f"{where}: the field {shown(wrong[0])} is {state}")
    for field, (check, wanted) in _PROCESSOR_CHECKS.items():
        if field in table and not check(table[field]):
            raise InputError(f"{where}: {field} must be {wanted}, not {shown(table[field])}")
    return Processor(
        table["kind"],
        table["microarchitecture"],
        table["units"],
        float(table["clock_ghz"]),
        _peaks(table["peak_tflops"], where),
        float(table.get("on_chip_memory_mb", 0)),
    )


def _peaks(table: Mapping[str, Any], where: str) -> dict[str, float]:
    for precision in ("fp32", *table):
        if precision not in PRECISIONS:
            raise InputError(
                f"{where}: peak_tflops has the unknown precision {shown(precision)}; "
                f"it must be one of {', '.join(PRECISIONS)}"
            )
        wanted = f"a number {_RANGE} in 1e12 operations per second"
        if precision not in table:
            raise InputError(f"{where}: peak_tflops.{precision} is missing; it must be {wanted}")
        if not _is_positive(table[precision]):
            raise InputError(
                f"{where}: peak_tflops.{precision} must be {wanted}, not {shown(table[precision])}"
            )
    return {precision: float(value) for precision, value in table.items()}


def is_line(value: object) -> bool:
    """Whether a value is text in one line of at most `MAX_NAME` characters; it may be empty."""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        return False
    return not any(unicodedata.category(character) in _BREAKING for character in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and is_line(value)


def check_figures(device: Hardware) -> None:
    """Check the numbers of a device that was made in Python, as those of a file are checked."""
    _peaks(device.peak_tflops, shown(device.name))
    for field in (*_REAL_FIELDS, "units"):
        check, wanted = _CHECKS[field]
        value = getattr(device, field)
        if not check(value):
            raise InputError(f"{shown(device.name)}: {field} must be {wanted}, not {value!r}")


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and LEAST <= value <= MOST


def _is_integer(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


_RANGE = f"from {LEAST:g} to {MOST:g}"
_REAL_FIELDS = ("memory_bandwidth_gbs", "memory_gb", "on_chip_memory_mb", "power_w", "clock_ghz")
_DEFAULTS = {
    **{"year": 0, "memory_gb": 0.0, "aliases": (), "processors": ()},
    **{"source": "", "note": ""},
}
# Field -> whether a value is good, and the right value in words for the message on a bad one.
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_text, f'a string of at most {MAX_NAME} characters, such as "RTX 3090"'),
    "vendor": (is_line, f'a string of at most {MAX_NAME} characters, such as "NVIDIA"'),
    "kind": (lambda v: isinstance(v, str) and v in KINDS, f"one of {', '.join(KINDS)}"),
    "microarchitecture": (is_line, f'a string of at most {MAX_NAME} characters, such as "Ampere"'),
    "year": (lambda v: _is_integer(v, 1970, 2100), "a whole number from 1970 to 2100"),
    "peak_tflops": (lambda v: isinstance(v, dict), "a table such as { fp32 = 35.6 }"),
    "memory_bandwidth_gbs": (_is_positive, f"a number {_RANGE} in GB/s"),
    "memory_gb": (
        lambda v: _is_positive(v) or (v == 0 and not isinstance(v, bool)),
        f"a number {_RANGE} in GB, or 0 if it varies",
    ),
    "on_chip_memory_mb": (_is_positive, f"a number {_RANGE} in MB"),
    "power_w": (_is_positive, f"a number {_RANGE} in W"),
    "clock_ghz": (_is_positive, f"a number {_RANGE} in GHz"),
    "units": (lambda v: _is_integer(v, 1, 10**9), "a whole number from 1 to 1e9"),
    "aliases": (lambda v: isinstance(v, list) and all(map(_is_text, v)), "a list of strings"),
    "processors": (
        lambda v: isinstance(v, list) and all(isinstance(part, dict) for part in v),
        'a list of tables such as { kind = "npu", … }',
    ),
    "source": (lambda v: isinstance(v, str), "a string"),
    "note": (lambda v: isinstance(v, str), "a string"),
}

_PROCESSOR_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "kind": (lambda v: isinstance(v, str) and v in UNITS, f"one of {', '.join(UNITS)}"),
    **{name: _CHECKS[name] for name in ("microarchitecture", "units", "clock_ghz", "peak_tflops")},
    "on_chip_memory_mb": _CHECKS["memory_gb"],
}


def shown(value: object) -> str:
    """Write a value of a description for a sentence, in at most 80 characters."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    try:
        return shortened(repr(value), _MOST_SHOWN)
    except ValueError:  # an integer of thousands of digits
        return "that number"
