"""Vary parts of the latency predictor of whole networks, at a small scale.

    python -m experiments.latency.network_ablation [--threads 1] [--seeds 0,1] [--variants …]
        [--fresh]

Each variant learns 120 networks of each source for ten epochs, without the devices of one fold
(devices that all sources have, and one that only Accel-NASBench has) and without Once-for-All. It
is judged three ways, by mean absolute percentage error averaged over columns, then sources:
`measured`, other networks on measured devices; `device`, the devices that were left out; `source`,
Once-for-All on devices that were measured on other networks. `one source at a time` learns each
source by itself. A finished run is kept. Writes results/network_ablation.json.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.latency.latency_data import Source, joined
from experiments.zoo.train_network_latency import FOLDS, TABLES, sources, without_devices
from nasplug.predictors.latency.network_latency import NetworkLatency, NetworkLatencyConfig

LEARNED, JUDGED, EPOCHS = 120, 120, 10
SMALLEST_MS = 0.1
FOLD, SOURCE = FOLDS[3], "ofa"
# Not every machine has timm's graphs, and the CPU's networks are too few to share.
WITHOUT = ("timm", "cpu")
ALONE = "one source at a time"
# Name -> what differs from the shipped predictor: of its configuration, of its network.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nasplug": ({}, {}),
    "no roofline as prior": ({}, {"prior": "none"}),
    "no roofline as feature": ({}, {"rooflines": False}),
    "no roofline at all": ({}, {"prior": "none", "rooflines": False}),
    "no attention": ({}, {"relations": ()}),
    "operators without context": ({}, {"num_layers": 0}),
    "two layers": ({}, {"num_layers": 2}),
    "dynamic graph": ({}, {"dynamic": "bias"}),
    "no text of the device": ({"text": False}, {}),
    "no heads of columns": ({"heads": False}, {}),
    "no similar devices": ({"similar": 0.0}, {}),
    "similar devices alone": ({"similar": 1.0}, {}),
    ALONE: ({}, {}),
}


def error(predictor: NetworkLatency, part: Source) -> float:
    """Mean absolute percentage error, the mean over columns."""
    predicted = np.exp(predictor.log_latency(part.graphs, part.columns))
    truth = np.where(part.latencies >= SMALLEST_MS, part.latencies, np.nan)
    return float(100 * np.nanmean(np.abs(predicted / truth - 1), axis=0).mean())


def mean_error(predictor: NetworkLatency, parts: list[Source]) -> float | None:
    """The mean over sources."""
    return float(np.mean([error(predictor, part) for part in parts])) if parts else None


def fitted(parts: list[Source], variant: str, seed: int) -> NetworkLatency:
    own, options = VARIANTS[variant]
    usual = NetworkLatencyConfig(options=options, calibration_share=0.02, **own)
    training = replace(usual.training, epochs=EPOCHS, patience=EPOCHS, seed=seed)
    predictor = NetworkLatency(replace(usual, training=training))
    graphs, latencies, columns, groups = joined(parts, seed)
    predictor.fit(graphs, latencies, columns, groups=groups)
    return predictor


def measure(variant: str, seed: int) -> dict[str, Any]:
    """Do a run; its row."""
    every = sources(most=LEARNED, without=WITHOUT)
    learned = without_devices([part for part in every if part.name != SOURCE], FOLD)
    judged = [part.rows(range(JUDGED)) for part in sources(True, without=WITHOUT)]
    known = {column.key for part in learned for column in part.columns}
    others = without_devices([part for part in judged if part.name != SOURCE], FOLD)
    unseen = [
        part.only(lambda column: column.hardware.name in FOLD)
        for part in judged
        if part.name != SOURCE
    ]
    (foreign,) = (part for part in judged if part.name == SOURCE)
    foreign = foreign.only(lambda column: column.key in known)
    if variant == ALONE:
        own_errors = []
        for part in learned:
            predictor = fitted([part], variant, seed)
            own_errors.append(error(predictor, next(p for p in others if p.name == part.name)))
        return {"measured": float(np.mean(own_errors)), "device": None, "source": None}
    predictor = fitted(learned, variant, seed)
    return {
        "measured": mean_error(predictor, others),
        "device": mean_error(predictor, [part for part in unseen if part.columns]),
        "source": error(predictor, foreign),
    }


def main() -> None:
    parser = Options(__doc__, seeds="0,1", fresh=True)
    parser.add_argument("--variants", default=";".join(VARIANTS), help="separated by ;")
    options = parser.parse_args()
    campaign = Campaign(
        "network_ablation",
        ("variant", "seed"),
        TABLES,
        fresh=options.fresh,
        learned=LEARNED,
        judged=JUDGED,
        epochs=EPOCHS,
        devices=list(FOLD),
        source=SOURCE,
    )
    campaign.complete(product(options.variants.split(";"), options.seeds), measure)


if __name__ == "__main__":
    main()
