"""Search spaces: the architectures that can be built, as graphs that predictors read.

This package needs numpy alone; it knows nothing of torch, of DGL or of studies.
"""

from __future__ import annotations

from nasplug.search_spaces.coded_space import CodedSpace
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import ATTRIBUTES, Graph
from nasplug.search_spaces.opening import is_builder, names, space
from nasplug.search_spaces.parts import Part
from nasplug.search_spaces.space import Architecture, FiniteSpace, SearchSpace

__all__ = [
    "ATTRIBUTES",
    "Architecture",
    "CodedSpace",
    "FiniteSpace",
    "Graph",
    "InputError",
    "Part",
    "SearchSpace",
    "is_builder",
    "names",
    "space",
]
