"""Time of an operator by the data sheet: the roofline (Williams et al., CACM 2009)."""

from __future__ import annotations

import numpy as np

from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import FLOAT_BYTES

__all__ = ["peak_rates", "roofline_ms", "roofline_parts", "times_at"]


def peak_rates(hardware: Hardware, half: bool = False) -> tuple[float, float]:
    """Operations and bytes a ms that the data sheet promises.

    A network in half precision counts at the fp16 rate if that is the higher one.
    """
    fp32 = hardware.peak_tflops["fp32"]
    peak = max(hardware.peak_tflops.get("fp16", fp32), fp32) if half else fp32
    return peak * 1e9, hardware.memory_bandwidth_gbs * 1e6


def roofline_ms(graph: Graph, hardware: Hardware, batch_size: int = 1, half: bool = False) -> Array:
    """Time of each node in ms: the larger of its `roofline_parts`, shape `(nodes,)`."""
    result: Array = np.maximum(*roofline_parts(graph, hardware, batch_size, half))
    return result


def roofline_parts(
    graph: Graph, hardware: Hardware, batch_size: int = 1, half: bool = False
) -> tuple[Array, Array]:
    """Times in ms that each node's arithmetic and its memory traffic take, `(nodes,)` each.

    A multiply-accumulate counts as two operations. Activations are moved once an image, parameters
    once a batch; in half precision (`peak_rates`) bytes count half.
    """
    return times_at(graph, *peak_rates(hardware, half), batch_size, FLOAT_BYTES / (1 + half))


def times_at(
    graph: Graph, operations: float, moved: float, images: float, number_bytes: float
) -> tuple[Array, Array]:
    """Compute `roofline_parts` at rates of operations and bytes a ms, and of bytes a number."""
    weights = FLOAT_BYTES * graph.attribute("params")
    activations = np.maximum(graph.attribute("bytes") - weights, 0)
    traffic = (activations * images + weights) * (number_bytes / FLOAT_BYTES)
    return 2 * graph.attribute("flops") * images / operations, traffic / moved
