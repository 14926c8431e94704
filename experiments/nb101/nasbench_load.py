"""Time and memory to read a NAS-Bench-101 file of the official size.

The official files cannot be fetched from a stable address, so one of their size and layout is made
in a temporary folder: all 423,624 cells with their hashes, three runs at each budget, random
measurements. It is then opened twice by a process of its own: read, and from its copy in the cache.

    python -m experiments.nb101.nasbench_load         # 108 epochs: 1.27 million records, 0.5 GB
    python -m experiments.nb101.nasbench_load --full  # all budgets: 5.1 million records, 2 GB
"""

from __future__ import annotations

import base64
import json
import struct
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from experiments import RESULTS
from experiments.campaign import Options, read_json
from experiments.common import run_alone
from nasplug.datasets.nasbench.tfrecord import frame
from nasplug.search_spaces.files import write_text
from nasplug.search_spaces.nb101.enumeration import cell_table
from nasplug.search_spaces.nb101.space import NB101

RESULT = RESULTS / "nasbench_load.json"
REPEATS = 3

OPEN = """
import json, resource, sys, time
start = time.perf_counter()
from nasplug.datasets import NASBench
nasbench = NASBench(sys.argv[1], seed=0)
seconds, processor = time.perf_counter() - start, time.process_time()
cells = len(list(nasbench.hash_iterator()))
runs = sum(map(len, nasbench.get_metrics_from_hash(next(nasbench.hash_iterator()))[1].values()))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": round(seconds, 1), "processor_seconds": round(processor, 1),
                  "peak_mib": round(peak), "cells": cells, "runs_of_a_cell": runs}))
"""


def write_file(path: Path, budgets: tuple[int, ...], cells: int | None = None) -> int:
    """Write a file like the official one, or of its first cells; returns the number of records."""
    rng = np.random.default_rng(0)
    table = cell_table()
    space = NB101()
    params = space.totals()["params"].astype(int).tolist()
    evaluation = struct.Struct("<BBBdBdBdBdBd")
    records = 0
    with open(path, "wb", buffering=1 << 20) as stream:
        for index, arch in enumerate(islice(space, cells)):
            adjacency, _, operations = arch.text.partition(":")
            # Accuracies are those of the published files: 32 bits, on a grid of test images.
            correct = rng.integers(1000, 9984, size=(len(budgets), REPEATS, 3, 3))
            accuracies = np.float32(correct / 9984).astype(float).tolist()
            seconds = rng.uniform(1, 5000, size=(len(budgets), REPEATS, 3)).tolist()
            for b, epochs in enumerate(budgets):
                for repeat in range(REPEATS):
                    parts = []
                    for k, when in enumerate((0.0, epochs / 2, float(epochs))):
                        train, valid, test = accuracies[b][repeat][k]
                        # Tags of the fields 1 to 5, which are doubles, inside of field 1.
                        parts.append(
                            evaluation.pack(
                                *(0x0A, evaluation.size - 2, 0x09, when, 0x11),
                                *(seconds[b][repeat][k], 0x19, train, 0x21, valid, 0x29, test),
                            )
                        )
                    parts.append(b"\x10" + _varint(params[index]))
                    parts.append(b"\x19" + struct.pack("<d", 2 * seconds[b][repeat][2]))
                    metrics = base64.encodebytes(b"".join(parts)).decode()
                    row = [table.arch_id(index), epochs, adjacency, operations, metrics]
                    stream.write(frame(json.dumps(row).encode()))
                    records += 1
    return records


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])


def measured(path: Path, cache: Path) -> dict[str, Any]:
    """Open the file in a process of its own: time and memory."""
    return run_alone(OPEN, str(path), cache=str(cache))


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--full", action="store_true", help="all four budgets")
    full = parser.parse_args().full
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "nasbench.tfrecord")
        start = time.perf_counter()
        records = write_file(path, (4, 12, 36, 108) if full else (108,))
        result = {
            "records": records,
            "bytes": path.stat().st_size,
            "writing_seconds": round(time.perf_counter() - start, 1),
            "first": measured(path, Path(folder, "cache")),
            "again": measured(path, Path(folder, "cache")),
            "copy_bytes": sum(f.stat().st_size for f in Path(folder, "cache").rglob("*.npz")),
        }
    name = "full" if full else "only108"
    write_text(RESULT, json.dumps(read_json(RESULT) | {name: result}, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
