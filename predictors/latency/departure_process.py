"""How a device departs from its data sheet, learned from many devices: a Gaussian process.

On device d in setting s a network g takes

    log ms = log ms by the data sheet + scale(d, s) + shape(d, s, g) + noise

The scale is one number a setting. The shape is a smooth function of where the network's time goes
(network_features.py): linear in it, with a covariance between the features that devices of the
class share, and bounded; around that a process of a long and one of a short reach. Settings of one
device are alike as far as their runtime, precision, processor and source are the same. All
variances are learned from the residuals of measured devices, by their marginal likelihood, so that
three measurements tell the scale, ten tell the shape, and a network unlike all of them keeps the
scale alone. What a device departs by, and how noisy its measurements are, differs among devices by
a few levels, whose chances are learned, too; the evidence of its measurements weighs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.latency.network_features import FEATURES
from nasplug.predictors.prediction import Array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["WAYS", "DeparturePrior", "DepartureProcess", "DeviceResiduals", "Located"]

# What tells settings of one device apart.
WAYS = ("runtime", "precision", "unit", "source")
# Directions that features share; standard deviations from which on a feature counts no more.
RANK, FARTHEST = 3, 3.0
# Levels: factors on the variances of scale, shape and noise that a device may have.
LEVELS = tuple(product((0.15, 1.0, 5.0), (0.3, 1.0, 3.0), (0.5, 2.0)))
STEPS, RATE = 150, 0.05
# How strongly numbers are held where they start.
HOLD = 0.02
# Residuals of a device that learn the variances at a time, and draws of them at most.
MOST, DRAWS = 40, 2
ROUNDS = 20
JITTER = 1e-6
# Standard deviations from which on a measurement counts as one with more noise.
OUTLYING, OUTLIER_ROUNDS = 1.5, 3
# Numbers of measurements whose intervals are made to cover, and limits of the factors on them.
COUNTS, COVER, MOST_WIDENED = (1, 3, 10), 0.9, (0.7, 2.0)
# Standard deviations of a normal distribution to the end of its central 90 % interval.
END = 1.6449
# Standard deviations by which a departure is held back, so that the data sheet's prediction is left
# only where the measurements are sure; without it one draw in four is worse than the data sheet.
CAUTION = 0.5
# Of fewer measurements none can be told to be far off.
FEWEST = 3
# Residuals are learned as if they were at most so many robust standard deviations off their median.
CLIPPED, ROBUST = 3.0, 1.4826
# Factors on variances that this understates.
UNDERSTATED = {"long": 2.0, "short": 2.0}
# Of a chance that is learned, against no evidence.
PSEUDO = 0.5

# Name of a variance, a slope or a length -> where its fit starts.
START: dict[str, float] = {
    **{"scale": 0.04, "setting": 0.02, "long": 0.01, "short": 0.005, "noise": 0.002},
    **{"reach long": 2.0, "reach short": 0.4},
    **{f"slope {name}": 0.003 for name in FEATURES},
    **{f"length {name}": 1.0 for name in FEATURES},
}


class Located(NamedTuple):
    """Networks in their settings.

    Attributes:
        features: `network_features`, shape `(n, len(FEATURES))`.
        ways: Words of each setting, in the order of `WAYS`.
    """

    features: Array
    ways: Sequence[tuple[str, ...]]

    def take(self, places: NDArray[Any]) -> Located:
        """Some of the networks."""
        return Located(self.features[places], [self.ways[k] for k in places.tolist()])


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


@dataclass(frozen=True, eq=False)
class DeparturePrior:
    """How devices of a class depart from their data sheets.

    Attributes:
        numbers: Variances, slopes and lengths, those of `START`.
        alike: By how much settings that differ in one of `WAYS` are alike, from 0 to 1.
        shared: Directions in which a constant and the features vary together,
            `(1 + len(FEATURES), RANK)`.
        center: Mean of the features, `(len(FEATURES),)`.
        spread: Standard deviation of the features.
        chances: Probability of each of `LEVELS`.
        widening: Factor on standard deviations after each of `COUNTS` measurements, with which
            intervals cover networks unlike the measured ones.
    """

    numbers: Mapping[str, float]
    alike: Mapping[str, float]
    shared: Array
    center: Array
    spread: Array
    chances: Array
    widening: Array

    @classmethod
    def of(cls, devices: Sequence[DeviceResiduals], seed: int = 0) -> DeparturePrior:
        """Learn from devices that were predicted unseen."""
        every = np.concatenate([device.located.features for device in devices])
        sizes = [len(device.residuals) for device in devices]
        # A large table says more than a small one, but not in proportion.
        weights = np.concatenate([np.full(size, size**-0.5) for size in sizes])
        center = np.average(every, axis=0, weights=weights)
        spread = np.sqrt(np.average((every - center) ** 2, axis=0, weights=weights)) + 1e-3
        chances = np.full(len(LEVELS), 1 / len(LEVELS))
        shared = np.random.default_rng(seed).normal(0, 0.03, (1 + len(FEATURES), RANK))
        alike, widening = dict.fromkeys(WAYS, 0.5), np.ones(len(COUNTS))
        start = cls(START, alike, shared, center, spread, chances, widening)
        batch = start._batch(devices, np.random.default_rng(seed))
        learned = start._fitted(batch)
        with torch.no_grad():
            parts = learned._parts(*learned._tensors(), batch.features, batch.ways)
            noise = learned.numbers["noise"]
            evidences = [_evidence(parts, noise, batch, level) for level in LEVELS]
        learned = replace(learned, chances=_chances(torch.stack(evidences).T.numpy()))
        return replace(learned, widening=learned._widening(devices, seed))

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `json.dumps`, from which `from_json` makes an equal object."""
        tables = {"numbers": dict(self.numbers), "alike": dict(self.alike)}
        arrays = ("shared", "center", "spread", "chances", "widening")
        return tables | {name: getattr(self, name).tolist() for name in arrays}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> DeparturePrior:
        """The prior that `to_json` wrote."""
        arrays = ("shared", "center", "spread", "chances", "widening")
        values = {name: np.array(table[name], dtype=np.float64) for name in arrays}
        return cls(table["numbers"], table["alike"], **values)

    def widen(self, count: int) -> float:
        """Factor on standard deviations after some measurements."""
        return float(np.interp(np.log(max(count, 1)), np.log(COUNTS), self.widening))

    def _widening(self, devices: Sequence[DeviceResiduals], seed: int) -> Array:
        """Factors that let 90 % intervals cover; those measured lie on one side of those judged."""
        rng = np.random.default_rng(seed)
        result = []
        for count in COUNTS:
            far: list[Array] = []
            for device in devices:
                if len(device.residuals) < 2 * count + FEWEST:
                    continue
                for _ in range(DRAWS):
                    standard = (device.located.features - self.center) / self.spread
                    order = np.argsort(standard @ rng.normal(size=standard.shape[1]))
                    side, judged = np.array_split(order, 2)
                    learned = rng.permutation(side)[:count]
                    process = DepartureProcess(
                        self,
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

    def _batch(self, devices: Sequence[DeviceResiduals], rng: np.random.Generator) -> _Batch:
        codes: dict[str, int] = {}
        rows: list[list[Tensor]] = []
        for device in devices:
            count = len(device.residuals)
            for _ in range(min(DRAWS, -(-count // MOST))):
                places = rng.permutation(count)[:MOST]
                missing = MOST - len(places)
                features, ways = self._located(device.located.take(places), codes)
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

    def _located(self, located: Located, codes: dict[str, int]) -> tuple[Tensor, Tensor]:
        """Standard features, and codes of the ways, which are added to `codes`."""
        features = (located.features - self.center) / self.spread
        ways = [[codes.setdefault(word, len(codes)) for word in way] for way in located.ways]
        return torch.from_numpy(features), torch.tensor(ways).reshape(len(ways), len(WAYS))

    def _tensors(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        numbers = {
            name: torch.tensor(value, dtype=torch.float64) for name, value in self.numbers.items()
        }
        alike = torch.tensor([self.alike[name] for name in WAYS], dtype=torch.float64)
        return numbers, alike, torch.from_numpy(self.shared)

    def variances(self, located: Located) -> Array:
        """Variance of the residual of each network before anything is measured, `(n,)`."""
        parts = self._own(self._located(located, {}))
        usual = self.chances @ np.array(LEVELS)
        scale, shape = (part.numpy() for part in parts)
        result: Array = usual[0] * scale + usual[1] * shape + usual[2] * self.numbers["noise"]
        return result

    def _own(self, located: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Variances of the scale and of the shape of each network, `(n,)` each."""
        features, ways = located
        parts = self._parts(*self._tensors(), features[:, None], ways[:, None])
        return parts[0][:, 0, 0], parts[1][:, 0, 0]

    @torch.no_grad()
    def design(self, candidates: Located, others: Located, count: int) -> list[int]:
        """Positions of candidates to measure: each leaves the least variance over all networks.

        Args:
            candidates: Networks that can be measured.
            others: Networks that are to be predicted, beside the candidates.
            count: Number of networks to choose.
        """
        every = Located(
            np.concatenate([candidates.features, others.features]),
            [*candidates.ways, *others.ways],
        )
        scale, shape = self._parts(*self._tensors(), *self._located(every, {}))
        covariance = (scale + shape).numpy()
        noise, chosen = self.numbers["noise"], list[int]()
        for _ in range(count):
            own = np.diag(covariance) + noise
            gain = (covariance**2).sum(0) / own
            gain[[*chosen, *range(len(candidates.ways), len(own))]] = -np.inf
            best = int(gain.argmax())
            chosen.append(best)
            column = covariance[:, best]
            covariance = covariance - np.outer(column, column) / own[best]
        return chosen

    def _fitted(self, batch: _Batch) -> DeparturePrior:
        """Numbers that make the residuals of all devices most likely."""
        names = list(START)
        start = torch.tensor([START[name] for name in names], dtype=torch.float64).log()
        logs = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
        alike = torch.zeros(len(WAYS), dtype=torch.float64, requires_grad=True)
        shared = torch.tensor(self.shared, requires_grad=True)
        optimizer = torch.optim.Adam([logs, alike, shared], lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            numbers = dict(zip(names, (start + logs).exp(), strict=True))
            parts = self._parts(numbers, alike.sigmoid(), shared, batch.features, batch.ways)
            evidence = _evidence(parts, numbers["noise"], batch).sum() / batch.present.sum()
            held = (logs**2).sum() + (alike**2).sum() + 100 * (shared**2).sum()
            optimizer.zero_grad()
            (HOLD * held / len(batch.present) - evidence).backward()
            optimizer.step()
            schedule.step()
        values = (start + logs.detach()).exp().tolist()
        learned = dict(zip(names, values, strict=True))
        return replace(
            self,
            numbers={name: UNDERSTATED.get(name, 1.0) * v for name, v in learned.items()},
            alike=dict(zip(WAYS, alike.detach().sigmoid().tolist(), strict=True)),
            shared=shared.detach().numpy(),
        )

    @staticmethod
    def _parts(
        numbers: Mapping[str, Tensor],
        alike: Tensor,
        shared: Tensor,
        features: Tensor,
        ways: Tensor,
        others: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Covariances of the scale and of the shape, `(..., n, m)` each."""
        to_features, to_ways = (features, ways) if others is None else others
        way = _alike(alike, ways, to_ways)
        a, b = (f.clamp(-FARTHEST, FARTHEST) for f in (features, to_features))
        slopes = torch.stack([numbers[f"slope {name}"] for name in FEATURES])
        linear = (a * slopes) @ b.transpose(-1, -2)
        one = (torch.cat([torch.ones_like(x[..., :1]), x], -1) @ shared for x in (a, b))
        first, second = one
        linear = linear + first @ second.transpose(-1, -2)
        smooth = _smooth(numbers, features, to_features)
        return numbers["scale"] + way * numbers["setting"], way * (linear + smooth)


def _alike(alike: Tensor, ways: Tensor, others: Tensor) -> Tensor:
    """Likeness of settings, from 0 to 1, `(..., n, m)`."""
    same = ways[..., :, None, :] == others[..., None, :, :]
    return torch.where(same, torch.ones_like(alike), alike).prod(-1)


def _smooth(numbers: Mapping[str, Tensor], features: Tensor, others: Tensor) -> Tensor:
    """Covariance of the processes of a long and of a short reach, `(..., n, m)`."""
    far, close = (numbers[n] * _near(numbers, features, others, n) for n in ("long", "short"))
    return far + close


def _near(numbers: Mapping[str, Tensor], features: Tensor, others: Tensor, name: str) -> Tensor:
    """Nearness of networks as one of the processes has it, from 0 to 1, `(..., n, m)`."""
    lengths = torch.stack([numbers[f"length {feature}"] for feature in FEATURES])
    squares = _squares(features / lengths, others / lengths)
    return (-0.5 * squares / numbers[f"reach {name}"] ** 2).exp()


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances, `(..., n, m)`."""
    product_ = a @ b.transpose(-1, -2)
    total = (a**2).sum(-1)[..., :, None] + (b**2).sum(-1)[..., None, :] - 2 * product_
    return total.clamp(min=0)


def _clipped(residuals: Array) -> Array:
    """Residuals of which none is farther off than most."""
    middle = np.median(residuals)
    reach = CLIPPED * ROBUST * np.median(np.abs(residuals - middle))
    return np.clip(residuals, middle - reach, middle + reach)


def _robust(covariances: Tensor, target: Tensor) -> Tensor:
    """Covariances with more noise where a residual is far off what the others tell, `(k, n, n)`."""
    for _ in range(OUTLIER_ROUNDS if len(target) >= FEWEST else 0):
        inverse = torch.linalg.inv(covariances)
        around = 1 / inverse.diagonal(dim1=-2, dim2=-1)
        square = ((inverse @ target) * around) ** 2
        missing = (square / OUTLYING**2 - around).clamp(min=0)
        covariances = covariances + torch.diag_embed(missing)
    return covariances


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
        self._codes: dict[str, int] = {}
        self._measured = prior._located(located, self._codes)
        self._widths = torch.from_numpy(widths)
        target = torch.from_numpy(residuals)
        numbers = prior._tensors()
        scale, shapes = prior._parts(*numbers, *self._measured)
        outer = self._widths[:, None] * self._widths
        eye = torch.eye(len(target), dtype=torch.float64)
        own = [JITTER + noise * prior.numbers["noise"] for _, _, noise in LEVELS]
        stack = torch.stack(
            [
                (size * scale + shape * shapes) * outer + noise * eye
                for (size, shape, _), noise in zip(LEVELS, own, strict=True)
            ]
        )
        self._factors = torch.linalg.cholesky(_robust(stack, target))
        solved = torch.cholesky_solve(target[:, None].expand(len(LEVELS), -1, 1), self._factors)
        self._weights = solved[..., 0]
        heights = self._factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        logs = -0.5 * self._weights @ target - heights + torch.from_numpy(prior.chances).log()
        self.chances = (logs - logs.max()).softmax(0)

    def nearness(self, located: Located) -> Array:
        """Largest likeness of each network and a measured one, by the process of the long reach.

        It is 1 for a network that was measured in its setting, and 0 far from all of them; `(n,)`.
        """
        if not len(self._widths):
            return np.zeros(len(located.ways))
        asked = self.prior._located(located, self._codes)
        numbers, alike, _ = self.prior._tensors()
        near = _near(numbers, asked[0], self._measured[0], "long")
        result: Array = (near * _alike(alike, asked[1], self._measured[1])).amax(1).numpy()
        return result

    def __call__(self, located: Located, widths: Array) -> tuple[Array, Array]:
        """Cautious mean and standard deviation of the residuals of networks, `(n,)` each."""
        asked = self.prior._located(located, self._codes)
        numbers = self.prior._tensors()
        scale, shapes = self.prior._parts(*numbers, *asked, self._measured)
        wide = torch.from_numpy(widths)
        outer = wide[:, None] * self._widths
        own_scale, own_shape = self.prior._own(asked)
        mean, square = torch.zeros_like(wide), torch.zeros_like(wide)
        noise = self.prior.numbers["noise"]
        for k, (size, shape, level) in enumerate(LEVELS):
            cross = (size * scale + shape * shapes) * outer
            center = cross @ self._weights[k]
            explained = torch.linalg.solve_triangular(self._factors[k], cross.T, upper=False)
            before = (size * own_scale + shape * own_shape) * wide**2
            spread = (before - (explained**2).sum(0)).clamp(min=0) + level * noise
            mean += self.chances[k] * center
            square += self.chances[k] * (spread + center**2)
        std = (square - mean**2).clamp(min=JITTER).sqrt()
        sure = (mean.abs() - CAUTION * std).clamp(min=0) * mean.sign()
        return sure.numpy(), (std * self.prior.widen(len(self._widths))).numpy()
