"""Self-supervised pretraining: an encoder of graphs that has seen a space and no label.

A `SiblingTransformer` learns to tell from a graph alone how networks with random weights respond
(see `zero_cost`) and what its paths are (see `paths`). What it then knows of two graphs is
what a predictor needs to relate their accuracies.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_model,
    read_config,
    restoring,
    save_checkpoint,
)
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.features.paths import (
    count_matrix,
    operation_pairs,
    path_counts,
    summaries,
)
from nasplug.predictors.features.zero_cost import RESPONSES, responses
from nasplug.predictors.layers.relations import RELATIONS
from nasplug.predictors.models.sibling_transformer import (
    SiblingTransformer,
    SiblingTransformerConfig,
)
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.normal_scores import normal_scores
from nasplug.predictors.training.config import Examples, TrainingConfig
from nasplug.predictors.training.ensemble import sized_batches, unique_graphs
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.simplify import simplify

__all__ = ["Encoder", "PretrainingConfig", "pretrain"]


@dataclass(frozen=True)
class PretrainingConfig:
    """Sizes and training of an encoder.

    Attributes:
        dim: Model width; an embedding has twice as many numbers.
        num_layers: Blocks.
        ffn_ratio: Feed-forward ratio.
        dynamic: One of `dynamic.DYNAMIC_MODES`.
        relations: The relations that heads take turns over.
        direction: Which neighbours the feed-forward gathers, one of `blocks.DIRECTIONS`.
        simplified: Whether it reads simplified graphs; what it learns of them is the same.
        random_networks: Random networks a graph; their normal scores are averaged. With none, only
            the structure is learned.
        structure_weight: Weight of a structural target beside one of a response.
        training: How it is trained.
    """

    dim: int = 64
    num_layers: int = 3
    ffn_ratio: float = 2.0
    dynamic: str = "mixture"
    relations: tuple[str, ...] = RELATIONS
    direction: str = "both"
    simplified: bool = True
    random_networks: int = 2
    structure_weight: float = 0.3
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            epochs=40, weight_decay=0.02, rank_weight=0.0, selection="last"
        )
    )


class Encoder:
    """A pretrained network, frozen.

    Attributes:
        model: The network; its first outputs are the responses, the others structure.
        config: What it was made with.
    """

    kind = "encoder"

    def __init__(self, model: SiblingTransformer, config: PretrainingConfig) -> None:
        self.model = model.eval().requires_grad_(False)
        self.config = config

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Operation types it can read."""
        return self.model.config.vocabulary

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    @torch.inference_mode()
    def encode(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        """Embeddings `(graphs, 2 * dim)` and expected responses `(graphs, responses)`.

        Graphs are simplified first, unless it was pretrained on others.

        Raises:
            InputError: If a graph has an operation outside the vocabulary.
        """
        distinct, inverse = unique_graphs(self.model.prepare(graphs))
        count = len([name for name in self.model.config.targets if name in RESPONSES])
        embeddings = np.empty((len(distinct), 2 * self.model.config.dim))
        expected = np.empty((len(distinct), count))
        for chosen, batch in sized_batches(self.model, distinct):
            embedding = self.model.encode(batch)
            embeddings[chosen] = embedding.numpy()
            expected[chosen] = self.model.head(embedding)[:, :count].numpy()
        return embeddings[inverse], expected[inverse]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The weights by name, to be stored."""
        return {name: value.numpy() for name, value in self.model.state_dict().items()}

    def card(self) -> dict[str, Any]:
        """Entries of the card that `restore` needs beside the weights."""
        return {"config": asdict(self.config), "model": asdict(self.model.config)}

    @classmethod
    def restore(
        cls, card: Mapping[str, Any], tensors: Mapping[str, Any], backend: str = "auto"
    ) -> Encoder:
        """The encoder that `card` and `tensors` describe.

        Raises:
            InputError: If they do not fit each other or this class.
        """
        with restoring("an encoder"):
            config = read_config(PretrainingConfig, card["config"])
            model = read_config(SiblingTransformerConfig, card["model"])
            return cls(load_model(lambda: SiblingTransformer(model, backend), tensors), config)

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write `<path>.safetensors` and its card; `about` is added to the card."""
        save_checkpoint(
            path, self.tensors(), {"predictor": self.kind, **self.card(), **(about or {})}
        )

    @classmethod
    def load(cls, path: str | Path, backend: str = "auto") -> Encoder:
        """Read what `save` wrote.

        Raises:
            InputError: If the files are damaged or hold no encoder.
        """
        return cls.from_checkpoint(load_checkpoint(path), backend)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, backend: str = "auto") -> Encoder:
        """The encoder that a checkpoint holds.

        Raises:
            InputError: If it holds something else.
        """
        kind = checkpoint.card["predictor"]
        if kind != cls.kind:
            raise InputError(f"this checkpoint holds a {kind!r}, not an encoder")
        return cls.restore(checkpoint.card, checkpoint.tensors, backend)


def pretrain(
    graphs: Sequence[Graph],
    config: PretrainingConfig | None = None,
    *,
    measured: Sequence[Array] | None = None,
    backend: str = "auto",
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> Encoder:
    """Train an encoder on unlabeled graphs.

    Args:
        graphs: Graphs of the space, the more the better; equal functions count once.
        config: Sizes and training.
        measured: Responses of the graphs to each random network, `(graphs, len(RESPONSES))`, if
            they were measured before; measured here, some 50 ms a graph and network, if left out.
        backend: Of the network's layers.
        folder: Where the state of the training is kept to be resumed.
        progress: Whether to show a progress bar.

    Raises:
        InputError: If there are fewer than 20 distinct graphs, or a random network cannot be made
            of an operation.
    """
    config = config or PretrainingConfig()
    functions = [simplify(graph) for graph in graphs]
    prepared = functions if config.simplified else list(graphs)
    firsts = list({g.canonical_hash: k for k, g in reversed(list(enumerate(prepared)))}.values())
    distinct, computed = ([each[k] for k in firsts] for each in (prepared, functions))
    if len(distinct) < 20:
        raise InputError(
            f"{len(distinct)} distinct graphs are too few to pretrain on; give at least 20"
        )
    seeds = range(config.random_networks)
    if measured is None:
        rows = [responses(computed, seed) for seed in seeds]
    else:
        rows = [measured[seed][firsts] for seed in seeds]
    names, targets = _targets(rows, _structure(computed), config.structure_weight)
    with torch.random.fork_rng():
        torch.manual_seed(config.training.seed)
        model = SiblingTransformer(
            SiblingTransformerConfig(
                vocabulary_of(distinct),
                names,
                dim=config.dim,
                num_layers=config.num_layers,
                ffn_ratio=config.ffn_ratio,
                simplified=config.simplified,
                dynamic=config.dynamic,
                relations=config.relations,
                direction=config.direction,
            ),
            backend,
        )
    # Lightning takes seconds to import, which those who only predict need not wait for.
    from nasplug.predictors.training.loop import train

    examples, training = Examples.of(distinct, targets), replace(config.training, selection="last")
    train(model, examples, None, training, folder=folder, progress=progress)
    return Encoder(model, config)


def _targets(
    rows: Sequence[Array], structure: Array, structure_weight: float
) -> tuple[tuple[str, ...], Array]:
    """Names and values of the targets: responses of some random networks, and structure."""
    names = tuple(f"structure_{k}" for k in range(structure.shape[1]))
    targets = _standardised(structure) * structure_weight**0.5
    if not rows:
        return names, targets
    expected = _standardised(np.mean([normal_scores(row) for row in rows], axis=0))
    return (*RESPONSES, *names), np.concatenate([expected, targets], axis=1)


def _structure(graphs: Sequence[Graph]) -> Array:
    """Summaries, and square roots of the counts of operation sequences and pairs."""
    columns = [summaries(graphs, vocabulary_of(graphs))]
    for counts in (path_counts(graphs), operation_pairs(graphs)):
        keys = sorted({key for counter in counts for key in counter})
        places: dict[Hashable, int] = {key: k for k, key in enumerate(keys)}
        columns.append(np.sqrt(count_matrix(counts, places)[:, :-1]))  # type: ignore[arg-type]
    return np.concatenate(columns, axis=1)


def _standardised(values: Array) -> Array:
    """Mean 0 and about unit variance; what hardly varies is not blown up."""
    std = values.std(0)
    result: Array = (values - values.mean(0)) / np.where(std > 1e-9, std + 0.2, 1.0)
    return result
