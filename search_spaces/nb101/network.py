"""The whole network of a NAS-Bench-101 cell (Ying et al., ICML 2019), as its own code builds it.

A stem of 128 channels and nine cells for CIFAR-10; see `costs` for widths. A convolution is
followed by a batch normalisation, which is folded into it, and a ReLU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.nb101.cells import OPS, Cell
from nasplug.search_spaces.nb101.costs import (
    CELLS_A_STACK,
    CLASSES,
    IMAGE_CHANNELS,
    KERNELS,
    SIDE,
    STACKS,
    STEM,
    stacks,
    vertex_channels,
)
from nasplug.search_spaces.networks.builder import NetworkBuilder

if TYPE_CHECKING:
    import onnx

__all__ = ["code_constants", "network", "onnx_model"]


def network(cell: Cell) -> Graph:
    """The network of a cell for one image, one node an operator."""
    net, output = _build(cell)
    return net.graph(output)


def onnx_model(
    cell: Cell, seed: int = 0, batch_size: int = 1, name: str = "nb101"
) -> onnx.ModelProto:
    """The network of a cell with random weights; see `builder.NetworkBuilder.onnx_model`."""
    net, output = _build(cell)
    return net.onnx_model(output, seed, batch_size, name)


def code_constants(cell: Cell) -> dict[str, Any]:
    """Constants of the template of a network's code."""
    sources = [tuple(a for a in range(v) if cell.has(a, v)) for v in range(cell.vertices)]
    return {
        "IMAGE": (IMAGE_CHANNELS, SIDE, SIDE),
        "CLASSES": CLASSES,
        "VERTICES": tuple(zip(cell.ops[1:-1], sources[1:-1], strict=True)),
        "OUTPUT": sources[-1],
        "STEM": STEM,
        "STACKS": STACKS,
        "CELLS_A_STACK": CELLS_A_STACK,
    }


def _build(cell: Cell) -> tuple[NetworkBuilder, int]:
    net = NetworkBuilder(SIDE, IMAGE_CHANNELS)
    x = _conv(net, net.input, STEM, 3)
    for channels_in, channels_out, side in stacks():
        if side < net.side(x):
            x = net.max_pool(x, 2, 2)
        x = _cell(net, x, cell, vertex_channels(cell, channels_in, channels_out))
    return net, net.linear(net.flatten(net.global_pool(x)), CLASSES)


def _conv(net: NetworkBuilder, x: int, channels: int, kernel: int) -> int:
    return net.relu(net.conv(x, channels, kernel))


def _cell(net: NetworkBuilder, x: int, cell: Cell, widths: list[int]) -> int:
    outputs = [x]
    last = cell.vertices - 1
    for v, label in enumerate(cell.labels, start=1):
        terms = [net.first_channels(outputs[a], widths[v]) for a in range(1, v) if cell.has(a, v)]
        if cell.has(0, v):
            terms.append(_conv(net, x, widths[v], 1))
        total = net.add(*terms)
        op = OPS[label]
        outputs.append(
            net.max_pool(total, 3, 1, padding=1)
            if op.startswith("maxpool")
            else _conv(net, total, widths[v], KERNELS[op])
        )
    joined = [outputs[v] for v in range(1, last) if cell.has(v, last)]
    output_terms = [net.concat(joined) if len(joined) > 1 else joined[0]] if joined else []
    if cell.has(0, last):
        output_terms.append(_conv(net, x, widths[last], 1))
    return net.add(*output_terms)
