"""Checks that importers share: files of the published layout, and numbers that are numbers."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError
from nasplug.text import is_number, shortened

__all__ = [
    "foreign",
    "named_numbers",
    "number",
    "numbers",
    "read_csv",
    "read_json",
    "read_text",
    "shown",
]

_MOST_SHOWN = 60


def foreign(path: Path, why: str) -> InputError:
    """Make the error for a file that is not laid out as it was published."""
    return InputError(f"{path} does not have the layout of the published file: {why}")


def shown(value: object) -> str:
    """Write a value on one short line, in ASCII, for an error message."""
    return shortened(ascii(value), _MOST_SHOWN)


def number(text: str) -> float | None:
    """Read the finite number that a text spells in plain ASCII digits; None for another text."""
    if not is_number(text):
        return None
    value = float(text)
    return value if np.isfinite(value) else None


def numbers(
    path: Path, values: Sequence[Any], count: int, highest: float = np.inf
) -> NDArray[np.float64]:
    """Convert values to an array.

    Raises:
        InputError: If the values are not `count` numbers above 0 and at most `highest`.
    """
    if len(values) != count:
        raise foreign(path, f"it holds {len(values):,} values instead of {count:,}")
    # Exact types: True is an int to isinstance, and text that looks like a number is no number.
    if any(type(value) not in {int, float} for value in values):
        raise foreign(path, "some values are not numbers")
    try:
        array = np.array(values, dtype=np.float64)
    except OverflowError:
        raise foreign(path, "some values do not fit 64-bit numbers") from None
    valid = np.isfinite(array) & (array > 0) & (array <= highest)
    if not valid.all():
        row = int(np.argmin(valid))
        limit = f" and at most {highest:g}" if np.isfinite(highest) else ""
        raise foreign(path, f"value {row} is {array[row]}; it must be finite, above 0{limit}")
    return array


def named_numbers(
    path: Path, where: str, entry: object, names: Collection[str], nullable: bool = False
) -> list[float]:
    """Read the numbers of a JSON object, in the order of `names`; NaN for null.

    Raises:
        InputError: If `entry` is no object with just these names, or a value is no finite number of
            at least 0 (or, if `nullable`, null).
    """
    if not isinstance(entry, dict) or entry.keys() != set(names):
        raise foreign(path, f"{where} is not an object with {', '.join(names)}")
    values = []
    for name in names:
        value = entry[name]
        if value is None and nullable:
            values.append(np.nan)
        elif type(value) in {int, float} and 0 <= value <= sys.float_info.max:
            values.append(float(value))
        else:
            raise foreign(path, f"{where} has {shown(value)} for {name}")
    return values


def read_text(path: Path) -> str:
    """Read a UTF-8 text file; every kind of line end reads as a line feed.

    Raises:
        InputError: If the file cannot be read or is no text in UTF-8.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; fetch it again") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file.

    Raises:
        InputError: If the file cannot be read or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is not a readable JSON file ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise foreign(path, "expected an object keyed by architecture strings")
    return content


def read_csv(path: Path, columns: Sequence[Collection[str]]) -> list[tuple[int, dict[str, str]]]:
    """Read the rows of a CSV file whose first line names its columns, in any order.

    Args:
        path: The file.
        columns: The sets of columns that the file may have.

    Returns:
        Line number and fields of each row.

    Raises:
        InputError: If the file cannot be read, has other columns, or a row has other fields.
    """
    reader = csv.reader(read_text(path).split("\n"), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        header = next(reader)
        if sorted(header) not in [sorted(names) for names in columns]:
            raise foreign(path, f"its columns are {shown(','.join(header))}")
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise foreign(path, f"line {reader.line_num} has {len(fields)} fields")
            rows.append((reader.line_num, dict(zip(header, fields, strict=True))))
    except (csv.Error, StopIteration) as error:
        raise foreign(path, f"line {reader.line_num} is not a CSV row") from error
    return rows
