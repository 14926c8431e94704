"""Graphs of references: operators from sizes, language models, and architectures of spaces."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.search_spaces import space
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.networks.gpt import gpt_graph
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph

__all__ = ["graph_of", "has_graph"]

_OPERATOR = re.compile(r"op:(?P<name>[\w.]+)\{(?P<sizes>.*)\}")
_SPACES = ("nb201", "fbnet", "ofa", "accel")
# Name of an element-wise operator in the references -> ONNX type.
_ELEMENTWISE = {
    "add": "Add",
    "mul": "Mul",
    "div": "Div",
    "pow": "Pow",
    "relu": "Relu",
    "gelu": "Gelu",
    "tanh": "Tanh",
    "softmax": "Softmax",
}
Sizes = dict[str, int]


def graph_of(reference: str) -> Graph:
    """Make the graph that a reference of the table of measurements stands for, for one item.

    Graphs of `op:`, `gpt:` and of the spaces `nb201:`, `fbnet:`, `ofa:` and `accel:` follow from
    the reference; those of networks that other packages build, such as `timm:resnet50@224`, come
    from a file that the package ships. The batch of an operator is that of its row: rows of a
    matrix, images, tokens, or matrices.

    Raises:
        InputError: If the reference names a network that the file lacks, or an operator whose
            kernels are no operators of a graph.

    Example:
        >>> from nasplug.measurements.graphs import graph_of
        >>> graph = graph_of("op:linear{M=8,K=64,N=32,bias=1}")
        >>> graph.ops, graph.total("macs"), graph.total("params")
        (('Input', 'Gemm', 'Output'), 2048.0, 2080.0)
    """
    package, _, name = reference.partition(":")
    if package == "gpt":
        return gpt_graph(reference)
    if package in _SPACES:
        named = space(package)
        return named.to_graphs([named.parse(name)])[0]
    match = _OPERATOR.fullmatch(reference)
    if match is None:
        networks = shipped_network_graphs()
        if reference not in networks:
            raise InputError(
                f"no graph of the network {reference[:80]!r} is known; build it with its package, "
                "and read it with nasplug.search_spaces.importers"
            )
        return networks.graph(reference)
    operators = _operators(match["name"], _sizes(match["sizes"]))
    return network_graph(operators, [len(operators) - 1])


def has_graph(reference: str) -> bool:
    """Whether `graph_of` makes a graph of a reference."""
    package = reference.partition(":")[0]
    if package == "gpt" or package in _SPACES:
        return True
    match = _OPERATOR.fullmatch(reference)
    if match is None:
        return reference in shipped_network_graphs()
    return match["name"] in _MAKERS or match["name"].removesuffix("_scalar") in _ELEMENTWISE


def _sizes(text: str) -> Sizes:
    pairs = [part.partition("=") for part in text.split(",")]
    # Letters, such as those of transposed matrices, only say that there is something.
    return {key: int(value) if value.isdecimal() else 1 for key, _, value in pairs}


def _operators(name: str, sizes: Sizes) -> list[Operator]:
    """Operators of a reference, its inputs first, for one item of its batch.

    Raises:
        InputError: If the operator is none that a graph has.
    """
    if name in _MAKERS:
        return _MAKERS[name](sizes)
    base = name.removesuffix("_scalar")
    if base not in _ELEMENTWISE:
        raise InputError(f"the operator {name!r} is none that a graph has")
    shape = (1, sizes["cols"])
    has_two = base in ("add", "mul", "div", "pow") and base == name
    inputs = (0, 1) if has_two else (0,)
    operator = Operator(_ELEMENTWISE[base], inputs, shape)
    return [*(Operator("Input", (), shape) for _ in inputs), operator]


def _product(sizes: Sizes) -> list[Operator]:
    # A vendor's library counts columns: C[M, N] = A[M, K] B[K, N], and N of them are the batch.
    outputs = sizes["M"] if "transA" in sizes else sizes["N"]
    return _linear(sizes["K"], outputs, bool(sizes.get("bias", 0)))


def _batched_product(sizes: Sizes) -> list[Operator]:
    left, right = (1, sizes["M"], sizes["K"]), (1, sizes["K"], sizes["N"])
    product = Operator("MatMul", (0, 1), (1, sizes["M"], sizes["N"]))
    return [Operator("Input", (), left), Operator("Input", (), right), product]


def _norm(sizes: Sizes) -> list[Operator]:
    shape = (1, sizes["cols"])
    norm = Operator("LayerNormalization", (0,), shape, other_params=2 * sizes["cols"])
    return [Operator("Input", (), shape), norm]


def _linear(features: int, outputs: int, bias: bool = False) -> list[Operator]:
    return [
        Operator("Input", (), (1, features)),
        Operator("Gemm", (0,), (1, outputs), weights=(outputs, features), bias=bias),
    ]


def _conv(sizes: Sizes) -> list[Operator]:
    """A convolution: of square windows and strides, or of a vendor's library with both sides."""
    height, width = sizes["H"], sizes.get("W", sizes["H"])
    kernel = (sizes.get("Kh", sizes.get("K", 1)), sizes.get("Kw", sizes.get("K", 1)))
    padding = (sizes.get("padh", sizes.get("pad", 0)), sizes.get("padw", sizes.get("pad", 0)))
    stride = (sizes.get("sh", sizes.get("stride", 1)), sizes.get("sw", sizes.get("stride", 1)))
    sides = [
        (side + 2 * pad - window) // step + 1
        for side, pad, window, step in zip((height, width), padding, kernel, stride, strict=True)
    ]
    conv = Operator(
        "Conv",
        (0,),
        (1, sizes["Cout"], *sides),
        weights=(sizes["Cout"], sizes["Cin"], *kernel),
        bias=bool(sizes.get("bias", 0)),
        kernel=kernel,
        stride=stride,
    )
    return [Operator("Input", (), (1, sizes["Cin"], height, width)), conv]


def _attention(sizes: Sizes) -> list[Operator]:
    """Attention of a whole prompt; groups of heads read one key and one value."""
    heads, length, width = sizes["heads"], sizes["S"], sizes["head_dim"]
    shared = (1, sizes["kv_heads"], length, width)
    return [
        Operator("Input", (), (1, heads, length, width)),
        Operator("Input", (), shared),
        Operator("Input", (), shared),
        Operator("MatMul", (0, 1), (1, heads, length, length)),
        Operator("Softmax", (3,), (1, heads, length, length)),
        Operator("MatMul", (4, 2), (1, heads, length, width)),
    ]


def _model_linear(sizes: Sizes, name: str) -> list[Operator]:
    """Product of a layer of a language model for one token, on one of `tp` equal GPUs."""
    embed, expanded = sizes["n_embd"], sizes["n_expanded"] // sizes["tp"]
    attended = embed // sizes["tp"]
    shared = 2 * sizes["n_kv_head"] * (embed // sizes["n_head"]) // sizes["tp"]
    features, outputs = {
        "llm.attn_pre_proj": (embed, attended + shared),
        "llm.attn_post_proj": (attended, embed),
        "llm.mlp_up_proj": (embed, (2 if sizes.get("gated", 1) else 1) * expanded),
        "llm.mlp_down_proj": (expanded, embed),
    }[name]
    return _linear(features, outputs)


def _model_activation(sizes: Sizes) -> list[Operator]:
    shape = (1, sizes["n_expanded"] // sizes["tp"])
    wide = Operator("Input", (), shape)
    if not sizes.get("gated", 1):
        return [wide, Operator("Gelu", (0,), shape)]
    return [wide, wide, Operator("Silu", (0,), shape), Operator("Mul", (1, 2), shape)]


def _model_sum(sizes: Sizes) -> list[Operator]:
    narrow = Operator("Input", (), (1, sizes["n_embd"]))
    return [narrow, narrow, Operator("Add", (0, 1), (1, sizes["n_embd"]))]


def _model_norm(sizes: Sizes) -> list[Operator]:
    embed = sizes["n_embd"]
    norm = Operator("RMSNormalization", (0,), (1, embed), other_params=embed)
    return [Operator("Input", (), (1, embed)), norm]


_PROJECTIONS = tuple(
    f"llm.{part}" for part in ("attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj")
)
_MAKERS: dict[str, Callable[[Sizes], list[Operator]]] = {
    **dict.fromkeys(("gemm", "linear"), _product),
    "bmm": _batched_product,
    "conv2d": _conv,
    "attention.prefill": _attention,
    "layernorm": _norm,
    **{name: partial(_model_linear, name=name) for name in _PROJECTIONS},
    "llm.mlp_act": _model_activation,
    "llm.add": _model_sum,
    **dict.fromkeys(("llm.input_layernorm", "llm.post_attention_layernorm"), _model_norm),
}
