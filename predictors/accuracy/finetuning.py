"""Fine-tuning: copies of a pretrained encoder that go on learning from labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nasplug.predictors.accuracy.pretraining import Encoder
from nasplug.predictors.models.sibling_transformer import SiblingTransformer
from nasplug.predictors.prediction import Array
from nasplug.predictors.training.config import Examples, TrainingConfig
from nasplug.predictors.training.ensemble import train_members
from nasplug.search_spaces import Graph

__all__ = ["FINETUNING", "finetune", "untrained_copy"]

FINETUNING = TrainingConfig(epochs=40, batch_size=64, learning_rate=5e-4, selection="last")
DROPOUT = 0.1


def untrained_copy(encoder: Encoder, targets: Sequence[str]) -> SiblingTransformer:
    """A network like the encoder's with new outputs, its weights not yet the encoder's."""
    config = replace(encoder.model.config, targets=tuple(targets), dropout=DROPOUT)
    return SiblingTransformer(config, encoder.model.backend)


def finetune(
    encoder: Encoder,
    graphs: Sequence[Graph],
    scores: Array,
    counts: Array,
    targets: Sequence[str],
    members: int,
    *,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> list[SiblingTransformer]:
    """Train members that start from the encoder's weights, with new outputs.

    Args:
        encoder: Where they start; it stays as it is.
        graphs: Simplified graphs of different functions.
        scores: Normal scores to learn, `(graphs, targets)`.
        counts: Labels behind each row, `(graphs,)`.
        targets: Names of the columns.
        members: Networks; they differ in outputs, order and dropout.
        seed: Of the first member; the others follow.
        folder, progress: See `train_members`.
    """
    examples = Examples.of(graphs, scores, counts)

    def build() -> SiblingTransformer:
        network = untrained_copy(encoder, targets)
        untrained = network.state_dict()
        pretrained = encoder.model.state_dict()
        same = {k: v for k, v in pretrained.items() if untrained[k].shape == v.shape}
        network.load_state_dict({**untrained, **same})
        return network

    def split(model: SiblingTransformer, seed: int) -> tuple[Examples, None]:
        return examples, None

    recipe = replace(FINETUNING, seed=seed)
    return train_members(members, build, split, recipe, folder=folder, progress=progress)
