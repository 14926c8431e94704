"""The latency network for whole networks: a sum over operators of a corrected roofline.

A sibling-aware graph transformer reads the operators in their context. For each operator and device
it says how far the operator is from the roofline of the data sheet, and how long its launch takes;
the latency is the sum:

    t_v = roofline_v · exp(r_v) + exp(l_v),  latency = Σ_v t_v + exp(o)

where r_v and l_v depend on the operator's state and the device, o on the device. So a network of
any size is a sum of parts of known kinds, the device's figures enter where physics puts them, and
every operator has a time of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from nasplug.predictors.features.nodes import LOG_SCALES, NODE_FEATURES
from nasplug.predictors.features.operators import operator_kinds
from nasplug.predictors.layers.backends import layout
from nasplug.predictors.layers.batch import GraphBatch
from nasplug.predictors.layers.blocks import init_weights
from nasplug.predictors.layers.dynamic import dynamic_blocks
from nasplug.predictors.layers.relations import RELATIONS
from nasplug.search_spaces import ATTRIBUTES, Graph
from nasplug.search_spaces.costs import FLOAT_BYTES

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "OTHER",
    "PRIORS",
    "SMALLEST_MS",
    "VIEWS",
    "RooflineTransformer",
    "RooflineTransformerConfig",
]

# The kind of operators that were never trained on.
OTHER = "Other"
# What gives the same numbers another shape or name, and takes no time.
VIEWS = frozenset(
    {"Dropout", "Flatten", "Identity", "Input", "Output", "Reshape", "Squeeze", "Unsqueeze"}
)
# "product": a learned factor on the roofline, and a launch time; "none": a learned time.
PRIORS = ("product", "none")
# Where factor (three times the ideal) and launch time (5 µs) start, as logarithms of ms.
FACTOR, LAUNCH, OVERHEAD = 1.1, -5.3, -3.0
# No operator is further than this from where it starts, in log units.
FURTHEST = 7.0
SMALLEST_MS = 1e-9


@dataclass(frozen=True)
class RooflineTransformerConfig:
    """Sizes of a `RooflineTransformer`.

    Attributes:
        vocabulary: Kinds of operators it knows (`operators.operator_kinds`); others are
            taken for `OTHER`.
        devices: Name of the device of each measured column.
        text: Width of the text of a device's description, 0 for none.
        numbers: Width of its numbers.
        dim: Model width.
        num_heads: Attention heads, a multiple of 4.
        num_layers: Blocks; 0 for operators without context.
        ffn_ratio: Hidden width of the feed-forward over `dim`.
        dropout: Dropout in the blocks and on the device's description.
        dynamic: How attention is tied to the relations, one of `dynamic.DYNAMIC_MODES`.
        relations: The relations that heads take turns over; none for the feed-forward alone.
        direction: Which neighbours the feed-forward gathers, one of `blocks.DIRECTIONS`.
        prior: One of `PRIORS`.
        rooflines: Whether the roofline is a feature of each operator.
    """

    vocabulary: tuple[str, ...]
    devices: tuple[str, ...] = ()
    text: int = 0
    numbers: int = 0
    dim: int = 64
    num_heads: int = 4
    num_layers: int = 1
    ffn_ratio: float = 2.0
    dropout: float = 0.0
    dynamic: str = "static"
    relations: tuple[str, ...] = RELATIONS
    direction: str = "both"
    prior: str = "product"
    rooflines: bool = True


class RooflineTransformer(nn.Module):
    """Predicts log-latencies of whole networks on described devices."""

    def __init__(self, config: RooflineTransformerConfig, backend: str = "auto") -> None:
        super().__init__()
        self.config = config
        self.backend = backend
        dim = config.dim
        self._device_of: Tensor
        self._moves: Tensor
        self.embed_op = nn.Embedding(len(config.vocabulary) + 1, dim)
        self.embed_costs = nn.Linear(NODE_FEATURES, dim)
        self.blocks = dynamic_blocks(config, config.relations or RELATIONS, config.direction)
        if not config.relations:
            for block in self.blocks:
                block.attention = _Nothing()
        self.norm = nn.LayerNorm(dim)
        self.numbers = nn.Linear(config.numbers, dim)
        self.text = nn.Linear(config.text, dim, bias=False) if config.text else None
        self.lift = nn.Linear(dim, dim)
        self.rooflines = nn.Linear(ROOFLINES, dim, bias=False)
        self.modulate = nn.Linear(dim, 2 * dim)
        self.lower = nn.Linear(dim, 2)
        self.offset = nn.Linear(dim, 3)
        self.apply(init_weights)
        nn.init.normal_(self.embed_op.weight, std=0.5)
        # A kind that was never seen starts, and stays, without any mark of its own.
        nn.init.zeros_(self.embed_op.weight[-1:])
        names = list(dict.fromkeys(config.devices))
        self.own_device = nn.Parameter(torch.zeros(len(names), dim))
        self.own_column = nn.Parameter(torch.zeros(len(config.devices), dim))
        places = [names.index(name) for name in config.devices]
        self.register_buffer("_device_of", torch.tensor(places, dtype=torch.long), persistent=False)
        self._names = names
        moves = [kind not in VIEWS for kind in (*config.vocabulary, OTHER)]
        self.register_buffer("_moves", torch.tensor(moves, dtype=torch.bool), persistent=False)
        self._dropout = nn.Dropout(config.dropout)

    def device_place(self, name: str) -> int:
        """Index of a device's vector without one for this setting: ≤ −2 if known, −1 if not.

        See `device_index` of `forward`.
        """
        return -2 - self._names.index(name) if name in self._names else -1

    def prepare(self, graphs: Sequence[Graph]) -> list[Graph]:
        """Graphs whose operators are named by kind; unknown kinds are `OTHER`."""
        known = set(self.config.vocabulary)
        kinds = [[k if k in known else OTHER for k in operator_kinds(graph)] for graph in graphs]
        return [
            Graph(tuple(ops), graph.edges, graph.attributes)
            for ops, graph in zip(kinds, graphs, strict=True)
        ]

    def collate(self, prepared: Sequence[Graph]) -> GraphBatch:
        """Batch of prepared graphs."""
        return GraphBatch.collate(prepared, (*self.config.vocabulary, OTHER))

    def encode(self, batch: GraphBatch) -> Tensor:
        """State of each operator, shape `(nodes, dim)`."""
        form = layout(batch, self.backend)
        dtype = self.embed_op.weight.dtype
        x = form.enter(self.embed_op(batch.ops) + self.embed_costs(batch.features.to(dtype)))
        for block in self.blocks:
            x = block(x, form)
        result: Tensor = form.leave(self.norm(x))
        return result

    def pool(self, batch: GraphBatch, states: Tensor) -> Tensor:
        """Each graph in numbers: mean and sum of its operators' states, and how many there are of
        each kind; shape `(graphs, features)`.
        """
        graphs, kinds = len(batch), self.embed_op.num_embeddings
        total = states.new_zeros(graphs, states.shape[-1]).index_add(0, batch.graph_of, states)
        counts = states.new_zeros(graphs * kinds)
        place = batch.graph_of * kinds + batch.ops
        counts = counts.index_add(0, place, torch.ones_like(place, dtype=states.dtype))
        counts = counts.view(graphs, kinds)
        return torch.cat([total / counts.sum(1, keepdim=True), total, counts], dim=1)

    def forward(
        self,
        batch: GraphBatch,
        hardware: Tensor,
        device_index: Tensor,
        states: Tensor | None = None,
    ) -> Tensor:
        """Log-latencies in log ms, shape `(graphs, columns)`.

        Args:
            batch: What `collate` made.
            hardware: Columns, shape `(columns, RATES + numbers + text)`; see `Setting.features`.
            device_index: Position of each in `config.devices`; -1 for an unknown device,
                `device_place(name)` for a known one at another setting.
            states: What `encode` made of the batch, if it is known already.
        """
        times, overhead = self.node_times(batch, hardware, device_index, states)
        total = times.new_zeros(len(batch), len(hardware)).index_add(0, batch.graph_of, times)
        return torch.log(total + overhead + SMALLEST_MS)

    def node_times(
        self,
        batch: GraphBatch,
        hardware: Tensor,
        device_index: Tensor,
        states: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Time of each operator, `(nodes, columns)`, and of the rest, `(columns,)`, in ms."""
        rates, numbers, text = hardware.split(
            [RATES, self.config.numbers, self.config.text], dim=-1
        )
        device = torch.tanh(self.numbers(numbers))
        if self.text is not None:
            device = device + torch.tanh(self.text(text))
        device = self._dropout(device) + self._learned(device_index)
        compute, memory = _log_rooflines(batch.features, rates)
        ideal = torch.maximum(compute, memory)
        scale, shift = self.modulate(device).chunk(2, dim=-1)
        states = self.encode(batch) if states is None else states
        hidden = self.lift(states)[:, None] * (1 + scale) + shift
        if self.config.rooflines:
            seen = torch.stack([compute, memory, compute - memory], dim=-1) / SCALE
            seen = seen.clamp(-4, 4)
            size = rates[:, 2].log2().expand(len(seen), -1)[..., None] / 8
            hidden = hidden + self.rooflines(torch.cat([seen, size], dim=-1))
        corrections = self.lower(torch.nn.functional.silu(hidden)) * SCALE
        offset = self.offset(device)
        factor, launch = (corrections + offset[:, :2]).clamp(-FURTHEST, FURTHEST).unbind(-1)
        overhead = torch.exp(offset[:, 2].clamp(-FURTHEST, FURTHEST) + OVERHEAD)
        times = torch.exp(launch + LAUNCH)
        if self.config.prior == "none":
            times = times * torch.exp(factor)
        else:
            times = times + torch.exp(ideal + factor + FACTOR)
        return times * self._moves[batch.ops, None], overhead

    def _learned(self, device_index: Tensor) -> Tensor:
        """The learned vectors of devices and columns; zero where there are none."""
        vectors = self.own_device.new_zeros(len(device_index), self.own_device.shape[-1])
        measured = device_index >= 0
        place = -2 - device_index
        place[measured] = self._device_of[device_index[measured]]
        known = place >= 0
        vectors[known] = self.own_device[place[known]]
        vectors[measured] = vectors[measured] + self.own_column[device_index[measured]]
        return vectors


# Of each column: operations a ms, bytes a ms, images, bytes a number.
RATES = 4
ROOFLINES = 4
SCALE = 5.0


def _log_rooflines(features: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of ms that arithmetic and memory take, `(nodes, columns)` each."""
    operations, moved, images, width = rates.T.to(features.dtype)
    flops = _attribute(features, "flops")
    weights = FLOAT_BYTES * _attribute(features, "params")
    activations = (_attribute(features, "bytes") - weights).clamp(min=0)
    traffic = (activations[:, None] * images + weights[:, None]) * width / FLOAT_BYTES
    compute = 2 * flops[:, None] * images / operations
    return (compute + SMALLEST_MS).log(), (traffic / moved + SMALLEST_MS).log()


def _attribute(features: Tensor, name: str) -> Tensor:
    """An attribute of the nodes, back from its scaled logarithm."""
    return torch.expm1(features[:, ATTRIBUTES.index(name)] * LOG_SCALES[name])


class _Nothing(nn.Module):
    """In the place of attention."""

    def forward(self, x: Tensor, layout: object) -> Tensor:
        return torch.zeros_like(x)
