"""What trained roofline transformers say of many networks on many columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.models.roofline_transformer import RooflineTransformer
from nasplug.predictors.training.ensemble import unique_graphs
from nasplug.search_spaces import Graph

__all__ = ["network_scores"]

Array = NDArray[np.float64]

# Nodes and columns that are scored at once.
NODES, COLUMNS = 20_000, 8


@torch.inference_mode()
def network_scores(
    models: Sequence[RooflineTransformer],
    graphs: Sequence[Graph],
    described: torch.Tensor,
    places: torch.Tensor,
) -> tuple[Array, Array]:
    """Pooled states and logarithms of latencies.

    Args:
        models: Trained with the same configuration.
        graphs: Whole networks; equal ones are scored once.
        described: The columns as a network reads them, shape `(columns, features)`.
        places: Where it finds the learned vector of each; −1 if there is none.

    Returns:
        The first model's pooled states, shape `(graphs, features)`, and what all of them say on
        average, `(graphs, columns)`.
    """
    distinct, inverse = unique_graphs(models[0].prepare(graphs))
    order = sorted(range(len(distinct)), key=lambda k: len(distinct[k]))
    result = np.zeros((len(distinct), len(described)))
    pooled: list[Array] = [np.zeros(0)] * len(distinct)
    for part in _chunks(order, [len(graph) for graph in distinct]):
        batch = models[0].collate([distinct[k] for k in part])
        states = [model.encode(batch) for model in models]
        for k, row in zip(part, models[0].pool(batch, states[0]).double().numpy(), strict=True):
            pooled[k] = row
        for start in range(0, len(described), COLUMNS):
            cut = slice(start, start + COLUMNS)
            said = [
                model(batch, described[cut], places[cut], state)
                for model, state in zip(models, states, strict=True)
            ]
            result[part, cut] = torch.stack(said).mean(0).double().numpy()
    return np.array(pooled)[inverse], result[inverse]


def _chunks(order: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Consecutive parts of `order` of at most `NODES` nodes, or of one graph."""
    parts: list[list[int]] = []
    nodes = 0
    for k in order:
        if not parts or nodes + sizes[k] > NODES:
            parts.append([])
            nodes = 0
        parts[-1].append(k)
        nodes += sizes[k]
    return parts
