"""Trained networks as a search space: what others trained, with the accuracies that they measured.

The room knows data sets and the protocol of spaces, and no predictor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.trained.space import TimmSpace, timm

__all__ = ["TimmSpace", "timm"]

__getattr__ = loader(
    __name__, {"TimmSpace": "nasplug.trained.space", "timm": "nasplug.trained.space"}
)
