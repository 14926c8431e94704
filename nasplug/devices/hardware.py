"""Look-up of the device that a name or a file stands for: calibrated, catalogued or described."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from nasplug.devices.catalogue import catalogue, check_figures, parse, shown
from nasplug.devices.names import meaning
from nasplug.devices.spellings import name_key, words
from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces.errors import InputError
from nasplug.text import read_whole, shown_path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["MAX_FILE_BYTES", "MAX_LINE", "hardware"]

# Limits, since the time to read a TOML key grows with the square of its number of parts.
MAX_FILE_BYTES, MAX_LINE = 64_000, 2_000


def hardware(name_or_path: str | os.PathLike[str] | Hardware) -> Hardware:
    """Look up the device with a name, or read the one that a file describes.

    Case, spaces, punctuation and brand words do not matter: "rtx3090", "NVIDIA GeForce RTX 3090"
    and "3090" are one device. So are the names that operating systems, driver tools and phones
    print, and instances of clouds. A name never stands for a device that is merely similar.

    Args:
        name_or_path: The name of a device that `nasplug.calibrate` made a profile of; a name or an
            alias in the catalogue; a path to a TOML file or to the JSON file of a profile (any
            `os.PathLike`, or text that ends in ".toml" or ".json"); or a `Hardware`, which is
            returned unchanged.

    Returns:
        The device; see `Hardware` for the fields and their units. A calibrated device is a
        `DeviceProfile`.

    Raises:
        InputError: If the name is unknown, or may stand for several devices, which the sentence
            names; if the file cannot be read or has a bad field, or a number of a `Hardware` is out
            of range.

    Example:
        >>> import nasplug
        >>> nasplug.hardware("rtx3090").name
        'RTX 3090'
    """
    if isinstance(name_or_path, Hardware):
        check_figures(name_or_path)
        return name_or_path
    if isinstance(name_or_path, os.PathLike):
        return _from_path(Path(os.fsdecode(name_or_path)))
    if not isinstance(name_or_path, str):
        raise InputError(
            "hardware must be a name or the path of a .toml file, not "
            f"{type(name_or_path).__name__}"
        )
    if name_or_path.strip().lower().endswith((".toml", ".json")):
        return _from_path(Path(name_or_path.strip()))
    return _by_name(name_or_path)


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
            raise ValueError(f"a line has more than {MAX_LINE} characters")
        table = tomllib.loads(text)
    # ValueError: also bad UTF-8 and integers too long to read; RecursionError: nesting
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not valid TOML ({str(error)[:200]})") from error
    if "device" in table:
        others = [key for key in table if key != "device"]
        if others:
            raise InputError(
                f"{where}: {shown(others[0])} must stand under [device], not beside it"
            )
        table = table["device"]
        if not isinstance(table, dict):
            raise InputError(f"{where}: device must be one table, [device], not {shown(table)}")
    return parse(table, where)


def _alike(text: str, names: Sequence[str]) -> list[str]:
    """The three names spelled most like a text; the first ones if none is close."""
    by_lower = {name.lower(): name for name in names}
    close = get_close_matches(text.lower(), by_lower, cutoff=0.4)
    return [by_lower[match] for match in close] or list(names[:8])


def _by_name(name: str) -> Hardware:
    from nasplug.devices import profiles

    profile = profiles.find(name)
    if profile is not None:
        return profile
    match = meaning(name)
    if match.device is not None:
        return match.device
    if match.devices or match.reason:
        raise InputError(f"hardware {shown(name)} {match.question}")
    key = name_key(name)
    calibrated = profiles.names()
    names = [*calibrated, *(device.name for device in catalogue())]
    parts = words(name[:100])
    containing = [n for n in names if len(key) > 1 and all(w in name_key(n) for w in parts)][:5]
    likely = ", ".join(containing) or ", ".join(_alike(" ".join(parts), names))
    beside = ", nor have you calibrated it; there are" if calibrated else ", which has"
    raise InputError(
        f"hardware {shown(name)} is not in the catalogue{beside} names such as {likely}; "
        "nasplug hardware lists all; for another device give the path of a .toml file"
    )
