"""Time to discover a builder's space, and to score candidates of it for a device.

    python -m experiments.own_space.builder_speed [--repeats 3]

The networks have about thirty operators. Each case runs in a process of its own with an empty
cache, and once more with the graphs on disk. `discovery_s` ends when the parameters are known, and
`total_s` when all candidates have scores; both are of the wall clock, with the imports and the
latency predictor. `processor_s` is the processor's time of the whole, which other programs do not
stretch. The median of the repeats is kept in results/builder_speed.json.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Annotated

import numpy as np
import typer

from experiments.common import run_alone, write_result

CASES = (500, 2_000)
DEVICE = "Jetson Orin Nano"
# Run in a process of its own; argument: number of candidates.
CODE = """
import json, sys, time
started = time.perf_counter()
import nasplug
from experiments.own_space.own_networks import EXAMPLE, build

count = int(sys.argv[1])
space = nasplug.space(build, example=EXAMPLE)
discovered = time.perf_counter()
sampler = nasplug.PredictorSampler(
    space, "Jetson Orin Nano", "latency<=4ms", seed=0, pool_size=4 * count
)
candidates = sampler.candidates
scored = time.perf_counter()
nodes = [len(space.to_graph(arch)) for arch in candidates.architectures]
print(json.dumps({
    "candidates": len(candidates),
    "operators": sum(nodes) / len(nodes),
    "parameters": len(space.distributions()),
    "discovery_s": discovered - started,
    "total_s": scored - started,
    "processor_s": time.process_time(),
}))
"""


def main(repeats: Annotated[int, typer.Option(help="Runs of each case.")] = 3) -> None:
    """Time each case, with an empty cache and with a full one."""
    rows = []
    for count in CASES:
        runs: dict[str, list[dict[str, float]]] = {"empty cache": [], "full cache": []}
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                for case in runs.values():
                    case.append(run_alone(CODE, str(count), cache=folder))
        for name, results in runs.items():
            row = {key: float(np.median([r[key] for r in results])) for key in results[0]}
            rows.append({"cache": name, **{key: round(value, 2) for key, value in row.items()}})
            print(rows[-1], file=sys.stderr)
    write_result("builder_speed", device=DEVICE, rows=rows, repeats=repeats)


if __name__ == "__main__":
    typer.run(main)
