"""Several trained models that answer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.search_spaces import Graph

__all__ = ["ensemble_scores", "unique_graphs"]

CHUNK = 2048


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
