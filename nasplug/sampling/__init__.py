"""The Optuna sampler: what trials teach, and which architecture is next.

`sampler` is what Optuna calls; a choice by predictions alone and one that learns from the values of
trials stand behind it. The room knows candidates and the trials of a study, and not how these are
evaluated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.sampling.sampler import PredictorSampler

__all__ = ["PredictorSampler"]

__getattr__ = loader(
    __name__,
    {
        "PredictorSampler": "nasplug.sampling.sampler",
    },
)
