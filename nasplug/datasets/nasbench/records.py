"""Records of NAS-Bench-101 files: hash, epochs, adjacency, operations and metrics of a run.

A record is a JSON list whose last item is a protobuf message in base64. Any record can be read by
JSON and protobuf; records in the exact form of the published files are read without either,
thousands at once.
"""

from __future__ import annotations

import binascii
import contextlib
import json
import string
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.layout import shown
from nasplug.search_spaces.nb101.cells import (
    INPUT,
    MAX_EDGES,
    MAX_VERTICES,
    OPS,
    OUTPUT,
    Cell,
    prune,
)

__all__ = [
    "PLAIN_SIZE",
    "bits_of",
    "labels_of",
    "plain_runs",
    "record_fault",
    "split_record",
]

# The message in the benchmark's own file: three evaluations of 47 bytes, then the parameters.
_EVALUATION, _EVALUATIONS = 47, 3
_PARAMETERS = _EVALUATION * _EVALUATIONS
# An evaluation: field 1 of the message, with five doubles inside; offset -> byte of each tag.
_TAGS = {0: 0x0A, 1: 0x2D, 2: 0x09, 11: 0x11, 20: 0x19, 29: 0x21, 38: 0x29}
# Bytes that are read, and the length of a line of their base64. A line ends with a line feed, which
# JSON writes as two characters.
_BYTES, _LINE = _PARAMETERS + 3, 76
_FEEDS = {_LINE: ord("\\"), _LINE + 1: ord("n"), 2 * _LINE + 2: ord("\\"), 2 * _LINE + 3: ord("n")}
_IS_BASE64 = np.zeros(256, np.bool_)
_IS_BASE64[[ord(c) for c in f"{string.ascii_letters}{string.digits}+/"]] = True
PLAIN_SIZE = _BYTES // 3 * 4 + 2 * (_BYTES // 3 * 4 // _LINE)
"""Characters of a record's metrics that `plain_runs` reads, from the first on."""


def split_record(payload: bytes) -> Sequence[Any]:
    """Split a record into hash, epochs, adjacency, operations and metrics."""
    text = payload.decode()
    parts = text.split('"')
    # The form of every published file: texts without quotes, in which line feeds alone are escaped.
    if len(parts) == 9 and text.count("\\") == parts[7].count("\\n"):
        start, module, number, adjacency, comma, operations, other, metrics, end = parts
        between = (start, number[:2], number[-2:], comma, other, end)
        if number[2:-2].isdecimal() and between == ("[", ", ", ", ", ", ", ", ", "]"):
            return module, int(number[2:-2]), adjacency, operations, metrics.replace("\\n", "")
    fields: Sequence[Any] = json.loads(text)
    return fields


def plain_runs(texts: Sequence[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Decode runs of the benchmark's own file, whose fields come in a fixed order.

    Args:
        texts: The first `PLAIN_SIZE` characters of each record's metrics, as written in its JSON.

    Returns:
        Seconds and three accuracies, half-way and at the end, shape `(runs, 8)`; and a mask of the
        messages in this form, `(runs,)`. The numbers of other messages mean nothing.
    """
    count = len(texts)
    joined = b"".join(texts)
    if len(joined) != count * PLAIN_SIZE:
        joined = b"".join([t if len(t) == PLAIN_SIZE else bytes(PLAIN_SIZE) for t in texts])
    grid = np.frombuffer(joined, np.uint8).reshape(count, PLAIN_SIZE)
    is_plain = np.ones(count, np.bool_)
    for offset, character in _FEEDS.items():
        is_plain &= grid[:, offset] == character
    lines = [grid[:, start : start + _LINE] for start in range(0, PLAIN_SIZE, _LINE + 2)]
    characters = np.concatenate(lines, axis=1)
    decoded = b""
    # Characters that are no base64 raise an error, or are skipped and shift all that follows.
    with contextlib.suppress(binascii.Error):
        decoded = binascii.a2b_base64(characters.tobytes())
    if len(decoded) != count * _BYTES:
        is_plain &= _IS_BASE64[characters].all(axis=1)
        characters[~is_plain] = ord("A")
        decoded = binascii.a2b_base64(characters.tobytes())
    raw = np.frombuffer(decoded, np.uint8).reshape(count, _BYTES)
    is_plain &= raw[:, _PARAMETERS] == 0x10
    for start in range(0, _PARAMETERS, _EVALUATION):
        for offset, byte in _TAGS.items():
            is_plain &= raw[:, start + offset] == byte
    columns = [
        np.ascontiguousarray(raw[:, start + tag + 1 : start + tag + 9]).view("<f8")
        for start in (_EVALUATION, 2 * _EVALUATION)
        for tag in (11, 20, 29, 38)
    ]
    return np.concatenate(columns, axis=1).astype(np.float64), is_plain


@lru_cache(maxsize=65_536)
def labels_of(operations: str) -> tuple[int, ...] | None:
    """Labels of the operations of a record; None if no cell has these operations."""
    first, *inner = operations.split(",")
    if not inner or len(inner) >= MAX_VERTICES or (first, inner.pop()) != (INPUT, OUTPUT):
        return None
    return tuple(map(OPS.index, inner)) if set(inner) <= set(OPS) else None


@lru_cache(maxsize=65_536)
def bits_of(adjacency: str, n: int) -> int | None:
    """`Cell.bits` of the adjacency of a record; None if no cell has this adjacency."""
    edges = [divmod(k, n) for k, digit in enumerate(adjacency) if digit == "1"]
    if (
        len(adjacency) != n**2
        or set(adjacency) - {"0", "1"}
        or len(edges) > MAX_EDGES
        or any(a >= b for a, b in edges)
        or prune(n, edges) != list(range(n))
    ):
        return None
    return Cell.of(edges, (0,) * (n - 2)).bits


def record_fault(payload: bytes, error: Exception) -> str:
    """Name the fault of a payload that could not be read, in a few words."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return f"it is not JSON ({len(payload)} bytes that start with {shown(payload[:16])})"
    if not isinstance(content, list) or len(content) != 5:
        return "it is not a list of hash, epochs, adjacency, operations and metrics"
    types = (str, int, str, str, str)
    for value, expected in zip(content, types, strict=True):
        if type(value) is not expected:
            return f"it has {shown(value)} instead of a value of type {expected.__name__}"
    return f"its metrics cannot be decoded ({type(error).__name__})"
