"""Recurrent layers as products of matrices.

A layer multiplies all of its inputs by one matrix, and then runs step by step: each step multiplies
the state before by another matrix. The graph has a Gemm a step, since a step starts a kernel of its
own and waits for the one before; a last operator of the layer's type stands for the data that the
gates move.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.steps import GATES

__all__ = ["add_cell", "add_recurrent"]

# A layer of more steps has several of them in a node.
MAX_STEPS = 1_000


def add_recurrent(
    network: ImportedNetwork,
    op: str,
    source: int,
    shape: Sequence[int],
    *,
    steps: int,
    hidden: int,
    directions: int = 1,
    projection: int = 0,
    bias: bool = False,
    states: Sequence[int] = (),
    weight_type: str = "",
) -> int:
    """Append a recurrent layer; two directions run side by side.

    Args:
        network: The network to append to.
        op: A key of `GATES`.
        source: Step of the sequences, features last.
        shape: Shape of the outputs of all steps.
        steps: Steps of a sequence, one after the other.
        hidden: Features of the state.
        directions: 2 if the sequences are read backwards too.
        projection: Features that an LSTM projects its output to; 0 if it does not.
        bias: Whether the gates have biases.
        states: Steps that compute the first state.
        weight_type: Element type of the matrices; empty if it is that of the outputs.

    Returns:
        Position of the outputs of all steps.
    """
    features = network.shape(source)[-1]
    rows = math.prod(network.shape(source)) // (features * steps)
    gates = directions * GATES[op] * hidden
    read = network.add(
        "Gemm",
        (source,),
        (steps, rows, gates),
        weights=(gates, features),
        bias=bias,
        weight_type=weight_type,
    )
    at_once = -(-steps // MAX_STEPS)
    before = [network.add("Slice", (read,), (rows, gates)), *states]
    for start in range(0, steps, at_once):
        rows_at_once = rows * min(at_once, steps - start)
        state = network.add(
            "Gemm",
            before,
            (rows_at_once, gates),
            weights=(gates, projection or hidden),
            weight_type=weight_type,
        )
        if projection:
            wide = directions * projection
            state = network.add(
                "Gemm",
                (state,),
                (rows_at_once, wide),
                weights=(wide, hidden),
                weight_type=weight_type,
            )
        before = [state]
    return network.add(op, (read, *before), shape)


def add_cell(
    network: ImportedNetwork,
    op: str,
    source: int,
    state: int | None,
    shape: Sequence[int],
    *,
    bias: bool,
    others: Sequence[int] = (),
) -> int:
    """Append one step of a recurrent layer, as files of a loop have it.

    Args:
        network: The network to append to.
        op: A key of `GATES`.
        source: Step of the input, features last.
        state: Step of the state before; None for a constant, whose product
            a compiler computes once.
        shape: Shape of the state.
        bias: Whether the gates have biases.
        others: Steps of further states.

    Returns:
        Position of the new state.
    """
    gates = GATES[op] * shape[-1]
    both = (*shape[:-1], gates)
    matrix = (gates, network.shape(source)[-1])
    products = [network.add("Gemm", (source,), both, weights=matrix, bias=bias)]
    if state is not None or not network.folds:
        read = () if state is None else (state,)
        products.append(network.add("Gemm", read, both, weights=(gates, shape[-1]), bias=bias))
    if op != "RNN":
        return network.add(op, (*products, *others), shape)
    total = network.add("Add", products, both) if len(products) > 1 else products[0]
    return network.add("Tanh", (total,), shape)
