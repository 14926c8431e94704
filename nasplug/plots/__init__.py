"""Pictures of an Optuna study: its progress, and its sampler's predictions against the trials.

The room knows studies and Pareto fronts, and no search.
"""

from __future__ import annotations

from nasplug.plots.pictures import calibration, hypervolume, predicted_observed

__all__ = ["calibration", "hypervolume", "predicted_observed"]
