"""Small files of the NAS-Bench-101 family, written field by field."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable
from pathlib import Path

from nasplug.datasets.nasbench.tfrecord import frame
from nasplug.search_spaces import Architecture
from nasplug.search_spaces.nb101.space import NB101

SPACE = NB101()
EPOCHS = (4, 12, 36, 108)
REPEATS = 3


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def evaluation(numbers: Iterable[float], checkpoint: str | None = "ckpt/0") -> bytes:
    """An EvaluationData: fields 1 to 5 as doubles, and the checkpoint's path as a text."""
    body = b"".join(
        bytes([field << 3 | 1]) + struct.pack("<d", number)
        for field, number in enumerate(numbers, start=1)
    )
    if checkpoint is not None:
        body += b"\x32" + varint(len(checkpoint)) + checkpoint.encode()
    return b"\x0a" + varint(len(body)) + body


def metrics(
    cell: int,
    epochs: int,
    repeat: int,
    params: int,
    evaluations: int = 3,
    checkpoint: str | None = "ckpt/0",
) -> bytes:
    """A ModelMetrics whose numbers tell where they belong."""
    parts = []
    for when in range(evaluations):
        fields = [repeat + k / 8 + when / 32 for k in range(1, 4)]
        accuracies = [(cell / 64 + epochs / 1024 + x / 8) / 4 for x in fields]
        seconds = 1000.0 * cell + epochs + repeat / 10 + when
        parts.append(evaluation([epochs * when / 2, seconds, *accuracies], checkpoint))
    parts.append(b"\x10" + varint(params) + b"\x19" + struct.pack("<d", 5000.0 + cell))
    return b"".join(parts)


def record(
    arch: Architecture, cell: int, epochs: int, repeat: int, checkpoint: str | None = "ckpt/0"
) -> list[object]:
    """A record's payload, before it is a JSON text."""
    adjacency, _, operations = arch.text.partition(":")
    params = int(SPACE.to_graph(arch).total("params"))
    raw = metrics(cell, epochs, repeat, params, checkpoint=checkpoint)
    return [arch.arch_id, epochs, adjacency, operations, base64.encodebytes(raw).decode()]


def payload(content: object) -> bytes:
    return json.dumps(content).encode()


def write(path: Path, payloads: Iterable[bytes]) -> Path:
    path.write_bytes(b"".join(map(frame, payloads)))
    return path


def cells() -> list[Architecture]:
    """Cells of all sizes."""
    return [SPACE[k] for k in (0, 3, 40, 2_000, 60_000, 300_000, 423_623)]


def official(path: Path, epochs: Iterable[int] = EPOCHS, checkpoint: str | None = "ckpt/0") -> Path:
    """A file laid out like the official one: the repeats of a cell are not side by side."""
    budgets = tuple(epochs)
    return write(
        path,
        (
            payload(record(arch, cell, length, repeat, checkpoint))
            for repeat in range(REPEATS)
            for cell, arch in enumerate(cells())
            for length in budgets
        ),
    )
