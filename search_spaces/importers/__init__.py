"""Readers of networks from outside: ONNX files and PyTorch modules as graphs.

The room knows graphs and the costs of operators, and no space.
"""

from __future__ import annotations

from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.importers.torch_graph import torch_graph

__all__ = ["onnx_graph", "torch_graph"]
