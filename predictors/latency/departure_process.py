"""Departures of a device from its data sheet: a Gaussian process, learned from many devices.

On device d in setting s a network g takes

    log ms = log ms by the data sheet + scale(d, s) + shape(d, s, g) + noise

The scale is one number a setting. The shape is a smooth function of where the network's time goes
(network_features.py): linear in it, with a covariance between the features that devices of the
class share, and bounded; around that a process of a long and one of a short reach. Settings of one
device are alike as far as their runtime, precision, processor and source are the same. All
variances are learned from the residuals of measured devices (departure_learning.py), so that
three measurements tell the scale, ten tell the shape, and a network unlike all of them keeps the
scale alone. What a device departs by, and how noisy its measurements are, differs among devices by
a few levels, whose chances are learned, too; the evidence of its measurements weighs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.latency.network_features import FEATURES
from nasplug.predictors.prediction import Array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "COUNTS",
    "END",
    "FEWEST",
    "JITTER",
    "LEVELS",
    "RANK",
    "WAYS",
    "DeparturePrior",
    "DepartureProcess",
    "Located",
]

# What tells settings of one device apart.
WAYS = ("runtime", "precision", "unit", "source")
# Directions that features share; standard deviations from which on a feature counts no more.
RANK, FARTHEST = 3, 3.0
# Levels: factors on the variances of scale, shape and noise that a device may have.
LEVELS = tuple(product((0.15, 1.0, 5.0), (0.3, 1.0, 3.0), (0.5, 2.0)))
JITTER = 1e-6
# Standard deviations from which on a measurement counts as one with more noise.
OUTLYING, OUTLIER_ROUNDS = 1.5, 3
# Numbers of measurements whose intervals are made to cover.
COUNTS = (1, 3, 10)
# Standard deviations of a normal distribution to the end of its central 90 % interval.
END = 1.6449
# Standard deviations up to which a departure is none, so that the data sheet's prediction is left
# only where the measurements are sure; without it one draw in four is worse than the data sheet.
CAUTION = 0.7
# Of fewer measurements none can be told to be far off.
FEWEST = 3


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


@dataclass(frozen=True, eq=False)
class DeparturePrior:
    """Prior of the departures of a class of devices from their data sheets.

    Attributes:
        numbers: Variances, slopes and lengths, those of `departure_learning.START`.
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

    def standard(self, located: Located, codes: dict[str, int]) -> tuple[Tensor, Tensor]:
        """Standard features, and codes of the ways, which are added to `codes`."""
        features = (located.features - self.center) / self.spread
        ways = [[codes.setdefault(word, len(codes)) for word in way] for way in located.ways]
        return torch.from_numpy(features), torch.tensor(ways).reshape(len(ways), len(WAYS))

    def tensors(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Numbers, likeness of ways, and shared directions, as `covariances` takes them."""
        numbers = {
            name: torch.tensor(value, dtype=torch.float64) for name, value in self.numbers.items()
        }
        alike = torch.tensor([self.alike[name] for name in WAYS], dtype=torch.float64)
        return numbers, alike, torch.from_numpy(self.shared)

    def variances(self, located: Located) -> Array:
        """Variance of the residual of each network before anything is measured, `(n,)`."""
        parts = self._own(self.standard(located, {}))
        usual = self.chances @ np.array(LEVELS)
        scale, shape = (part.numpy() for part in parts)
        result: Array = usual[0] * scale + usual[1] * shape + usual[2] * self.numbers["noise"]
        return result

    def _own(self, located: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Variances of the scale and of the shape of each network, `(n,)` each."""
        features, ways = located
        parts = self.covariances(*self.tensors(), features[:, None], ways[:, None])
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
        scale, shape = self.covariances(*self.tensors(), *self.standard(every, {}))
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

    @staticmethod
    def covariances(
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


def _robust(covariances: Tensor, target: Tensor) -> Tensor:
    """Covariances with more noise where a residual is far off what the others tell, `(k, n, n)`."""
    for _ in range(OUTLIER_ROUNDS if len(target) >= FEWEST else 0):
        inverse = torch.linalg.inv(covariances)
        around = 1 / inverse.diagonal(dim1=-2, dim2=-1)
        square = ((inverse @ target) * around) ** 2
        missing = (square / OUTLYING**2 - around).clamp(min=0)
        covariances = covariances + torch.diag_embed(missing)
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
        self._codes: dict[str, int] = {}
        self._measured = prior.standard(located, self._codes)
        self._widths = torch.from_numpy(widths)
        target = torch.from_numpy(residuals)
        numbers = prior.tensors()
        scale, shapes = prior.covariances(*numbers, *self._measured)
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
        asked = self.prior.standard(located, self._codes)
        numbers, alike, _ = self.prior.tensors()
        near = _near(numbers, asked[0], self._measured[0], "long")
        result: Array = (near * _alike(alike, asked[1], self._measured[1])).amax(1).numpy()
        return result

    def __call__(self, located: Located, widths: Array) -> tuple[Array, Array]:
        """Cautious mean and standard deviation of the residuals of networks, `(n,)` each."""
        asked = self.prior.standard(located, self._codes)
        numbers = self.prior.tensors()
        scale, shapes = self.prior.covariances(*numbers, *asked, self._measured)
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
        # The garrote of Breiman (Technometrics 1995): what is large stays as it is.
        sure = mean * (1 - (CAUTION * std / mean.abs().clamp(min=JITTER)) ** 2).clamp(min=0)
        return sure.numpy(), (std * self.prior.widen(len(self._widths))).numpy()
