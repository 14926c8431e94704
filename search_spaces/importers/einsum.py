"""Einstein sums of two tensors as matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nasplug.search_spaces.importers.network import ImportedNetwork

__all__ = ["add_einsum"]


def add_einsum(
    network: ImportedNetwork,
    equation: str,
    steps: Sequence[int | None],
    shapes: Sequence[Sequence[int]],
    shape: Sequence[int],
) -> int | None:
    """Append the product that an engine runs for an Einstein sum such as `"bhld,bhsd->bhls"`.

    Args:
        network: The network to append to.
        equation: The sum.
        steps: Each operand's step, None for a constant.
        shapes: Each operand's shape.
        shape: Shape of the result.

    Returns:
        Position of the result; None if the sum is no product of two tensors with an axis in common.
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    names = left.split(",")
    if not arrow or len(names) != 2 or len(steps) != 2 or "." in equation:
        return None
    if any(len(set(n)) != len(n) or len(n) != len(s) for n, s in zip(names, shapes, strict=True)):
        return None
    summed = [axis for axis in names[0] if axis in names[1] and axis not in result]
    first, second = (0, 1) if steps[0] is not None else (1, 0)
    source = steps[first]
    if not summed or source is None:
        return None
    outer_axes = [k for k, axis in enumerate(names[first]) if axis not in summed]
    inner_axes = [names[first].index(axis) for axis in summed]
    # The axes that are summed over go last, joined to one axis.
    product = network.add_transpose(source, [*outer_axes, *inner_axes])
    depth = math.prod(shapes[first][k] for k in inner_axes)
    product = network.add("Reshape", (product,), [*(shapes[first][k] for k in outer_axes), depth])
    other = steps[second]
    matrix = (depth, math.prod(shapes[second]) // depth)
    return network.add_product(product, matrix if other is None else other, shape)
