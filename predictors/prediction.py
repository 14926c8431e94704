"""Predictions of architectures, and the interface of a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces import Graph, InputError

__all__ = ["EVIDENCE", "Array", "NotFittedError", "Prediction", "Predictor"]

# Numbers of any shape; shapes stand in docstrings.
Array = NDArray[np.float64]

# What a latency rests on: training data of this device; a few measurements of it, in a device
# profile; or its specification alone.
EVIDENCE = ("measured", "few-shot", "zero-shot")


class NotFittedError(InputError):
    """A predictor was asked before `fit` was called or weights were loaded.

    Example:
        >>> from nasplug import predictors
        >>> try:
        ...     predictors.create("accuracy-gp").predict([])
        ... except predictors.NotFittedError as error:
        ...     print(error)
        this predictor is not fitted; call fit, or load a fitted one
    """


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted quantities of `n` architectures, with their calibrated distribution.

    The distribution of a target is a location-scale family: its quantile at level `levels[k]` is
    `center + spread * residuals[k]` in the target's own scale (`log` or `linear`).

    Attributes:
        targets: Names of the columns, such as `("latency",)`; length t.
        units: Unit of each column, such as `"ms"` or `"%"`.
        center: Location in the scale of the column, shape `(n, t)`.
        spread: Positive spread in the same scale, shape `(n, t)`.
        levels: Increasing probabilities strictly between 0 and 1, shape `(q,)`.
        residuals: Normalised residuals at these levels, increasing, shape `(q, t)`.
        log_scale: Whether each column's scale is the natural logarithm.
        interval: Probability that `lower`..`upper` is meant to cover.
        evidence: What the latency of a device rests on, one of `EVIDENCE`.
        learned: Networks measured on the device in this way to run them, at any batch size, that
            the model of the device's class learned from; 0 where the device was measured at this
            very batch size, and where nothing was learned of it.

    Example:
        >>> import nasplug
        >>> space = nasplug.space("nb201")
        >>> predictor = nasplug.load_predictor("nb201-accuracy")
        >>> prediction = predictor.predict([space[0], space[1]])
        >>> prediction.targets, prediction.mean.shape
        (('cifar10', 'cifar100', 'imagenet16-120'), (2, 3))
        >>> bool((prediction.lower < prediction.upper).all())
        True
        >>> bool((prediction.probability_at_most(100.0, "cifar10") > 0.99).all())
        True
    """

    targets: tuple[str, ...]
    units: tuple[str, ...]
    center: Array
    spread: Array
    levels: Array
    residuals: Array
    log_scale: tuple[bool, ...]
    interval: float = 0.9
    evidence: str = "measured"
    learned: int = 0

    def __len__(self) -> int:
        return len(self.center)

    @property
    def zero_shot(self) -> bool:
        """Whether the device was never measured, so that only its specification speaks."""
        return self.evidence == "zero-shot"

    @property
    def mean(self) -> Array:
        """Central prediction in units, shape `(n, t)`: the median for a log-scaled column."""
        return self._to_units(self.center)

    @property
    def std(self) -> Array:
        """Half the width of the central 68.27 % interval in units, shape `(n, t)`."""
        return (self.quantile(0.84134) - self.quantile(0.15866)) / 2

    @property
    def lower(self) -> Array:
        """Lower end of the central interval in units, shape `(n, t)`."""
        return self.quantile((1 - self.interval) / 2)

    @property
    def upper(self) -> Array:
        """Upper end of the central interval in units, shape `(n, t)`."""
        return self.quantile((1 + self.interval) / 2)

    def quantile(self, level: float) -> Array:
        """The value that lies above the truth with probability `level`; shape `(n, t)`."""
        normal = np.array([np.interp(level, self.levels, column) for column in self.residuals.T])
        return self._to_units(self.center + self.spread * normal)

    def probability_at_most(self, bound: float, target: str) -> Array:
        """Probability that a target is at most `bound` (in its unit); shape `(n,)`."""
        k = self.column(target)
        value = (np.log(bound) if bound > 0 else -np.inf) if self.log_scale[k] else bound
        normal = (value - self.center[:, k]) / self.spread[:, k]
        result: Array = np.interp(normal, self.residuals[:, k], self.levels, left=0.0, right=1.0)
        return result

    def column(self, target: str) -> int:
        """Index of a target's column.

        Raises:
            InputError: If this prediction has no such target.
        """
        if target not in self.targets:
            raise InputError(f"unknown target {target!r}; known: {', '.join(self.targets)}")
        return self.targets.index(target)

    def _to_units(self, value: Array) -> Array:
        is_log = np.array(self.log_scale, dtype=np.bool_)
        return np.exp(value, out=value.copy(), where=is_log)


@runtime_checkable
class Predictor(Protocol):
    """Learns targets of graphs and predicts them for others.

    Methods are called in this order:

    1. The class or function of the entry point, with options as keywords; nothing is learned yet,
       and `targets` is known.
    2. `fit`, once or again: each call forgets what was learned before. The graphs come in random
       order, so that the last ones may be kept to calibrate intervals on.
    3. `predict`, any number of times, with graphs of the space that was learned. A prediction of a
       graph does not depend on the other graphs.
    4. `save`, if there is one; later `from_checkpoint` of the class instead of 1 and 2.

    What else a predictor may do is a protocol of `capabilities`; `nasplug.testing.check_predictor`
    checks a predictor of your own.

    Example:
        >>> import numpy as np
        >>> import nasplug
        >>> from nasplug import predictors
        >>> space, generator = nasplug.space("macro"), np.random.default_rng(0)
        >>> graphs = space.to_graphs([space.sample(generator) for _ in range(30)])
        >>> accuracies = np.array([60 + graph.total("flops") / 1e7 for graph in graphs])
        >>> predictor = predictors.create("accuracy-gp")
        >>> isinstance(predictor, predictors.Predictor)
        True
        >>> predictor.fit(graphs[:25], accuracies[:25])
        >>> predictor.predict(graphs[25:]).mean.shape
        (5, 1)
    """

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the predicted columns."""

    def fit(
        self, graphs: Sequence[Graph], targets: Array, hardware: Sequence[Hardware] | None = None
    ) -> None:
        """Learn from measured graphs.

        Args:
            graphs: Training graphs.
            targets: Measured values in units, shape `(graphs, targets)`; NaN where unknown.
            hardware: For a latency the device and batch size of each column, as `Setting`; None
                for an accuracy.
        """

    def predict(
        self, graphs: Sequence[Graph], hardware: Hardware | None = None, batch_size: int = 1
    ) -> Prediction:
        """Predict graphs.

        Args:
            graphs: Any number; none gives an empty prediction.
            hardware: Device, if the predictor depends on one.
            batch_size: Images a forward pass, for a latency.

        Raises:
            NotFittedError: If nothing was learned or loaded.
            InputError: If a device is needed and none is given.
        """
