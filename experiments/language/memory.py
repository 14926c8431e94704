"""Predict the memory that PyTorch holds after a forward pass of HW-GPT-Bench's networks.

    python -m experiments.language.memory [--threads 1] [--seeds 0,1,2,3,4]

Weights are counted exactly. Autocast keeps a copy of each linear layer's weights in bf16, which
follows from the network, too. What is left, a few percent, is learned: a linear function of the
width, the layers, and both with the heads and MLPs. Half of the networks of each scale judge, and
are never learned from. Writes results/language_memory.json.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from experiments.campaign import Options
from experiments.common import SPLIT_SEED, Array, write_result
from nasplug import datasets, space
from nasplug.search_spaces.networks.gpt import GPTSpace

SCALES = ("s", "m", "l")
LEARNED = 100
WEIGHTS, COPIES, REST = "weights", "and their copies in bf16", "and a learned rest"
MEGA = 1e6


@cache
def networks(scale: str) -> tuple[Array, Array, Array, Array]:
    """MB of weights and of copies, features of the rest, and the measured MB."""
    table, where = datasets.load(f"gpt-{scale}"), space(f"gpt:{scale}")
    assert isinstance(where, GPTSpace)
    built = [where.choices.model(where.to_params(where.parse(text))) for text in table["arch"]]
    params = np.array([model.params for model in built], np.float64)
    embed = np.array([model.embed for model in built], np.float64)
    layers = np.array([len(model.heads) for model in built], np.float64)
    # All but the embedding and the norms is linear layers.
    linear = params - built[0].vocabulary * embed - 2 * embed * (2 * layers + 1)
    heads = np.array([sum(model.heads) for model in built], np.float64)
    ratios = np.array([sum(model.ratios) for model in built], np.float64)
    rest = [np.ones_like(embed), embed, layers, embed * layers, embed * heads, embed**2 * ratios]
    measured = table["allocated_mb"].to_numpy(np.float64)
    return 4 * params / MEGA, 2 * linear / MEGA, np.stack(rest, axis=1), measured


def judged(scale: str, seed: int) -> list[dict[str, Any]]:
    """Mean absolute errors in percent of the networks that are judged by."""
    weights, copies, features, measured = networks(scale)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(measured))
    known, test = order[: len(order) // 2], order[len(order) // 2 :]
    train = np.random.default_rng(seed).permutation(known)[:LEARNED]
    exact = weights + copies
    scaled = features / features.max(0)
    found = np.linalg.lstsq(scaled[train], (measured - exact)[train], rcond=None)[0]
    predicted = {WEIGHTS: weights, COPIES: exact, REST: exact + scaled @ found}
    return [
        {
            "scale": scale,
            "seed": seed,
            "method": method,
            "learned": LEARNED if method == REST else 0,
            "judged": len(test),
            "error_percent": float(100 * np.mean(np.abs(values / measured - 1)[test])),
            "worst_percent": float(100 * np.max(np.abs(values / measured - 1)[test])),
        }
        for method, values in predicted.items()
    ]


def main() -> None:
    options = Options(__doc__, seeds="0,1,2,3,4").parse_args()
    rows = [row for scale in SCALES for seed in options.seeds for row in judged(scale, seed)]
    write_result("language_memory", *(f"gpt-{scale}" for scale in SCALES), runs=rows)


if __name__ == "__main__":
    main()
