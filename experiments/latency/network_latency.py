"""Predict latency on one measured device for networks that were not measured.

    python -m experiments.latency.network_latency [--threads 1] [--seeds 0,1,2] [--fresh]

Each method learns a random part of a data set's networks on one device and predicts all others,
with two floors on the same split: the roofline of the data sheet times one factor (the median ratio
of the training networks), and gradient boosting on FLOPs, parameters, bytes, nodes and depth.
NNLQP's NAS-Bench-201 family has its official split. Writes results/network_latency.json; runs that
are there already are not repeated.
"""

from __future__ import annotations

from functools import cache
from itertools import chain, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.campaign import Campaign, Options
from experiments.common import Array
from experiments.latency.methods import CHEAP, Networks, errors
from nasplug import datasets, hardware
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import Graph, space

SMALLEST_MS = 0.1
OFFICIAL = "nnlqp-nasbench201"
# Data set -> search space, columns. A throughput in images a second is turned into ms an image.
DATA: dict[str, tuple[str, tuple[str, ...]]] = {
    OFFICIAL: ("nb201", ("GTX 1660@1",)),
    "accel": ("accel", ("RTX 3090 img/s", "A100 40GB img/s", "ZCU102@1")),
    "fbnet-latency": (
        "fbnet",
        ("RTX 2080 Ti@1", "Titan RTX@64", "Xeon Gold 6226@1", "Raspberry Pi 4@1"),
    ),
    "ofa-latency": ("ofa", ("RTX 2080 Ti@1", "Titan RTX@1", "Titan RTX@64", "V100@32")),
    "nb201-latency": (
        "nb201",
        ("RTX 2080 Ti@1", "Titan RTX@256", "Xeon Gold 6226@1", "Raspberry Pi 4@1"),
    ),
}
# A share of the networks, or a number of them.
SIZES: dict[str, tuple[float, ...]] = {OFFICIAL: (50, 100, 200, 1800)}
USUAL_SIZES = (0.1, 2000)
METHODS = ("roofline, scaled", "gradient boosting", "latency-gp")


@cache
def graphs_of(data: str) -> list[Graph]:
    """The networks of a data set, in the order of its rows."""
    table, where = datasets.load(data), space(DATA[data][0])
    texts = table["arch"] if "arch" in table.columns else map(str, where)  # type: ignore[call-overload]
    return [where.to_graph(where.parse(str(text))) for text in texts]


def target(data: str, column: str) -> tuple[Array, Setting]:
    """Milliseconds (a batch, or an image where only throughput is known), and the device."""
    values = datasets.load(data)[column].to_numpy(np.float64)
    if column.endswith(" img/s"):
        return 1000 / values, Setting(hardware(column.removesuffix(" img/s")), 1)
    name, _, batch = column.rpartition("@")
    return values, Setting(hardware(name), int(batch))


def split(data: str, known: NDArray[np.int64], size: float, seed: int) -> tuple[Any, Any]:
    """Rows to learn from, and rows to be judged by."""
    rng = np.random.default_rng(seed)
    if data == OFFICIAL:
        stage = datasets.load(data)["stage"].to_numpy()
        learned, judged = (np.flatnonzero(stage == name) for name in ("train", "test"))
        return rng.permutation(learned)[: int(size)], judged
    order = rng.permutation(known)
    count = round(size * len(known)) if size < 1 else int(size)
    return order[:count], order[count:]


def measure(data: str, column: str, size: float, seed: int, method: str) -> dict[str, Any]:
    truth, device = target(data, column)
    smallest = 0 if column.endswith(" img/s") else SMALLEST_MS
    known = np.flatnonzero(np.isfinite(truth) & (truth >= smallest))
    train, test = split(data, known, size, seed)
    # Methods that need kinds of networks are not among these.
    networks = Networks(device, graphs_of(data), truth, [data] * len(truth))
    predicted, inside = CHEAP[method](networks.rows(train), networks.rows(test))
    return {
        "train": len(train),
        "test": len(test),
        **errors(predicted, truth[test]),
        "coverage": None if inside is None else float(inside.mean()),
    }


def main() -> None:
    parser = Options(__doc__, seeds="0,1,2", fresh=True)
    options = parser.parse_args()
    keys = ("data", "column", "size", "seed", "method")
    campaign = Campaign("network_latency", keys, DATA, fresh=options.fresh, smallest_ms=SMALLEST_MS)
    runs = chain.from_iterable(
        product([data], columns, SIZES.get(data, USUAL_SIZES), options.seeds, METHODS)
        for data, (_, columns) in DATA.items()
    )
    campaign.complete(runs, measure)


if __name__ == "__main__":
    main()
