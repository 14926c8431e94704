"""Vary the share of launch costs in predictions for networks that are like none measured.

    python -m experiments.latency.launch_share [--threads 1] [--seeds 0,1,2]
        [--epochs 16] [--without timm] [--fresh]

A source of networks is left out, as in train_network_latency.py, and predicted on the devices that
were measured on others; `--without timm` leaves timm's networks out as well, which are of many
kinds. Errors are means over the columns of a kind of device. Finished runs are kept. Writes
results/launch_share.json.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.latency.latency_data import joined
from experiments.zoo.train_network_latency import FEWER, SOURCES, TABLES, config, sources
from nasplug.predictors.latency.intervals import device_group
from nasplug.predictors.latency.network_latency import NetworkLatency

# Weights of launch costs in the geometric mean with the network.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SMALLEST_MS = 0.1


def measure(left: str, without: tuple[str, ...], seed: int, epochs: int) -> list[dict[str, Any]]:
    """A row a kind of device and share."""
    learned = sources(most=FEWER, without=(*SOURCES[left], *without))
    graphs, latencies, columns, groups = joined(learned)
    usual = config(epochs)
    predictor = NetworkLatency(replace(usual, training=replace(usual.training, seed=seed)))
    predictor.fit(graphs, latencies, columns, groups=groups)
    known = set(predictor.devices)
    (judged,) = (part for part in sources(True) if part.name == left)
    judged = judged.only(lambda column: column.key in known)
    truth = np.log(np.where(judged.latencies >= SMALLEST_MS, judged.latencies, np.nan))
    kinds = np.array([device_group(column.hardware) for column in judged.columns])
    assert predictor._corrections is not None
    rows = []
    for share in SHARES:
        predictor._corrections = replace(predictor._corrections, share=share)
        wrong = predictor.log_latency(judged.graphs, judged.columns) - truth
        relative = np.nanmean(np.abs(np.expm1(wrong)), axis=0)
        logs = np.nanmean(np.abs(wrong), axis=0)
        for kind in dict.fromkeys(kinds.tolist()):
            of_kind = kinds == kind
            rows.append(
                {
                    "kind": kind,
                    "share": share,
                    "columns": int(of_kind.sum()),
                    "networks": len(judged.graphs),
                    "mape_percent": float(100 * relative[of_kind].mean()),
                    "log_error": float(logs[of_kind].mean()),
                }
            )
    return rows


def main() -> None:
    parser = Options(__doc__, seeds="0,1,2", fresh=True)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--without", default="", help="sources, separated by commas")
    options = parser.parse_args()
    without = tuple(name for name in options.without.split(",") if name)
    campaign = Campaign(
        "launch_share",
        ("source", "without", "seed"),
        TABLES,
        fresh=options.fresh,
        epochs=options.epochs,
        smallest_ms=SMALLEST_MS,
    )
    runs = product(SOURCES, [without], options.seeds)
    campaign.complete(runs, partial(measure, epochs=options.epochs))


if __name__ == "__main__":
    main()
