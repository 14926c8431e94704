"""Several trained models that answer together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, load_model, restoring
from nasplug.predictors.models.ledgformer import LeDGFormer, LeDGFormerConfig
from nasplug.predictors.models.sibling_transformer import (
    SiblingTransformer,
    SiblingTransformerConfig,
)
from nasplug.predictors.training.config import Examples, TrainingConfig, TrainingResult
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.search_spaces import Graph

__all__ = [
    "NETWORKS",
    "calibration_count",
    "ensemble_scores",
    "load_members",
    "member_tensors",
    "network_named",
    "random_split",
    "train_members",
    "unique_graphs",
]

CHUNK = 512
FEWEST = 20
# Name -> configuration and class of the networks that an ensemble can be made of.
NETWORKS: dict[str, tuple[Any, Any]] = {
    "sibling": (SiblingTransformerConfig, SiblingTransformer),
    "ledg": (LeDGFormerConfig, LeDGFormer),
}


def network_named(name: str) -> tuple[Any, Any]:
    """Configuration and class of one of `NETWORKS`.

    Raises:
        InputError: If there is no such network.
    """
    if name not in NETWORKS:
        raise InputError(f"unknown network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


def calibration_count(graphs: int, share: float) -> int:
    """Number of graphs, the last ones, that are kept for calibration; none for a share of 0.

    Raises:
        InputError: If too few would remain on either side.
    """
    held = max(FEWEST, round(share * graphs)) if share else 0
    if graphs < held + FEWEST:
        raise InputError(
            f"{graphs} graphs are too few to train and calibrate on; give {2 * FEWEST}"
        )
    return held


def random_split(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Examples to learn from, and a random share of at least one to choose the epoch by."""
    order = np.random.default_rng(seed).permutation(len(examples.graphs)).tolist()
    count = max(1, round(share * len(order)))
    return examples.select(order[count:]), examples.select(order[:count])


def train_members(
    count: int,
    build: Callable[[], Any],
    split: Callable[[Any, int], tuple[Examples, Examples | None]],
    training: TrainingConfig,
    *,
    folder: str | Path | None = None,
    progress: bool | None = None,
    report: Callable[[TrainingResult], None] | None = None,
) -> list[Any]:
    """Train models that differ in their seed.

    Args:
        count: Models.
        build: Makes a model; torch's generator has the member's seed while it does.
        split: Makes training and validation examples for a model and its seed.
        training: How; member k has `seed + k`.
        folder: Where members keep their training state to be resumed.
        progress: Whether to show progress bars.
        report: Called with each member's training result.
    """
    # Lightning takes seconds to import, which those who only predict need not wait for.
    from nasplug.predictors.training.loop import train

    models = []
    for member in range(count):
        own = replace(training, seed=training.seed + member)
        with torch.random.fork_rng(), restoring("a network", "configuration"):
            torch.manual_seed(own.seed)
            model = build()
        examples, validation = split(model, own.seed)
        place = None if folder is None else Path(folder, f"member-{member}")
        result = train(model, examples, validation, own, folder=place, progress=progress)
        if report is not None:
            report(result)
        models.append(model)
    return models


def member_tensors(models: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """The weights of all models by name, to be stored in one checkpoint."""
    return {
        f"model-{member}.{name}": value.numpy()
        for member, model in enumerate(models)
        for name, value in model.state_dict().items()
    }


def load_members(checkpoint: Checkpoint, count: int, build: Callable[[], Any]) -> list[Any]:
    """The models that `member_tensors` stored.

    Args:
        checkpoint: What holds them.
        count: Models.
        build: Makes a model of the card's configuration.

    Raises:
        InputError: If weights are missing or do not fit the configuration of the card.
    """
    return [load_model(build, checkpoint.section(f"model-{member}")) for member in range(count)]


def unique_graphs(graphs: Sequence[Graph]) -> tuple[list[Graph], NDArray[np.int64]]:
    """Distinct graphs (same operations, edges and attributes) and where each one belongs.

    Returns:
        The distinct graphs, and for each given graph the position of its equal among them.
    """
    places: dict[Any, int] = {}
    distinct: list[Graph] = []
    inverse = np.empty(len(graphs), dtype=np.int64)
    for k, graph in enumerate(graphs):
        key = (graph.ops, graph.edges, graph.attributes.tobytes())
        place = places.setdefault(key, len(distinct))
        if place == len(distinct):
            distinct.append(graph)
        inverse[k] = place
    return distinct, inverse


@torch.inference_mode()
def ensemble_scores(
    models: Sequence[Any],
    graphs: Sequence[Graph],
    hardware: Tensor | None = None,
    device_index: Tensor | None = None,
) -> NDArray[np.float64]:
    """Raw scores of each model for each graph.

    Equal graphs are scored once, and graphs of similar size together.

    Args:
        models: Trained models of one configuration.
        graphs: Any number of graphs.
        hardware: Device descriptions, for a hardware-conditioned model.
        device_index: Learned vectors of these devices, -1 for none.

    Returns:
        Shape `(models, graphs, columns)`.
    """
    first = models[0]
    distinct, inverse = unique_graphs(first.prepare(graphs))
    order = sorted(range(len(distinct)), key=lambda k: len(distinct[k]))
    rows: list[NDArray[np.float64]] = []
    for start in range(0, len(order), CHUNK):
        batch = first.collate([distinct[k] for k in order[start : start + CHUNK]])
        scores = [
            model(batch) if hardware is None else model(batch, hardware, device_index)
            for model in models
        ]
        rows.append(torch.stack(scores).double().numpy())
    if not rows:
        columns = len(first.config.targets) if hardware is None else len(hardware)
        return np.empty((len(models), 0, columns))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    result: NDArray[np.float64] = np.concatenate(rows, axis=1)[:, place[inverse]]
    return result
