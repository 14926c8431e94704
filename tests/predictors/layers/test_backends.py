from __future__ import annotations

import pytest
import torch

from nasplug.predictors.layers.backends import FEW, layout
from nasplug.predictors.layers.batch import GraphBatch
from nasplug.search_spaces import Graph

CHAIN = Graph(("input", "conv", "output"), ((0, 1), (1, 2)))
WIDE = Graph(("input", "conv", "conv", "output"), ((0, 1), (0, 2), (1, 3), (2, 3)))


def batch_of(*graphs: Graph) -> GraphBatch:
    return GraphBatch.collate(graphs, ("conv", "input", "output"))


@pytest.mark.parametrize("graphs", [(WIDE, WIDE), (CHAIN, WIDE)])
def test_written_out_softmax(graphs: tuple[Graph, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(*graphs)
    form = layout(batch, "torch")
    heads = torch.randn(3, len(batch.graph_of), 8)
    q, k, v = (form.enter(part).unflatten(-1, (4, 2)) for part in heads)

    def attended() -> list[torch.Tensor]:
        parts = [form.attend(q, k, v, (0, 1, 2, 3)), form.pair_softmax(form.pair_scores(q, k))]
        return [form.leave(part.flatten(2)) for part in parts]

    assert FEW >= 4
    quick = attended()
    monkeypatch.setattr("nasplug.predictors.layers.backends.FEW", 0)
    for a, b in zip(quick, attended(), strict=True):
        torch.testing.assert_close(a, b)


def test_layouts_are_shared_in_inference_alone() -> None:
    batch = batch_of(CHAIN, WIDE)
    with torch.inference_mode():
        assert layout(batch, "torch") is layout(batch, "torch")
    assert layout(batch, "torch") is not layout(batch, "torch")
