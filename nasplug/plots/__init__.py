"""Pictures of an Optuna study: how far it has come, and how well its sampler foresaw it.

The room knows studies and Pareto fronts, and no search.
"""

from __future__ import annotations

from nasplug.plots.pictures import calibration, hypervolume, predicted_observed

__all__ = ["calibration", "hypervolume", "predicted_observed"]
