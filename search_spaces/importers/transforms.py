"""Fourier transforms and factorisations of matrices, as steps that cost multiply-accumulates.

None of them has weights: what a number of the output costs is kept in the place of a weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nasplug.search_spaces.importers.network import ImportedNetwork

__all__ = ["add_costly", "add_dft", "add_factorisation"]


def add_costly(
    network: ImportedNetwork, op: str, inputs: Sequence[int], shape: Sequence[int], each: int
) -> int:
    """Append a step without weights of so many multiply-accumulates a number of its output."""
    return network.add(op, inputs, shape, weights=(1, each), other_params=-each)


def add_dft(
    network: ImportedNetwork,
    source: int,
    shape: Sequence[int],
    lengths: Sequence[int],
    is_complex: bool = False,
) -> int:
    """Append a discrete Fourier transform along axes of some lengths.

    A fast transform of n complex numbers has n/2·log2(n) products of complex numbers, each of them
    four products: log2(n) for each real number of the output, and as much for one of real numbers,
    whose output is half as long.

    Args:
        network: The network to append to.
        source: Step of what is transformed.
        shape: Shape of the output.
        lengths: Numbers that are transformed along each axis.
        is_complex: Whether elements of the output are complex numbers, else halves of such.
    """
    each = sum(math.ceil(math.log2(length)) for length in lengths if length > 1)
    return add_costly(network, "DFT", (source,), shape, each * (2 if is_complex else 1))


def add_factorisation(
    network: ImportedNetwork, op: str, inputs: Sequence[int], shape: Sequence[int]
) -> int:
    """Append an operator on square matrices of n rows, the first input.

    A determinant has n³/3 multiply-accumulates, an inverse n³, a Cholesky factor n³/6, a solution
    for k right sides n³/3 + n²·k, by a triangular matrix n²·k/2.
    """
    rows = network.shape(inputs[0])[-1]
    columns = shape[-1] if shape else 1
    each = {
        "Det": rows**3 / 3,
        "Inverse": rows,
        "Cholesky": rows / 6,
        "Solve": rows**2 / (3 * columns) + rows,
        "TriangularSolve": rows / 2,
    }[op]
    return add_costly(network, op, inputs, shape, math.ceil(each))
