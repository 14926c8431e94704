"""Files of plain arrays: one `.npz` with a checksum, no pickles inside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.files import atomic_path

__all__ = ["read_arrays", "write_arrays"]


def _digest_of(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """SHA-256 of the arrays' names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        # Without a copy: a table may be large.
        digest.update(array.data)
    return digest.digest()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], compress: bool = True) -> None:
    """Write arrays and their checksum atomically.

    Raises:
        OSError: If the folder cannot be written.
    """
    save = np.savez_compressed if compress else np.savez
    checksum = np.frombuffer(_digest_of(arrays), dtype=np.uint8)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        save(stream, checksum=checksum, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], bool]:
    """Read the arrays of a file, and whether their checksum is right.

    Raises:
        Exception: If bytes are damaged; nearly any type, from zipfile, zlib or numpy's parser.
    """
    # Given a path, np.load leaves its file open when the zip is damaged.
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, bool(arrays.pop("checksum").tobytes() == _digest_of(arrays))
