"""Compact tables on disk: one `.npz` of plain arrays with a checksum, no pickles inside."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.files import write_bytes
from nasplug.search_spaces.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMAT_VERSION", "Table", "read_table", "write_table"]

FORMAT_VERSION = 1
"""Raised when the layout or an importer changes; older tables are then built again."""


@dataclass(frozen=True)
class Table:
    """Numbers with named columns, a row an architecture.

    Attributes:
        index: The architecture index of each row, int64.
        columns: The names of the columns.
        values: One row an architecture, one column a name, float64; NaN where nothing is known.
        archs: The architecture string of each row, or None if the source names none.
        sources: SHA-256 of every file that it was made from, by its path in a mirror.
        version: The version of the format and the importers that made it.
    """

    index: NDArray[np.int64]
    columns: tuple[str, ...]
    values: NDArray[np.float64]
    archs: tuple[str, ...] | None
    sources: Mapping[str, str]
    version: int = FORMAT_VERSION

    def to_frame(self) -> pd.DataFrame:
        """The table as a DataFrame: index named "index", first column `arch` if there is one."""
        import pandas as pd

        n = len(self.index)
        consecutive = np.array_equal(self.index, np.arange(n))
        index = (
            pd.RangeIndex(n, name="index") if consecutive else pd.Index(self.index, name="index")
        )
        frame = pd.DataFrame(self.values.copy(), columns=list(self.columns), index=index)
        if self.archs is not None:
            frame.insert(0, "arch", list(self.archs))
        return frame


def _digest(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.digest()


def write_table(path: Path, table: Table) -> None:
    """Write a table atomically.

    Raises:
        OSError: If the folder cannot be written.
    """
    arrays: dict[str, Any] = {
        "version": np.array(table.version, dtype=np.int64),
        "index": table.index,
        "columns": np.array(table.columns, dtype=np.str_),
        "values": table.values,
        "archs": np.array(table.archs or (), dtype=np.str_),
        "sources": np.array(sorted(table.sources.items()), dtype=np.str_).reshape(-1, 2),
    }
    checksum = np.frombuffer(_digest(arrays), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, checksum=checksum, **arrays)
    write_bytes(path, buffer.getvalue())


def read_table(path: Path) -> Table:
    """Read a table that `write_table` wrote.

    Raises:
        InputError: If the file is missing, truncated or altered, or was never such a table.
    """
    if not path.is_file():
        raise InputError(f"the table {path} is missing; name a table that was imported")
    try:
        # Given a path, np.load leaves its file open when the zip is damaged.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if arrays.pop("checksum").tobytes() != _digest(arrays):
            raise InputError(f"the table {path} was altered after it was written; import it again")
        return Table(
            index=arrays["index"],
            columns=tuple(arrays["columns"].tolist()),
            values=arrays["values"],
            archs=tuple(arrays["archs"].tolist()) or None,
            sources=dict(arrays["sources"].tolist()),
            version=int(arrays["version"]),
        )
    except InputError:
        raise
    # Damaged bytes can raise nearly anything in zipfile, zlib and numpy's header parser.
    except Exception as error:
        raise InputError(
            f"the table {path} cannot be read ({type(error).__name__}: {error}); import it again"
        ) from error
