"""The training of a network: recipe, losses, the loop with its state on disk, ensembles.

The room knows layers and features; models are handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.predictors.training.config import Examples, TrainingConfig, TrainingResult
from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.predictors.training.loop import train

__all__ = ["Examples", "TrainingConfig", "TrainingResult", "train"]

# Lightning takes seconds to import.
__getattr__ = loader(__name__, {"train": "nasplug.predictors.training.loop"})
