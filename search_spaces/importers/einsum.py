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
    """Append what an engine makes of an Einstein sum: a MatMul, or a Gemm by a constant.

    Args:
        network: Where to append.
        equation: As in `"bhld,bhsd->bhls"`.
        steps: Each operand's step, None for a constant.
        shapes: Each operand's shape.
        shape: The result's.

    Returns:
        The position of the result; None if it is no product of two tensors with an axis in common.
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    names = left.split(",")
    if not arrow or len(names) != 2 or len(steps) != 2 or "." in equation:
        return None
    if any(len(set(n)) != len(n) or len(n) != len(s) for n, s in zip(names, shapes, strict=True)):
        return None
    inner = [axis for axis in names[0] if axis in names[1] and axis not in result]
    first, second = (0, 1) if steps[0] is not None else (1, 0)
    source = steps[first]
    if not inner or source is None:
        return None
    kept = [k for k, axis in enumerate(names[first]) if axis not in inner]
    summed = [names[first].index(axis) for axis in inner]
    # The axes that are summed over go last, as one.
    place = network.add_transpose(source, [*kept, *summed])
    depth = math.prod(shapes[first][k] for k in summed)
    place = network.add("Reshape", (place,), [*(shapes[first][k] for k in kept), depth])
    other = steps[second]
    if other is not None:
        return network.add("MatMul", (place, other), shape)
    rows = math.prod(shapes[second]) // depth
    return network.add("Gemm", (place,), shape, weights=(rows, depth))
