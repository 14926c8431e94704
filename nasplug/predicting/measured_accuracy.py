"""Accuracies that were measured, in the place of predicted ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from nasplug.search_spaces import Architecture

if TYPE_CHECKING:
    from nasplug.arrays import Array
    from nasplug.predictors import Hardware, Prediction

__all__ = ["LEVELS", "HasAccuracies", "MeasuredAccuracy", "exact_prediction"]

# Levels of the quantiles that stand for a distribution of errors.
LEVELS = (0.01, 0.05, 0.15866, 0.5, 0.84134, 0.95, 0.99)

# A number that is known has no spread; a prediction needs one above 0.
_SPREAD = 1e-6


@runtime_checkable
class HasAccuracies(Protocol):
    """A space of networks that were trained, with their accuracies."""

    accuracy_source: str

    @property
    def name(self) -> str:
        """Name of the space."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Image sets of the accuracies."""

    def accuracies(self, archs: Sequence[Architecture]) -> Array:
        """Accuracies in %, `(n, tasks)`."""


class MeasuredAccuracy:
    """Scorer that gives the measured accuracies of a space.

    Attributes:
        space: The space.
        name: Name that results show.
    """

    def __init__(self, space: HasAccuracies) -> None:
        self.space = space
        self.name = f"{space.name.partition(':')[0]}-measured"

    @property
    def targets(self) -> tuple[str, ...]:
        """Image sets of the accuracies."""
        return self.space.tasks

    @cached_property
    def sha256(self) -> str:
        """Checksum of all accuracies of the space."""
        members: Any = self.space
        archs = list(members)
        text = "\n".join(arch.text for arch in archs).encode()
        return hashlib.sha256(text + self.space.accuracies(archs).tobytes()).hexdigest()

    def predict(
        self,
        architectures: Sequence[Architecture],
        hardware: Hardware | None = None,
        batch_size: int = 1,
    ) -> Prediction:
        """Look up the accuracies of architectures, a row each."""
        return exact_prediction(self.targets, "%", self.space.accuracies(architectures))


def exact_prediction(targets: tuple[str, ...], unit: str, values: Array) -> Prediction:
    """Make a prediction of values that are known, `(n, targets)`, with a negligible spread."""
    from nasplug.predictors import Prediction

    center = np.asarray(values, np.float64)
    count = len(targets)
    residuals = np.tile(np.linspace(-1, 1, len(LEVELS))[:, None], (1, count))
    return Prediction(
        targets=targets,
        units=(unit,) * count,
        center=center,
        spread=np.full_like(center, _SPREAD),
        levels=np.array(LEVELS),
        residuals=residuals,
        log_scale=(False,) * count,
    )
