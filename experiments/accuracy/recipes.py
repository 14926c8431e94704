"""What each model is called with in the protocol of `predictor_accuracy.py`, by training cells.

The networks of the literature are trained for as many steps as a processor core affords in some
minutes, in small batches: their published schedules run for hours or days on a GPU. Everything that
is not named here is as published.
"""

from __future__ import annotations

from typing import Any

# Model -> training cells -> options; a budget between two takes the larger one's.
RECIPES: dict[str, dict[int, dict[str, Any]]] = {
    "nnformer": {
        156: {"epochs": 300, "batch_size": 16, "learning_rate": 3e-4},
        469: {"epochs": 200, "batch_size": 16, "learning_rate": 3e-4},
        781: {"epochs": 120, "batch_size": 16, "learning_rate": 3e-4},
        1563: {"epochs": 60, "batch_size": 16, "learning_rate": 3e-4},
    },
    "narformer-v2": {
        156: {"epochs": 200, "batch_size": 16, "learning_rate": 1e-3},
        469: {"epochs": 67, "batch_size": 16, "learning_rate": 1e-3},
        781: {"epochs": 40, "batch_size": 16, "learning_rate": 1e-3},
        1563: {"epochs": 20, "batch_size": 16, "learning_rate": 1e-3},
    },
    "nnlp": {
        156: {"epochs": 300, "batch_size": 16},
        781: {"epochs": 150, "batch_size": 16},
        1563: {"epochs": 100, "batch_size": 16},
    },
    "ledgformer": {
        156: {"epochs": 200, "batch_size": 32, "members": 1},
        781: {"epochs": 100, "batch_size": 64, "members": 1},
        1563: {"epochs": 60, "batch_size": 64, "members": 1},
    },
    "transformer-ensemble": {
        156: {"epochs": 200, "batch_size": 32, "members": 3},
        781: {"epochs": 100, "batch_size": 64, "members": 3},
        1563: {"epochs": 60, "batch_size": 64, "members": 3},
    },
}
# Three times the steps, for a network that is far from done after the others.
LONGER: dict[str, dict[int, dict[str, Any]]] = {
    "narformer-v2": {
        469: {"epochs": 200, "batch_size": 16, "learning_rate": 1e-3},
        781: {"epochs": 120, "batch_size": 16, "learning_rate": 1e-3},
        1563: {"epochs": 60, "batch_size": 16, "learning_rate": 1e-3},
    },
}
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
