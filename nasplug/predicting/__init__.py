"""Predictions for architectures and whole networks, by the trained predictors of the package.

`zoo` finds a predictor by name, `architecture_predictor` lets it read architectures of a space,
`predict` reads one network, `few_shot` a device of which a few measurements are known. The room
knows predictors, spaces and devices, and no study.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.predicting.architecture_predictor import ArchitecturePredictor
    from nasplug.predicting.network_prediction import NetworkPrediction
    from nasplug.predicting.zoo import create_predictor, load_predictor

__all__ = ["ArchitecturePredictor", "NetworkPrediction", "create_predictor", "load_predictor"]

__getattr__ = loader(
    __name__,
    {
        "ArchitecturePredictor": "nasplug.predicting.architecture_predictor",
        "NetworkPrediction": "nasplug.predicting.network_prediction",
        "create_predictor": "nasplug.predicting.zoo",
        "load_predictor": "nasplug.predicting.zoo",
    },
)
