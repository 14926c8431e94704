"""Costs of single operations: multiply-accumulates, parameters, bytes moved.

FLOPs follow NAS-Bench-201's published "FLOPs": one multiply-accumulate is one FLOP, for one image,
of convolutions and linear layers only. A roofline multiplies them by two.

Notation: c_in and c_out are channels, k the side of a square window, s the side of the output in
pixels (its input has s · stride). A convolution with g groups has p = c_out · c_in / g · k²
parameters and p · s² FLOPs. Bytes are those of float32 values read and written, parameters
included.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FLOAT_BYTES", "TYPE_BYTES", "Cost", "conv", "elementwise", "linear", "norm", "pool"]

FLOAT_BYTES = 4

# Bytes of an element by its type; ONNX's names, float8 for all of its kinds.
TYPE_BYTES: dict[str, float] = {
    **dict.fromkeys(("complex128",), 16),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("float8", "int8", "uint8", "bool"), 1),
    **dict.fromkeys(("float4", "int4", "uint4"), 0.5),
    **dict.fromkeys(("int2", "uint2"), 0.25),
}


@dataclass(frozen=True)
class Cost:
    """Cost of an operation on one image.

    Attributes:
        flops: Multiply-accumulates.
        params: Trainable parameters.
        bytes: float32 bytes read and written, parameters included.
    """

    flops: float = 0.0
    params: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.params + other.params, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Cost:
        return Cost(self.flops * times, self.params * times, self.bytes * times)


def conv(c_in: int, c_out: int, kernel: int, side: int, stride: int = 1, groups: int = 1) -> Cost:
    """A square convolution without bias; `side` is the output's height and width in pixels."""
    params = c_out * (c_in // groups) * kernel * kernel
    read = c_in * (side * stride) ** 2
    return Cost(params * side * side, params, FLOAT_BYTES * (read + c_out * side**2 + params))


def norm(channels: int, side: int) -> Cost:
    """Batch normalisation with scale and shift."""
    return Cost(0.0, 2 * channels, FLOAT_BYTES * (2 * channels * side**2 + 2 * channels))


def elementwise(channels: int, side: int, inputs: int = 1) -> Cost:
    """An activation (one input) or an addition (two)."""
    return Cost(0.0, 0.0, FLOAT_BYTES * (inputs + 1) * channels * side**2)


def pool(channels: int, side: int, stride: int = 1) -> Cost:
    """A pooling; `side` is the output's height and width in pixels."""
    return Cost(0.0, 0.0, FLOAT_BYTES * channels * ((side * stride) ** 2 + side**2))


def linear(features_in: int, features_out: int) -> Cost:
    """A linear layer with bias."""
    params = features_in * features_out + features_out
    return Cost(params, params, FLOAT_BYTES * (features_in + features_out + params))
