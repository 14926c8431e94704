"""Compact tables in files: one `.npz` of plain arrays with a checksum, no pickles inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.archives import read_arrays, write_arrays
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMAT_VERSION", "Table", "read_table", "write_table"]

FORMAT_VERSION = 1
"""Version to be raised when the layout or an importer changes; older tables are built again."""


@dataclass(frozen=True)
class Table:
    """Table of numbers and texts with named columns, a row an architecture or a measurement.

    Attributes:
        index: Index of each row, int64: the architecture's index where the source counts them.
        columns: The names of the columns of numbers.
        values: The numbers, shape `(rows, columns)`, float64; NaN for an unknown value.
        archs: The architecture string of each row, or None if the source names no architectures.
        sources: SHA-256 of every file that the table was made from, by its path in a mirror.
        version: Version of the format and of the importers that made the table.
        texts: The columns of texts beside `archs`, by name.
        dtypes: Names of columns of `values` whose numbers are all "int64" or "bool".
    """

    index: NDArray[np.int64]
    columns: tuple[str, ...]
    values: NDArray[np.float64]
    archs: tuple[str, ...] | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    version: int = FORMAT_VERSION
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """Convert to a DataFrame: index named "index", then `arch`, the texts, the numbers."""
        with from_extra("data"):
            import pandas as pd

        n = len(self.index)
        consecutive = np.array_equal(self.index, np.arange(n))
        index = (
            pd.RangeIndex(n, name="index") if consecutive else pd.Index(self.index, name="index")
        )
        frame = pd.DataFrame(self.values.copy(), columns=list(self.columns), index=index)
        frame = frame.astype(dict(self.dtypes))
        texts = {} if self.archs is None else {"arch": self.archs}
        for position, (name, column) in enumerate([*texts.items(), *self.texts.items()]):
            frame.insert(position, name, list(column))
        return frame


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
    # Written only where there are any: tables of numbers alone stay as earlier versions wrote them.
    if table.texts:
        arrays["texts"] = np.array(list(table.texts), dtype=np.str_)
        for i, column in enumerate(table.texts.values()):
            arrays[f"text_{i}"] = np.array(column, dtype=np.str_)
    if table.dtypes:
        arrays["dtypes"] = np.array(list(table.dtypes.items()), dtype=np.str_)
    write_arrays(path, arrays)


def read_table(path: Path) -> Table:
    """Read a table that `write_table` wrote.

    Raises:
        InputError: If the file is missing, truncated or altered, or is no such table.
    """
    if not path.is_file():
        raise InputError(f"the table {path} is missing; give a table that was imported")
    try:
        arrays, is_whole = read_arrays(path)
        if not is_whole:
            raise InputError(f"the table {path} was changed after it was written; import it again")
        return Table(
            index=arrays["index"],
            columns=tuple(arrays["columns"].tolist()),
            values=arrays["values"],
            archs=tuple(arrays["archs"].tolist()) or None,
            sources=dict(arrays["sources"].tolist()),
            version=int(arrays["version"]),
            texts={
                name: tuple(arrays[f"text_{i}"].tolist())
                for i, name in enumerate(arrays["texts"].tolist() if "texts" in arrays else ())
            },
            dtypes=dict(arrays["dtypes"].tolist()) if "dtypes" in arrays else {},
        )
    except (InputError, MemoryError):
        raise
    # Damaged bytes can raise nearly anything in zipfile, zlib and numpy's header parser.
    except Exception as error:
        raise InputError(
            f"the table {path} cannot be read ({type(error).__name__}: {error}); import it again"
        ) from error
