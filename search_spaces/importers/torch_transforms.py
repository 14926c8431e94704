"""Steps of PyTorch's Fourier transforms, factorisations of matrices, and distances."""

from __future__ import annotations

import math
from collections.abc import Callable

from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.torch_call import Call, Computed, Shape, Weight
from nasplug.search_spaces.importers.torch_products import unknown
from nasplug.search_spaces.importers.transforms import add_dft, add_factorisation

__all__ = ["bilinear", "distances", "euclidean_distances", "factorisation", "fourier"]


def fourier(network: ImportedNetwork, call: Call) -> int:
    """Append a Fourier transform of complex numbers, or from or to real ones."""
    source = call.source()
    # Real numbers are as many as the transform is long.
    whole = call.shape if call.name == "_fft_c2r" else network.shape(source)
    lengths = [whole[axis] for axis in call.argument(1, [])]
    return add_dft(network, source, call.shape, lengths, call.name != "_fft_c2r")


def factorisation(op: str) -> Callable[[ImportedNetwork, Call], int]:
    """Make a handler for an operator on square matrices."""

    def handler(network: ImportedNetwork, call: Call) -> int:
        if call.step(0) is None:
            return unknown(network, call)
        return add_factorisation(network, op, call.data, call.shape)

    return handler


def _shape(network: ImportedNetwork, operand: Computed | Weight) -> Shape:
    return network.shape(operand.step) if isinstance(operand, Computed) else operand.shape


def euclidean_distances(network: ImportedNetwork, call: Call) -> int:
    """Append the root of |x|² − 2·x·y + |y|², as one product of lengthened rows."""
    operands = call.arguments[:2]
    factors: list[int | Shape] = []
    for k, operand in enumerate(operands):
        shape = _shape(network, operand)
        longer = (*shape[:-1], shape[-1] + 2)
        if isinstance(operand, Weight):
            factors.append(longer)
            continue
        row = operand.step
        square = network.add("Pow", (row,), shape, number=(2.0,))
        norm = network.add("ReduceSum", (square,), (*shape[:-1], 1))
        if k == 0:
            row = network.add("Mul", (row,), shape, number=(-2.0,))
        factors.append(network.add("Concat", (row, norm), longer, other_params=shape[-2]))
    left, right = factors
    if isinstance(right, int):
        rank = len(network.shape(right))
        turned: int | Shape = network.add_transpose(right, [*range(rank - 2), rank - 1, rank - 2])
    else:
        turned = (*right[:-2], right[-1], right[-2])
    product = network.add_product(left, turned, call.shape)
    positive = network.add("Clip", (product,), call.shape, number=(0.0, math.nan))
    return network.add("Sqrt", (positive,), call.shape)


def distances(network: ImportedNetwork, call: Call) -> int:
    """Append the distances of all rows of one matrix to those of another."""
    power = call.argument(2, 2.0)
    if power == 2:
        return euclidean_distances(network, call)
    one, other = (_shape(network, operand) for operand in call.arguments[:2])
    shape = (*call.shape, one[-1])
    rows = []
    for operand, each in zip(
        call.arguments[:2],
        ((*one[:-1], 1, one[-1]), (*other[:-2], 1, *other[-2:])),
        strict=True,
    ):
        if isinstance(operand, Computed):
            rows.append(network.add("Reshape", (operand.step,), each))
    difference = network.add("Sub", rows, shape, other_params=call.params())
    raised = network.add("Pow", (difference,), shape, number=(float(power),))
    total = network.add("ReduceSum", (raised,), call.shape)
    return network.add("Pow", (total,), call.shape, number=(1 / power if power else math.nan,))


def bilinear(network: ImportedNetwork, call: Call) -> int:
    """Append x·W·y for each output: a product by all matrices, and one with the other operand."""
    weight, left, right = call.weight(1), call.step(0), call.step(2)
    if weight is None or left is None or right is None or len(weight.shape) != 3:
        return unknown(network, call)
    outputs, _, features = weight.shape
    rows = call.shape[:-1]
    products = network.add_product(
        left, (weight.shape[1], outputs * features), (*rows, outputs * features)
    )
    apart = network.add("Reshape", (products,), (*rows, outputs, features))
    column = network.add("Reshape", (right,), (*rows, features, 1))
    product = network.add("MatMul", (apart, column), (*rows, outputs, 1))
    return network.add("Reshape", (product,), call.shape)
