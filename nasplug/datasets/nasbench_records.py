"""One record of a NAS-Bench-101 file: hash, epochs, adjacency, operations and metrics.

A record is a JSON list whose last item is a protobuf message in base64. JSON and protobuf read any
of them; the form that the published files have is read without either, in a third of the time.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from nasplug.datasets.layout import shown
from nasplug.search_spaces.nb101_cells import (
    INPUT,
    MAX_EDGES,
    MAX_VERTICES,
    OPS,
    OUTPUT,
    Cell,
    prune,
)

__all__ = ["bits_of", "labels_of", "plain_run", "split_record", "what_is_wrong"]

# An evaluation of the benchmark's own file: field 1 of the message, with five doubles inside; its
# three evaluations are followed by field 2, the parameters.
_START, _EVALUATION, _PARAMETERS = b"\x0a\x2d\x09", 47, 0x10
# Half-way and at the end: without the epoch, each number after the tag of its field.
_EVALUATIONS = struct.Struct("<" + 2 * "3s8xcdcdcdcd")
_TAGS = 2 * b"\x11\x19\x21\x29"


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


def plain_run(raw: bytes) -> tuple[float, ...] | None:
    """Numbers of a run of the benchmark's own file, whose fields come in their order.

    None if the message is of another form; protobuf reads any.
    """
    if len(raw) <= 3 * _EVALUATION or raw[3 * _EVALUATION] != _PARAMETERS or raw[:3] != _START:
        return None
    head, t1, a1, t2, a2, t3, a3, t4, a4, other, t5, b1, t6, b2, t7, b3, t8, b4 = (
        _EVALUATIONS.unpack_from(raw, _EVALUATION)
    )
    if head != _START or other != _START or t1 + t2 + t3 + t4 + t5 + t6 + t7 + t8 != _TAGS:
        return None
    return a1, a2, a3, a4, b1, b2, b3, b4, 0.0, 0.0


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
