"""Einstein sums as matrix products."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nasplug.search_spaces.importers.network import ImportedNetwork

__all__ = ["add_einsum"]


@dataclass(frozen=True)
class _Operand:
    """Tensor in a sum: its step, None for a constant, and the name and size of each axis."""

    step: int | None
    axes: tuple[str, ...]
    sizes: tuple[int, ...]


def add_einsum(
    network: ImportedNetwork,
    equation: str,
    steps: Sequence[int | None],
    shapes: Sequence[Sequence[int]],
    shape: Sequence[int],
) -> int | None:
    """Append the products that an engine runs for an Einstein sum such as `"bhld,bhsd->bhls"`.

    Two operands are multiplied at a time, from the left. Axes may be named by an ellipsis, and the
    result may be left out: then it has the axes that are named once, by alphabet.

    Args:
        network: The network to append to.
        equation: The sum.
        steps: Each operand's step, None for a constant.
        shapes: Each operand's shape.
        shape: Shape of the result.

    Returns:
        Position of the result; None if the sum does not fit its operands, or reads no step.
    """
    terms, result = _axes(equation.replace(" ", ""), [len(shape) for shape in shapes])
    fits = len(terms) == len(steps) and all(
        len(axes) == len(sizes) for axes, sizes in zip(terms, shapes, strict=False)
    )
    if not fits or all(step is None for step in steps):
        return None
    operands = [
        _Operand(step, axes, tuple(sizes))
        for step, axes, sizes in zip(steps, terms, shapes, strict=True)
    ]
    product = operands[0]
    for k, factor in enumerate(operands[1:], 2):
        later = {*result, *(axis for operand in operands[k:] for axis in operand.axes)}
        left = _summed(network, product, later | set(factor.axes))
        right = _summed(network, factor, later | set(product.axes))
        named = tuple(dict.fromkeys(left.axes + right.axes))
        sizes = _sizes(left, right)
        is_last = k == len(operands)
        axes = result if is_last else tuple(axis for axis in named if axis in later)
        product = _product(
            network, left, right, axes, shape if is_last else [sizes[axis] for axis in axes]
        )
    product = _summed(network, product, set(result))
    if product.step is None:
        return None
    if len(operands) == 1 and product.axes != result:
        perm = [product.axes.index(axis) for axis in result]
        return network.add_transpose(product.step, perm)
    return product.step


def _axes(equation: str, ranks: Sequence[int]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Name the axes of each operand and of the result; those of an ellipsis by their distance."""
    left, arrow, right = equation.partition("->")
    terms = []
    longest = 0
    for term, rank in zip(left.split(","), ranks, strict=False):
        before, dots, after = term.partition("...")
        hidden = max(0, rank - len(before) - len(after)) if dots else 0
        longest = max(longest, hidden)
        terms.append((*before, *_hidden(hidden), *after))
    if not arrow:
        counts = Counter(axis for axis in left if axis.isalpha())
        once = sorted(axis for axis, count in counts.items() if count == 1)
        return terms, (*_hidden(longest), *once)
    before, dots, after = right.partition("...")
    return terms, (*before, *(_hidden(longest) if dots else ()), *after)


def _hidden(count: int) -> list[str]:
    """Names of an ellipsis's axes: the last one is that next to what follows."""
    return [f"...{k}" for k in range(count, 0, -1)]


def _sizes(*operands: _Operand) -> dict[str, int]:
    """Size of each axis; one of 1 is repeated to the other's."""
    sizes: dict[str, int] = {}
    for operand in operands:
        for axis, size in zip(operand.axes, operand.sizes, strict=True):
            sizes[axis] = max(size, sizes.get(axis, 1))
    return sizes


def _summed(network: ImportedNetwork, operand: _Operand, kept: set[str]) -> _Operand:
    """Append the sum over axes that nothing else has, and the diagonal of one that comes twice."""
    sizes = dict(zip(operand.axes, operand.sizes, strict=True))
    if len(sizes) < len(operand.axes):
        operand = _moved(network, operand, "Slice", sizes)
    sizes = {axis: size for axis, size in sizes.items() if axis in kept}
    return (
        operand if len(sizes) == len(operand.axes) else _moved(network, operand, "ReduceSum", sizes)
    )


def _moved(network: ImportedNetwork, operand: _Operand, op: str, sizes: dict[str, int]) -> _Operand:
    """Append an operator that leaves some axes."""
    step = operand.step
    if step is not None:
        step = network.add(op, (step,), list(sizes.values()))
    return _Operand(step, tuple(sizes), tuple(sizes.values()))


def _product(
    network: ImportedNetwork,
    left: _Operand,
    right: _Operand,
    axes: tuple[str, ...],
    shape: Sequence[int],
) -> _Operand:
    """Append the product of two operands, summed over what they share and the result lacks."""
    result = _Operand(None, axes, tuple(shape))
    first, second = (left, right) if left.step is not None else (right, left)
    source, other = first.step, second.step
    if source is None:
        return result
    summed = [axis for axis in left.axes if axis in right.axes and axis not in axes]
    if not summed:
        params = math.prod(second.sizes) if other is None else 0
        terms = (source,) if other is None else (source, other)
        step = network.add("Mul", terms, shape, other_params=params if params > 1 else 0)
        return replace(result, step=step)
    outer = [k for k, axis in enumerate(first.axes) if axis not in summed]
    inner = [first.axes.index(axis) for axis in summed]
    depth = math.prod(first.sizes[k] for k in inner)
    if not depth:
        # Sums of no entries are zeros, whatever is read.
        return result
    # The axes that are summed over go last, joined to one axis.
    turned = network.add_transpose(source, [*outer, *inner])
    turned = network.add("Reshape", (turned,), [*(first.sizes[k] for k in outer), depth])
    matrix = (depth, math.prod(second.sizes) // depth)
    step = network.add_product(turned, matrix if other is None else other, shape)
    return replace(result, step=step)
