"""HW-GPT-Bench's measured energies, and the package's predictor of energy fitted to them.

    python -m experiments.language.energy_networks [--threads 1]

All energies are those of eight sequences, whatever the batch of the latencies: upstream's energy
profiler has a batch size of its own. Writes nasplug/zoo/network-energy.safetensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from experiments.campaign import Options
from experiments.common import SPLIT_SEED, ZOO, Array, provenance
from nasplug.datasets.gpt_networks import ENERGY_BATCH, GPUS, gpt_table
from nasplug.devices.hardware import hardware
from nasplug.predicting.zoo import NETWORK_ENERGY, ArchitecturePredictor
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.network_energy import NetworkEnergy, measured_way
from nasplug.search_spaces import Graph, space

SCALES = ("s", "m", "l")
LEARNED = 400
# Columns of whose power the notes on the data say that it stayed near idle, whatever the network.
_NEAR_IDLE = frozenset({("s", "V100"), ("m", "V100")})
# Quantile of all that a meter read on a GPU that stands for the least.
_LEAST = 0.01


def settings() -> list[Setting]:
    """GPU, batch size and way of each column."""
    devices = [hardware(gpu) for gpu in GPUS]
    return [Setting.of(device, ENERGY_BATCH, measured_way(device)) for device in devices]


@cache
def _read(scale: str, unit: str) -> Array:
    """Values that meters read, J or W, `(networks, GPUs)`."""
    frame = gpt_table(scale).to_frame()
    return np.stack([frame[f"{g}@{ENERGY_BATCH} {unit}"].to_numpy() for g in GPUS], axis=1)


def watts(scale: str) -> Array:
    """Measured mean powers, `(networks, GPUs)`."""
    return _read(scale, "W")


@cache
def idle_share() -> float:
    """Share of its power that an idling board draws: the median of the least that meters read.

    The share is one for all, as a meter that averages over pauses may never show its board's own.
    """
    boards = np.array([column.hardware.power_w for column in settings()])
    least = np.quantile(np.concatenate([watts(scale) for scale in SCALES]), _LEAST, axis=0)
    return float(np.median(least / boards))


def followed(scale: str) -> NDArray[np.bool_]:
    """Whether each GPU's meter could follow the passes, `(GPUs,)`.

    It could not where it read no more than an idling board draws, in the median over all networks:
    a board that computes draws more. Nor could it where the notes on the data say so.
    """
    boards = np.array([column.hardware.power_w for column in settings()])
    result: NDArray[np.bool_] = np.median(watts(scale), axis=0) / boards > idle_share()
    return result & [(scale, gpu) not in _NEAR_IDLE for gpu in GPUS]


@cache
def energies(scale: str) -> Array:
    """Measured J, `(networks, GPUs)`; NaN where the meter could not follow."""
    return np.where(followed(scale), _read(scale, "J"), np.nan)


def graphs_of(scale: str, rows: Sequence[int] | NDArray[np.int64]) -> list[Graph]:
    """Graphs of networks at some positions of the table."""
    where, texts = space(f"gpt:{scale}"), gpt_table(scale).archs
    return where.to_graphs([where.parse(texts[row]) for row in rows])


def halves(scale: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of networks that may be learned from, and of those that judge."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(watts(scale)))
    return order[: len(order) // 2], order[len(order) // 2 :]


def examples(seed: int, count: int = LEARNED) -> tuple[list[Graph], Array, list[str]]:
    """Graphs of all scales to learn from, in random order, their J and their scales."""
    generator = np.random.default_rng(seed)
    graphs, values, names = [], [], []
    for scale in SCALES:
        rows = generator.permutation(halves(scale)[0])[:count]
        graphs += graphs_of(scale, rows)
        values.append(energies(scale)[rows])
        names += [scale] * len(rows)
    order = generator.permutation(len(graphs))
    whole = np.concatenate(values)[order]
    return [graphs[k] for k in order], whole, [names[k] for k in order]


def main() -> None:
    Options(__doc__).parse_args()
    graphs, values, names = examples(0)
    predictor = NetworkEnergy()
    predictor.fit(graphs, values, settings(), groups=names)
    ArchitecturePredictor(NETWORK_ENERGY, space("gpt:s"), predictor).save(
        ZOO / NETWORK_ENERGY,
        name=NETWORK_ENERGY,
        description="energy of a forward pass on GPUs, learned from HW-GPT-Bench's meters",
        training={
            "networks": len(graphs),
            "sequences": ENERGY_BATCH,
            "split": f"from half of each scale's networks by numpy default_rng({SPLIT_SEED})",
            "labels": "energy",
        },
        provenance=provenance(*(f"gpt-{scale}" for scale in SCALES)),
    )


if __name__ == "__main__":
    main()
