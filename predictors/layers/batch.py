"""Many graphs -> one block-diagonal batch with its relations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from nasplug.predictors.features.nodes import NODE_FEATURES, attribute_features, op_ids
from nasplug.predictors.layers.relations import relation_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from nasplug.search_spaces import Graph

__all__ = ["GRAPHS", "NODES", "PAIRS", "SHARED", "CodedBatch", "GraphBatch"]


# What the first axis of a field runs over; index pairs have shape `(2, pairs)`, and what is shared
# belongs to no graph.
NODES, GRAPHS, PAIRS, SHARED = ({"axis": name} for name in ("nodes", "graphs", "pairs", "shared"))


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Graphs side by side: one node tensor, one edge list a relation.

    A subclass adds fields, each with the axis (`NODES`, …) along which `select` cuts it.

    Attributes:
        ops: Operation ids, shape `(nodes,)`; 0 at tokens.
        features: Scaled attributes, shape `(nodes, NODE_FEATURES)`; 0 at tokens.
        token: 0 at ordinary nodes, k at the k-th token of a graph (from 1), shape `(nodes,)`.
        graph_of: Graph of each node, shape `(nodes,)`.
        sizes: Nodes a graph, tokens included, shape `(graphs,)`.
        relations: A tensor of shape `(2, pairs)` for each of `RELATIONS`: the node attended to, the
            node that attends.
        edges: The graphs' own edges, shape `(2, edges)`: from, to.
    """

    ops: Tensor = field(metadata=NODES)
    features: Tensor = field(metadata=NODES)
    token: Tensor = field(metadata=NODES)
    graph_of: Tensor = field(metadata=NODES)
    sizes: Tensor = field(metadata=GRAPHS)
    relations: tuple[Tensor, ...] = field(metadata=PAIRS)
    edges: Tensor = field(metadata=PAIRS)

    def __len__(self) -> int:
        return len(self.sizes)

    @classmethod
    def collate(
        cls,
        graphs: Sequence[Graph],
        vocabulary: Sequence[str],
        leading_tokens: int = 0,
        trailing_tokens: int = 0,
        sibling_mask: str = "nodes",
    ) -> GraphBatch:
        """Put graphs into one batch.

        Args:
            graphs: At least one graph.
            vocabulary: Operation types that the model knows, in its order.
            leading_tokens: Tokens before the nodes of each graph.
            trailing_tokens: Tokens after them.
            sibling_mask: See `relations.SIBLING_MASKS`.

        Raises:
            InputError: If an operation is not in the vocabulary.
        """
        tokens = leading_tokens + trailing_tokens
        inner = np.array([len(graph) for graph in graphs], dtype=np.int64)
        sizes = inner + tokens
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        graph_of = np.repeat(np.arange(len(graphs)), sizes)
        place = np.arange(int(sizes.sum())) - starts[graph_of]
        token = np.where(place < leading_tokens, place + 1, 0)
        behind = place - (leading_tokens + inner[graph_of])
        token = np.where(behind >= 0, leading_tokens + behind + 1, token)
        ordinary = token == 0

        ops = np.zeros(len(token), dtype=np.int64)
        ops[ordinary] = op_ids(graphs, vocabulary)
        features = np.zeros((len(token), NODE_FEATURES), dtype=np.float32)
        features[ordinary] = attribute_features(graphs)

        parts = [
            relation_edges(len(g), g.edges, leading_tokens, trailing_tokens, sibling_mask)
            for g in graphs
        ]
        relations = zip(*(part.relations for part in parts), strict=True)
        return cls(
            torch.from_numpy(ops),
            torch.from_numpy(features),
            torch.from_numpy(token),
            torch.from_numpy(graph_of),
            torch.from_numpy(sizes),
            tuple(_shifted(pairs, starts) for pairs in relations),
            _shifted([part.edges for part in parts], starts),
        )

    @classmethod
    def of(cls, batch: GraphBatch, *parts: Tensor) -> Self:
        """A batch with the fields that a subclass adds."""
        return cls(*(getattr(batch, part.name) for part in fields(batch)), *parts)

    def to(self, device: torch.device | str) -> Self:
        """Move the batch to another device."""
        names = [part.name for part in fields(self) if part.name != "relations"]
        moved = {name: getattr(self, name).to(device) for name in names}
        return replace(self, **moved, relations=tuple(r.to(device) for r in self.relations))

    def select(self, indices: Sequence[int]) -> Self:
        """The batch of graphs at these positions, as if collated anew; one may come twice."""
        chosen = torch.as_tensor(indices, dtype=torch.long, device=self.sizes.device)
        starts = torch.cumsum(self.sizes, 0) - self.sizes
        nodes, sizes = self.nodes_of(chosen), self.sizes[chosen]
        moved = torch.cumsum(sizes, 0) - sizes - starts[chosen]
        pairs = []
        for both, counts in zip((*self.relations, self.edges), self._pair_counts, strict=True):
            places = _spans((torch.cumsum(counts, 0) - counts)[chosen], counts[chosen])
            pairs.append(both[:, places] + moved.repeat_interleave(counts[chosen]))
        rows = {"nodes": nodes, "graphs": chosen}
        selected = {
            part.name: getattr(self, part.name)[rows[part.metadata["axis"]]]
            for part in fields(self)
            if part.metadata["axis"] in rows
        }
        graphs = torch.arange(len(chosen), device=sizes.device)
        selected["graph_of"] = graphs.repeat_interleave(sizes)
        return replace(self, **selected, relations=tuple(pairs[:-1]), edges=pairs[-1])

    def nodes_of(self, chosen: Tensor) -> Tensor:
        """Positions of the nodes of these graphs, graph by graph."""
        starts = torch.cumsum(self.sizes, 0) - self.sizes
        return _spans(starts[chosen], self.sizes[chosen])

    @cached_property
    def layouts(self) -> dict[str, Any]:
        """Forms of this batch by backend, as far as they were made (see `backends.layout`)."""
        return {}

    @cached_property
    def _pair_counts(self) -> tuple[Tensor, ...]:
        """Index pairs a graph, of each relation and then of the edges; they lie graph by graph."""
        return tuple(
            torch.bincount(self.graph_of[pairs[0]], minlength=len(self))
            for pairs in (*self.relations, self.edges)
        )


def _spans(starts: Tensor, counts: Tensor) -> Tensor:
    """The integers `starts[k] .. starts[k] + counts[k] - 1` of all k, one after the other."""
    ends = torch.cumsum(counts, 0)
    within = torch.arange(int(counts.sum()), device=counts.device)
    return within + (starts - (ends - counts)).repeat_interleave(counts)


@dataclass(frozen=True, eq=False)
class CodedBatch(GraphBatch):
    """A batch for a network with node codes of its own.

    Attributes:
        codes: Code of each node, shape `(nodes, width)`.
        static: Features of whole graphs, shape `(graphs, width)`; the width may be 0.
    """

    codes: Tensor = field(metadata=NODES)
    static: Tensor = field(metadata=GRAPHS)


def _shifted(pairs: Sequence[NDArray[np.int64]], starts: NDArray[np.int64]) -> Tensor:
    """Index pairs of each graph, moved to where its nodes are in the batch."""
    counts = [part.shape[1] for part in pairs]
    return torch.from_numpy(np.concatenate(pairs, axis=1) + np.repeat(starts, counts))
