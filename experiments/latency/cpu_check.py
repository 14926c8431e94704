"""Latency on the CPU that was measured here: predicted, and measured again on fresh networks.

    nasplug measure --space nnlqp --n 50 --seed 1000 --out experiments/results/cpu_fresh.csv
    python -m experiments.latency.cpu_check

The 50 networks of `cpu_fresh.csv` were drawn and timed after those of `cpu_latency.csv`, which the
predictors know. Writes results/cpu_check.json and docs/images/cpu.png.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from experiments import RESULTS, ROOT
from experiments.common import Array, covered, write_result
from experiments.latency.latency_data import source
from experiments.latency.methods import CHEAP, Networks, errors
from nasplug import load_predictor
from nasplug.search_spaces import space

PICTURE = ROOT / "docs" / "images" / "cpu.png"
FRESH = RESULTS / "cpu_fresh.csv"


def draw(truth: Array, predicted: Array, lower: Array, upper: Array, families: list[str]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 5.2), layout="constrained")
    low, high = 0.8 * truth.min(), 1.25 * truth.max()
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, zorder=1)
    for k, family in enumerate(sorted(set(families))):
        of_family = np.array([name == family for name in families])
        bars = np.stack(
            [predicted[of_family] - lower[of_family], upper[of_family] - predicted[of_family]]
        )
        axes.errorbar(
            truth[of_family], predicted[of_family], np.maximum(bars, 0), fmt="o", markersize=4,
            elinewidth=0.8, color=plt.colormaps["tab10"](k), label=family,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    axes.set_xlabel("measured, ms")
    axes.set_ylabel("predicted, ms (90 % interval)")
    axes.set_title(f"{len(truth)} fresh networks on the measured CPU")
    axes.legend(fontsize=8)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=120)


def main() -> None:
    known = source("cpu")
    device = known.columns[0]
    rows = pd.read_csv(FRESH)
    rows = rows[rows["error"].isna()]
    nnlqp = space("nnlqp")
    archs = [nnlqp.parse(text) for text in rows["arch"]]
    learned = set(pd.read_csv(RESULTS / "cpu_latency.csv")["arch_id"])
    fresh = [k for k, arch in enumerate(archs) if arch.arch_id not in learned]
    graphs = [nnlqp.to_graph(archs[k]) for k in fresh]
    truth = rows["latency_ms"].to_numpy(np.float64)[fresh]
    families = [rows["family"].tolist()[k] for k in fresh]

    learn = Networks(device, known.graphs, known.latencies[:, 0], known.families)
    judge = Networks(device, graphs, truth, families)
    methods: dict[str, dict[str, Any]] = {}
    for method in ("roofline, scaled", "gradient boosting", "latency-gp"):
        predicted, inside = CHEAP[method](learn, judge)
        methods[method] = errors(predicted, truth)
        if inside is not None:
            methods[method]["coverage"] = float(inside.mean())
    model = load_predictor("network-latency").model
    shipped = model.predict(graphs, device.hardware, device.batch_size)
    mean, low, high = (values[:, 0] for values in (shipped.mean, shipped.lower, shipped.upper))
    draw(truth, mean, low, high, families)
    methods["network-latency"] = errors(mean, truth)
    methods["network-latency"]["coverage"] = float(covered(shipped, truth).mean())
    write_result(
        "cpu_check",
        device=device.hardware.name,
        learned=len(known.graphs),
        fresh=len(fresh),
        methods=methods,
    )


if __name__ == "__main__":
    main()
