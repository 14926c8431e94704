"""Files of plain arrays: one `.npz` with a checksum, no pickles inside."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.files import write_bytes

__all__ = ["digest_of", "read_arrays", "write_arrays"]


def digest_of(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """SHA-256 of the arrays' names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        # Without a copy: a table may be large.
        digest.update(array.data)
    return digest.digest()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays and their checksum atomically, compressed.

    Raises:
        OSError: If the folder cannot be written.
    """
    buffer = io.BytesIO()
    checksum = np.frombuffer(digest_of(arrays), dtype=np.uint8)
    np.savez_compressed(buffer, checksum=checksum, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], bool]:
    """Read the arrays of a file, and whether their checksum is right.

    Raises:
        Exception: If bytes are damaged; nearly any type, from zipfile, zlib or numpy's parser.
    """
    # Given a path, np.load leaves its file open when the zip is damaged.
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, bool(arrays.pop("checksum").tobytes() == digest_of(arrays))
