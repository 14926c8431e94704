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
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments import ROOT
from experiments.accuracy.floors import roofline
from experiments.common import RESULTS, Array, provenance, write_result
from experiments.latency.latency_data import source
from experiments.latency.network_latency import plain_features
from nasplug import load_predictor
from nasplug.predictors.latency.one_device import LatencyGP
from nasplug.search_spaces import space

PICTURE = ROOT / "docs" / "images" / "cpu.png"
FRESH = RESULTS / "cpu_fresh.csv"


def errors(predicted: Array, truth: Array) -> dict[str, float]:
    relative = np.abs(predicted / truth - 1)
    return {
        "spearman": float(spearmanr(predicted, truth)[0]),
        "mape_percent": float(100 * relative.mean()),
        "acc10_percent": float(100 * (relative <= 0.1).mean()),
    }


def draw(truth: Array, predicted: Array, lower: Array, upper: Array, families: list[str]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 5.2), layout="constrained")
    low, high = 0.8 * truth.min(), 1.25 * truth.max()
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, zorder=1)
    for k, family in enumerate(sorted(set(families))):
        own = np.array([name == family for name in families])
        bars = np.stack([predicted[own] - lower[own], upper[own] - predicted[own]])
        axes.errorbar(
            truth[own], predicted[own], np.maximum(bars, 0), fmt="o", markersize=4,
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
    truth_known = known.latencies[:, 0]
    rows = pd.read_csv(FRESH)
    rows = rows[rows["error"].isna()]
    nnlqp = space("nnlqp")
    archs = [nnlqp.parse(text) for text in rows["arch"]]
    learned = set(pd.read_csv(RESULTS / "cpu_latency.csv")["arch_id"])
    fresh = [k for k, arch in enumerate(archs) if arch.arch_id not in learned]
    graphs = [nnlqp.to_graph(archs[k]) for k in fresh]
    truth = rows["latency_ms"].to_numpy(np.float64)[fresh]
    families = [rows["family"].tolist()[k] for k in fresh]

    def rooflines(of: list[Any]) -> Array:
        return np.concatenate([roofline([graph], device) for graph in of])

    methods: dict[str, dict[str, Any]] = {}
    factor = np.median(truth_known / rooflines(known.graphs))
    methods["roofline, scaled"] = errors(factor * rooflines(graphs), truth)
    boosting = HistGradientBoostingRegressor(random_state=0)
    boosting.fit(plain_features(known.graphs), np.log(truth_known))
    methods["gradient boosting"] = errors(np.exp(boosting.predict(plain_features(graphs))), truth)
    process = LatencyGP()
    process.fit(known.graphs, truth_known, [device])
    said = process.predict(graphs)
    low, high = said.lower[:, 0], said.upper[:, 0]
    methods["latency-gp"] = errors(said.mean[:, 0], truth)
    methods["latency-gp"]["coverage"] = float(((truth >= low) & (truth <= high)).mean())
    model = load_predictor("network-latency").model
    told = model.predict(graphs, device.hardware, device.batch_size)
    low, high = told.lower[:, 0], told.upper[:, 0]
    draw(truth, told.mean[:, 0], low, high, families)
    methods["network-latency"] = errors(told.mean[:, 0], truth)
    methods["network-latency"]["coverage"] = float(((truth >= low) & (truth <= high)).mean())
    write_result(
        "cpu_check",
        {
            "device": device.hardware.name,
            "learned": len(known.graphs),
            "fresh": len(fresh),
            "methods": methods,
            "provenance": provenance(),
        },
    )


if __name__ == "__main__":
    main()
