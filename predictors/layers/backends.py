"""Attention and neighbour sums over relations: DGL and plain torch behind one signature.

A layout holds a batch in the form that its backend computes on. Node states enter it once and stay
in that form through all layers; only attention, neighbour sums and readout differ by backend.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from nasplug.predictors.layers.relations import RELATIONS
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.predictors.layers.batch import GraphBatch

__all__ = ["BACKENDS", "Layout", "choose_backend", "layout"]

BACKENDS = ("auto", "torch", "dgl")
# Below this mean size padded dense attention is at least as fast as message passing, and needs no
# import of dgl; experiments/checks/throughput.py measures both.
SMALL_GRAPH = 64
# Longest axis over which a softmax is written out.
FEW = 16


def choose_backend(backend: str, mean_size: float = 0.0) -> str:
    """Resolve `"auto"` to the backend that is there and faster for graphs of this size.

    Args:
        backend: One of `BACKENDS`.
        mean_size: Mean number of nodes of the graphs.

    Raises:
        InputError: If the backend is unknown, or is DGL and DGL is not installed.
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    installed = importlib.util.find_spec("dgl") is not None
    if backend == "dgl" and not installed:
        version = ".".join(map(str, sys.version_info[:2]))
        wheel = (
            "pip install dgl==1.1.3"
            if sys.version_info < (3, 12)
            else f"dgl 1.1.3 has wheels for Python 3.10 and 3.11, not for {version}"
        )
        raise InputError(f"the DGL backend needs dgl, which is not installed ({wheel})")
    if backend == "auto":
        return "dgl" if installed and mean_size >= SMALL_GRAPH else "torch"
    return backend


def layout(batch: GraphBatch, backend: str) -> Layout:
    """The layout of a batch for a backend (`"auto"` chooses).

    In inference mode it is kept with the batch, for the other networks that read the same one.
    """
    chosen = choose_backend(backend, len(batch.graph_of) / max(len(batch), 1))
    kept: dict[str, Layout] = batch.layouts if torch.is_inference_mode_enabled() else {}
    if chosen not in kept:
        kept[chosen] = _DGLLayout(batch) if chosen == "dgl" else _PaddedLayout(batch)
    return kept[chosen]


class _PaddedLayout:
    """Plain torch: states `(graphs, longest, dim)`, one boolean mask a relation.

    In descriptions of shapes `...` are the axes of nodes, here `(graphs, longest)`. Pairs lie in
    memory as `(graphs, heads, attending, attended)`.
    """

    def __init__(self, batch: GraphBatch) -> None:
        graphs, longest = len(batch), int(batch.sizes.max())
        device = batch.ops.device
        starts = torch.cumsum(batch.sizes, 0) - batch.sizes
        place = torch.arange(len(batch.graph_of), device=device) - starts[batch.graph_of]
        self._shape = (graphs, longest)
        # Graphs of one size need no padding.
        self._is_even = len(batch.graph_of) == graphs * longest
        self._where = (batch.graph_of, place)
        self._last = batch.sizes - 1
        real = torch.arange(longest, device=device) < batch.sizes[:, None]
        self._real = real[:, :, None]
        # Position of each node's row in `(graphs, longest)`, and of a pair in its square.
        row = batch.graph_of * longest + place
        pairs = graphs * longest * longest
        masks = torch.zeros(len(RELATIONS), pairs, dtype=torch.bool, device=device)
        for mask, (key, query) in zip(masks, batch.relations, strict=True):
            mask[row[query] * longest + place[key]] = True
        # A padding row must see something, or its softmax is NaN.
        own = torch.eye(longest, dtype=torch.bool, device=device)
        self._masks = masks.view(-1, *self._shape, longest).transpose(0, 1) | own
        source, target = batch.edges
        adjacency = torch.zeros(pairs, device=device)
        adjacency[row[source] * longest + place[target]] = 1.0
        self._adjacency = adjacency.view(*self._shape, longest)
        self._means: dict[tuple[tuple[int, ...], torch.dtype], Tensor] = {}
        self._barred: dict[tuple[int, ...], Tensor] = {}

    def enter(self, x: Tensor) -> Tensor:
        """Node states `(nodes, dim)` -> this layout's `(..., dim)`."""
        if self._is_even:
            return x.view(*self._shape, x.shape[-1])
        padded = x.new_zeros(*self._shape, x.shape[-1])
        padded[self._where] = x
        return padded

    def leave(self, x: Tensor) -> Tensor:
        """Turn this layout's `(..., dim)` into `(nodes, dim)`."""
        return x.flatten(0, 1) if self._is_even else x[self._where]

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, head_relation: tuple[int, ...], dropout: float = 0.0
    ) -> Tensor:
        """Masked scaled dot-product attention, `(..., heads, width)` as queries, keys and values.

        Args:
            q: Queries.
            k: Keys.
            v: Values.
            head_relation: Index into `RELATIONS` for each head.
            dropout: Probability with which an attention weight is dropped.
        """
        if head_relation not in self._barred:
            self._barred[head_relation] = ~self._masks[:, list(head_relation)]
        weights = _softmax(_products(q, k), self._barred[head_relation])
        if dropout:
            weights = torch.nn.functional.dropout(weights, dropout)
        return _mixed(weights, v)

    def pair_relations(self) -> Tensor:
        """Whether each relation holds between two nodes of one graph, `(pairs, RELATIONS)`.

        Here and below `pairs` are the axes that this layout has for all (attending, attended) pairs
        of nodes of the same graph; padding counts as no relation.
        """
        return self._masks.permute(0, 2, 3, 1)

    def pair_scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Scaled dot products of all pairs: `(..., heads, width)` twice -> `(pairs, heads)`."""
        return _products(q, k).permute(0, 2, 3, 1)

    def pair_softmax(self, scores: Tensor, where: Tensor | None = None) -> Tensor:
        """Softmax over the attended nodes of each node, `(pairs, heads)`; 0 where `where` is not.

        `where` has the shape of `scores` and at least one true entry for each node and head.
        """
        barred = None if self._is_even else ~self._real[:, None, None, :, 0]
        if where is not None:
            outside = ~where.permute(0, 3, 1, 2)
            barred = outside if barred is None else outside | barred
        return _softmax(scores.permute(0, 3, 1, 2), barred).permute(0, 2, 3, 1)

    def pair_means(self, head_relation: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Equal weights for all nodes that a node is related to, `(pairs, heads)`; rows sum to one.

        Args:
            head_relation: Index into `RELATIONS` for each head.
            dtype: Type of the weights.
        """
        if (head_relation, dtype) not in self._means:
            related = self._masks[:, list(head_relation)] & self._real[:, None, None, :, 0]
            weights = related.to(dtype)
            means = weights / weights.sum(-1, keepdim=True).clamp(min=1)
            self._means[head_relation, dtype] = means.permute(0, 2, 3, 1)
        return self._means[head_relation, dtype]

    def pair_mix(self, weights: Tensor, v: Tensor) -> Tensor:
        """Weighted sums of the attended nodes' values, `(..., heads, width)`."""
        return _mixed(weights.permute(0, 3, 1, 2), v)

    def mix_neighbors(self, s: Tensor, x: Tensor, epsilon: float) -> Tensor:
        """Weighted mean over parents and children: `Σ_j t_ij x_j / (Σ_j t_ij + epsilon)`.

        Args:
            s: Positive `(..., width)`; the weight is `t_ij = s_i·s_j / sqrt(width)`.
            x: What is averaged, `(..., dim)`.
            epsilon: Keeps a node without neighbours finite; it gets 0.
        """
        around = (self._adjacency + self._adjacency.transpose(1, 2)).to(x.dtype)
        weights = s @ s.transpose(1, 2) * s.shape[-1] ** -0.5 * around
        result: Tensor = weights / (weights.sum(-1, keepdim=True) + epsilon) @ x
        return result

    def from_successors(self, x: Tensor) -> Tensor:
        """Sum over the children of each node (`A x`), `(..., dim)`."""
        return self._adjacency.to(x.dtype) @ x

    def from_predecessors(self, x: Tensor) -> Tensor:
        """Sum over the parents of each node (`Aᵀ x`), `(..., dim)`."""
        return self._adjacency.to(x.dtype).transpose(1, 2) @ x

    def total(self, x: Tensor) -> Tensor:
        """Sum over the nodes of each graph, `(graphs, dim)`."""
        return (x * self._real).sum(1)

    def first(self, x: Tensor) -> Tensor:
        """State of the first node of each graph, `(graphs, dim)`."""
        return x[:, 0]

    def last(self, x: Tensor) -> Tensor:
        """State of the last node of each graph, `(graphs, dim)`."""
        return x[torch.arange(len(x), device=x.device), self._last]


def _products(q: Tensor, k: Tensor) -> Tensor:
    """Scaled dot products, `(graphs, nodes, heads, width)` twice -> `(graphs, heads, q, k)`."""
    # Contiguous factors go to one batched product without further copies.
    q, k = q.transpose(1, 2).contiguous(), k.transpose(1, 2).contiguous()
    result: Tensor = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    return result


def _softmax(scores: Tensor, barred: Tensor | None) -> Tensor:
    """Softmax over the last axis; 0 where `barred`."""
    if barred is not None:
        scores = scores.masked_fill(barred, torch.finfo(scores.dtype).min)
    if scores.requires_grad or scores.shape[-1] > FEW:
        return scores.softmax(-1)
    # Over a few numbers PyTorch's function takes several times as long as its steps.
    powers = (scores - scores.amax(-1, keepdim=True)).exp_()
    return powers.div_(powers.sum(-1, keepdim=True))


def _mixed(weights: Tensor, v: Tensor) -> Tensor:
    """Weighted sums of values `(graphs, nodes, heads, width)`, in that shape."""
    return (weights @ v.transpose(1, 2)).transpose(1, 2)


class _DGLLayout:
    """DGL message passing on block-diagonal graphs: states `(nodes, dim)`; see `_PaddedLayout`."""

    def __init__(self, batch: GraphBatch) -> None:
        dgl = _import_dgl()
        self._dgl = dgl
        nodes = len(batch.graph_of)
        self._relations = [dgl.graph(tuple(pairs), num_nodes=nodes) for pairs in batch.relations]
        source, target = batch.edges
        self._forward = dgl.graph((source, target), num_nodes=nodes)
        self._backward = dgl.graph((target, source), num_nodes=nodes)
        self._both_ways = torch.cat([source, target]), torch.cat([target, source])
        self._nodes = nodes
        self._graph_of, self._graphs = batch.graph_of, len(batch)
        ends = torch.cumsum(batch.sizes, 0)
        self._first, self._last = ends - batch.sizes, ends - 1
        self._sizes = batch.sizes

    @cached_property
    def _around(self) -> Any:
        """Each edge in both directions."""
        return self._dgl.graph(self._both_ways, num_nodes=self._nodes)

    def enter(self, x: Tensor) -> Tensor:
        return x

    def leave(self, x: Tensor) -> Tensor:
        return x

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, head_relation: tuple[int, ...], dropout: float = 0.0
    ) -> Tensor:
        heads: dict[int, Tensor] = {}
        for r in sorted(set(head_relation)):
            chosen = [h for h, relation in enumerate(head_relation) if relation == r]
            graph = self._relations[r]
            scores = self._dgl.ops.u_dot_v(
                graph, k[:, chosen].contiguous(), q[:, chosen].contiguous()
            )
            weights = self._dgl.nn.functional.edge_softmax(graph, scores * q.shape[-1] ** -0.5)
            if dropout:
                weights = torch.nn.functional.dropout(weights, dropout)
            mixed = self._dgl.ops.u_mul_e_sum(graph, v[:, chosen].contiguous(), weights)
            heads |= zip(chosen, mixed.unbind(1), strict=True)
        return torch.stack([heads[h] for h in range(len(heads))], dim=1)

    @cached_property
    def _pairs(self) -> tuple[Any, Tensor]:
        """The graph of all pairs, and `pair_relations`."""
        device = self._sizes.device
        counts = self._sizes**2
        ends = torch.cumsum(counts, 0)
        graph = torch.repeat_interleave(torch.arange(self._graphs, device=device), counts)
        inside = torch.arange(len(graph), device=device) - (ends - counts)[graph]
        size, first = self._sizes[graph], self._first[graph]
        pairs = self._dgl.graph((first + inside % size, first + inside // size))
        related = torch.zeros(len(graph), len(RELATIONS), dtype=torch.bool, device=device)
        for r, relation in enumerate(self._relations):
            key, query = relation.edges(order="eid")
            of = self._graph_of[query]
            start = self._first[of]
            related[(ends - counts)[of] + (query - start) * self._sizes[of] + key - start, r] = True
        return pairs, related

    def pair_relations(self) -> Tensor:
        return self._pairs[1]

    def pair_scores(self, q: Tensor, k: Tensor) -> Tensor:
        scores: Tensor = self._dgl.ops.u_dot_v(self._pairs[0], k.contiguous(), q.contiguous())
        result: Tensor = scores.squeeze(-1) * q.shape[-1] ** -0.5
        return result

    def pair_softmax(self, scores: Tensor, where: Tensor | None = None) -> Tensor:
        if where is not None:
            scores = scores.masked_fill(~where, torch.finfo(scores.dtype).min)
        result: Tensor = self._dgl.nn.functional.edge_softmax(self._pairs[0], scores)
        return result

    def pair_means(self, head_relation: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        related = self.pair_relations()[:, list(head_relation)]
        return self.pair_softmax(related.new_zeros(related.shape, dtype=dtype), related)

    def pair_mix(self, weights: Tensor, v: Tensor) -> Tensor:
        result: Tensor = self._dgl.ops.u_mul_e_sum(
            self._pairs[0], v.contiguous(), weights.unsqueeze(-1).contiguous()
        )
        return result

    def mix_neighbors(self, s: Tensor, x: Tensor, epsilon: float) -> Tensor:
        graph = self._around
        weights = self._dgl.ops.u_dot_v(graph, s, s) * s.shape[-1] ** -0.5
        sums = self._dgl.ops.copy_e_sum(graph, weights)
        mixed: Tensor = self._dgl.ops.u_mul_e_sum(graph, x, weights)
        result: Tensor = mixed / (sums + epsilon)
        return result

    def from_successors(self, x: Tensor) -> Tensor:
        result: Tensor = self._dgl.ops.copy_u_sum(self._backward, x.contiguous())
        return result

    def from_predecessors(self, x: Tensor) -> Tensor:
        result: Tensor = self._dgl.ops.copy_u_sum(self._forward, x.contiguous())
        return result

    def total(self, x: Tensor) -> Tensor:
        return x.new_zeros(self._graphs, x.shape[-1]).index_add(0, self._graph_of, x)

    def first(self, x: Tensor) -> Tensor:
        return x[self._first]

    def last(self, x: Tensor) -> Tensor:
        return x[self._last]


# A batch in the form of one backend; the methods of both mean the same.
Layout = _PaddedLayout | _DGLLayout


def _import_dgl() -> Any:
    """DGL, without its first-import prompt and file in the home folder."""
    os.environ.setdefault("DGLBACKEND", "pytorch")
    import dgl
    import dgl.nn.functional

    return dgl
