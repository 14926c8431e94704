"""Functions of PyTorch that are read as operators of known cost; an unknown one would warn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasplug.search_spaces.importers.torch_graph import torch_graph
from nasplug.search_spaces.operators import KNOWN_OPS

TOKENS = torch.zeros(1, 8, 16)
IMAGE = torch.zeros(1, 4, 8, 8)
WHOLE = torch.zeros(1, 8, 16, dtype=torch.long)
ROWS = torch.zeros(8, dtype=torch.long)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def graph_of(function, *inputs):
    return torch_graph(Function(function), inputs)


ELEMENTWISE = (
    "atan tan sinh asinh sign trunc frac exp2 expm1 log1p log2 log10 erfc isnan isinf nan_to_num "
    "logsigmoid hardshrink softshrink tanhshrink"
)


@pytest.mark.parametrize("name", ELEMENTWISE.split())
def test_functions_of_elements(name):
    function = getattr(torch, name, None) or getattr(F, name)
    graph = graph_of(function, TOKENS)
    assert len(graph) > 2
    assert set(graph.ops) <= KNOWN_OPS


@pytest.mark.parametrize(
    ("op", "function"),
    {
        "ScatterElements": lambda x: x.scatter(2, WHOLE, x),
        "ScatterND": lambda x: x.index_put((ROWS[:1],), x),
        "TopK": lambda x: x.sort(1)[0],
        "ReduceMax": lambda x: x.aminmax(dim=2)[1],
        "ReduceMin": lambda x: x.aminmax(dim=2)[0],
        "ReduceLogSumExp": lambda x: x.logsumexp(1),
        "CumProd": lambda x: x.cumprod(1),
        "Mod": lambda x: x % 2,
        "Floor": lambda x: x // 2,
        "Mul": lambda x: torch.lerp(x, x.exp(), 0.5),
        "Gather": lambda x: x.unfold(2, 4, 2),
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_functions_of_tokens(op, function):
    assert op in graph_of(function, TOKENS).ops


def test_messages_between_nodes_are_summed():
    def forward(x, edges):
        return torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])

    nodes, edges = torch.zeros(50, 16), torch.zeros(2, 300, dtype=torch.long)
    assert "ScatterElements" in graph_of(forward, nodes, edges).ops


def test_functions_of_images():
    grid = torch.zeros(1, 5, 5, 2)
    ops = graph_of(lambda x, g: F.grid_sample(x, g, align_corners=False), IMAGE, grid).ops
    assert "GridSample" in ops
    places = torch.zeros(1, 2, 3)
    ops = graph_of(lambda t: F.affine_grid(t, [1, 3, 8, 8], align_corners=False), places).ops
    assert "AffineGrid" in ops
    assert "Transpose" in graph_of(lambda x: F.channel_shuffle(x, 2), IMAGE).ops
    assert "Col2Im" in graph_of(lambda x: F.fold(F.unfold(x, 3), 8, 3), IMAGE).ops


def test_sums_of_rows_of_a_table():
    bag = nn.EmbeddingBag(100, 8, mode="sum")
    graph = torch_graph(bag, torch.zeros(1, 5, dtype=torch.long))
    assert {"Gather", "ReduceSum"} <= set(graph.ops)
    assert graph.total("params") == 800


@pytest.mark.parametrize(
    ("flops", "function"),
    [
        (16, lambda x: torch.dot(x[0, 0], x[0, 1])),
        (8 * 16, lambda x: torch.mv(x[0], x[0, 0])),
        (8 * 16, lambda x: torch.addmv(x[0, :, 0], x[0], x[0, 0])),
    ],
)
def test_products_with_vectors(flops, function):
    assert graph_of(function, TOKENS).total("flops") == flops
