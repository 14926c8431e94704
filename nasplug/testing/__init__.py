"""Contract tests for a search space or a predictor of your own.

`check_space` and `check_predictor` try what a search relies on, and raise an `AssertionError` whose
sentence says which promise was broken. nasplug's own spaces and predictors run them too. The room
knows spaces, predictors and devices, and no search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.testing.predictors import check_predictor
    from nasplug.testing.spaces import check_space

__all__ = ["check_predictor", "check_space"]

__getattr__ = loader(
    __name__,
    {
        "check_predictor": "nasplug.testing.predictors",
        "check_space": "nasplug.testing.spaces",
    },
)
