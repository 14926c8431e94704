"""Latency on devices that were never measured, from their text, from their numbers, or from both.

    python -m experiments.latency.ledg_hardware [--threads 1] [--fresh]

Each of `DEVICES` is left out of the NAS-Bench-201 latency table at all batch sizes. A short
training on 2,000 cells sees the others, and its predictions for 2,000 other cells are compared with
what was measured. Writes results/ledg_hardware.json; runs that are there already are not repeated.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.common import cells, latencies, split
from experiments.latency.methods import errors
from nasplug.predictors.latency.cell_latency import LatencyConfig, LatencyPredictor
from nasplug.predictors.training.config import TrainingConfig

TRAINING_CELLS = TEST_CELLS = 2_000
TRAINING = TrainingConfig(
    epochs=20, batch_size=128, learning_rate=2e-3, weight_decay=0.01, rank_weight=0.0, patience=20
)
# All four GPU models, and of the other devices one in three.
DEVICES = (
    *("GTX 1080 Ti", "RTX 2080 Ti", "Titan RTX", "Titan X"),
    *("Xeon Gold 6226", "Xeon Silver 4210R", "Pixel 3", "Raspberry Pi 4"),
)
# Name -> options of the network.
VARIANTS: dict[str, dict[str, Any]] = {
    "text": {"platform_numbers": False},
    "numbers": {"platform_text": False},
    "both": {},
}
BASELINE = "mean of the other devices"


def leave_out(variant: str, device: str) -> list[dict[str, Any]]:
    """Train on the other devices and compare at each batch size of this one."""
    (_, graphs), (truth, columns) = cells(), latencies()
    train, held_out = split()
    train, held_out = train[:TRAINING_CELLS], held_out[:TEST_CELLS]
    left_out = [k for k, column in enumerate(columns) if column.hardware.name == device]
    others = [k for k in range(len(columns)) if k not in left_out]
    smallest = LatencyConfig.smallest_ms
    if variant == BASELINE:
        logs = np.log(np.maximum(truth[held_out][:, others], smallest)).mean(1)
        predicted = np.repeat(logs[:, None], len(left_out), axis=1)
    else:
        options = VARIANTS[variant]
        # What the description says, without the devices that are like it.
        config = LatencyConfig(
            members=1, training=TRAINING, network="ledg", options=options, similar=0.0
        )
        predictor = LatencyPredictor(config)
        learned_from = [columns[k] for k in others]
        predictor.fit([graphs[i] for i in train], truth[train][:, others], learned_from)
        predicted = predictor.log_latency(
            [graphs[i] for i in held_out], [columns[k] for k in left_out]
        )
    return [
        {
            "batch_size": columns[k].batch_size,
            "kind": columns[k].hardware.kind,
            **errors(np.exp(predicted[:, place]), truth[held_out, k], smallest),
        }
        for place, k in enumerate(left_out)
    ]


def main() -> None:
    options = Options(__doc__, fresh=True).parse_args()
    campaign = Campaign(
        "ledg_hardware",
        ("variant", "device"),
        ["nb201-latency"],
        rows="left_out",
        fresh=options.fresh,
        space="nb201",
        training_cells=TRAINING_CELLS,
        test_cells=TEST_CELLS,
        training=asdict(TRAINING),
        variants=VARIANTS,
    )
    campaign.complete(product((*VARIANTS, BASELINE), DEVICES), leave_out)


if __name__ == "__main__":
    main()
