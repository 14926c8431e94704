"""Training of a predictor on measured architectures, and the labels that it learns from.

The room knows predictors, data sets and spaces, and no search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.training.labels import Labels, read_labels

__all__ = ["Labels", "read_labels"]

__getattr__ = loader(
    __name__, {"Labels": "nasplug.training.labels", "read_labels": "nasplug.training.labels"}
)
