"""Networks while they are imported: the steps of a user's model, before they are a `Graph`.

The reader of ONNX files and the reader of PyTorch modules both write a list of `Step`s. A step is
an `Operator` whose shape is still the framework's own; it holds the few numbers by which a
decomposed operator is recognised (nasplug.search_spaces.importers.patterns).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.loops import Loop, trips_together
from nasplug.search_spaces.importers.steps import MAX_ELEMENTS, Step
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph

__all__ = ["ImportedNetwork"]

MAX_NODES = 5_000
# Trips of a long loop that a node may stand for.
MAX_TOGETHER = 64

_WINDOWS = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"})


class ImportedNetwork:
    """Steps of one model, in an order in which each step reads only earlier ones.

    Attributes:
        name: Name of the model in error messages.
        steps: The steps so far.
        type: Element type of the steps that `add` appends, where it is given none.
        loops: Loops of the model that were unrolled.
        folds: Whether what depends on weights alone is computed once, by a compiler.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: list[Step] = []
        self.type = "float32"
        self.loops: list[Loop] = []
        self.folds = True

    def add(self, op: str, inputs: Sequence[int], shape: Sequence[int], **fields: Any) -> int:
        """Append a step and return its position.

        Raises:
            InputError: If a size is negative, or no device could hold the tensor.
        """
        sizes = tuple(int(size) for size in shape)
        if any(size < 0 for size in sizes) or math.prod(sizes) > MAX_ELEMENTS:
            raise InputError(
                f"{self.name}: the output of a {op} has shape {list(sizes)}; expected positive "
                "sizes and a tensor that fits a device"
            )
        fields.setdefault("type", self.type)
        self.steps.append(Step(op, tuple(inputs), sizes, **fields))
        return len(self.steps) - 1

    def shape(self, step: int) -> tuple[int, ...]:
        """Output shape of a step."""
        return self.steps[step].shape

    def make_view(self, step: int) -> None:
        """Let a step that moves data only name its axes in another order."""
        self.steps[step] = self.steps[step].becomes("Reshape")

    def add_conv(
        self,
        op: str,
        image: int,
        weight: int | Sequence[int],
        shape: Sequence[int],
        *,
        bias: bool,
        stride: Sequence[int],
        groups: int,
    ) -> int:
        """Append a convolution by the weight of a step, or by a constant one of the given shape."""
        computed = isinstance(weight, int)
        weights = self.shape(weight) if isinstance(weight, int) else tuple(weight)
        return self.add(
            op,
            (image, weight) if isinstance(weight, int) else (image,),
            shape,
            weights=weights,
            bias=bias,
            kernel=weights[2:],
            stride=tuple(stride),
            groups=groups,
            # A computed weight sets the FLOPs, but is no parameter.
            other_params=-math.prod(weights) if computed else 0,
        )

    def add_product(
        self,
        left: int | Sequence[int],
        right: int | Sequence[int],
        shape: Sequence[int],
        bias: bool = False,
    ) -> int:
        """Append a product of matrices: a MatMul of two steps, or a Gemm by a constant.

        Args:
            left: Step of a tensor `(…, n, k)`, or the shape of a constant one.
            right: Step of a tensor `(…, k, m)`, or the shape of a constant one.
            shape: Shape of the product.
            bias: Whether a constant vector is added; for a Gemm alone.
        """
        if isinstance(left, int) and isinstance(right, int):
            return self.add("MatMul", (left, right), shape)
        if isinstance(left, int):
            assert not isinstance(right, int)
            source, matrix = left, list(right)
            matrix[-2:] = matrix[-2:][::-1]
        else:
            assert isinstance(right, int)
            source, matrix = right, list(left)
        weights = (math.prod(matrix[:-1]), matrix[-1])
        return self.add("Gemm", (source,), shape, weights=weights, bias=bias)

    def add_transpose(self, source: int, perm: Sequence[int]) -> int:
        """Append a Transpose; `perm` gives the input axis of each output axis.

        Raises:
            InputError: If `perm` is no permutation of the axes.
        """
        shape = self.shape(source)
        if sorted(perm) != list(range(len(shape))):
            raise InputError(
                f"{self.name}: a Transpose by {list(perm)} of a tensor of shape {list(shape)}; "
                "expected each axis once"
            )
        long_axes = [axis for axis, size in enumerate(shape) if size > 1]
        order = tuple(long_axes.index(axis) for axis in perm if shape[axis] > 1)
        return self.add("Transpose", (source,), [shape[axis] for axis in perm], order=order)

    def add_attention(
        self, query: int, key: int, value: int, mask: int | None = None, mask_params: int = 0
    ) -> int:
        """Append softmax(q·kᵀ + mask)·v as MatMul, Add, Softmax, MatMul, without the scale.

        Args:
            query: Step of shape `(…, heads, L, D)`.
            key: Step of shape `(…, heads, S, D)`.
            value: Step of shape `(…, heads, S, E)`.
            mask: Step of a computed mask.
            mask_params: Elements of a constant mask; 0 without one.
        """
        rank = len(self.shape(key))
        transposed = self.add_transpose(key, [*range(rank - 2), rank - 1, rank - 2])
        shape = (*self.shape(query)[:-1], self.shape(key)[-2])
        scores = self.add("MatMul", (query, transposed), shape)
        if mask is not None or mask_params:
            terms = (scores,) if mask is None else (scores, mask)
            scores = self.add("Add", terms, shape, other_params=mask_params)
        weights = self.add("Softmax", (scores,), shape)
        return self.add("MatMul", (weights, value), (*shape[:-1], self.shape(value)[-1]))

    def graph(self, outputs: Sequence[int]) -> Graph:
        """Convert the steps to a graph in canonical form.

        Raises:
            InputError: If the network has more than `MAX_NODES` nodes though trips of its loops
                are put together, or no output.
        """
        from nasplug.search_spaces.importers.patterns import recognised
        from nasplug.search_spaces.importers.quantised import joined_quantisation

        def simplified(steps: Sequence[Step]) -> tuple[list[Step], list[int]]:
            full, results = _without_empty(steps, outputs)
            if not results:
                raise InputError(
                    f"{self.name} has no output of any elements that depends on an input"
                )
            return joined_quantisation(*recognised(full, results))

        steps, ends = simplified(self.steps)
        together = 1
        while len(steps) > MAX_NODES and together < MAX_TOGETHER and self.loops:
            together *= 2
            steps, ends = simplified(trips_together(self.steps, self.loops, together))
        if len(steps) > MAX_NODES:
            longest = max(self.loops, key=lambda loop: len(loop.trips), default=None)
            where = "" if longest is None else f", with {longest.text}"
            raise InputError(
                f"{self.name} has {len(steps):,} operators after simplification{where}; at most "
                f"{MAX_NODES:,} are read: read its parts as networks of their own"
            )
        return network_graph([_operator(step) for step in steps], ends)


def _without_empty(
    steps: Sequence[Step], outputs: Sequence[int]
) -> tuple[list[Step], Sequence[int]]:
    """Leave out tensors of no elements, which cost nothing, and what depends on them alone."""
    if all(0 not in step.shape for step in steps):
        return list(steps), outputs
    empty: list[bool] = []
    full: list[Step] = []
    for step in steps:
        inputs = tuple(source for source in step.inputs if not empty[source])
        empty.append(0 in step.shape or (bool(step.inputs) and not inputs))
        # Nothing reads an empty step, which goes with the others that no output needs.
        full.append(Step("Input", (), (1,)) if empty[-1] else replace(step, inputs=inputs))
    return full, [k for k in outputs if not empty[k]]


def _operator(step: Step) -> Operator:
    """The step on one image, with two sides of its window."""
    shape = _one_image(step.op, step.shape)
    kernel, stride = _sides(step.kernel, 0), _sides(step.stride, 1)
    if (shape, kernel, stride) == (step.shape, step.kernel, step.stride):
        return step
    return replace(step, shape=shape, kernel=kernel, stride=stride)


def _sides(sizes: tuple[int, ...], default: int) -> tuple[int, int]:
    """Reduce a window over one, two or three axes to two sides."""
    return (sizes[0], max(sizes[1:], default=1)) if sizes else (default, default)


def _one_image(op: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Change a shape to first axis 1; a first axis that is no batch counts as further rows.

    Tokens `(L, C)`, sequence-first `(L, 1, C)` and windows of attention `(windows, L, C)` are all a
    sequence `(1, rows, C)`.
    """
    if not shape:
        return (1,)
    first = shape[0]
    if first == 1:
        return shape
    if len(shape) <= 2:
        return (1, *shape)
    if len(shape) == 3 and op in _WINDOWS:
        return (1, shape[1], first * shape[2])
    if len(shape) == 3:
        return (1, first * shape[1], shape[2])
    return (1, shape[1], first * shape[2], *shape[3:])
