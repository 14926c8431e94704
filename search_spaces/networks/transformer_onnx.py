"""Writer of the parts that ONNX models of transformers share: norms, linear layers, attention."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = ["TransformerWriter"]


class TransformerWriter:
    """Collector of the nodes, weights, inputs and outputs of one model.

    Weights are normal with a variance of one over the inputs, biases zero, norms the identity.

    Args:
        seed: Seed of the weights.
        batch_size: Items a forward pass.
        tokens: Tokens that each item has inside of the network.
        head_size: Numbers of a head.
    """

    # PyTorch's default of a LayerNorm.
    epsilon = 1e-5

    def __init__(self, seed: int, batch_size: int, tokens: int, head_size: int) -> None:
        self.batch, self.tokens, self.head_size = batch_size, tokens, head_size
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def node(self, op: str, *sources: str, target: str = "", outputs: int = 1, **how: Any) -> str:
        """Append a node; its outputs are numbered if there are several. Returns its name."""
        from onnx import helper

        name = target or f"x{len(self.nodes)}"
        targets = [name] if outputs == 1 else [f"{name}.{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(sources), targets, name=name, **how))
        return name

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Name a constant; one of a name that is there already is not written again."""
        from onnx import numpy_helper

        if name not in self.initializers:
            typed = values if values.dtype == np.int64 else values.astype(np.float32)
            self.initializers[name] = numpy_helper.from_array(typed, name)
        return name

    def integers(self, *values: int) -> str:
        """Name a constant of whole numbers, such as a shape."""
        return self.constant("sizes_" + "_".join(map(str, values)), np.array(values, np.int64))

    def described(self, name: str, shape: tuple[int, ...], is_whole: bool = False) -> Any:
        """Describe an input or output of the model."""
        from onnx import TensorProto, helper

        kind = TensorProto.INT64 if is_whole else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, [self.batch, *shape])

    def norm(self, x: str, name: str, features: int) -> str:
        """Append a LayerNorm."""
        scale = self.constant(f"{name}_scale", np.ones(features))
        shift = self.constant(f"{name}_shift", np.zeros(features))
        return self.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=self.epsilon)

    def linear(
        self, x: str, features: int, outputs: int, name: str, has_bias: bool, target: str = ""
    ) -> str:
        """Append a linear layer on the last axis."""
        weight = self.rng.standard_normal((features, outputs), dtype=np.float32)
        weight *= np.float32(1 / math.sqrt(features))
        weight_name = self.constant(f"{name}_weight", weight)
        x = self.node("MatMul", x, weight_name, target="" if has_bias else target)
        if has_bias:
            bias = self.constant(f"{name}_bias", np.zeros(outputs))
            x = self.node("Add", x, bias, target=target)
        return x

    def split(self, x: str, *sizes: int) -> list[str]:
        """Split the last axis."""
        name = self.node("Split", x, self.integers(*sizes), outputs=len(sizes), axis=-1)
        return [f"{name}.{k}" for k in range(len(sizes))]

    def heads_first(self, x: str, heads: int) -> str:
        """View features as heads: `(batch, heads, tokens, head size)`."""
        sizes = (self.batch, self.tokens, heads, self.head_size)
        return self.node(
            "Transpose", self.node("Reshape", x, self.integers(*sizes)), perm=[0, 2, 1, 3]
        )

    def joined(self, x: str, heads: int) -> str:
        """View heads as features again: `(batch, tokens, heads · head size)`."""
        x = self.node("Transpose", x, perm=[0, 2, 1, 3])
        return self.node(
            "Reshape", x, self.integers(self.batch, self.tokens, heads * self.head_size)
        )

    def scaled(self, query: str) -> str:
        """Divide queries by the root of a head's size."""
        return self.node("Mul", query, self.constant("scale", np.array(self.head_size**-0.5)))

    def gelu(self, x: str) -> str:
        """Append a GELU, which ONNX has from opset 20 on alone."""
        root = self.constant("root", np.array(math.sqrt(0.5)))
        erf = self.node("Erf", self.node("Mul", x, root))
        one = self.node("Add", erf, self.constant("one", np.array(1.0)))
        half = self.node("Mul", x, self.constant("half", np.array(0.5)))
        return self.node("Mul", half, one)
