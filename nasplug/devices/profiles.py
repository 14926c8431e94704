"""Device profiles in files: the user's own devices, by name.

A profile is one JSON file. Those without a path of their own lie in the user's data folder, each
under the spelling of its name that is compared, so that a name finds its file.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nasplug.devices.catalogue import MAX_NAME, catalogue_names, is_line, name_key, parse
from nasplug.search_spaces import names as space_names
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.files import sweep, write_text
from nasplug.text import CHECKSUM, checksum_of, read_whole, shown_path

if TYPE_CHECKING:
    from nasplug.predictors.latency.device_profile import DeviceProfile

__all__ = ["check_name", "every", "find", "folder", "names", "path_of", "read", "write"]

FORMAT = "nasplug-device-profile-2"
# As above, without a checksum.
_OLD_FORMAT = "nasplug-device-profile-1"
MAX_FILE_BYTES = 100_000_000
# Longer names could not be those of files everywhere.
_LONGEST_KEY = 100


def folder() -> Path:
    """Where profiles are kept: `devices` in the user's data folder, on Linux
    `$XDG_DATA_HOME/nasplug`."""
    from platformdirs import user_data_path

    return user_data_path("nasplug", appauthor=False) / "devices"


def path_of(name: str) -> Path | None:
    """The file of a name, whether or not it is there; None if a name can have none."""
    name = name.strip()
    if not name or not is_line(name):
        return None
    # A name of symbols alone, or of a brand, is itself what is compared.
    key = name_key(name) or name.casefold()
    if not (key.isascii() and key.isalnum() and len(key) <= _LONGEST_KEY):
        key = "name-" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return folder() / f"{key}.json"


def check_name(name: str) -> None:
    """Check that a user's own device may have a name.

    Raises:
        InputError: If it is none, reads like a path, or means a device of the catalogue.
    """
    if path_of(name) is None:
        raise InputError(
            f"{name[:100]!r} cannot name a device; use letters or digits, "
            f"in one line of at most {MAX_NAME} characters"
        )
    if name.strip().lower().endswith((".toml", ".json")):
        raise InputError(f"name {name!r} would be read as a path; leave its ending out")
    known = catalogue_names(name)
    if known:
        raise InputError(
            f"{name!r} means the catalogue's {known[0]}; give your device a name of its own with "
            f'--name, such as "my {known[0]}"'
        )


def names() -> list[str]:
    """Names of the user's profiles, sorted; files that are damaged are passed over."""
    return [profile.name for profile in every()[0]]


def every() -> tuple[list[DeviceProfile], list[str]]:
    """The user's profiles, sorted by name, and a sentence for each file that is damaged."""
    profiles, damaged = [], []
    sweep(folder())
    try:
        # A temporary file, which begins with a dot, is none.
        files = sorted(file for file in folder().glob("*.json") if file.name[0] != ".")
    except OSError:
        files = []
    for file in files:
        try:
            profiles.append(read(file))
        except InputError as error:
            damaged.append(str(error))
    return sorted(profiles, key=lambda profile: profile.name), damaged


def find(name: str) -> DeviceProfile | None:
    """The user's profile of this name, if there is one.

    Raises:
        InputError: If its file is damaged.
    """
    path = path_of(name)
    # os.path says no where a folder may not be looked into.
    if path is not None and os.path.isfile(path):
        return read(path)
    # Letters of other scripts were once left out of the names of files.
    key = name_key(name)
    older = folder() / f"{''.join(c for c in key if c.isascii())}.json"
    if key.isascii() or len(older.stem) > _LONGEST_KEY or not os.path.isfile(older):
        return None
    found = read(older)
    return found if name_key(found.name) == key else None


def read(path: Path) -> DeviceProfile:
    """Read a profile.

    Raises:
        InputError: If the file cannot be read, or is no profile or a damaged one.
    """
    from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks

    where = shown_path(path)
    content = read_whole(
        path, MAX_FILE_BYTES, "a device profile that nasplug calibrate wrote", "device profile"
    )
    try:
        table = json.loads(content.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InputError(
            f"{where}: no device profile; nasplug calibrate writes one, and a description of a "
            "device is a .toml file"
        ) from None
    found = table.get("format") if isinstance(table, dict) else type(table).__name__
    if found not in (FORMAT, _OLD_FORMAT):
        raise InputError(
            f"{where}: no device profile of this version, which has format {FORMAT!r}, not "
            f"{str(found)[:50]!r}; nasplug calibrate writes one"
        )
    if found == FORMAT and table.get(CHECKSUM) != checksum_of(table):
        raise InputError(
            f"{where}: damaged (its content is not what its checksum says); calibrate the device "
            "again"
        )
    try:
        if not isinstance(table.get("hardware"), dict):
            raise InputError("hardware must be a table")
        hardware = parse(table["hardware"], "its description")
        space, batch_size = table.get("space"), table.get("batch_size")
        if not isinstance(space, str) or not space.isprintable():
            raise InputError("space must be the name of a search space")
        # What has a checksum may be of a space that is made in Python.
        if found == _OLD_FORMAT and space.partition(":")[0] not in space_names():
            raise InputError(f"space must be one of {', '.join(space_names())}")
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise InputError("batch_size must be a whole number of at least 1")
        measured = MeasuredNetworks.from_json(table.get("measured"))
    except InputError as error:
        raise InputError(f"{where}: damaged ({error}); calibrate the device again") from None
    if found == _OLD_FORMAT:
        warnings.warn(
            f"{where} was written by an earlier version, without a checksum: damage to it, such as "
            "a wrong latency, would not be noticed; calibrate the device again to protect it",
            stacklevel=2,
        )
    return DeviceProfile(hardware, space, batch_size, measured)


def write(profile: DeviceProfile, path: Path, about: Mapping[str, Any]) -> None:
    """Write a profile, whole or not at all.

    Args:
        profile: The device.
        path: The file; its folder is made.
        about: What a reader may want to know of how it was made.

    Raises:
        InputError: If the file cannot be written.
    """
    table = {"format": FORMAT, **profile.to_json(), "about": dict(about)}
    table[CHECKSUM] = checksum_of(table)
    try:
        write_text(path, json.dumps(table, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(
            f"cannot write {shown_path(path)} ({error.strerror}); give a file that can be written "
            "with --out"
        ) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
