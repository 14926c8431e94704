"""Read a file whole, whatever lies under its name, and tell whether it is what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasplug.search_spaces.errors import InputError

__all__ = ["CHECKSUM", "check_row", "checksum_of", "read_whole", "row_checksum", "shown_path"]

# The key of a JSON table, and the column of a CSV, that holds the checksum of all else.
CHECKSUM = "checksum"


def shown_path(path: Path) -> str:
    """A path as it stands in a sentence."""
    return str(path) if str(path).isprintable() else repr(str(path))


def read_whole(path: Path, limit: int, wanted: str, too_large: str) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        limit: Bytes that it may have.
        wanted: What the file should be, for the message.
        too_large: What no larger file is, for the message.

    Raises:
        InputError: If it is not there, no file, cannot be read, or is larger.
    """
    where = shown_path(path)
    try:
        # a pipe or a device could block, or never end
        if path.exists() and not path.is_file():
            raise InputError(f"{where}: not a file; give {wanted}")
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{where}: cannot be read ({reason})") from error
    except MemoryError:
        raise MemoryError(f"not enough memory to read {where}; free some") from None
    if len(content) > limit:
        shown = f"{limit // 1_000_000} MB" if limit >= 1_000_000 else f"{limit // 1_000} kB"
        raise InputError(f"{where}: larger than {shown}, which no {too_large} is")
    return content


def checksum_of(table: Mapping[str, Any]) -> str:
    """SHA-256 of all that a JSON table holds but its own checksum."""
    told = {key: value for key, value in table.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def row_checksum(header: Sequence[str], cells: Sequence[str]) -> str:
    """Checksum of a row of a CSV and the names of its columns, but that of the checksum itself."""
    told = [
        (name.strip(), cell.strip())
        for name, cell in zip(header, cells, strict=True)
        if name != CHECKSUM
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def check_row(header: Sequence[str], cells: Sequence[str], where: str) -> None:
    """See that a row is as it was written, if it has a checksum.

    Raises:
        InputError: If it is not.
    """
    if CHECKSUM not in header:
        return
    if cells[list(header).index(CHECKSUM)].strip() != row_checksum(header, cells):
        raise InputError(
            f"{where} was altered after nasplug measure wrote it; remove the line, or, if that is "
            f"meant, the column {CHECKSUM}"
        )
