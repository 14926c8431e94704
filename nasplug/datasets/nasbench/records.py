"""One record of a NAS-Bench-101 file: hash, epochs, adjacency, operations and metrics.

A record is a JSON list whose last item is a protobuf message in base64. JSON and protobuf read any
of them; the form that the published files have is read without either, thousands at once.
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
    "split_record",
    "what_is_wrong",
]

# The message of the benchmark's own file: three evaluations of so many bytes, then the parameters.
_EVALUATION, _EVALUATIONS = 47, 3
_PARAMETERS = _EVALUATION * _EVALUATIONS
# An evaluation: field 1 of the message, with five doubles inside; place of each tag, and its byte.
_TAGS = {0: 0x0A, 1: 0x2D, 2: 0x09, 11: 0x11, 20: 0x19, 29: 0x21, 38: 0x29}
# Bytes that are looked at, and as how much base64 they are written: in lines of 76, each of which
# ends with a line feed, which JSON writes as two characters.
_BYTES, _LINE = _PARAMETERS + 3, 76
_FEEDS = {_LINE: ord("\\"), _LINE + 1: ord("n"), 2 * _LINE + 2: ord("\\"), 2 * _LINE + 3: ord("n")}
_IS_BASE64 = np.zeros(256, np.bool_)
_IS_BASE64[[ord(c) for c in f"{string.ascii_letters}{string.digits}+/"]] = True
PLAIN_SIZE = _BYTES // 3 * 4 + 2 * (_BYTES // 3 * 4 // _LINE)
"""Characters of a record's metrics that `plain_runs` reads, from the first on."""


def split_record(payload: bytes) -> Sequence[Any]:
    """Hash, epochs, adjacency, operations and metrics of a record."""
    text = payload.decode()
    parts = text.split('"')
    # Texts without quotes, and line feeds alone escaped: as every published file has them.
    if len(parts) == 9 and text.count("\\") == parts[7].count("\\n"):
        start, module, number, adjacency, comma, operations, other, metrics, end = parts
        between = (start, number[:2], number[-2:], comma, other, end)
        if number[2:-2].isdecimal() and between == ("[", ", ", ", ", ", ", ", ", "]"):
            return module, int(number[2:-2]), adjacency, operations, metrics.replace("\\n", "")
    found: Sequence[Any] = json.loads(text)
    return found


def plain_runs(texts: Sequence[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers of runs of the benchmark's own file, whose fields come in their order.

    Args:
        texts: The first `PLAIN_SIZE` characters of each record's metrics, as they are in its JSON.

    Returns:
        Half-way and at the end seconds and three accuracies, shape `(runs, 8)`; and which of the
        messages have this form, `(runs,)`: protobuf reads any other.
    """
    count = len(texts)
    joined = b"".join(texts)
    if len(joined) != count * PLAIN_SIZE:
        joined = b"".join([t if len(t) == PLAIN_SIZE else bytes(PLAIN_SIZE) for t in texts])
    whole = np.frombuffer(joined, np.uint8).reshape(count, PLAIN_SIZE)
    good = np.ones(count, np.bool_)
    for place, character in _FEEDS.items():
        good &= whole[:, place] == character
    lines = [whole[:, start : start + _LINE] for start in range(0, PLAIN_SIZE, _LINE + 2)]
    characters = np.concatenate(lines, axis=1)
    decoded = b""
    # What is no base64 is an error, or is skipped and shifts all that follows.
    with contextlib.suppress(binascii.Error):
        decoded = binascii.a2b_base64(characters.tobytes())
    if len(decoded) != count * _BYTES:
        good &= _IS_BASE64[characters].all(axis=1)
        characters[~good] = ord("A")
        decoded = binascii.a2b_base64(characters.tobytes())
    raw = np.frombuffer(decoded, np.uint8).reshape(count, _BYTES)
    good &= raw[:, _PARAMETERS] == 0x10
    for start in range(0, _PARAMETERS, _EVALUATION):
        for place, byte in _TAGS.items():
            good &= raw[:, start + place] == byte
    columns = [
        np.ascontiguousarray(raw[:, start + tag + 1 : start + tag + 9]).view("<f8")
        for start in (_EVALUATION, 2 * _EVALUATION)
        for tag in (11, 20, 29, 38)
    ]
    return np.concatenate(columns, axis=1).astype(np.float64), good


@lru_cache(maxsize=65_536)
def labels_of(operations: str) -> tuple[int, ...] | None:
    """Labels of the operations of a record; None if they are not those of a cell."""
    first, *inner = operations.split(",")
    if not inner or len(inner) >= MAX_VERTICES or (first, inner.pop()) != (INPUT, OUTPUT):
        return None
    return tuple(map(OPS.index, inner)) if set(inner) <= set(OPS) else None


@lru_cache(maxsize=65_536)
def bits_of(adjacency: str, n: int) -> int | None:
    """`Cell.bits` of the adjacency of a record; None if it is not that of a cell."""
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


def what_is_wrong(payload: bytes, error: Exception) -> str:
    """What is wrong with a payload, in a few words."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return f"it is no JSON text ({len(payload)} bytes that start with {shown(payload[:16])})"
    if not isinstance(content, list) or len(content) != 5:
        return "it is no list of hash, epochs, adjacency, operations and metrics"
    types = (str, int, str, str, str)
    for value, kind in zip(content, types, strict=True):
        if type(value) is not kind:
            return f"{shown(value)} stands where {kind.__name__} is expected"
    return f"its metrics cannot be decoded ({type(error).__name__})"
