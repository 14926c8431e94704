"""Steps of ONNX's Fourier transforms and determinants."""

from __future__ import annotations

import math

from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.onnx_node import NodeView
from nasplug.search_spaces.importers.transforms import add_dft, add_factorisation

__all__ = ["det", "dft", "stft"]


def _unknown(network: ImportedNetwork, view: NodeView) -> int:
    """Append a transform whose length is not known, priced by the data it moves."""
    return network.add(view.op, view.data, view.shape)


def dft(network: ImportedNetwork, view: NodeView) -> int:
    """Append a Fourier transform along an axis, of complex numbers that are two of real ones."""
    source, shape, length = view.step(0), view.input_shapes[0], view.constant(1)
    axis = view.constant(2)
    position = view.whole("axis", -2) if axis is None else int(axis.number)
    if source is None or shape is None or not -len(shape) <= position < len(shape):
        return _unknown(network, view)
    known = length is not None and length.value is not None and length.size == 1
    points = int(length.number) if length is not None and known else shape[position]
    return add_dft(network, source, view.shape, [points])


def stft(network: ImportedNetwork, view: NodeView) -> int:
    """Append the frames of a signal, times a window, and their Fourier transform."""
    source, window, length = view.step(0), view.input(2), view.constant(3)
    windows = view.input_shapes[2] if window is not None else None
    points = int(length.number) if length is not None and length.value is not None else 0
    points = points or math.prod(windows or ())
    if source is None or len(view.shape) != 4 or not points:
        return _unknown(network, view)
    framed = (*view.shape[:2], points)
    frames = network.add("Gather", (source,), framed)
    if isinstance(window, int):
        frames = network.add("Mul", (frames, window), framed)
    elif window is not None:
        frames = network.add("Mul", (frames,), framed, other_params=points)
    return add_dft(network, frames, view.shape, [points])


def det(network: ImportedNetwork, view: NodeView) -> int:
    """Append the determinants of square matrices."""
    return add_factorisation(network, "Det", view.data, view.shape)
