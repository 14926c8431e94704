"""Learning how devices of a class depart from their data sheets, from those that were measured.

Variances, slopes and reaches of `departure_process` are those that make the residuals of all
devices most likely; each device counts by at most a few draws of its networks. Then come the
chances of the levels, and factors with which 90 % intervals cover networks on the other side of the
measured ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from nasplug.predictors.latency.departure_process import (
    COUNTS,
    END,
    FEWEST,
    JITTER,
    LEVELS,
    RANK,
    WAYS,
    DeparturePrior,
    DepartureProcess,
    Located,
)
from nasplug.predictors.latency.network_features import FEATURES
from nasplug.predictors.prediction import Array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DeviceResiduals", "learned_prior"]

STEPS, RATE = 150, 0.05
# How strongly numbers are held where they start.
HOLD = 0.02
# Residuals of a device that learn the variances at a time, and draws of them at most.
MOST, DRAWS = 40, 2
ROUNDS = 20
# Residuals are learned as if they were at most so many robust standard deviations off their median.
CLIPPED, ROBUST = 3.0, 1.4826
# Factors on variances that this understates.
UNDERSTATED = {"long": 2.0, "short": 2.0}
# Of a chance that is learned, against no evidence.
PSEUDO = 0.5
# Share that intervals are made to cover, and limits of the factors on them.
COVER, MOST_WIDENED = 0.9, (0.7, 2.0)

# Name of a variance, a slope or a length -> where its fit starts.
START: dict[str, float] = {
    **{"scale": 0.04, "setting": 0.02, "long": 0.01, "short": 0.005, "noise": 0.002},
    **{"reach long": 2.0, "reach short": 0.4},
    **{f"slope {name}": 0.003 for name in FEATURES},
    **{f"length {name}": 1.0 for name in FEATURES},
}


class DeviceResiduals(NamedTuple):
    """Residuals of one device: log of measured over predicted ms, shape `(n,)`."""

    located: Located
    residuals: Array


class _Batch(NamedTuple):
    """Devices side by side: `(devices, n, features)`, `(devices, n, ways)`, `(devices, n)`."""

    features: Tensor
    ways: Tensor
    residuals: Tensor
    present: Tensor


def learned_prior(devices: Sequence[DeviceResiduals], seed: int = 0) -> DeparturePrior:
    """Learn how devices of a class depart, from some that were predicted unseen."""
    every = np.concatenate([device.located.features for device in devices])
    sizes = [len(device.residuals) for device in devices]
    # A large table says more than a small one, but not in proportion.
    weights = np.concatenate([np.full(size, size**-0.5) for size in sizes])
    center = np.average(every, axis=0, weights=weights)
    spread = np.sqrt(np.average((every - center) ** 2, axis=0, weights=weights)) + 1e-3
    chances = np.full(len(LEVELS), 1 / len(LEVELS))
    shared = np.random.default_rng(seed).normal(0, 0.03, (1 + len(FEATURES), RANK))
    alike, widening = dict.fromkeys(WAYS, 0.5), np.ones(len(COUNTS))
    start = DeparturePrior(START, alike, shared, center, spread, chances, widening)
    batch = _batch(start, devices, np.random.default_rng(seed))
    learned = _fitted(start, batch)
    with torch.no_grad():
        parts = learned.covariances(*learned.tensors(), batch.features, batch.ways)
        noise = learned.numbers["noise"]
        evidences = [_evidence(parts, noise, batch, level) for level in LEVELS]
    learned = replace(learned, chances=_chances(torch.stack(evidences).T.numpy()))
    return replace(learned, widening=_widening(learned, devices, seed))


def _widening(prior: DeparturePrior, devices: Sequence[DeviceResiduals], seed: int) -> Array:
    """Factors that let 90 % intervals cover; those measured lie on one side of those judged."""
    rng = np.random.default_rng(seed)
    result = []
    for count in COUNTS:
        far: list[Array] = []
        for device in devices:
            if len(device.residuals) < 2 * count + FEWEST:
                continue
            for _ in range(DRAWS):
                standard = (device.located.features - prior.center) / prior.spread
                order = np.argsort(standard @ rng.normal(size=standard.shape[1]))
                side, judged = np.array_split(order, 2)
                learned = rng.permutation(side)[:count]
                process = DepartureProcess(
                    prior,
                    device.located.take(learned),
                    device.residuals[learned],
                    np.ones(count),
                )
                mean, std = process(device.located.take(judged), np.ones(len(judged)))
                far.append(np.abs(device.residuals[judged] - mean) / std)
        # Each device counts alike.
        ends = [float(np.quantile(part, COVER)) for part in far]
        result.append(np.clip(np.mean(ends) / END, *MOST_WIDENED) if ends else 1.0)
    return np.array(result)


def _batch(
    prior: DeparturePrior, devices: Sequence[DeviceResiduals], rng: np.random.Generator
) -> _Batch:
    codes: dict[str, int] = {}
    rows: list[list[Tensor]] = []
    for device in devices:
        count = len(device.residuals)
        for _ in range(min(DRAWS, -(-count // MOST))):
            places = rng.permutation(count)[:MOST]
            missing = MOST - len(places)
            features, ways = prior.standard(device.located.take(places), codes)
            target = torch.from_numpy(_clipped(device.residuals)[places])
            pad = torch.nn.functional.pad
            rows.append(
                [
                    pad(features, (0, 0, 0, missing)),
                    pad(ways, (0, 0, 0, missing)),
                    pad(target, (0, missing)),
                    pad(torch.ones(len(places), dtype=torch.bool), (0, missing)),
                ]
            )
    return _Batch(*(torch.stack(column) for column in zip(*rows, strict=True)))


def _fitted(prior: DeparturePrior, batch: _Batch) -> DeparturePrior:
    """Numbers that make the residuals of all devices most likely."""
    names = list(START)
    start = torch.tensor([START[name] for name in names], dtype=torch.float64).log()
    logs = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
    alike = torch.zeros(len(WAYS), dtype=torch.float64, requires_grad=True)
    shared = torch.tensor(prior.shared, requires_grad=True)
    optimizer = torch.optim.Adam([logs, alike, shared], lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        numbers = dict(zip(names, (start + logs).exp(), strict=True))
        parts = prior.covariances(numbers, alike.sigmoid(), shared, batch.features, batch.ways)
        evidence = _evidence(parts, numbers["noise"], batch).sum() / batch.present.sum()
        held = (logs**2).sum() + (alike**2).sum() + 100 * (shared**2).sum()
        optimizer.zero_grad()
        (HOLD * held / len(batch.present) - evidence).backward()
        optimizer.step()
        schedule.step()
    values = (start + logs.detach()).exp().tolist()
    learned = dict(zip(names, values, strict=True))
    return replace(
        prior,
        numbers={name: UNDERSTATED.get(name, 1.0) * v for name, v in learned.items()},
        alike=dict(zip(WAYS, alike.detach().sigmoid().tolist(), strict=True)),
        shared=shared.detach().numpy(),
    )


def _clipped(residuals: Array) -> Array:
    """Residuals of which none is farther off than most."""
    middle = np.median(residuals)
    reach = CLIPPED * ROBUST * np.median(np.abs(residuals - middle))
    return np.clip(residuals, middle - reach, middle + reach)


def _evidence(
    parts: tuple[Tensor, Tensor],
    noise: Tensor | float,
    batch: _Batch,
    level: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Tensor:
    """Log marginal likelihood of each device's residuals, `(devices,)`, but for a constant."""
    both = batch.present[:, :, None] & batch.present[:, None, :]
    covariance = torch.where(
        both, level[0] * parts[0] + level[1] * parts[1], torch.zeros(()).double()
    )
    own = torch.where(batch.present, JITTER + level[2] * noise, torch.ones(()).double())
    factor = torch.linalg.cholesky(covariance + torch.diag_embed(own))
    solved = torch.linalg.solve_triangular(factor, batch.residuals[..., None], upper=False)
    heights = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    result: Tensor = -0.5 * (solved**2).sum((-1, -2)) - heights
    return result


def _chances(evidences: Array) -> Array:
    """Probability of each level from the evidence of devices for it, `(devices, levels)`."""
    levels = evidences.shape[1]
    chances = np.full(levels, 1 / levels)
    for _ in range(ROUNDS):
        logs = evidences + np.log(chances)
        each = np.exp(logs - logs.max(1, keepdims=True))
        each /= each.sum(1, keepdims=True)
        chances = (each.sum(0) + PSEUDO) / (len(each) + levels * PSEUDO)
    return chances
