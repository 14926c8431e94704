"""Calibration: device profiles from a few measurements, and the choice of networks to measure.

The room knows devices, measurements and latency predictors, and no search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.calibrating.suggestions import suggest_measurements

__all__ = ["suggest_measurements"]

__getattr__ = loader(__name__, {"suggest_measurements": "nasplug.calibrating.suggestions"})
