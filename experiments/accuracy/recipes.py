"""Options of each model in the protocol of `predictor_accuracy.py`, by training cells.

The networks of the literature are trained for as many steps as a processor core affords in some
minutes, in small batches: their published schedules run for hours or days on a GPU. Everything that
is not named here is as published.
"""

from __future__ import annotations

from typing import Any

Recipes = dict[int, dict[str, Any]]


def _steps(epochs: dict[int, int], **options: Any) -> Recipes:
    return {size: {"epochs": count, **options} for size, count in epochs.items()}


def _ensemble(members: int) -> Recipes:
    few = _steps({156: 200}, batch_size=32, members=members)
    return few | _steps({781: 100, 1563: 60}, batch_size=64, members=members)


NARFORMER = {"batch_size": 16, "learning_rate": 1e-3}
# Model -> training cells -> options; a budget between two takes the larger one's.
RECIPES: dict[str, Recipes] = {
    "nnformer": _steps({156: 300, 469: 200, 781: 120, 1563: 60}, batch_size=16, learning_rate=3e-4),
    "narformer-v2": _steps({156: 200, 469: 67, 781: 40, 1563: 20}, **NARFORMER),
    "nnlp": _steps({156: 300, 781: 150, 1563: 100}, batch_size=16),
    "ledgformer": _ensemble(1),
    "transformer-ensemble": _ensemble(3),
}
# Three times the steps, for a network that is far from done after the others.
LONGER: dict[str, Recipes] = {"narformer-v2": _steps({469: 200, 781: 120, 1563: 60}, **NARFORMER)}
# Networks that would otherwise keep a part of the budget for their intervals.
WITHOUT_CALIBRATION = ("nnformer", "narformer-v2", "nnlp", "ledgformer", "transformer-ensemble")


def recipe(model: str, train_size: int, longer: bool = False) -> dict[str, Any]:
    """The options of a model at a budget; none for a model that needs none."""
    sizes = (LONGER if longer else RECIPES).get(model, {})
    chosen = [size for size in sorted(sizes) if size >= train_size] or sorted(sizes)[-1:]
    options = dict(sizes[chosen[0]]) if chosen else {}
    if model in WITHOUT_CALIBRATION:
        options["calibration_share"] = 0.0
    return options
