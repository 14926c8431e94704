"""Memory that PyTorch holds on a GPU after a forward pass of a language model under autocast."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import TYPE_BYTES

__all__ = ["UNUSED", "WORKSPACE", "allocated_megabytes"]

WORKSPACE = 8_519_680
"""Bytes of cuBLAS's workspace on GPUs before the H100: 2 x 4,096 KiB and 8 x 16 KiB."""

UNUSED = 113_462.0
"""Mean bytes that stay unused behind a tensor of more than a MiB, learned from 100 networks of
HW-GPT-Bench's scale s by `experiments/language/memory.py`."""

# The allocator gives multiples of 512 bytes.
_BLOCK = 512
# It leaves a larger block whole if less than a MiB would be left of it.
_LARGE = 2**20


def allocated_megabytes(graph: Graph, batch_size: int = 1, unused: float = UNUSED) -> float:
    """Compute what PyTorch holds after a pass under autocast, in MB of 10⁶ bytes.

    It is what `torch.cuda.memory_allocated` gives before autocast ends: the weights in fp32, the
    copies of linear layers in bf16 that autocast keeps, the tokens, and cuBLAS's workspace.
    Activations are freed by then: this is not the peak.

    Args:
        graph: A language model, of a prompt.
        batch_size: Sequences a forward pass.
        unused: Bytes that stay unused behind a tensor of more than a MiB, on average.
    """
    total = float(WORKSPACE)
    for size in _tensors(graph, batch_size):
        total += math.ceil(size / _BLOCK) * _BLOCK + (unused if size > _LARGE else 0.0)
    return total / 1e6


def _tensors(graph: Graph, batch_size: int) -> Iterator[float]:
    """Yield the bytes of each tensor."""
    names = ("params", "in_channels", "out_channels", "height", "width")
    columns = (graph.attribute(name).tolist() for name in names)
    for op, params, inputs, outputs, height, width in zip(graph.ops, *columns, strict=True):
        if op == "Input":
            yield TYPE_BYTES["int64"] * batch_size * outputs * height * width
        elif op == "Gemm":
            bias = params - inputs * outputs
            for count in (inputs * outputs, bias) if bias else (params,):
                yield TYPE_BYTES["float32"] * count
                yield TYPE_BYTES["bfloat16"] * count
        elif op == "LayerNormalization":
            # A scale and a shift.
            yield from [TYPE_BYTES["float32"] * params / 2] * 2
        elif params:
            yield TYPE_BYTES["float32"] * params
