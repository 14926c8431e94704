"""Time the enumeration of NAS-Bench-101 from scratch, and its reading from the cache.

    python -m experiments.nb101.nb101_enumeration

Each time in a process of its own, with an empty cache folder first: all 423,624 cells and their
hashes, whose digest is checked. Writes results/nb101_enumeration.json.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from experiments.common import run_alone, write_result

MAKE = """
import hashlib, json, resource, time
start = time.perf_counter()
from nasplug.search_spaces.nb101.enumeration import cell_table
table = cell_table(progress=False)
seconds, processor = time.perf_counter() - start, time.process_time()
hashes = sorted({table.arch_id(k) for k in range(len(table.codes))})
print(json.dumps({
    "seconds": round(seconds, 2),
    "processor_seconds": round(processor, 2),
    "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "distinct": len(hashes),
    "sha256_of_sorted_hashes": hashlib.sha256("".join(hashes).encode()).hexdigest(),
}))
"""
LIST = """
import json, time
from nasplug.search_spaces import space
start = time.perf_counter()
count = sum(1 for _ in space("nb101"))
print(json.dumps({"seconds": round(time.perf_counter() - start, 2), "cells": count,
                  "processor_seconds": round(time.process_time(), 2)}))
"""


def run(code: str, cache: str) -> dict[str, Any]:
    return run_alone(code, cache=cache) | {"load_average": round(os.getloadavg()[0], 1)}


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        result = {"scratch": run(MAKE, cache), "cache": run(MAKE, cache), "list": run(LIST, cache)}
    write_result("nb101_enumeration", **result)


if __name__ == "__main__":
    main()
