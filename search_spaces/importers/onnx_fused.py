"""Operators that ONNX Runtime's optimiser writes, as ONNX's own operators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.importers.onnx_attention import (
    ATTENTIONS,
    PREVIEWED_ATTENTIONS,
    STANDARD_ATTENTIONS,
)
from nasplug.search_spaces.importers.onnx_expansion import Expansion
from nasplug.search_spaces.importers.onnx_node import Constant, Tensor
from nasplug.search_spaces.importers.onnx_quantised import QUANTISED, STANDARD_QUANTISED

if TYPE_CHECKING:
    import onnx

__all__ = ["FUSED", "expanded"]

Form = Callable[[Expansion], None]

INT64_MAX = 2**63 - 1
RUNTIME = "com.microsoft"
# Domain of networks whose channels ONNX Runtime has put into blocks.
BLOCKS = "com.microsoft.nchwc"
# Domain of networks that ONNX Runtime has turned to channels last.
CHANNELS_LAST = "com.ms.internal.nhwc"
_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_ACTIVATIONS = frozenset(
    {"Relu", "LeakyRelu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Selu", "Sigmoid"}
    | {"Softplus", "Softsign", "Tanh", "ThresholdedRelu"}
)
_POOL = (*_WINDOW, "ceil_mode", "count_include_pad", "storage_order")


def expanded(
    node: onnx.NodeProto,
    domain: str,
    known: Callable[[str], Constant | Tensor | None],
    opset: int,
    model: str,
) -> Expansion | None:
    """Take a node apart.

    Args:
        node: Any node.
        domain: Domain of its operator; empty for ONNX's own.
        known: Shape and element type of a tensor by its name.
        opset: Version of ONNX's operators that the file uses.
        model: Name of the model in error messages.

    Returns:
        The nodes that stand for it; None if it is read as it is.

    Raises:
        InputError: If the node does not fit its inputs.
    """
    form = FUSED.get(domain, {}).get(node.op_type)
    if form is None or not any(node.output):
        return None
    expansion = Expansion(node, known, opset, model)
    form(expansion)
    return expansion


# ------------------------------------------------------------------------------ single operators


def _renamed(
    expansion: Expansion, op: str, slots: tuple[int, ...], copied: tuple[str, ...] = ()
) -> None:
    """Append an operator of ONNX's own on some of the inputs."""
    expansion.add(op, expansion.inputs(*slots), expansion.output(), copied=copied)


def _activated(expansion: Expansion, source: str) -> str:
    """Append the activation that the node names, if it names one."""
    op = expansion.text("activation")
    if op and op not in _ACTIVATIONS:
        raise expansion.wrong(f"its activation {op[:40]!r} is not known")
    return expansion.add(op, [source]) if op else source


def _biased_activation(expansion: Expansion, op: str) -> None:
    """Append an activation, after the sum with a bias where there is one."""
    source = expansion.input(0)
    if expansion.input(1):
        source = expansion.add("Add", [source, expansion.input(1)])
    expansion.add(op, [source], expansion.output())


def _split_gelu(expansion: Expansion) -> None:
    """Append (x₁ + b₁)·gelu(x₂ + b₂) on the two halves of the features."""
    features = expansion.shape(0)[-1]
    source = expansion.add("Add", expansion.inputs(0, 1))
    halves = [
        expansion.slice(source, -1, start, start + features // 2) for start in (0, features // 2)
    ]
    gate = expansion.add("Gelu", halves[1:])
    expansion.add("Mul", [halves[0], gate], expansion.output())


def _sums(expansion: Expansion, op: str = "Add") -> None:
    """Append the sum of all inputs, and an operator on it."""
    terms = [name for name in expansion.inputs(*range(8)) if name]
    total = terms[0]
    for term in terms[1:]:
        total = expansion.add("Add", [total, term])
    expansion.add("Identity" if op == "Add" else op, [total], expansion.output())


# ------------------------------------------------------------------------------------ products


def _fused_product(expansion: Expansion) -> None:
    """Append a product of matrices that are read transposed; its factor costs nothing."""
    factors = []
    for k, side in enumerate("AB"):
        name, rank = expansion.input(k), len(expansion.shape(k))
        if expansion.whole(f"transBatch{side}", 0) and rank > 2:
            name = expansion.add("Transpose", [name], perm=[*range(1, rank - 1), 0, rank - 1])
        if expansion.whole(f"trans{side}", 0) and rank > 1:
            name = expansion.add("Transpose", [name], perm=[*range(rank - 2), rank - 1, rank - 2])
        factors.append(name)
    expansion.finish(_activated(expansion, expansion.add("MatMul", factors)))


def _fused_gemm(expansion: Expansion) -> None:
    product = expansion.add("Gemm", expansion.inputs(0, 1, 2), copied=("transA", "transB"))
    expansion.finish(_activated(expansion, product))


def _gemm_gelu(expansion: Expansion) -> None:
    product = expansion.add("MatMul", expansion.inputs(0, 1))
    if expansion.input(2):
        product = expansion.add("Add", [product, expansion.input(2)])
    expansion.add("Gelu", [product], expansion.output())


# ------------------------------------------------------------------------------------ windows


def _fused_conv(expansion: Expansion, blocks: bool = False) -> None:
    """Append a convolution, the sum with another image, and an activation.

    Args:
        expansion: Where to append.
        blocks: Whether channels come in blocks, the last of which may be filled up.
    """
    image, operands = expansion.input(0), expansion.inputs(1, 2)
    if blocks:
        channels = expansion.shape(1, 4)[1] * expansion.whole("group", 1)
        image = _with_channels(expansion, channels)
    conv = expansion.add("Conv", [image, *operands], copied=_WINDOW)
    if expansion.input(3):
        conv = expansion.add("Add", [conv, expansion.input(3)])
    expansion.finish(_activated(expansion, conv))


def _with_channels(expansion: Expansion, channels: int) -> str:
    """Append the view of an image with more channels, or fewer, than it has."""
    image, now = expansion.input(0), expansion.shape(0, 4)[1]
    if channels > now:
        image = expansion.add("Pad", [image, expansion.ints(0, 0, 0, 0, 0, channels - now, 0, 0)])
    elif channels < now:
        image = expansion.slice(image, 1, 0, channels)
    if channels != now:
        expansion.views.add(image)
    return image


def _from_blocks(expansion: Expansion) -> None:
    """Append the view of blocks of channels as single ones."""
    image = _with_channels(expansion, expansion.whole("channels"))
    if expansion.whole("channels_last", 0):
        image = expansion.other_layout(image, 4, to_last=True)
    expansion.finish(image)


def _to_blocks(expansion: Expansion) -> None:
    """Append the view of channels in blocks."""
    image = expansion.input(0)
    if expansion.whole("channels_last", 0):
        image = expansion.other_layout(image, len(expansion.shape(0, 4)), to_last=False)
    expansion.finish(image)


def _channels_last(
    expansion: Expansion, op: str, copied: tuple[str, ...], weights: int = 0, **attributes: Any
) -> None:
    """Append a windowed operator on an image with its channels last."""
    rank = len(expansion.shape(0, 3, 4, 5))
    image = expansion.other_layout(expansion.input(0), rank, to_last=False)
    operands = [image, *expansion.inputs(*range(1, 1 + weights))]
    if op == "Conv":
        weight, channels = expansion.shape(1, rank), expansion.shape(0)[-1]
        if weight[1] * expansion.whole("group", 1) != channels:
            operands[1] = expansion.other_layout(operands[1], rank, to_last=False)
    result = expansion.add(op, operands, copied=copied, **attributes)
    if op == "Conv" and expansion.input(3):
        other = expansion.other_layout(expansion.input(3), rank, to_last=False)
        result = expansion.add("Add", [result, other])
    if op == "GroupNormalization":
        result = expansion.add("Swish", [result]) if expansion.whole("activation", 0) else result
    else:
        result = _activated(expansion, result)
    expansion.finish(expansion.other_layout(result, rank, to_last=True))


def _causal_conv(expansion: Expansion) -> None:
    """Append a convolution of each channel with what came before, input 3 or nothing."""
    channels, size = expansion.shape(0, 3)[1], expansion.shape(1, 3)[2]
    read = expansion.input(0)
    if expansion.input(3):
        read = expansion.add("Concat", [expansion.input(3), read], axis=2)
    else:
        read = expansion.add("Pad", [read, expansion.ints(0, 0, size - 1, 0, 0, 0)])
    result = expansion.add("Conv", [read, *expansion.inputs(1, 2)], group=channels)
    if expansion.text("activation") in ("silu", "swish"):
        result = expansion.add("Swish", [result])
    expansion.finish(result)
    if expansion.output(1):
        expansion.finish(expansion.slice(read, 2, expansion.shape(0)[2], INT64_MAX), 1)


def _gated_swish(expansion: Expansion) -> None:
    gate = expansion.add("Swish", expansion.inputs(0))
    expansion.add("Mul", [gate, expansion.input(1)], expansion.output())


def _group_norm(expansion: Expansion) -> None:
    groups = expansion.whole("groups")
    _channels_last(expansion, "GroupNormalization", (), weights=2, num_groups=groups)


# -------------------------------------------------------------------------------------- norms


def _skip_norm(expansion: Expansion, op: str, bias: int) -> None:
    """Append the norm of a sum; output 3 is that sum."""
    first = expansion.input(0)
    if expansion.input(bias):
        # It was the bias of the product that wrote the first input.
        first = expansion.add("Add", [first, expansion.input(bias)])
    total = expansion.add("Add", [first, expansion.input(1)])
    scale = expansion.inputs(2, 3) if op == "LayerNormalization" else expansion.inputs(2)
    expansion.add(op, [total, *scale], expansion.output())
    expansion.finish(total, 3)


def _embedding_norm(expansion: Expansion) -> None:
    """Append the norm of the sum of a word's, a place's and a segment's vector."""
    words = expansion.add("Gather", [expansion.input(2), expansion.input(0)])
    length = expansion.shape(0)[-1]
    if expansion.input(8):
        places = expansion.add("Gather", [expansion.input(3), expansion.input(8)])
    else:
        places = expansion.slice(expansion.input(3), 0, 0, length)
    total = expansion.add("Add", [words, places])
    if expansion.input(4) and expansion.input(1):
        segments = expansion.add("Gather", [expansion.input(4), expansion.input(1)])
        total = expansion.add("Add", [total, segments])
    expansion.add("LayerNormalization", [total, *expansion.inputs(5, 6)], expansion.output())
    if expansion.output(1):
        # How many words each sentence has; nothing that is read here depends on it.
        mask = expansion.input(7) or expansion.input(0)
        expansion.add("ReduceMax", [mask], expansion.output(1), keepdims=0)
    expansion.finish(total, 2)


def _rotary(expansion: Expansion) -> None:
    heads = expansion.whole("num_heads", 0)
    if not heads and len(expansion.shape(0)) == 3:
        heads = max(1, expansion.shape(0)[-1] // max(1, 2 * expansion.shape(2)[-1]))
    operands = [expansion.input(k) for k in (0, 2, 3, 1)]
    expansion.add("RotaryEmbedding", operands, expansion.output(), num_heads=heads)


_NORMS: dict[str, Form] = {
    "SimplifiedLayerNormalization": partial(_renamed, op="RMSNormalization", slots=(0, 1)),
}
# Domain -> operator -> the function that takes it apart.
FUSED: dict[str, dict[str, Form]] = {
    "": {
        **_NORMS,
        **STANDARD_ATTENTIONS,
        **STANDARD_QUANTISED,
        "CausalConvWithState": _causal_conv,
        "SwiGLU": _gated_swish,
    },
    "ai.onnx.preview": PREVIEWED_ATTENTIONS,
    RUNTIME: {
        **_NORMS,
        **ATTENTIONS,
        **QUANTISED,
        "CausalConvWithState": _causal_conv,
        "LayerNormalization": lambda e: _renamed(e, "LayerNormalization", (0, 1, 2), ("axis",)),
        "SkipLayerNormalization": partial(_skip_norm, op="LayerNormalization", bias=4),
        "SkipSimplifiedLayerNormalization": partial(_skip_norm, op="RMSNormalization", bias=3),
        "EmbedLayerNormalization": _embedding_norm,
        "GroupNorm": _group_norm,
        "RotaryEmbedding": _rotary,
        "Gelu": lambda e: _renamed(e, "Gelu", (0,)),
        "QuickGelu": lambda e: _renamed(e, "Swish", (0,), ("alpha",)),
        "FastGelu": partial(_biased_activation, op="Gelu"),
        "BiasGelu": partial(_biased_activation, op="Gelu"),
        "BiasSplitGelu": _split_gelu,
        "BiasAdd": _sums,
        "BiasSoftmax": partial(_sums, op="Softmax"),
        "FusedMatMul": _fused_product,
        "TransposeMatMul": _fused_product,
        "FusedMatMulActivation": _fused_product,
        "FusedGemm": _fused_gemm,
        "GemmFastGelu": _gemm_gelu,
        "FusedConv": _fused_conv,
        "NhwcConv": partial(_channels_last, op="Conv", copied=_WINDOW, weights=2),
        "NhwcFusedConv": partial(_channels_last, op="Conv", copied=_WINDOW, weights=2),
        "NhwcMaxPool": partial(_channels_last, op="MaxPool", copied=_POOL),
    },
    BLOCKS: {
        "Conv": partial(_fused_conv, blocks=True),
        "ReorderInput": _to_blocks,
        "ReorderOutput": _from_blocks,
        **{
            op: partial(_renamed, op=op, slots=(0,), copied=_POOL)
            for op in ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
        },
    },
    CHANNELS_LAST: {
        "Conv": partial(_channels_last, op="Conv", copied=_WINDOW, weights=2),
        **{
            op: partial(_channels_last, op=op, copied=_POOL)
            for op in ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
        },
    },
}
