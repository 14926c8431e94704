"""Parameters of a trial that are not the space's, such as a learning rate, as points.

A point has a column for each parameter: a number from 0 to 1 (of the logarithm, if it is sampled
so), the index of a choice, or NaN where a trial does not have the parameter.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nasplug.arrays import Array, Mask

__all__ = ["OtherParams", "contains"]

# Standard deviation of a number near a good one, and probability that a choice changes.
NEAR, CHANGED = 0.1, 0.2


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value is one of a distribution's."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):
        return False


class OtherParams:
    """Parameters beside an architecture that are chosen with it.

    Args:
        distributions: The parameters, by name.
        settled: Values that are fixed in the next trial.
        seen: Parameters of earlier trials, which show when a parameter is not there.
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        settled: Mapping[str, Any],
        seen: Sequence[Mapping[str, Any]],
    ) -> None:
        self._distributions = dict(distributions)
        self._settled = {name: v for name, v in settled.items() if name in distributions}
        self.categorical: Mask = np.array(
            [isinstance(d, CategoricalDistribution) for d in distributions.values()], np.bool_
        )
        self._conditions = {
            name: condition
            for name in distributions
            if (condition := _condition(name, self._distributions, seen)) is not None
        }

    def __len__(self) -> int:
        return len(self._distributions)

    def encode(self, params: Mapping[str, Any]) -> Array:
        """The point of a trial's parameters, `(d,)`."""
        return np.array(
            [
                _number(d, params[name]) if name in params else np.nan
                for name, d in self._distributions.items()
            ]
        )

    def decode(self, point: Array) -> dict[str, Any]:
        """The parameters of a point; those that are not there are left out."""
        return {
            name: self._settled.get(name, _value(distribution, float(x)))
            for (name, distribution), x in zip(self._distributions.items(), point, strict=True)
            if np.isfinite(x)
        }

    def sample(self, count: int, generator: np.random.Generator) -> Array:
        """Points that are spread evenly at random, `(count, d)`."""
        # In each column a number falls into each of `count` equal parts once.
        shape = (count, len(self))
        parts = np.argsort(generator.random(shape), axis=0)
        points = (parts + generator.random(shape)) / count
        return self.possible(points * self._widths())

    def near(self, points: Array, count: int, generator: np.random.Generator) -> Array:
        """Points near some others, `(points * count, d)`."""
        around = np.repeat(points, count, axis=0)
        around = np.where(np.isnan(around), generator.random(around.shape), around)
        # Of several sizes, so that a good region is both left and searched.
        sizes = NEAR * 4.0 ** -generator.integers(0, 3, (len(around), 1))
        numbers = np.clip(around + sizes * generator.standard_normal(around.shape), 0.0, 1.0)
        draws = generator.random(around.shape) * self._widths()
        changes = generator.random(around.shape) < CHANGED
        choices = np.where(changes, draws, around)
        return self.possible(np.where(self.categorical, choices, numbers))

    def _widths(self) -> Array:
        return np.array(
            [
                float(len(d.choices)) if isinstance(d, CategoricalDistribution) else 1.0
                for d in self._distributions.values()
            ]
        )

    def possible(self, points: Array) -> Array:
        """The points that values of the parameters have, next to some points."""
        result = np.array(points)
        for k, (name, distribution) in enumerate(self._distributions.items()):
            if name in self._settled:
                result[:, k] = _number(distribution, self._settled[name])
            else:
                # By their value and back, as integers and steps are coarser than points.
                result[:, k] = [
                    _number(distribution, _value(distribution, x)) for x in points[:, k]
                ]
        names = list(self._distributions)
        for name, (cause, values) in self._conditions.items():
            choices = [self._choice(cause, x) for x in result[:, names.index(cause)]]
            is_there = np.array([choice in values for choice in choices])
            result[~is_there, names.index(name)] = np.nan
        return result

    def _choice(self, name: str, number: float) -> Any:
        return _value(self._distributions[name], number)


def _condition(
    name: str,
    distributions: Mapping[str, BaseDistribution],
    seen: Sequence[Mapping[str, Any]],
) -> tuple[str, Collection[Any]] | None:
    """The parameter whose choice decides whether another one is there, and the choices with it."""
    having = [params for params in seen if name in params]
    lacking = [params for params in seen if params and name not in params]
    if not having or not lacking:
        return None
    for cause, distribution in distributions.items():
        if cause == name or not isinstance(distribution, CategoricalDistribution):
            continue
        with_it = {params.get(cause) for params in having}
        without = {params.get(cause) for params in lacking}
        if None not in with_it | without and not with_it & without:
            return cause, [choice for choice in distribution.choices if choice not in without]
    return None


def _number(distribution: BaseDistribution, value: Any) -> float:
    """A value as a number of its column; NaN if it is none."""
    if isinstance(distribution, CategoricalDistribution):
        return float(distribution.choices.index(value)) if value in distribution.choices else np.nan
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return np.nan
    if not isinstance(value, int | float) or isinstance(value, bool):
        return np.nan
    low, high, x = float(distribution.low), float(distribution.high), float(value)
    if distribution.log:
        if x <= 0:
            return np.nan
        low, high, x = math.log(low), math.log(high), math.log(x)
    return min(max((x - low) / (high - low), 0.0), 1.0) if high > low else 0.0


def _value(distribution: BaseDistribution, number: float) -> Any:
    """The value of a number of its column."""
    if isinstance(distribution, CategoricalDistribution):
        count = len(distribution.choices)
        return distribution.choices[0 if math.isnan(number) else min(int(number), count - 1)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    x = low + number * (high - low)
    if distribution.log:
        x = math.exp(math.log(low) + number * (math.log(high) - math.log(low)))
    if distribution.step is not None and not (distribution.log and distribution.step == 1):
        x = low + round((x - low) / distribution.step) * distribution.step
    x = min(max(x, low), high)
    return round(x) if isinstance(distribution, IntDistribution) else x
