"""The whole network of a NAS-Bench-201 cell (Dong & Yang, ICLR 2020), as NNLQP measures it.

Fifteen cells with 16, 32 and 64 channels and two residual reduction blocks between them. The image
is CIFAR-10's.
"""

from __future__ import annotations

from functools import cache

from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.nb201 import CELL_EDGES, CELLS_A_STAGE, CHANNELS, NB201, OPS
from nasplug.search_spaces.nb201 import TASKS as NB201_TASKS
from nasplug.search_spaces.networks.blocks import classifier
from nasplug.search_spaces.networks.builder import NetworkBuilder
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task
from nasplug.search_spaces.simplify import simplify
from nasplug.search_spaces.space import Architecture

__all__ = ["NASBENCH201", "network_as_written"]

# The cell that the benchmark calls ResNet's: two convolutions with a skip connection around them.
_RESNET = {
    (0, 1): "nor_conv_3x3",
    (0, 2): "none",
    (1, 2): "nor_conv_3x3",
    (0, 3): "skip_connect",
    (1, 3): "none",
    (2, 3): "skip_connect",
}


@cache
def _cells() -> NB201:
    return NB201()


def _operation(net: NetworkBuilder, op: str, x: int, zeros: bool) -> int | None:
    """Append an edge's operation; None for a zero operation, unless `zeros` has it computed."""
    if op == "none":
        return net.zero(x) if zeros else None
    if op == "avg_pool_3x3":
        return net.avg_pool(x, 3, 1, padding=1)
    if op.startswith("nor_conv"):
        return net.conv(net.relu(x), net.channels(x), int(op[-1]))
    return x


def _cell(net: NetworkBuilder, x: int, chosen: Choices, zeros: bool) -> int:
    nodes: list[int | None] = [x]
    for node in range(1, 4):
        terms = []
        for source, value in enumerate(nodes):
            op = chosen[f"op_{source}_{node}"]
            term = None if value is None else _operation(net, op, value, zeros)
            if term is not None:
                terms.append(term)
        nodes.append(net.add(*terms) if terms else None)
    # The benchmark's own code multiplies by zero, too.
    return net.zero(x) if nodes[3] is None else nodes[3]


def _reduction(net: NetworkBuilder, x: int, channels: int) -> int:
    y = net.conv(net.relu(x), channels, 3, stride=2)
    y = net.conv(net.relu(y), channels, 3)
    return net.add(net.conv(net.avg_pool(x, 2, 2), channels, bias=False), y)


def _build(net: NetworkBuilder, chosen: Choices, classes: int, zeros: bool = False) -> int:
    x = net.conv(net.input, CHANNELS[0], 3)
    for stage, channels in enumerate(CHANNELS):
        if stage:
            x = _reduction(net, x, channels)
        for _ in range(CELLS_A_STAGE):
            x = _cell(net, x, chosen, zeros)
    return classifier(net, net.relu(net.batch_norm(x)), classes)


def _identity(chosen: Choices) -> str:
    """Text that is equal for cells that run equal operations.

    The benchmark's own id also joins cells of one function that compute a term once and twice.
    """
    cell = _cells().from_params(chosen)
    return simplify(_cells().to_graph(cell)).canonical_hash


def _code(chosen: Choices, images: Task) -> Code:
    """The code of a cell without the operations that have no influence on its output.

    An edge that does not count is `none`, and a node has no such edge beside others.
    """
    ops = {edge: chosen["op_{}_{}".format(*edge)] for edge in CELL_EDGES}
    fed = {0}
    for node in range(1, 4):
        if any(ops[a, node] != "none" for a in fed):
            fed.add(node)
    used = {3}
    for node in (2, 1):
        if any(ops[node, b] != "none" for b in used if b > node):
            used.add(node)
    nodes = []
    for node in range(1, 4):
        terms = tuple(
            (ops[a, node], a)
            for a in range(node)
            if ops[a, node] != "none" and a in fed and node in used
        )
        nodes.append(terms or (("none", 0),))
    return "nb201", {"CELL": tuple(nodes), "CHANNELS": CHANNELS, "CELLS_A_STAGE": CELLS_A_STAGE}


NASBENCH201 = Family(
    "nasbench201",
    tuple(Decision(f"op_{a}_{b}", OPS, _RESNET[a, b]) for a, b in CELL_EDGES),
    _build,
    tasks={name: Task(*size) for name, size in NB201_TASKS.items()},
    identity=_identity,
    write=lambda chosen: _cells().from_params(chosen).text,
    read=lambda text: _cells().to_params(_cells().parse(text)),
    code=_code,
)


def network_as_written(cell: Architecture, task: str | None = None) -> Graph:
    """The network of a cell as the benchmark's own code runs it, one operator after the other.

    Zero operations multiply by 0, so every operation is computed, even if it cannot influence the
    output. The benchmark's latencies in a framework are those of this network; an exported network
    (`nnlqp:nasbench201`) lacks the operations without influence.

    Args:
        cell: An architecture of `nb201`.
        task: One of `nb201`'s tasks; the first if it is left out.
    """
    size = NB201_TASKS[task or next(iter(NB201_TASKS))]
    images = Task(*size)
    net = NetworkBuilder(images.side)
    return net.graph(_build(net, _cells().to_params(cell), images.classes, zeros=True))
