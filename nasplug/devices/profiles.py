"""Device profiles in files: the user's own devices, by name.

A profile is one JSON file. Profiles without a path of their own lie in the user's data folder, each
under the spelling of its name for comparisons, so that a name finds its file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nasplug.devices.catalogue import MAX_NAME, is_line, parse
from nasplug.devices.names import devices_named
from nasplug.devices.spellings import name_key
from nasplug.search_spaces import names as space_names
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.files import sweep, write_text
from nasplug.text import CHECKSUM, checksum_of, read_whole, shown_path

if TYPE_CHECKING:
    from nasplug.predictors.latency.device_profile import DeviceProfile

__all__ = ["check_name", "every", "find", "folder", "names", "path_of", "read", "write"]

FORMAT = "nasplug-device-profile-2"
# Format of earlier versions, without a checksum.
_OLD_FORMAT = "nasplug-device-profile-1"
MAX_FILE_BYTES = 100_000_000
# Longer names are not allowed as file names everywhere.
_LONGEST_KEY = 100


def folder() -> Path:
    """Folder of the profiles: `devices` in the user's data folder, on Linux
    `$XDG_DATA_HOME/nasplug`."""
    from platformdirs import user_data_path

    return user_data_path("nasplug", appauthor=False) / "devices"


def path_of(name: str) -> Path | None:
    """Path of the file of a name, whether or not it is there; None if the name cannot have one."""
    name = name.strip()
    if not name or not is_line(name):
        return None
    # A name of symbols alone, or of a brand alone, is compared as it is.
    key = name_key(name) or name.casefold()
    if not (key.isascii() and key.isalnum() and len(key) <= _LONGEST_KEY):
        key = "name-" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return folder() / f"{key}.json"


def check_name(name: str) -> None:
    """Check that a user's own device may have a name.

    Raises:
        InputError: If it is no name, reads like a path, or stands for a device of the catalogue.
    """
    if path_of(name) is None:
        raise InputError(
            f"{name[:100]!r} cannot be the name of a device; use letters or digits, in one line "
            f"of at most {MAX_NAME} characters"
        )
    if name.strip().lower().endswith((".toml", ".json")):
        raise InputError(f"name {name!r} looks like a path; leave its ending out")
    namesakes = [device.name for device in devices_named(name)]
    if namesakes:
        raise InputError(
            f"{name!r} is already the name of the catalogue's {namesakes[0]}; give your device "
            f'another name with --name, such as "my {namesakes[0]}"'
        )


def names() -> list[str]:
    """Names of the user's profiles, sorted; damaged files are left out."""
    return [profile.name for profile in every()[0]]


def every() -> tuple[list[DeviceProfile], list[str]]:
    """The user's profiles, sorted by name, and a sentence for each file that is damaged."""
    profiles, damaged = [], []
    sweep(folder())
    try:
        # Temporary files, whose names begin with a dot, are no profiles.
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
    """Find the user's profile of a name; None if there is no such profile.

    Raises:
        InputError: If the profile's file is damaged.
    """
    path = path_of(name)
    # os.path.isfile is false, and raises nothing, if the folder may not be searched.
    if path is not None and os.path.isfile(path):
        return read(path)
    # Earlier versions left letters of other scripts out of the names of files.
    key = name_key(name)
    older = folder() / f"{''.join(c for c in key if c.isascii())}.json"
    if key.isascii() or len(older.stem) > _LONGEST_KEY or not os.path.isfile(older):
        return None
    profile = read(older)
    return profile if name_key(profile.name) == key else None


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
    table: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        table = json.loads(content.decode("utf-8"), parse_constant=_refuse)
    if not isinstance(table, dict) or "format" not in table:
        raise InputError(
            f"{where} is not a device profile, as nasplug calibrate writes it; the description of "
            "a device must be a .toml file"
        )
    file_format = table["format"]
    if file_format not in (FORMAT, _OLD_FORMAT):
        raise InputError(
            f"{where} is not a device profile of this version: its format is "
            f"{str(file_format)[:50]!r}, not {FORMAT!r}; calibrate the device again with nasplug "
            "calibrate"
        )
    if file_format == FORMAT and table.get(CHECKSUM) != checksum_of(table):
        raise InputError(
            f"{where} is damaged (its content does not match its checksum); calibrate the device "
            "again"
        )
    try:
        if not isinstance(table.get("hardware"), dict):
            raise InputError("hardware must be a table")
        hardware = parse(table["hardware"], "its description")
        space, batch_size = table.get("space"), table.get("batch_size")
        if not isinstance(space, str) or not space.isprintable():
            raise InputError("space must be the name of a search space")
        # A profile with a checksum may be of a space that was made in Python.
        if file_format == _OLD_FORMAT and space.partition(":")[0] not in space_names():
            raise InputError(f"space must be one of {', '.join(space_names())}")
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise InputError("batch_size must be a whole number of at least 1")
        measured = MeasuredNetworks.from_json(table.get("measured"))
    except InputError as error:
        raise InputError(f"{where} is damaged ({error}); calibrate the device again") from None
    if file_format == _OLD_FORMAT:
        warnings.warn(
            f"{where} was written by an earlier version without a checksum, so damage such as a "
            "wrong latency would go unnoticed; calibrate the device again to protect it",
            stacklevel=2,
        )
    return DeviceProfile(hardware, space, batch_size, measured)


def write(profile: DeviceProfile, path: Path, about: Mapping[str, Any]) -> None:
    """Write a profile, whole or not at all.

    Args:
        profile: The device.
        path: The file; its folder is made.
        about: Origin of the profile, for readers of the file: date, versions, measurements.

    Raises:
        InputError: If the file cannot be written.
    """
    table = {"format": FORMAT, **profile.to_json(), "about": dict(about)}
    table[CHECKSUM] = checksum_of(table)
    try:
        write_text(path, json.dumps(table, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(
            f"cannot write {shown_path(path)} ({error.strerror}); give another file with --out"
        ) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
