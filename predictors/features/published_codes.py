"""The node codes and whole-graph features that the published predictors read.

Sources: the released rules of NNLQP (Liu et al., ICPP 2022), NAR-Former V2 (Yi et al., NeurIPS
2023) and NN-Former (Xu et al., CVPR 2025), from their formulas. They were written for ONNX
operators; a `Graph` tells less, and this is what stands for the rest:

- the one-hot position of an operation is its place in the network's vocabulary;
- an operation with a window and parameters is a convolution, one with a window and none a pooling;
  others have no attributes;
- padding is half the window, dilation 1, and a convolution has no bias;
- FLOPs are `Graph`'s multiply-accumulates of one image; memory access is the elements read and
  written for the whole batch plus the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.nodes import op_ids
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.costs import FLOAT_BYTES

__all__ = [
    "MOST_OPS",
    "NNLP_WIDTH",
    "STATIC_WIDTH",
    "check_vocabulary",
    "nerf_frequencies",
    "nnlp_code",
    "one_hot",
    "positions",
    "sinusoid",
    "sinusoid_code",
    "sinusoid_width",
    "static_code",
    "static_values",
    "wave_frequencies",
]

MOST_OPS = 32
# Eight attribute values of ten numbers each.
ATTRIBUTES_A_NODE, ATTRIBUTE_NUMBERS = 8, 10
ATTRIBUTE_WIDTH = ATTRIBUTES_A_NODE * ATTRIBUTE_NUMBERS
# Batch size, FLOPs, parameters and memory access, of so many numbers each.
STATIC_NUMBERS = 10
STATIC_WIDTH = 4 * STATIC_NUMBERS
DILATION, BIAS = 1.0, 0.0

# NNLQP's attributes in its order: (centre, scale); output_padding and perm are never known here.
_NNLP_ATTRIBUTES = {
    "kernel": (2.53, 56.0),
    "stride": (1.16, 56.0),
    "pads": (0.75, 6.0),
    "dilation": (1.0, 1.0),
    "groups": (15.08, 6144.0),
    "bias": (0.77, 1.0),
    "perm": (1.78, 4.0),
    "output_padding": (0.0, 1e-5),
}
_NNLP_SHAPE = np.array([[12.25, 1024.0], [286.96, 2496.0], [32.62, 256.0], [31.80, 256.0]])
NNLP_WIDTH = MOST_OPS + len(_NNLP_ATTRIBUTES) + len(_NNLP_SHAPE)


def check_vocabulary(vocabulary: Sequence[str]) -> None:
    """Refuse a vocabulary that has no one-hot code.

    Raises:
        InputError: If it has more than `MOST_OPS` operation types.
    """
    if len(vocabulary) > MOST_OPS:
        raise InputError(
            f"the graphs have {len(vocabulary)} types of operations; this network can code at "
            f"most {MOST_OPS}"
        )


def one_hot(graphs: Sequence[Graph], vocabulary: Sequence[str]) -> Array:
    """Operation of every node of every graph, shape `(nodes, MOST_OPS)`.

    Raises:
        InputError: If a graph has an operation outside the vocabulary.
    """
    result: Array = np.eye(MOST_OPS)[op_ids(graphs, vocabulary)]
    return result


def positions(graphs: Sequence[Graph]) -> NDArray[np.int64]:
    """Place of every node in its graph, from 0, shape `(nodes,)`."""
    return np.concatenate([np.arange(len(graph)) for graph in graphs])


def wave_frequencies(count: int) -> Array:
    """`10000^(−k/count)`, shape `(count,)` (the transformer's positional encoding)."""
    result: Array = 10000.0 ** (-np.arange(count) / count)
    return result


def nerf_frequencies(count: int) -> Array:
    """`π · linspace(2⁰, 2^(count−1), count)`, shape `(count,)` (NAR-Former V2's `nerf`)."""
    return np.pi * np.linspace(1.0, 2.0 ** (count - 1), count)


def sinusoid(values: Array, frequencies: Array, *, interleaved: bool) -> Array:
    """Sines and cosines of `value · frequency`, computed in double precision.

    The shape is `(*values.shape, 2 * frequencies)`: interleaved `(sin, cos, sin, cos, …)`, or all
    sines, then all cosines.
    """
    angle = np.asarray(values, dtype=np.float64)[..., None] * frequencies
    if interleaved:
        return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(*angle.shape[:-1], -1)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)


def sinusoid_code(
    graphs: Sequence[Graph], vocabulary: Sequence[str], images: int, shape_numbers: int
) -> Array:
    """One-hot operation, packed attributes, output shape N, C, H, W as interleaved sinusoids.

    A convolution packs kernel, stride, padding, dilation, groups and bias, a pooling the first
    three; the rest of the attribute part is zero. A dimension of the output shape has 20 numbers
    for NN-Former, 10 for NAR-Former V2; the whole is `(nodes, sinusoid_width(shape_numbers))`.

    Raises:
        InputError: If a graph has an operation outside the vocabulary.
    """
    values = np.stack(list(_known_attributes(graphs).values()), axis=1)
    waves = sinusoid(values, wave_frequencies(ATTRIBUTE_NUMBERS // 2), interleaved=True)
    is_conv, is_pool = _kinds(graphs)
    filled = np.where(is_conv, values.shape[1], np.where(is_pool, 3, 0))
    waves[np.arange(values.shape[1]) >= filled[:, None]] = 0.0
    attributes = np.zeros((len(values), ATTRIBUTE_WIDTH))
    attributes[:, : values.shape[1] * ATTRIBUTE_NUMBERS] = waves.reshape(len(values), -1)
    shape = sinusoid(
        _output_shape(graphs, images), wave_frequencies(shape_numbers // 2), interleaved=True
    )
    return np.concatenate(
        [one_hot(graphs, vocabulary), attributes, shape.reshape(len(values), -1)], axis=1
    )


def sinusoid_width(shape_numbers: int) -> int:
    """Numbers a node in `sinusoid_code`."""
    return MOST_OPS + ATTRIBUTE_WIDTH + 4 * shape_numbers


def nnlp_code(graphs: Sequence[Graph], vocabulary: Sequence[str], images: int) -> Array:
    """One-hot operation, then attributes and output shape as `(value − centre) / scale`.

    An attribute that a node does not have is 0, the centre of those that do. The shape is
    `(nodes, NNLP_WIDTH)`.

    Raises:
        InputError: If a graph has an operation outside the vocabulary.
    """
    is_conv, is_pool = _kinds(graphs)
    columns = dict.fromkeys(_NNLP_ATTRIBUTES, np.zeros(len(is_conv)))
    for name, values in _known_attributes(graphs).items():
        centre, scale = _NNLP_ATTRIBUTES[name]
        has = is_conv | is_pool if name in ("kernel", "stride", "pads") else is_conv
        columns[name] = np.where(has, (values - centre) / scale, 0.0)
    attributes = np.stack(list(columns.values()), axis=1)
    shape = (_output_shape(graphs, images) - _NNLP_SHAPE[:, 0]) / _NNLP_SHAPE[:, 1]
    return np.concatenate([one_hot(graphs, vocabulary), attributes, shape], axis=1)


def static_values(graphs: Sequence[Graph], images: int) -> Array:
    """Batch size, FLOPs, parameters, memory access of every graph, shape `(graphs, 4)`."""
    rows = []
    for graph in graphs:
        params = graph.total("params")
        moved = max(graph.total("bytes") / FLOAT_BYTES - params, 0.0)
        rows.append((float(images), graph.total("flops"), params, images * moved + params))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def static_code(graphs: Sequence[Graph], images: int, scales: Array) -> Array:
    """`static_values` over their scales `(4,)` as sinusoids, shape `(graphs, STATIC_WIDTH)`."""
    values = static_values(graphs, images) / scales
    waves = sinusoid(values, wave_frequencies(STATIC_NUMBERS // 2), interleaved=True)
    return waves.reshape(len(graphs), STATIC_WIDTH)


def _known_attributes(graphs: Sequence[Graph]) -> dict[str, Array]:
    """The attributes of a convolution in ONNX's order, shape `(nodes,)` each."""
    kernel = _column(graphs, "kernel")
    return {
        "kernel": kernel,
        "stride": _column(graphs, "stride"),
        "pads": kernel // 2,
        "dilation": np.full_like(kernel, DILATION),
        "groups": _column(graphs, "groups"),
        "bias": np.full_like(kernel, BIAS),
    }


def _kinds(graphs: Sequence[Graph]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each node is a convolution, and whether it is a pooling."""
    has_window, has_params = _column(graphs, "kernel") > 0, _column(graphs, "params") > 0
    return has_window & has_params, has_window & ~has_params


def _output_shape(graphs: Sequence[Graph], images: int) -> Array:
    """N, C, H, W of every node's output, shape `(nodes, 4)`."""
    sizes = [_column(graphs, name) for name in ("out_channels", "height", "width")]
    return np.stack([np.full_like(sizes[0], images), *sizes], axis=1)


def _column(graphs: Sequence[Graph], name: str) -> Array:
    return np.concatenate([graph.attribute(name) for graph in graphs])
