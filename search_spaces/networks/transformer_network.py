"""The operators of a transformer, one after the other."""

from __future__ import annotations

from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph

__all__ = ["TransformerBuilder"]


class TransformerBuilder:
    """Builder of the operators of a transformer; a subclass adds those of its networks."""

    def __init__(self) -> None:
        self.operators: list[Operator] = []

    def _add(
        self, op: str, inputs: tuple[int, ...], shape: tuple[int, ...], params: int = 0
    ) -> int:
        self.operators.append(Operator(op, inputs, shape, other_params=params))
        return len(self.operators) - 1

    def _linear(self, x: int, outputs: int, has_bias: bool = True) -> int:
        *others, features = self.operators[x].shape
        shape, weights = (*others, outputs), (outputs, features)
        self.operators.append(Operator("Gemm", (x,), shape, weights, bias=has_bias))
        return len(self.operators) - 1

    def graph(self, output: int) -> Graph:
        """Convert the operators that `output` needs to a graph.

        Its multiply-accumulates hold the two products inside of attention, as `MatMul`.
        """
        return network_graph(self.operators, [output])
