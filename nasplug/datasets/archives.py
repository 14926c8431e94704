"""Files of plain arrays: one `.npz` with a checksum, no pickles inside."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.files import atomic_path

__all__ = [
    "joined_lines",
    "lines_of",
    "numbers_of",
    "planes_of",
    "read_arrays",
    "shipped_arrays",
    "write_arrays",
]


def _digest_of(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """SHA-256 of the arrays' names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        # Without a copy: a table may be large.
        digest.update(array.data)
    return digest.digest()


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], method: int = zipfile.ZIP_DEFLATED
) -> None:
    """Write arrays and their checksum atomically.

    Args:
        path: The file.
        arrays: The arrays by name.
        method: How the zip compresses: `zipfile.ZIP_STORED`, `ZIP_DEFLATED`, or `ZIP_LZMA`, which
            makes smaller files that take longer to read.

    Raises:
        OSError: If the folder cannot be written.
    """
    checksum = np.frombuffer(_digest_of(arrays), dtype=np.uint8)
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as stream,
        zipfile.ZipFile(stream, "w", method) as archive,
    ):
        for name, array in {"checksum": checksum, **arrays}.items():
            # A fixed date, so that equal arrays make equal files.
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = method
            with archive.open(entry, "w", force_zip64=True) as part:
                np.lib.format.write_array(part, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], bool]:
    """Read the arrays of a file, and whether their checksum is right.

    Raises:
        Exception: If bytes are damaged; nearly any type, from zipfile, zlib or numpy's parser.
    """
    # Given a path, np.load leaves its file open when the zip is damaged.
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, bool(arrays.pop("checksum").tobytes() == _digest_of(arrays))


@contextmanager
def shipped_arrays(path: Path, version: int, missing: str) -> Iterator[dict[str, NDArray[Any]]]:
    """Read the arrays of a file of the package, for a block that decodes them.

    Args:
        path: The file.
        version: Version of the format that the array `version` has to hold.
        missing: Words that say that the file is missing.

    Raises:
        InputError: If the file is missing or damaged, or of another version; also if the block
            fails, since what it reads is damaged then.
    """
    if not path.is_file():
        raise InputError(f"{missing}; install nasplug again")
    try:
        arrays, is_whole = read_arrays(path)
        if not is_whole or int(arrays["version"]) != version:
            raise InputError(f"{path} was altered, or is of another version; install nasplug again")
        yield arrays
    except (InputError, MemoryError):
        raise
    # Damaged bytes can raise nearly anything in zipfile, zlib, lzma and numpy's header parser.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}); install nasplug again"
        ) from error


def joined_lines(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts without line breaks as one array of bytes."""
    return np.frombuffer("\n".join(texts).encode(), dtype=np.uint8)


def lines_of(array: NDArray[np.uint8]) -> tuple[str, ...]:
    """Texts of an array that `joined_lines` made."""
    return tuple(array.tobytes().decode().split("\n"))


def planes_of(numbers: NDArray[np.signedinteger[Any]], count: int | None = None) -> NDArray[Any]:
    """Whole numbers as planes of their bytes, lowest first, which zip presses best.

    Args:
        numbers: The numbers, shape `(n,)`.
        count: Number of planes; as many as are needed if left out.

    Returns:
        Bytes, shape `(planes, n)`.

    Raises:
        ValueError: If a number does not fit into so many bytes.
    """
    width = numbers.dtype.itemsize
    # -1 is 1 and 1 is 2, so that small negative numbers have zeros in their upper bytes, too.
    folded = (numbers << 1) ^ (numbers >> (8 * width - 1))
    planes = folded.astype(f"<i{width}").view(np.uint8).reshape(-1, width).T
    needed = max((k + 1 for k, plane in enumerate(planes) if plane.any()), default=1)
    if count is not None and needed > count:
        raise ValueError(f"a number does not fit into {count} bytes")
    return np.ascontiguousarray(planes[: needed if count is None else count])


def numbers_of(planes: NDArray[np.uint8]) -> NDArray[np.signedinteger[Any]]:
    """Numbers of planes that `planes_of` made, in 32 bits where four planes hold them."""
    # Numbers of 32 bits are unfolded in half of the time.
    bits = 32 if len(planes) <= 4 else 64
    folded: NDArray[Any] = np.zeros(planes.shape[1], dtype=f"<u{bits // 8}")
    for k, plane in enumerate(planes):
        folded |= plane.astype(folded.dtype) << 8 * k
    signed = f"<i{bits // 8}"
    result: NDArray[Any] = (folded >> 1).astype(signed) ^ -(folded & 1).astype(signed)
    return result
