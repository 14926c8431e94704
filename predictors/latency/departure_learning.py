"""Learning how devices of a class depart from their data sheets, from those that were measured.

The covariance of slopes and the variance of noise (`departure_process`) are those that make the
residuals of all settings most likely, by expectation and maximisation. Then come the likeness of
settings of one device, the chances of the levels, and factors with which 90 % intervals cover
networks of other families than the measured ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.latency.departure_process import (
    COUNTS,
    END,
    LEVELS,
    LOCAL,
    WAYS,
    DeparturePrior,
    DepartureProcess,
    Located,
)
from nasplug.predictors.prediction import Array

__all__ = ["DeviceResiduals", "learned_prior", "split_by_family"]

# Residuals of a setting that are learned, fewest and most, and those that weigh the levels.
FEWEST, MOST, WEIGHING = 5, 60, 15
ROUNDS = 40
# Residuals are learned as if they were at most so many robust standard deviations off their median.
CLIPPED, ROBUST = 3.0, 1.4826
# Where variances of slopes and of noise start; variance that slopes are held at, and by how many
# settings.
START, START_NOISE, LEAST, HELD = 0.03, 0.02, 3e-3, 3.0
# Slopes are learned within families of networks, and hold less in others: factor on their
# variances but the scale's, to which variance is added. These are best on left-out devices.
ELSEWHERE, MORE_SCALE = 0.5, 0.05
# Of a chance that is learned, against no evidence.
PSEUDO = 0.5
# Smallest standard deviation of a feature: all devices may have had one batch size.
NARROW = 0.1
# Pairs of settings by which the likeness of two is held at a half.
PAIRS = 4.0
# Share that intervals are made to cover, limits of the factors on them, draws of measured networks
# a setting, and errors of each that count.
COVER, MOST_WIDENED, DRAWS, ERRORS = 0.9, (1.0, 2.0), 3, 30
# Share of the networks of a setting that the measured families have, and how far it may be beyond.
SHARE, BEYOND = 0.5, 0.1


class DeviceResiduals(NamedTuple):
    """Residuals of one device.

    Attributes:
        located: Networks in their settings.
        residuals: Log of measured over predicted ms, `(n,)`.
        families: Name of the family of each network.
    """

    located: Located
    residuals: Array
    families: NDArray[np.str_]


class _Setting(NamedTuple):
    """Residuals of one device in one setting, and how much they count."""

    located: Located
    residuals: Array
    families: NDArray[np.str_]
    weight: float

    @property
    def clipped(self) -> Array:
        """Residuals of which none is farther off than most."""
        middle = np.median(self.residuals)
        reach = CLIPPED * ROBUST * np.median(np.abs(self.residuals - middle))
        result: Array = np.clip(self.residuals, middle - reach, middle + reach)
        return result


def learned_prior(devices: Sequence[DeviceResiduals], seed: int = 0) -> DeparturePrior:
    """Learn how devices of a class depart, from some that were predicted unseen."""
    rng = np.random.default_rng(seed)
    every = np.concatenate([device.located.features for device in devices])
    settings = [setting for device in devices for setting in _settings(device, rng)]
    start = DeparturePrior(
        every.mean(0),
        np.maximum(every.std(0), NARROW),
        START * np.eye(1 + every.shape[1]),
        START_NOISE,
        _likeness(devices),
        np.full(len(LEVELS), 1 / len(LEVELS)),
        np.ones(len(COUNTS)),
    )
    learned = _fitted(start, settings)
    learned = replace(learned, chances=_chances(learned, settings))
    return replace(learned, widening=_widening(learned, settings, rng))


def _settings(device: DeviceResiduals, rng: np.random.Generator) -> list[_Setting]:
    """Settings of a device with enough measurements, thinned."""
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for k, way in enumerate(device.located.ways):
        places[way].append(k)
    kept = [np.array(rows) for rows in places.values() if len(rows) >= FEWEST]
    # A device in many settings says more than one in a single one, but not in proportion.
    weight = max(len(kept), 1) ** -0.5
    result = []
    for rows in kept:
        few = rng.permutation(rows)[:MOST]
        taken = device.located.take(few), device.residuals[few], device.families[few]
        result.append(_Setting(*taken, weight))
    return result


def _fitted(prior: DeparturePrior, settings: Sequence[_Setting]) -> DeparturePrior:
    """Covariance of slopes and variance of noise that make the residuals most likely."""
    bounded = [prior.bounded(setting.located.features) for setting in settings]
    targets = [setting.clipped for setting in settings]
    weights = [setting.weight for setting in settings]
    total = sum(weights)
    slopes, noise = prior.slopes, prior.noise
    for _ in range(ROUNDS):
        inverse, squares, left = np.linalg.inv(slopes), np.zeros_like(slopes), 0.0
        for features, residuals, weight in zip(bounded, targets, weights, strict=True):
            covariance = np.linalg.inv(inverse + features.T @ features / noise)
            mean = covariance @ features.T @ residuals / noise
            squares += weight * (covariance + np.outer(mean, mean))
            errors = residuals - features @ mean
            explained = np.einsum("ij,jk,ik->", features, covariance, features)
            left += weight * (errors @ errors + explained) / len(residuals)
        slopes = (squares + HELD * LEAST * np.eye(len(slopes))) / (total + HELD)
        noise = left / total
    factors = np.full(len(slopes), ELSEWHERE**0.5)
    factors[0] = 1.0
    slopes = slopes * np.outer(factors, factors)
    slopes[0, 0] += MORE_SCALE
    return replace(prior, slopes=slopes, noise=float(noise))


def _likeness(devices: Sequence[DeviceResiduals]) -> dict[str, float]:
    """Correlation of the scales of settings of a device that differ in one of `WAYS`."""
    products, squares = dict.fromkeys(WAYS, 0.0), dict.fromkeys(WAYS, 0.0)
    counts = dict.fromkeys(WAYS, 0)
    for device in devices:
        residuals: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for way, residual in zip(device.located.ways, device.residuals.tolist(), strict=True):
            residuals[way].append(residual)
        scales = {w: float(np.median(r)) for w, r in residuals.items() if len(r) >= FEWEST}
        for (way, a), (other, b) in combinations(scales.items(), 2):
            apart = [name for name, x, y in zip(WAYS, way, other, strict=True) if x != y]
            if len(apart) == 1:
                products[apart[0]] += a * b
                squares[apart[0]] += (a * a + b * b) / 2
                counts[apart[0]] += 1
    usual = sum(squares.values()) / max(sum(counts.values()), 1) or 1.0
    held = PAIRS * usual
    return {
        name: float(np.clip((products[name] + held / 2) / (squares[name] + held), 0, 1))
        for name in WAYS
    }


def _evidence(prior: DeparturePrior, setting: _Setting) -> Array:
    """Log marginal likelihood of some residuals at each of `LEVELS`, but for a constant."""
    few = np.arange(min(WEIGHING, len(setting.residuals)))
    target, located = setting.clipped[few], setting.located.take(few)
    linear, local = prior.covariances(located, located)
    shared = local + (1 - LOCAL) * prior.noise * np.eye(len(few))
    sizes, noises = np.array(LEVELS).T[:, :, None, None]
    factors = np.linalg.cholesky(sizes * linear + noises * shared)
    solved = np.linalg.solve(factors, target[:, None])
    heights = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
    result: Array = -0.5 * (solved**2).sum((1, 2)) - heights
    return result


def _chances(prior: DeparturePrior, settings: Sequence[_Setting]) -> Array:
    """Probability of each level, from the evidence of settings for it."""
    evidences = np.array([_evidence(prior, setting) for setting in settings])
    weights = np.array([setting.weight for setting in settings])
    chances = prior.chances
    for _ in range(ROUNDS):
        logs = evidences + np.log(chances)
        each = np.exp(logs - logs.max(1, keepdims=True))
        each /= each.sum(1, keepdims=True)
        chances = (weights @ each + PSEUDO) / (weights.sum() + PSEUDO * len(chances))
    return chances


def split_by_family(
    families: NDArray[np.str_], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of networks of about half of the families, and of the others, in random order.

    Networks of a single family are halved.
    """
    order = rng.permutation(len(families))
    drawn = families[order]
    names = list(dict.fromkeys(drawn.tolist()))
    if len(names) == 1:
        half = len(order) // 2
        return order[:half], order[half:]
    inside, count = list[str](), 0
    for name in names:
        size = int((drawn == name).sum())
        if not inside or count + size <= (SHARE + BEYOND) * len(order):
            inside.append(name)
            count += size
        if count >= SHARE * len(order):
            break
    is_inside = np.isin(drawn, inside)
    return order[is_inside], order[~is_inside]


def _widening(
    prior: DeparturePrior, settings: Sequence[_Setting], rng: np.random.Generator
) -> Array:
    """Factors that let 90 % intervals cover networks of families that were not measured."""
    errors: dict[int, list[Array]] = {count: [] for count in COUNTS}
    for located, residuals, families, _ in settings:
        for _ in range(DRAWS):
            inside, judged = split_by_family(families, rng)
            for count in COUNTS:
                if len(inside) < count or not len(judged):
                    continue
                few = inside[:count]
                process = DepartureProcess(prior, located.take(few), residuals[few], np.ones(count))
                mean, std = process(located.take(judged), np.ones(len(judged)))
                # Each setting counts alike.
                off = np.abs(residuals[judged] - mean) / std
                errors[count].append(rng.choice(off, ERRORS))
    ends = [np.quantile(np.concatenate(off), COVER) if off else END for off in errors.values()]
    return np.clip(np.array(ends) / END, *MOST_WIDENED)
