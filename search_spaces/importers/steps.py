"""A step of an imported network: an operator as a framework names it, before recognition."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_ELEMENTS", "Step"]

# 4 TB of float32: no device holds such a tensor, so a size beyond is damage.
MAX_ELEMENTS = 2**40


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an imported network; fields not named here are those of `Operator`.

    Attributes:
        shape: Output shape as the framework says it; empty for a single number, or if unknown.
        kernel: Window, one size an axis; empty without one.
        stride: Step of the window, one size an axis.
        number: Single numbers that it is combined with: the other operand of an arithmetic
            operator, the bounds of a Clip; NaN for one whose value is not in the model.
        number_first: Whether the number is the left operand.
        order: Of a Transpose: input axis of each output axis, counting axes longer than 1 alone.
    """

    op: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    weights: tuple[int, ...] = ()
    bias: bool = False
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    groups: int = 1
    other_params: int = 0
    number: tuple[float, ...] = ()
    number_first: bool = False
    order: tuple[int, ...] = ()
