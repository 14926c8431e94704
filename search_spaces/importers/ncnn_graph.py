"""Reader of ncnn's `.param` files: text that lists the layers of a network."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.ncnn_layers import (
    Layer,
    Shape,
    following_shape,
    stated_shapes,
)
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph

__all__ = ["ncnn_graph"]

MAX_BYTES = 4_000_000
_MAGIC = "7767517"
_ACTIVATIONS = {1: "Relu", 2: "LeakyRelu", 3: "Clip", 4: "Sigmoid", 5: "Mish", 6: "HardSwish"}
# Layer -> the operator that it is, whatever its parameters.
_PLAIN = {
    "ReLU": "Relu",
    "Swish": "Silu",
    "HardSwish": "HardSwish",
    "HardSigmoid": "HardSigmoid",
    "Sigmoid": "Sigmoid",
    "TanH": "Tanh",
    "GELU": "Gelu",
    "Mish": "Mish",
    "Clip": "Clip",
    "Softmax": "Softmax",
    "LRN": "LRN",
    "Concat": "Concat",
    "Slice": "Slice",
    "Crop": "Slice",
    "Permute": "Transpose",
    # Channels are moved within the tensor.
    "ShuffleChannel": "Transpose",
    "Flatten": "Reshape",
    "Reshape": "Reshape",
    "Padding": "Pad",
    "Interp": "Resize",
    "Reduction": "ReduceMean",
    "Dropout": "Dropout",
}
_BINARY = {0: "Add", 1: "Sub", 2: "Mul", 3: "Div", 4: "Max", 5: "Min", 6: "Pow"}
_ELTWISE = {0: "Mul", 1: "Add", 2: "Max"}
_PARAMETER = re.compile(r"(-?\d+)=(\S+)")


def ncnn_graph(path: str | os.PathLike[str], input_shape: Sequence[int] | None = None) -> Graph:
    """Read the network of an ncnn `.param` file as a graph in canonical form.

    Weights are not needed: the file says how many there are. Layers with int8 scales have weights
    of that type. A layer of an unknown type is priced by the data it moves.

    Args:
        path: The file; its layers need the sizes of their outputs, as ncnn's tools write them, or
            sizes that follow from those before.
        input_shape: Channels, height and width of an image, where the file leaves them open.

    Raises:
        InputError: If the file cannot be read, is none of ncnn's, or does not tell a size.

    Example:
        >>> from nasplug.search_spaces.importers.ncnn_graph import ncnn_graph
        >>> ncnn_graph("missing.param")
        Traceback (most recent call last):
        ...
        nasplug.search_spaces.errors.InputError: missing.param: cannot be read (No such file ...
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{file}: larger than {MAX_BYTES // 1_000_000} MB, which no network is")
    network = _Network(file, None if input_shape is None else (1, *input_shape))
    for number, line in enumerate(_lines(file, content), start=3):
        layer = _layer(file, number, line)
        try:
            network.add(layer)
        except (KeyError, ValueError, IndexError, ZeroDivisionError, OverflowError) as error:
            raise InputError(
                f"{file}: line {number}: the layer {layer.name[:40]!r} of type "
                f"{layer.type[:40]!r} cannot be read ({type(error).__name__}: {str(error)[:60]})"
            ) from error
    return network.graph()


def _lines(file: Path, content: bytes) -> list[str]:
    """The lines of layers.

    Raises:
        InputError: If the file does not begin as ncnn's do, or has another number of layers.
    """
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: no text, and so no .param file of ncnn") from error
    if lines[0].strip() != _MAGIC or len(lines) < 3:
        raise InputError(f"{file}: no .param file of ncnn, whose first line is {_MAGIC}")
    layers = [line for line in lines[2:] if line.strip()]
    count = lines[1].split()[0] if lines[1].split() else ""
    # ncnn leaves unread what follows the number of layers that the file names.
    if not count.isdecimal() or not 0 < int(count) <= len(layers):
        raise InputError(f"{file}: has {len(layers)} layers, and names {count[:20]!r} of them")
    return layers[: int(count)]


def _layer(file: Path, number: int, line: str) -> Layer:
    words = line.split()
    try:
        inputs, outputs = int(words[2]), int(words[3])
        names = words[4 : 4 + inputs + outputs]
        if len(names) != inputs + outputs or inputs < 0 or outputs < 0:
            raise ValueError
    except (IndexError, ValueError):
        raise InputError(f"{file}: line {number} is no layer: {line[:60]!r}") from None
    pairs = _PARAMETER.findall(" ".join(words[4 + len(names) :]))
    return Layer(
        words[0],
        words[1],
        tuple(names[:inputs]),
        tuple(names[inputs:]),
        {int(key): value for key, value in pairs},
    )


class _Network:
    """Network under construction: operators, and which of them writes each blob."""

    def __init__(self, file: Path, input_shape: Shape | None = None) -> None:
        self.file, self.input_shape = file, input_shape
        self.operators: list[Operator] = []
        # None for a constant, which is no operator.
        self.blobs: dict[str, int | None] = {}
        self.constants: dict[str, Shape] = {}
        self.read: set[str] = set()

    def add(self, layer: Layer) -> None:
        """Add the operators of a layer.

        Raises:
            KeyError: If it reads a blob that no layer before it wrote.
            ValueError: If a size cannot be told.
        """
        self.read.update(layer.inputs)
        if layer.type in ("Split", "Noop"):
            for output in layer.outputs:
                self.blobs[output] = self.blobs[layer.inputs[0]]
            return
        shapes = stated_shapes(layer) or self._follows(layer)
        if layer.type in ("MemoryData", "PriorBox"):
            # Constants, which nothing computes while the network runs.
            self.blobs.update(dict.fromkeys(layer.outputs))
            self.constants.update(zip(layer.outputs, shapes, strict=True))
            return
        for output, shape in zip(layer.outputs, shapes, strict=True):
            step = _ADDERS.get(layer.type, _Network._plain)(self, layer, shape)
            self.blobs[output] = step

    def graph(self) -> Graph:
        """The graph of what was read; its outputs are the blobs that no layer reads."""
        ends = {step for blob, step in self.blobs.items() if blob not in self.read}
        outputs = sorted(step for step in ends if step is not None)
        if not outputs:
            raise InputError(f"{self.file}: has no layers")
        return network_graph(self.operators, outputs)

    def _append(self, operator: Operator) -> int:
        self.operators.append(operator)
        return len(self.operators) - 1

    def _inputs(self, layer: Layer) -> tuple[int, ...]:
        steps = (self.blobs[blob] for blob in layer.inputs)
        return tuple(step for step in steps if step is not None)

    def _follows(self, layer: Layer) -> list[Shape]:
        """Shapes of a layer's outputs from those of its inputs, where the file names none.

        Raises:
            ValueError: If they do not follow.
        """
        if layer.type == "Input" and self.input_shape is not None:
            return [self.input_shape]
        shapes = []
        for blob in layer.inputs:
            step = self.blobs[blob]
            shapes.append(self.constants[blob] if step is None else self.operators[step].shape)
        return [following_shape(layer, shapes)] * len(layer.outputs)

    def _activated(self, layer: Layer, step: int, key: int) -> int:
        """Add the activation that a layer has within."""
        name = _ACTIVATIONS.get(layer.number(key))
        if name is None:
            return step
        return self._append(Operator(name, (step,), self.operators[step].shape))

    def _input(self, layer: Layer, shape: Shape) -> int:
        return self._append(Operator("Input", (), shape))

    def _conv(self, layer: Layer, shape: Shape) -> int:
        (source,) = self._inputs(layer)
        groups = layer.number(7, 1)
        width = layer.number(1)
        kernel = (layer.number(11, width), width)
        step = layer.number(3, 1)
        stride = (layer.number(13, step), step)
        outputs = layer.number(0)
        per_group = layer.number(6) // (outputs * kernel[0] * kernel[1])
        is_transposed = layer.type.startswith("Deconvolution")
        first = (outputs, per_group)
        if is_transposed:
            first = (self.operators[source].shape[1], outputs // groups)
        conv = Operator(
            "ConvTranspose" if is_transposed else "Conv",
            (source,),
            shape,
            weights=(*first, *kernel),
            bias=bool(layer.number(5)),
            kernel=kernel,
            stride=stride,
            groups=groups,
            weight_type="int8" if layer.number(8) else "",
        )
        return self._activated(layer, self._append(conv), 9)

    def _linear(self, layer: Layer, shape: Shape) -> int:
        (source,) = self._inputs(layer)
        outputs = layer.number(0)
        features = layer.number(2) // outputs
        read = self.operators[source].shape
        if len(read) > 2 and read[-1] != features:
            source = self._append(Operator("Reshape", (source,), (1, features)))
        linear = Operator(
            "Gemm",
            (source,),
            (1, outputs) if len(read) != 3 or read[-1] != features else (1, read[1], outputs),
            weights=(outputs, features),
            bias=bool(layer.number(1)),
            weight_type="int8" if layer.number(8) else "",
        )
        return self._activated(layer, self._append(linear), 9)

    def _gemm(self, layer: Layer, shape: Shape) -> int:
        (source,) = self._inputs(layer)
        outputs, features = layer.number(8), layer.number(9)
        rows = self.operators[source].shape[:-1]
        return self._append(
            Operator("Gemm", (source,), (*rows, outputs), weights=(outputs, features), bias=True)
        )

    def _pool(self, layer: Layer, shape: Shape) -> int:
        (source,) = self._inputs(layer)
        is_average = layer.number(0) == 1
        if layer.number(4):
            channels = self.operators[source].shape[1]
            name = "GlobalAveragePool" if is_average else "GlobalMaxPool"
            return self._append(Operator(name, (source,), (1, channels, 1, 1)))
        width, step = layer.number(1), layer.number(2, 1)
        kernel, stride = (layer.number(11, width), width), (layer.number(12, step), step)
        name = "AveragePool" if is_average else "MaxPool"
        return self._append(Operator(name, (source,), shape, kernel=kernel, stride=stride))

    def _combined(self, layer: Layer, shape: Shape) -> int:
        """A sum, a product or another function of tensors, or of one and a number."""
        names = _ELTWISE if layer.type == "Eltwise" else _BINARY
        inputs = self._inputs(layer)
        constants = len(layer.inputs) - len(inputs)
        params = max(self.operators[inputs[0]].shape[-1], 1) if constants else 0
        return self._append(Operator(names[layer.number(0)], inputs, shape, other_params=params))

    def _norm(self, layer: Layer, shape: Shape) -> int:
        name = "LayerNormalization" if layer.type == "LayerNorm" else "BatchNormalization"
        return self._append(
            Operator(name, self._inputs(layer), shape, other_params=2 * layer.number(0))
        )

    def _attention(self, layer: Layer, shape: Shape) -> int:
        """Attention of several heads with its four products by weights."""
        query, key, value = self._inputs(layer)
        embed, heads = layer.number(0), layer.number(1)
        length = self.operators[query].shape[1]
        split = (1, heads, length, embed // heads)
        parts = []
        for source in (query, key, value):
            linear = Operator(
                "Gemm", (source,), (1, length, embed), weights=(embed, embed), bias=True
            )
            joined = self._append(linear)
            parts.append(self._append(Operator("Transpose", (joined,), split)))
        scored = (1, heads, length, length)
        scores = self._append(Operator("MatMul", (parts[0], parts[1]), scored))
        weights = self._append(Operator("Softmax", (scores,), scored))
        mixed = self._append(Operator("MatMul", (weights, parts[2]), split))
        joined = self._append(Operator("Transpose", (mixed,), (1, length, embed)))
        return self._append(
            Operator("Gemm", (joined,), (1, length, embed), weights=(embed, embed), bias=True)
        )

    def _plain(self, layer: Layer, shape: Shape) -> int:
        name = _PLAIN.get(layer.type, layer.type)
        if layer.type == "ReLU" and float(layer.parameters.get(0, 0)):
            name = "LeakyRelu"
        return self._append(Operator(name, self._inputs(layer), shape))


_Adder = Callable[[_Network, Layer, Shape], int]
_ADDERS: dict[str, _Adder] = {
    "Input": _Network._input,
    "Convolution": _Network._conv,
    "ConvolutionDepthWise": _Network._conv,
    "Deconvolution": _Network._conv,
    "DeconvolutionDepthWise": _Network._conv,
    "InnerProduct": _Network._linear,
    "Gemm": _Network._gemm,
    "Pooling": _Network._pool,
    "Eltwise": _Network._combined,
    "BinaryOp": _Network._combined,
    "LayerNorm": _Network._norm,
    "BatchNorm": _Network._norm,
    "MultiHeadAttention": _Network._attention,
}
