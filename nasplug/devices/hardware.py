"""Devices by name from the catalogue, or from a user's own file or device profile."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from nasplug._reading import read_whole, shown_path
from nasplug.predictors.hardware import KINDS, PRECISIONS, Hardware
from nasplug.search_spaces.errors import InputError, closest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["catalogue", "catalogue_names", "hardware", "is_line", "name_key"]

# Reading a key takes time that grows with the square of its parts.
MAX_FILE_BYTES, MAX_LINE = 64_000, 2_000
# Of any real number, in the unit of its field; beyond it ratios overflow or vanish.
LEAST, MOST = 1e-6, 1e9
MAX_NAME = 200
_BRANDS = (
    *("nvidia", "geforce", "tesla", "intel", "amd", "radeon", "instinct", "google", "samsung"),
    *("apple", "qualcomm", "broadcom", "xilinx", "hisilicon", "huawei", "cambricon"),
)
# what operating systems wrap around a name: "Intel(R) Xeon(R) Gold 6226 CPU @ 2.70GHz",
# "Raspberry Pi 4 Model B Rev 1.4"
_WRAPPING = re.compile(
    r"\((r|tm|c)\)|@.*|\b\d+th gen\b|\b\d+-core\b|\b(cpu|gpu|processor|graphics)\b"
    r"|\brev \d+\.\d+\b"
)
_MARKS = dict.fromkeys(map(ord, "®™©"), " ")
# what cannot stand in one line of text: control characters, line breaks, halves of characters
_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})


def hardware(name_or_path: str | os.PathLike[str] | Hardware) -> Hardware:
    """The device with this name, or the one that a file describes.

    Case, spaces, punctuation and brand words do not matter: "rtx3090", "NVIDIA GeForce RTX 3090"
    and "3090" are one device. A device that is merely similar is never taken.

    Args:
        name_or_path: The name of a device that `nasplug.calibrate` made a profile of; a name or an
            alias in the catalogue; a path to a TOML file or to the JSON file of a profile (any
            `os.PathLike`, or text that ends in ".toml" or ".json"); or a `Hardware`, which comes
            back unchanged.

    Returns:
        The device; see `Hardware` for the fields and their units. A calibrated one is a
        `DeviceProfile`.

    Raises:
        InputError: The name is unknown or ambiguous, or the file cannot be read or has a bad field,
            or a number of a `Hardware` is out of range.
    """
    if isinstance(name_or_path, Hardware):
        _check_figures(name_or_path)
        return name_or_path
    if isinstance(name_or_path, os.PathLike):
        return _from_path(Path(os.fsdecode(name_or_path)))
    if not isinstance(name_or_path, str):
        raise InputError(
            f"hardware must be a name or a path to a .toml file, not {type(name_or_path).__name__}"
        )
    if name_or_path.strip().lower().endswith((".toml", ".json")):
        return _from_path(Path(name_or_path.strip()))
    return _by_name(name_or_path)


@cache
def catalogue() -> tuple[Hardware, ...]:
    """Every device of the catalogue, file after file (sorted by name), in the order of the file.

    Raises:
        InputError: An entry is bad, or two entries share a name or an alias.
    """
    everything = files("nasplug.hardware_catalogue").iterdir()
    found = []
    for file in sorted(everything, key=lambda f: f.name):
        if not file.name.endswith(".toml"):
            continue
        entries = tomllib.loads(file.read_text(encoding="utf-8"))["device"]
        found += [parse(entry, f"{file.name}, entry {i}") for i, entry in enumerate(entries, 1)]
    check_unique(found)
    return tuple(found)


def check_unique(devices: list[Hardware]) -> None:
    """See that no two devices answer to the same spelling.

    Raises:
        InputError: Two do.
    """
    owner: dict[str, Hardware] = {}
    for device in devices:
        for spelling in (device.name, *device.aliases):
            other = owner.setdefault(name_key(spelling), device)
            if other is not device:
                raise InputError(
                    f"the catalogue has {spelling!r} twice, for {other.name} and {device.name}"
                )


def parse(table: Mapping[str, Any], where: str) -> Hardware:
    """The device that a TOML table describes; the one check of catalogue and user entries alike.

    Args:
        table: The fields of `Hardware`; only those in `_DEFAULTS` may be missing.
        where: The file, for the message.

    Raises:
        InputError: A field is missing, unknown, or not what it must be; the sentence says which.
    """
    unknown = [key for key in table if key not in _CHECKS]
    if unknown:
        raise InputError(
            f"{where}: unknown field {_shown(unknown[0])}; did you mean one of "
            f"{closest(unknown[0][:50], _CHECKS)}?"
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
            raise InputError(f"{where}: {field} must be {wanted}, not {_shown(value)}")
        fields[field] = tuple(value) if field == "aliases" else value
    fields["peak_tflops"] = _peaks(fields["peak_tflops"], where)
    for field in _REAL_FIELDS:
        fields[field] = float(fields[field])
    return Hardware(**fields)


def _peaks(table: Mapping[str, Any], where: str) -> dict[str, float]:
    for precision in ("fp32", *table):
        if precision not in PRECISIONS:
            raise InputError(
                f"{where}: peak_tflops has the unknown precision {_shown(precision)}; "
                f"it must be one of {', '.join(PRECISIONS)}"
            )
        wanted = f"a number {_RANGE} in 1e12 operations a second"
        if precision not in table:
            raise InputError(f"{where}: peak_tflops.{precision} is missing; it must be {wanted}")
        if not _is_positive(table[precision]):
            raise InputError(
                f"{where}: peak_tflops.{precision} must be {wanted}, not {_shown(table[precision])}"
            )
    return {precision: float(value) for precision, value in table.items()}


def is_line(value: object) -> bool:
    """Whether a value is text in one line, of at most `MAX_NAME` characters, perhaps empty."""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        return False
    return not any(unicodedata.category(character) in _BREAKING for character in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and is_line(value)


def _check_figures(device: Hardware) -> None:
    """See that a device that was made in Python has numbers as a file must have them."""
    _peaks(device.peak_tflops, _shown(device.name))
    for field in (*_REAL_FIELDS, "units"):
        check, wanted = _CHECKS[field]
        value = getattr(device, field)
        if not check(value):
            raise InputError(f"{_shown(device.name)}: {field} must be {wanted}, not {value!r}")


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and LEAST <= value <= MOST


def _is_integer(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


_RANGE = f"from {LEAST:g} to {MOST:g}"
_REAL_FIELDS = ("memory_bandwidth_gbs", "memory_gb", "on_chip_memory_mb", "power_w", "clock_ghz")
_DEFAULTS = {"year": 0, "memory_gb": 0.0, "aliases": (), "source": "", "note": ""}
# a field -> what tells a good value, and what to say of a bad one
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_text, f'a text of at most {MAX_NAME} characters such as "RTX 3090"'),
    "vendor": (is_line, f'a text of at most {MAX_NAME} characters such as "NVIDIA"'),
    "kind": (lambda v: isinstance(v, str) and v in KINDS, f"one of {', '.join(KINDS)}"),
    "microarchitecture": (is_line, f'a text of at most {MAX_NAME} characters such as "Ampere"'),
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
    "aliases": (lambda v: isinstance(v, list) and all(map(_is_text, v)), "a list of texts"),
    "source": (lambda v: isinstance(v, str), "a text"),
    "note": (lambda v: isinstance(v, str), "a text"),
}


def _from_path(path: Path) -> Hardware:
    if path.suffix.lower() == ".json":
        from nasplug.devices import profiles

        return profiles.read(path)
    return _from_file(path)


def _from_file(path: Path) -> Hardware:
    where = shown_path(path)
    content = read_whole(
        path, MAX_FILE_BYTES, "a TOML file that describes a device", "description of a device"
    )
    try:
        text = content.decode("utf-8-sig")
        if max(map(len, text.split("\n"))) > MAX_LINE:
            raise ValueError(f"a line of more than {MAX_LINE} characters")
        table = tomllib.loads(text)
    # ValueError: also bad UTF-8 and integers too long to read; RecursionError: nesting
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not valid TOML ({str(error)[:200]})") from error
    if "device" in table:
        rest = [key for key in table if key != "device"]
        if rest:
            raise InputError(f"{where}: {_shown(rest[0])} must stand under [device], not beside it")
        table = table["device"]
        if not isinstance(table, dict):
            raise InputError(f"{where}: device must be one table, [device], not {_shown(table)}")
    return parse(table, where)


def catalogue_names(name: str) -> list[str]:
    """Names of the catalogue's devices that a name may mean; more than one if it is ambiguous."""
    by_key, by_model_number = _index()
    key = name_key(name)
    found = [by_key[key]] if key in by_key else by_model_number.get(key, [])
    return [device.name for device in found]


def _by_name(name: str) -> Hardware:
    from nasplug.devices import profiles

    own = profiles.find(name)
    if own is not None:
        return own
    by_key, by_model_number = _index()
    key = name_key(name)
    if key in by_key:
        return by_key[key]
    matches = by_model_number.get(key, [])
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InputError(
            f"hardware {_shown(name)} is ambiguous: write {' or '.join(d.name for d in matches)}"
        )
    calibrated = profiles.names()
    names = [*calibrated, *(device.name for device in catalogue())]
    within = [n for n in names if len(key) > 1 and key in name_key(n)][:5]
    near = ", ".join(within) or closest(" ".join(_words(name[:100])), names)
    beside = ", nor have you calibrated it; there are" if calibrated else ", which has"
    raise InputError(
        f"hardware {_shown(name)} is not in the catalogue{beside} names such as {near}; "
        "for another device give the path of a .toml file"
    )


@cache
def _index() -> tuple[dict[str, Hardware], dict[str, list[Hardware]]]:
    by_key: dict[str, Hardware] = {}
    by_model_number: dict[str, list[Hardware]] = defaultdict(list)
    for device in catalogue():
        for spelling in (device.name, *device.aliases):
            by_key[name_key(spelling)] = device
            for number in _model_numbers(spelling):
                if device not in by_model_number[number]:
                    by_model_number[number].append(device)
    return by_key, dict(by_model_number)


def _model_numbers(spelling: str) -> list[str]:
    """The ends of a name that may stand for it, such as "3080ti" or "10940x"."""
    words = _words(spelling)
    ends = [words[i:] for i in range(1, len(words)) if re.search(r"\d", words[i])]
    # three digits: the 4 of "Pixel 4" or the 6gb of "GTX 1060 6GB" says too little
    return [end for end in map("".join, ends) if re.search(r"\d{3}", end)]


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text.translate(_MARKS)).lower()
    return [w for w in re.findall(r"[^\W_]+", _WRAPPING.sub(" ", plain)) if w not in _BRANDS]


def name_key(text: str) -> str:
    """The spelling of a name that is compared: lower-case letters and digits without brands."""
    key = "".join(_words(text))
    while brand := next((b for b in _BRANDS if key.startswith(b)), ""):
        key = key[len(brand) :]
    return key


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    try:
        shown = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "that number"
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
