"""Several trained models that answer together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    "EnsembleConfig",
    "calibration_count",
    "ensemble_scores",
    "graph_key",
    "load_members",
    "member_tensors",
    "random_split",
    "rows_by_function",
    "sized_batches",
    "train_members",
    "unique_graphs",
]

# Nodes of the graphs that are scored at once: few, so that what is computed on stays in the cache.
CHUNK = 2048
FEWEST = 20
# Name -> configuration and class of the networks that an ensemble can be made of.
NETWORKS: dict[str, tuple[Any, Any]] = {
    "sibling": (SiblingTransformerConfig, SiblingTransformer),
    "ledg": (LeDGFormerConfig, LeDGFormer),
}


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Sizes and training of an ensemble of networks.

    Attributes:
        members: Networks in the ensemble.
        dim: Model width.
        num_layers: Blocks.
        ffn_ratio: Feed-forward ratio.
        dropout: Dropout.
        calibration_share: Share of the examples kept for calibration; with 0 all are learned from
            and predictions of accuracy have no interval (NaN).
        validation_share: Share of the rest that chooses each member's epoch; a different share for
            each member.
        training: How each member is trained.
        network: One of `NETWORKS`.
        options: Further fields of that network's configuration, such as `{"dynamic": "gate"}` for
            `"ledg"`.
    """

    members: int = 4
    dim: int = 64
    num_layers: int = 3
    ffn_ratio: float = 2.0
    dropout: float = 0.1
    calibration_share: float = 0.15
    validation_share: float = 0.1
    training: TrainingConfig = field(default_factory=TrainingConfig)
    network: str = "sibling"
    options: Mapping[str, Any] = field(default_factory=dict)

    def kinds(self) -> tuple[Any, Any]:
        """Configuration and class of the network.

        Raises:
            InputError: If there is no such network.
        """
        if self.network not in NETWORKS:
            raise InputError(f"unknown network {self.network!r}; known: {', '.join(NETWORKS)}")
        return NETWORKS[self.network]

    def sized(self, vocabulary: tuple[str, ...], targets: tuple[str, ...], **fields: Any) -> Any:
        """The configuration of a member, with further fields of it."""
        return self.kinds()[0](
            vocabulary,
            targets,
            dim=self.dim,
            num_layers=self.num_layers,
            ffn_ratio=self.ffn_ratio,
            dropout=self.dropout,
            **fields,
            **self.options,
        )


def calibration_count(graphs: int, share: float) -> int:
    """Number of graphs, the last ones, that are kept for calibration; none for a share of 0.

    Raises:
        InputError: If too few would remain on either side.
    """
    held = max(FEWEST, round(share * graphs)) if share else 0
    if graphs < held + FEWEST:
        raise InputError(
            f"{graphs} graphs are too few to train and calibrate on; give at least {2 * FEWEST}"
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
        recipe = replace(training, seed=training.seed + member)
        with torch.random.fork_rng(), restoring("a network", "configuration"):
            torch.manual_seed(recipe.seed)
            model = build()
        examples, validation = split(model, recipe.seed)
        state = None if folder is None else Path(folder, f"member-{member}")
        result = train(model, examples, validation, recipe, folder=state, progress=progress)
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
    """The models that `member_tensors` stored, each made by `build` before.

    Raises:
        InputError: If weights are missing or do not fit the configuration of the card.
    """
    return [load_model(build, checkpoint.section(f"model-{member}")) for member in range(count)]


def graph_key(graph: Graph) -> tuple[Any, ...]:
    """Key that graphs of the same operations, edges and attributes share."""
    return graph.ops, graph.edges, graph.attributes.tobytes()


def unique_graphs(graphs: Sequence[Graph]) -> tuple[list[Graph], NDArray[np.int64]]:
    """Graphs of different operations, edges or attributes, and the place of each one's equal."""
    distinct: dict[Any, Graph] = {}
    places: dict[Any, int] = {}
    # The same graph often comes many times.
    for name, graph in {id(graph): graph for graph in graphs}.items():
        key = graph_key(graph)
        places[name] = places.setdefault(key, len(distinct))
        distinct.setdefault(key, graph)
    return list(distinct.values()), np.array([places[id(g)] for g in graphs], dtype=np.int64)


def rows_by_function(prepared: Sequence[Graph]) -> list[list[int]]:
    """Positions of graphs that are equal but for the order of their nodes, together."""
    rows: dict[str, list[int]] = {}
    for k, graph in enumerate(prepared):
        rows.setdefault(graph.canonical_hash, []).append(k)
    return list(rows.values())


def sized_batches(
    model: Any,
    graphs: Sequence[Graph],
    nodes_at_once: float = CHUNK,
) -> Iterator[tuple[list[int], Any]]:
    """Positions and batch of prepared graphs of similar size, until each graph came once.

    A batch that is half full ends with the graphs of its size, as graphs of one size need no
    padding.
    """
    chosen: list[int] = []
    nodes = 0
    for k in sorted(range(len(graphs)), key=lambda k: len(graphs[k])):
        size = len(graphs[k])
        is_other = size > len(graphs[chosen[-1]]) if chosen else False
        if chosen and nodes + size > (nodes_at_once / 2 if is_other else nodes_at_once):
            yield chosen, model.collate([graphs[j] for j in chosen])
            chosen, nodes = [], 0
        chosen.append(k)
        nodes += size
    if chosen:
        yield chosen, model.collate([graphs[j] for j in chosen])


@torch.inference_mode()
def ensemble_scores(
    models: Sequence[Any],
    graphs: Sequence[Graph],
    hardware: Tensor | None = None,
    device_index: Tensor | None = None,
) -> NDArray[np.float64]:
    """Raw scores `(models, graphs, columns)` of models of one configuration.

    Equal graphs are scored once, and graphs of similar size together. Models that are conditioned
    on hardware need descriptions of devices and places of their learned vectors, -1 for none.
    """
    read, again = unique_graphs(graphs)
    distinct, inverse = unique_graphs(models[0].prepare(read))
    columns = len(models[0].config.targets) if hardware is None else len(hardware)
    result = np.empty((len(models), len(distinct), columns))
    for chosen, batch in sized_batches(models[0], distinct):
        for scores, model in zip(result, models, strict=True):
            answer = model(batch) if hardware is None else model(batch, hardware, device_index)
            scores[chosen] = answer.double().numpy()
    return result[:, inverse[again]]
