"""Steps of an imported network: operators as a framework names them, before recognition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nasplug.search_spaces.operators import Operator

__all__ = ["GATES", "MAX_ELEMENTS", "Step"]

# 4 TB of float32: no device holds such a tensor, so a size beyond is damage.
MAX_ELEMENTS = 2**40
# Gates of each type of recurrent layer, each of them a matrix.
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True, slots=True)
class Step(Operator):
    """Step of an imported network; the fields that are not listed are those of `Operator`.

    Attributes:
        shape: Output shape in the framework; empty for a single number, or if unknown.
        kernel: Window, one size an axis.
        stride: Step of the window, one size an axis.
        number: Single numbers among the operands: the other operand of an arithmetic operator, the
            bounds of a Clip; NaN for a number whose value is not in the model.
        number_first: Whether the number is the left operand.
        order: For a Transpose, the input axis of each output axis, counting axes longer than 1
            alone.
        along: Axis along which an operator reads all elements, such as a Softmax; None if unknown.
    """

    number: tuple[float, ...] = ()
    number_first: bool = False
    order: tuple[int, ...] = ()
    along: int | None = None

    def becomes(self, op: str, inputs: Sequence[int] | None = None, **fields: Any) -> Step:
        """The step as another operator, which keeps its shape, element types and parameters."""
        return Step(
            op,
            self.inputs if inputs is None else tuple(inputs),
            self.shape,
            type=self.type,
            weight_type=self.weight_type,
            parameters=self.parameters,
            **fields,
        )
