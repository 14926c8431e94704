"""The engine of predictors that are ensembles of trained networks.

One line runs from graphs to intervals, and a predictor chooses its parts:

    reader: the network's own batches -> networks: the mean of their answers
        -> scale: values in units -> intervals: errors of examples that were kept aside
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, joined, read_config
from nasplug.predictors.fitted import FittedPredictor
from nasplug.predictors.statistics.calibration import Calibration
from nasplug.predictors.training.ensemble import load_members, member_tensors

__all__ = ["EnsemblePredictor"]


class EnsemblePredictor(FittedPredictor):
    """Predicts by networks that were trained alike and answer by their mean.

    A subclass's `fit` sets `_models`, by `train_members`, and `_calibration`, by examples that were
    kept aside, if there are some.

    Args:
        config: What the predictor is made of; it has a field `members`.
        backend: Of the networks' layers.
    """

    def __init__(self, config: Any, backend: str = "auto") -> None:
        self.config = config
        self.backend = backend
        self._models: list[Any] = []
        self._calibration: Calibration | None = None

    @property
    def _is_fitted(self) -> bool:
        return bool(self._models)

    @property
    def parameters(self) -> int:
        """Weights of all members.

        Raises:
            NotFittedError: If nothing was learned or loaded; the count depends on the graphs.
        """
        self._check_fitted()
        return sum(p.numel() for model in self._models for p in model.parameters())

    def _arrays(self) -> dict[str, NDArray[Any]]:
        calibration = {} if self._calibration is None else self._calibration.tensors()
        return {**joined({"calibration": calibration}), **member_tensors(self._models)}

    def _card(self) -> dict[str, Any]:
        return {"model": asdict(self._models[0].config)}

    def _load(
        self, checkpoint: Checkpoint, form: Any, network: Any, *, calibrated: bool = True
    ) -> Any:
        """Take networks of a form, and the calibration, if any; returns their configuration."""
        config = read_config(form, checkpoint.card["model"])
        build = partial(network, config, self.backend)
        self._models = load_members(checkpoint, self.config.members, build)
        if calibrated:
            self._calibration = Calibration(**checkpoint.section("calibration"))
        return config
