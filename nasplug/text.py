"""Text for messages, and files of text: read whole, with checksums of their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasplug.search_spaces.errors import InputError

__all__ = [
    "CHECKSUM",
    "check_no_torch_file",
    "check_row",
    "checksum_of",
    "counted",
    "is_number",
    "number_text",
    "read_whole",
    "row_checksum",
    "shortened",
    "shown_path",
]

# Key of a JSON table, and column of a CSV, that holds the checksum of everything else.
CHECKSUM = "checksum"
# Ends of the names of files that torch.save writes.
_TORCH = {"pt", "pth", "ckpt"}
# float() takes more, such as 1_000, nan or digits of other scripts, which is likely a mistake.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def shortened(text: str, most: int) -> str:
    """Cut a text to `most` characters for a message; a longer text ends in three dots."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def counted(count: int, noun: str) -> str:
    """Write a number of things, such as `"1 trial"` or `"15,625 architectures"`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def is_number(text: str) -> bool:
    """Whether a text spells a number in plain ASCII digits, of whatever size."""
    return _NUMBER.fullmatch(text) is not None


def shown_path(path: Path) -> str:
    """Write a path for a sentence: quoted if it holds characters that cannot be printed."""
    return str(path) if str(path).isprintable() else repr(str(path))


def read_whole(path: Path, limit: int, wanted: str, too_large: str) -> bytes:
    """Read the whole content of a regular file.

    Args:
        path: The file.
        limit: Largest size in bytes.
        wanted: The right kind of file, for the message.
        too_large: The kind of file that is never larger, for the message.

    Raises:
        InputError: If the file is missing, is no regular file, cannot be read, or is larger.
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
        limit_text = f"{limit // 1_000_000} MB" if limit >= 1_000_000 else f"{limit // 1_000} kB"
        raise InputError(f"{where}: larger than {limit_text}, the limit for a {too_large}")
    return content


def check_no_torch_file(path: object) -> None:
    """Check that a path does not end as PyTorch's files do, which are not read: they run code.

    Raises:
        InputError: If it does; the message has the two lines of Python that export an ONNX file.
    """
    text = str(path)
    stem, dot, suffix = text.rpartition(".")
    if isinstance(path, (str, os.PathLike)) and suffix.lower() == "pt2":
        raise InputError(
            f"{shown_path(Path(text))} is an exported program of PyTorch; read it in Python: "
            f"nasplug.predict(torch.export.load({text!r}), hardware=...)"
        )
    if not isinstance(path, (str, os.PathLike)) or not dot or suffix.lower() not in _TORCH:
        return
    onnx = repr(f"{stem}.onnx")
    raise InputError(
        f"{shown_path(Path(text))} is a PyTorch file, and nasplug reads ONNX files; export the "
        "network in Python, where Network is its class:\n  model = Network(); "
        f"model.load_state_dict(torch.load({text!r}))\n  torch.onnx.export(model.eval(), "
        f"(torch.zeros(1, 3, 224, 224),), {onnx})"
    )


def checksum_of(table: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON table's content, without its own checksum."""
    content = {key: value for key, value in table.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def row_checksum(header: Sequence[str], cells: Sequence[str]) -> str:
    """Checksum of a CSV row and its column names, without the column of the checksum itself."""
    named_cells = [
        (name.strip(), cell.strip())
        for name, cell in zip(header, cells, strict=True)
        if name != CHECKSUM
    ]
    return hashlib.sha256(json.dumps(named_cells).encode()).hexdigest()[:16]


def check_row(header: Sequence[str], cells: Sequence[str], where: str) -> None:
    """Check a row against its checksum, if it has one.

    Raises:
        InputError: If the row differs from its checksum.
    """
    if CHECKSUM not in header:
        return
    if cells[list(header).index(CHECKSUM)].strip() != row_checksum(header, cells):
        raise InputError(
            f"{where} was changed after nasplug measure wrote it; remove the line, or remove the "
            f"column {CHECKSUM} if the change is right"
        )


def number_text(value: float) -> str:
    """Text of a number: four significant digits, and all digits before the point of a large one.

    Example:
        >>> from nasplug.text import number_text
        >>> number_text(0.33318), number_text(10687.4)
        ('0.3332', '10,687')
    """
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"
