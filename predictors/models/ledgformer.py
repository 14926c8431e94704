"""LeDG-Former-style predictor: operators and devices as language, relations from the node states.

A labelled reconstruction. Known from the paper (Jing et al., "LeDG-Former", arXiv 2506.07735, and
its public reviews): the text templates of operators and platforms, that a pre-trained language
model turns them into the node and platform vectors, that attention recomputes the graph instead of
masking by the static one, and that platforms never measured are reached through their text. Not
public, so ours: the formula of the dynamic graph (`dynamic`), depth and width, the readout, the
small language model (the paper's is a BERT), how the platform enters (feature-wise affine
modulation of the graph's embedding), and that the numbers of nodes and devices also enter as
numbers, because text carries little of their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from nasplug.predictors.features.devices import (
    COMPUTE_CLASSES,
    HARDWARE_FEATURES,
    features_text,
    hardware_features,
)
from nasplug.predictors.features.language import (
    MODELS,
    embed_hardware,
    embed_texts,
    hardware_text,
    operator_texts,
    shipped_texts,
)
from nasplug.predictors.features.nodes import NODE_FEATURES, vocabulary_of
from nasplug.predictors.layers.batch import NODES, SHARED, GraphBatch
from nasplug.predictors.layers.blocks import init_weights
from nasplug.predictors.layers.dynamic import dynamic_blocks
from nasplug.predictors.layers.relations import RELATIONS
from nasplug.predictors.models.graph_transformer import (
    GraphTransformer,
    GraphTransformerConfig,
    HardwareHead,
    target_head,
)
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from nasplug.predictors.features.settings import Setting
    from nasplug.predictors.hardware import Hardware
    from nasplug.search_spaces import Graph

__all__ = [
    "LanguageBatch",
    "LeDGFormer",
    "LeDGFormerConfig",
    "platform_features",
]

# The batch size is a setting of a run, not of a platform, so it enters as a number in any case.
BATCH_SIZE = HARDWARE_FEATURES - len(COMPUTE_CLASSES) - 1


@dataclass(frozen=True)
class LeDGFormerConfig(GraphTransformerConfig):
    """Sizes and parts of a `LeDGFormer`; the vocabulary is used only if `learned`.

    Attributes:
        sibling_heads: Whether heads take turns over siblings too; see `DynamicAttention`.
        text: Whether nodes carry the vector of their operator's text.
        numbers: Whether nodes carry their log-scaled attributes.
        learned: Whether nodes carry a learned vector of their operation type.
        language_model: One of `language.MODELS`.
        platform_text: Whether a device is described by the vector of its text.
        platform_numbers: Whether a device is described by its `hardware_features`.
    """

    num_layers: int = 3
    dynamic: str = "bias"
    sibling_heads: bool = True
    text: bool = True
    numbers: bool = True
    learned: bool = False
    language_model: str = "wordllama"
    platform_text: bool = True
    platform_numbers: bool = True

    def read_device(self, setting: Setting) -> NDArray[np.float32]:
        """Description of a device at a batch size, as the network reads it, shape `(features,)`."""
        model = self.language_model
        return platform_features(setting.hardware, setting.batch_size, model=model)

    def device_text(self, setting: Setting) -> str:
        """All that the network reads of a device, as text to store and compare."""
        numbers = features_text(setting.hardware, setting.batch_size)
        return f"{numbers} {hardware_text(setting.hardware)}"


@dataclass(frozen=True, eq=False)
class LanguageBatch(GraphBatch):
    """A batch with the texts of its operators.

    Attributes:
        text_of: Position of each node's text, shape `(nodes,)`.
        text_vectors: Vectors of the distinct texts, shape `(texts, width)`.
    """

    text_of: Tensor = field(metadata=NODES)
    text_vectors: Tensor = field(metadata=SHARED)


class LeDGFormer(GraphTransformer):
    """Predicts standardised targets of graphs."""

    config: LeDGFormerConfig

    def __init__(self, config: LeDGFormerConfig, backend: str = "auto") -> None:
        super().__init__(config, backend)
        if config.language_model not in MODELS:
            raise InputError(
                f"unknown language model {config.language_model!r}; known: {', '.join(MODELS)}"
            )
        if not (config.text or config.numbers or config.learned):
            raise InputError("nodes have no features; switch on text, numbers or learned")
        dim = config.dim
        if config.text:
            self.read_text = Standardised("operator", config.language_model)
            self.embed_text = nn.Linear(MODELS[config.language_model], dim)
        if config.numbers:
            self.embed_costs = nn.Linear(NODE_FEATURES, dim)
        self.blocks = dynamic_blocks(config, RELATIONS if config.sibling_heads else RELATIONS[:2])
        self.norm = nn.LayerNorm(dim)
        if config.hardware:
            head = HardwareHead(2 * dim, len(config.devices), config.dropout)
            head.describe = nn.Sequential(PlatformDescription(config, 2 * dim))
            self.head = head
        else:
            self.head = target_head(2 * dim, len(config.targets), config.dropout)
        if config.learned:
            self.embed_op = nn.Embedding(len(config.vocabulary), dim)
        for part in (*self.blocks, *([self.embed_costs] if config.numbers else [])):
            part.apply(init_weights)
        if not config.hardware:
            self.head.apply(init_weights)
        if config.text:
            nn.init.normal_(self.embed_text.weight, std=0.5 * self.embed_text.in_features**-0.5)
            nn.init.zeros_(self.embed_text.bias)
        if config.learned:
            nn.init.normal_(self.embed_op.weight, std=0.5)

    def collate(self, prepared: Sequence[Graph]) -> LanguageBatch:
        """Batch of prepared graphs with the vectors of their operators' texts.

        Raises:
            InputError: If a text needs a language model that is not installed, or with `learned` if
                an operation is not in the vocabulary.
        """
        known = self.config.vocabulary if self.config.learned else vocabulary_of(prepared)
        batch = GraphBatch.collate(prepared, known)
        width = MODELS[self.config.language_model]
        if not self.config.text:
            return LanguageBatch.of(batch, torch.zeros_like(batch.ops), torch.zeros(1, width))
        texts, text_of = operator_texts(prepared)
        vectors = embed_texts(texts, self.config.language_model)
        return LanguageBatch.of(batch, torch.from_numpy(text_of), torch.from_numpy(vectors))

    def read_nodes(self, batch: LanguageBatch) -> Tensor:
        """Sums of the vectors of texts, operations and costs that are read, `(nodes, dim)`."""
        dtype = self.norm.weight.dtype
        x = torch.zeros(len(batch.ops), self.config.dim, dtype=dtype, device=batch.ops.device)
        if self.config.text:
            x = x + self.embed_text(self.read_text(batch.text_vectors.to(dtype)))[batch.text_of]
        if self.config.learned:
            x = x + self.embed_op(batch.ops)
        if self.config.numbers:
            x = x + self.embed_costs(batch.features.to(dtype))
        return x


class Standardised(nn.Module):
    """Text vectors less the mean of the shipped texts of their kind, over their deviation.

    Texts of one template share words and hence most of their vectors; what differs is what tells.
    """

    def __init__(self, kind: str, model: str) -> None:
        super().__init__()
        vectors = embed_texts(shipped_texts(kind), model)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.from_numpy(vectors.mean(0)))
        self.register_buffer("scale", torch.from_numpy(vectors.std(0)))

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors `(texts, width)` -> `(texts, width)`."""
        return (vectors - self.mean) / self.scale


class PlatformDescription(nn.Module):
    """`platform_features` -> the vector that modulates, from the parts that the model may see."""

    def __init__(self, config: LeDGFormerConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        # Maps of their own, so that a dozen numbers start with as much weight as hundreds.
        self.embed_numbers = nn.Linear(HARDWARE_FEATURES, dim)
        if config.platform_text:
            self.read_text = Standardised("platform", config.language_model)
            self.embed_text = nn.Linear(MODELS[config.language_model], dim)

    def forward(self, hardware: Tensor) -> Tensor:
        """Devices `(devices, features)` -> `(devices, dim)`."""
        numbers = hardware[:, :HARDWARE_FEATURES]
        if not self.config.platform_numbers:
            seen = torch.zeros_like(numbers)
            seen[:, BATCH_SIZE] = numbers[:, BATCH_SIZE]
            numbers = seen
        hidden = self.embed_numbers(numbers)
        if self.config.platform_text:
            hidden = hidden + self.embed_text(self.read_text(hardware[:, HARDWARE_FEATURES:]))
        return nn.functional.silu(hidden)


def platform_features(
    hardware: Hardware, batch_size: int, precision: str = "FP32", model: str = "wordllama"
) -> NDArray[np.float32]:
    """A device at a batch size as numbers and text: `hardware_features`, then `embed_hardware`."""
    vector = embed_hardware(hardware, precision, model)
    return np.concatenate([hardware_features(hardware, batch_size), vector])
