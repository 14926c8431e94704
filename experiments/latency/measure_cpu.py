"""Time networks of the ten NNLQP families on this machine, and the machine itself.

    python -m experiments.latency.measure_cpu [--per-family 50] [--threads 2] [--retry-disturbed]

Writes results/cpu_latency.csv and results/cpu_latency.json. Stopped and started again it goes on.
The description gets what a roofline needs: the float32 rate of a large matrix product in ONNX
Runtime and the rate of a large copy in memory, with the threads that the networks have. The machine
should be idle; the description says what others used of it.
"""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from experiments import RESULTS
from experiments.campaign import Options
from nasplug import measure, space
from nasplug.measuring.machine import physical_cores
from nasplug.measuring.runtimes import OnnxRuntime
from nasplug.search_spaces.files import write_text

SEED = 0
MATRIX = 2048
# Far more than any cache holds.
COPIED_BYTES = 2**29
REPEATS = 20


def balanced(per_family: int) -> list[str]:
    """Draw so many different networks of each family."""
    nnlqp: Any = space("nnlqp")
    rng = np.random.default_rng(SEED)
    taken = dict.fromkeys(nnlqp.spaces, 0)
    texts: dict[str, str] = {}
    while min(taken.values()) < per_family:
        arch = nnlqp.sample(rng)
        family = nnlqp.unwrap(arch)[0].family.name
        if taken[family] < per_family and arch.arch_id not in texts:
            taken[family] += 1
            texts[arch.arch_id] = arch.text
    return list(texts.values())


def matrix_product() -> onnx.ModelProto:
    """A product of two square matrices, one of them a weight."""
    shape = [MATRIX, MATRIX]
    weight = np.random.default_rng(SEED).standard_normal(shape, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def rates(threads: int) -> dict[str, Any]:
    """Measure the machine: 10⁹ operations a second, and 10⁹ bytes a second read and written.

    Of 20 repeats the median and the best.
    """
    stopwatch = OnnxRuntime(threads).load(matrix_product())
    stopwatch()
    product = [stopwatch() / 1000 for _ in range(REPEATS)]
    source = np.ones(COPIED_BYTES // 4, dtype=np.float32)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    copy = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(REPEATS):
            start = time.perf_counter()
            # NumPy lets other threads run while it copies.
            list(pool.map(lambda part: np.copyto(*part), parts))
            copy.append(time.perf_counter() - start)
    operations, moved = 2 * MATRIX**3, 2 * source.nbytes
    return {
        "threads": threads,
        "matrix": MATRIX,
        "gflops": operations / statistics.median(product) / 1e9,
        "gflops_best": operations / min(product) / 1e9,
        "copied_bytes": source.nbytes,
        "memory_gbs": moved / statistics.median(copy) / 1e9,
        "memory_gbs_best": moved / min(copy) / 1e9,
    }


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--per-family", type=int, default=50)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--retry-disturbed", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "cpu_latency.csv")
    options = parser.parse_args()
    before = rates(options.threads)
    measured = measure(
        "nnlqp",
        archs=balanced(options.per_family),
        threads=options.threads,
        seed=SEED,
        out=options.out,
        retry_disturbed=options.retry_disturbed,
    )
    description = {**measured.description, "rates": [before, rates(options.threads)]}
    write_text(options.out.with_suffix(".json"), json.dumps(description, indent=1) + "\n")
    for row in measured.summary():
        print(row)


if __name__ == "__main__":
    main()
