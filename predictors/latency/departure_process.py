"""Departures of a device from its data sheet, learned from many devices.

On a device in a setting a network g takes

    log ms = log ms by the data sheet + slopes · features(g) + local(g) + noise

The features are a constant and where the network's time goes (network_features.py), bounded, so
that nothing explodes far away; the slope of the constant is the scale of the device. Slopes are
normal around none, with a covariance that devices of the class share (departure_learning.py):
where all measurements agree, unlike networks depart likewise. `local` is a smooth process that
networks near each other share. Settings of one device are alike as far as their runtime, precision,
processor and source are the same. How far a device departs, and how noisy its measurements are,
differs by a few levels, which the evidence of the measurements weighs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.prediction import Array

__all__ = [
    "COUNTS",
    "END",
    "LEVELS",
    "WAYS",
    "DeparturePrior",
    "DepartureProcess",
    "Located",
]

# What tells settings of one device apart.
WAYS = ("runtime", "precision", "unit", "source")
# Standard deviations from which on a feature counts no more.
FARTHEST = 2.5
# Share of the noise that networks near each other have in common, and standard deviations of the
# features over which they do. These two and `OUTLYING` are best on left-out devices of each class.
LOCAL, REACH = 0.7, 2.0
# Levels: factors on the variances of slopes and of noise that a device may have.
LEVELS = tuple(product((0.03, 0.3, 1.0, 3.0), (0.5, 1.5, 4.0)))
_SIZES, _NOISES = np.array(LEVELS).T[:, :, None, None]
# Standard deviations from which on a measurement counts as one with more noise.
OUTLYING, OUTLIER_ROUNDS = 2.0, 3
# Numbers of measurements whose intervals are made to cover.
COUNTS = (1, 3, 10)
# Standard deviations of a normal distribution to the end of its central 90 % interval.
END = 1.6449


class Located(NamedTuple):
    """Networks in their settings.

    Attributes:
        features: `network_features`, shape `(n, features)`.
        ways: Words of each setting, in the order of `WAYS`.
    """

    features: Array
    ways: Sequence[tuple[str, ...]]

    def take(self, places: NDArray[Any]) -> Located:
        """Some of the networks."""
        return Located(self.features[places], [self.ways[k] for k in places.tolist()])


@dataclass(frozen=True, eq=False)
class DeparturePrior:
    """Prior of the departures of a class of devices from their data sheets.

    Attributes:
        center: Mean of the features, `(features,)`.
        spread: Standard deviation of the features.
        slopes: Covariance of the slopes of a constant and of the standard features,
            `(1 + features, 1 + features)`.
        noise: Variance that the slopes do not explain.
        alike: By how much settings that differ in one of `WAYS` are alike, from 0 to 1.
        chances: Probability of each of `LEVELS`.
        widening: Factor on standard deviations after each of `COUNTS` measurements, with which
            intervals cover networks of other families than the measured ones.
    """

    center: Array
    spread: Array
    slopes: Array
    noise: float
    alike: Mapping[str, float]
    chances: Array
    widening: Array

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `json.dumps`, from which `from_json` makes an equal object."""
        arrays = ("center", "spread", "slopes", "chances", "widening")
        numbers = {"noise": self.noise, "alike": dict(self.alike)}
        return numbers | {name: getattr(self, name).tolist() for name in arrays}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> DeparturePrior:
        """The prior that `to_json` wrote."""
        arrays = ("center", "spread", "slopes", "chances", "widening")
        values = {name: np.array(table[name], dtype=np.float64) for name in arrays}
        return cls(noise=float(table["noise"]), alike=table["alike"], **values)

    def widen(self, count: int) -> float:
        """Factor on standard deviations after some measurements."""
        return float(np.interp(np.log(max(count, 1)), np.log(COUNTS), self.widening))

    def bounded(self, features: Array) -> Array:
        """A constant and standard features, none beyond `FARTHEST`, `(n, 1 + features)`."""
        standard = np.clip((features - self.center) / self.spread, -FARTHEST, FARTHEST)
        return np.concatenate([np.ones((len(standard), 1)), standard], axis=1)

    def covariances(self, located: Located, others: Located) -> tuple[Array, Array]:
        """Covariances of departures by slopes and of local ones, `(n, others)` each."""
        alike = self._alike(located.ways, others.ways)
        linear = self.bounded(located.features) @ self.slopes @ self.bounded(others.features).T
        near = _near(located.features / self.spread, others.features / self.spread)
        return alike * linear, alike * LOCAL * self.noise * near

    def variances(self, located: Located) -> Array:
        """Variance of the residual of each network before anything is measured, `(n,)`."""
        size, noise = self.chances @ np.array(LEVELS)
        result: Array = size * self.slope_variances(located) + noise * self.noise
        return result

    def slope_variances(self, located: Located) -> Array:
        """Variance of the departure by slopes of each network, `(n,)`."""
        bounded = self.bounded(located.features)
        result: Array = np.einsum("ij,jk,ik->i", bounded, self.slopes, bounded)
        return result

    def nearness(self, located: Located, others: Located) -> Array:
        """Likeness of networks in their settings, from 0 to 1, `(n, others)`."""
        near = _near(located.features / self.spread, others.features / self.spread)
        result: Array = near * self._alike(located.ways, others.ways)
        return result

    def _alike(self, ways: Sequence[tuple[str, ...]], others: Sequence[tuple[str, ...]]) -> Array:
        """Likeness of settings, from 0 to 1, `(n, others)`."""
        a, b = (np.array(w, dtype=np.str_).reshape(-1, len(WAYS)) for w in (ways, others))
        factors = np.array([self.alike[name] for name in WAYS])
        result: Array = np.where(a[:, None] == b, 1.0, factors).prod(2)
        return result

    def design(self, candidates: Located, others: Located, count: int) -> list[int]:
        """Positions of candidates to measure: each leaves the least variance over the others.

        Args:
            candidates: Networks that can be measured.
            others: Networks that are to be predicted.
            count: Number of networks to choose.
        """
        every = Located(
            np.concatenate([candidates.features, others.features]),
            [*candidates.ways, *others.ways],
        )
        # What is local tells of few others.
        covariance, _ = self.covariances(every, every)
        size, chosen = len(candidates.ways), list[int]()
        for _ in range(count):
            own = np.diag(covariance) + self.noise
            gain = (covariance[:size, size:] ** 2).sum(1) / own[:size]
            gain[chosen] = -np.inf
            best = int(gain.argmax())
            chosen.append(best)
            column = covariance[:, best]
            covariance = covariance - np.outer(column, column) / own[best]
        return chosen


def _near(a: Array, b: Array) -> Array:
    """Nearness of standard features, from 0 to 1, `(n, m)`."""
    squares = ((a[:, None] - b) ** 2).sum(2)
    result: Array = np.exp(-0.5 * squares / REACH**2)
    return result


def _robust(covariances: Array, target: Array) -> Array:
    """Covariances with more noise where a residual is far off what the others tell, `(k, n, n)`."""
    for _ in range(OUTLIER_ROUNDS):
        inverse = np.linalg.inv(covariances)
        around = 1 / np.diagonal(inverse, axis1=1, axis2=2)
        square = ((inverse @ target) * around) ** 2
        missing = np.maximum(square / OUTLYING**2 - around, 0)
        covariances = covariances + missing[:, None] * np.eye(len(target))
    return covariances


class DepartureProcess:
    """Residuals of one device, given those of a few networks.

    Args:
        prior: How devices of its class depart from their data sheets.
        located: The measured networks.
        residuals: Log of measured over predicted ms, `(n,)`.
        widths: Standard deviation of each residual by the data sheet alone, over that by the prior,
            `(n,)`; 1 for a device like those that the prior was learned from.
    """

    def __init__(
        self, prior: DeparturePrior, located: Located, residuals: Array, widths: Array
    ) -> None:
        self.prior = prior
        self._measured, self._widths = located, widths
        linear, local = prior.covariances(located, located)
        linear = linear * np.outer(widths, widths)
        own = (1 - LOCAL) * prior.noise * np.eye(len(residuals))
        covariances = _SIZES * linear + _NOISES * (local + own)
        self._factors = np.linalg.cholesky(_robust(covariances, residuals))
        self._solved = np.linalg.solve(self._factors, residuals[:, None])
        heights = np.log(np.diagonal(self._factors, axis1=1, axis2=2)).sum(1)
        logs = np.log(prior.chances) - heights - 0.5 * (self._solved**2).sum((1, 2))
        likely = np.exp(logs - logs.max())
        self.chances: Array = likely / likely.sum()

    def nearness(self, located: Located) -> Array:
        """Largest likeness of each network and a measured one, `(n,)`.

        It is 1 for a network that was measured in its setting, and 0 far from all of them.
        """
        if not len(self._widths):
            return np.zeros(len(located.ways))
        result: Array = self.prior.nearness(located, self._measured).max(1)
        return result

    def __call__(self, located: Located, widths: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the residuals of networks, `(n,)` each."""
        linear, local = self.prior.covariances(self._measured, located)
        linear = linear * np.outer(self._widths, widths)
        explained = np.linalg.solve(self._factors, _SIZES * linear + _NOISES * local)
        noise = _NOISES[:, 0] * self.prior.noise
        before = _SIZES[:, 0] * self.prior.slope_variances(located) * widths**2 + noise
        # A network is measured with its own noise, however near others are.
        left = np.maximum(before - (explained**2).sum(1), (1 - LOCAL) * noise)
        means = (explained * self._solved).sum(1)
        mean: Array = self.chances @ means
        std: Array = np.sqrt(self.chances @ (left + means**2) - mean**2)
        return mean, std * self.prior.widen(len(self._widths))
