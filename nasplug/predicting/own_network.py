"""Reading of a user's own network, and sentences on what was read of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from nasplug.predictors.features.runtimes import (
    EAGER,
    RUNTIMES,
    Way,
    computed_precision,
    is_on_gpu,
)
from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.costs import FLOAT_BYTES
from nasplug.search_spaces.graph import ATTRIBUTES
from nasplug.search_spaces.operators import KNOWN_OPS
from nasplug.text import check_no_torch_file

__all__ = [
    "FOLDING_RUNTIMES",
    "MOST_UNKNOWN",
    "UNKNOWN_FACTOR",
    "answered_batch",
    "batch_note",
    "check_known",
    "held_precision",
    "is_onnx",
    "precision_note",
    "priced",
    "read_network",
    "unknown_note",
    "unknown_operators",
    "widened",
]

# Largest share of a network, by bytes, that operators without a model may stand for.
MOST_UNKNOWN = 0.5
# Times that the share of unknown operators may take, of what its bytes say.
UNKNOWN_FACTOR = 10.0
# Runtimes that compute products of weights once, when they load a network.
FOLDING_RUNTIMES = frozenset(RUNTIMES) - {EAGER, "eager nhwc", "pytorch mobile"}
_WHOLE = frozenset({"int8", "uint8"})
# Element type -> precision of arithmetic on it; others are computed in fp32.
_PRECISIONS = {
    "float16": "fp16",
    "bfloat16": "bf16",
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2"), "fp8"),
    **dict.fromkeys(_WHOLE, "int8"),
}
# Bytes of a number by precision.
_BYTES = {"fp16": 2, "bf16": 2, "fp8": 1, "int8": 1}


def read_network(
    network: Any,
    example: Any = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_values: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    autocast: str | None = None,
    folds: bool = False,
) -> tuple[Graph, int, bool]:
    """Read a user's network; see `nasplug.predict` for the arguments.

    Args:
        folds: Whether the runtime computes once what depends on a PyTorch module's weights alone.

    Returns:
        Its graph, the batch that the file or the example holds, and whether the batch can be
        another one; if not, the graph is that of the whole.

    Raises:
        InputError: If the network cannot be read.
    """
    if isinstance(network, Graph):
        return network, 1, True
    if is_onnx(network):
        if example is not None or autocast is not None:
            raise InputError(
                "example and autocast are for PyTorch modules: an ONNX file has its own types, and "
                "input_shapes gives other sizes"
            )
        from nasplug.search_spaces.importers.onnx_graph import onnx_network

        check_no_torch_file(network)
        read = onnx_network(
            network, input_shapes=input_shapes, input_values=input_values, batch_size=batch_size
        )
        return read.graph, read.batch, read.is_free
    if type(network).__module__.split(".")[0] == "builtins":
        raise InputError(
            f"a {type(network).__name__} is not a network; give the path of an ONNX file, an ONNX "
            "model or a torch.nn.Module"
        )
    if input_shapes or input_values:
        raise InputError(
            "input_shapes and input_values are for ONNX files: the example of a PyTorch module has "
            "its shapes and values"
        )
    if example is None and not hasattr(network, "example_inputs"):
        raise InputError("a PyTorch module needs an example, such as torch.zeros(1, 3, 224, 224)")
    from nasplug.search_spaces.importers.torch_graph import torch_network

    read = torch_network(network, example, autocast=autocast, folds=folds)
    return read.graph, read.batch, read.is_free


def is_onnx(network: Any) -> bool:
    """Whether a network is the path of an ONNX file, or an ONNX model; does not load onnx."""
    return isinstance(network, (str, os.PathLike)) or type(network).__name__ == "ModelProto"


def answered_batch(asked: int | None, held: int, is_free: bool, is_file: bool = True) -> int:
    """Batch of an answer: as asked, else as the file or the example says.

    Args:
        asked: Batch that was asked; None for none.
        held: Batch that the file or the example holds.
        is_free: Whether the batch can be another one.
        is_file: Whether the network is an ONNX file, not a module.

    Raises:
        InputError: If the batch can be no other one, and another one is asked.
    """
    if not is_free and asked not in (None, held):
        advice = f"give an example of {asked}, or a program exported with dynamic_shapes"
        if is_file:
            advice = (
                "export it with an open first axis (dynamic_axes or dynamic_shapes of "
                f"torch.onnx.export), or give inputs of {asked} with --input-shape or input_shapes"
            )
        raise InputError(
            f"the network is fixed to a batch of {held}, since it does not treat the entries on "
            "the first axis of its inputs independently or has their number written down; for a "
            f"batch of {asked} {advice}"
        )
    return held if asked is None else asked


def batch_note(held: int, answered: int, is_free: bool, source: str) -> str | None:
    """Sentence on the batch of an answer where it is not simply that of the file or the example.

    Args:
        held: Batch that the file or the example holds.
        answered: Batch of the answer.
        is_free: Whether the batch can be another one.
        source: What holds the batch, such as `"the example"`.
    """
    if not is_free:
        axis = f"its first axis of {held} is no batch" if held > 1 else "its inputs have no batch"
        return (
            f"the network is read as one sample, since {axis} that could be another one: FLOPs and "
            "latency are those of the whole"
        )
    if held in (1, answered):
        return None
    return f"{source} holds {held} images; the prediction is for batch {answered}, as requested"


def unknown_operators(graph: Graph) -> dict[str, float]:
    """Operators that are not modelled, with their share of the network's bytes, largest first."""
    moved = graph.attribute("bytes")
    total = float(moved.sum()) or 1.0
    shares: dict[str, float] = {}
    for op, count in zip(graph.ops, moved.tolist(), strict=True):
        if op not in KNOWN_OPS:
            shares[op] = shares.get(op, 0.0) + count / total
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def check_known(graph: Graph, is_file: bool) -> None:
    """Refuse a network of which most is unknown, or that has no operator.

    Raises:
        InputError: If operators that are not modelled move more than `MOST_UNKNOWN` of its bytes,
            or if it returns its inputs.
    """
    if {"Input", "Output"}.issuperset(graph.ops):
        raise InputError("the network has no operator that takes time: it returns its inputs")
    unknown = unknown_operators(graph)
    share = sum(unknown.values())
    if share > MOST_UNKNOWN:
        advice = "export it with ONNX's own operators" if is_file else "read its other parts alone"
        raise InputError(
            f"{share:.0%} of the network, by the bytes that operators move, are operators that are "
            f"not modelled ({_shares(unknown)}); {advice}"
        )


def widened(lower: float, upper: float, unknown: Mapping[str, float]) -> tuple[float, float]:
    """Interval of a latency with room for operators that are not modelled.

    Their share of the latency may be as small as 0, and `UNKNOWN_FACTOR` times as large.
    """
    share = sum(unknown.values())
    return lower * (1 - share), upper * (1 + (UNKNOWN_FACTOR - 1) * share)


def unknown_note(unknown: Mapping[str, float]) -> str | None:
    """Sentence on operators that are not modelled; None if there are none."""
    if not unknown:
        return None
    return (
        f"operators that are not modelled are priced by the data they move: {_shares(unknown)}; "
        f"the interval lets this share take 0 to {UNKNOWN_FACTOR:g} times as long"
    )


def _shares(unknown: Mapping[str, float]) -> str:
    named = [f"{op[:80]} {share:.1%} of the bytes" for op, share in list(unknown.items())[:10]]
    more = len(unknown) - len(named)
    return ", ".join(named) + (f" and {more} others" if more else "")


def held_precision(graph: Graph) -> str:
    """Precision in which a network computes by its element types, weighted by its operations.

    It is `"int8"` for quantised weights and activations, `"fp16"` or `"bf16"` for half precision,
    and otherwise `"fp32"`, as where weights alone are quantised.
    """
    if not graph.types and not graph.weight_types:
        return "fp32"
    types = graph.types or ("float32",) * len(graph)
    weights = graph.weight_types or ("",) * len(graph)
    read: list[set[str]] = [set() for _ in types]
    for source, target in graph.edges:
        read[target].add(types[source])
    shares: dict[str, float] = {}
    for own, weight, others, macs in zip(
        types, weights, read, graph.attribute("flops").tolist(), strict=True
    ):
        is_whole = (weight in _WHOLE | {"", "int4"}) and bool((others | {own}) & _WHOLE)
        precision = "int8" if is_whole else _PRECISIONS.get(own, "fp32")
        # A float result of an integer product, and a product of floats by stored integers.
        precision = "fp32" if own in _WHOLE and not is_whole else precision
        shares[precision] = shares.get(precision, 0.0) + macs
    return max(shares, key=lambda name: shares[name])


def priced(graph: Graph) -> Graph:
    """The graph as predictors price it: with the bytes that it would have in float32."""
    executed, scale = graph.executed, FLOAT_BYTES / _BYTES.get(held_precision(graph), FLOAT_BYTES)
    if scale == 1:
        return executed
    attributes = executed.attributes.copy()
    for name in ("params", "bytes"):
        attributes[:, ATTRIBUTES.index(name)] *= scale
    return Graph(executed.ops, executed.edges, attributes)


def precision_note(held: str, hardware: Hardware, way: Way) -> str | None:
    """Sentence on the precision in which a runtime computes a network.

    Args:
        held: `held_precision` of the network.
        hardware: The device.
        way: How the network is run.
    """
    asked = way.precision or "fp32"
    computed = computed_precision(hardware, way)
    sentences = []
    if held != "fp32" or asked != held:
        sentences.append(
            f"the network's tensors are in {held}, and it is predicted as computed in {asked}"
        )
    if asked in ("int4", "w8a16") and is_on_gpu(hardware, way):
        bits = 4 if asked == "int4" else 8
        sentences.append(f"{asked} means weights of {bits} bits and arithmetic in fp16")
    if computed != asked:
        # Others of the device's processors may compute in more precisions.
        part = f"the {way.unit.upper()} of {hardware.name}" if way.unit == "npu" else hardware.name
        sentences.append(f"{part} computes floats in {computed}")
    elif asked == "fp32" and is_on_gpu(hardware, way) and "tf32" in hardware.peak_tflops:
        engine = way.runtime in FOLDING_RUNTIMES - {"ncnn vulkan"}
        what = "convolutions and products" if engine else "convolutions"
        sentences.append(f"{what} in fp32 run in TF32 on {hardware.name}, as is usual there")
    return "; ".join(sentences) or None
