"""Residuals of a latency model on devices that were not measured: a Gaussian process.

What a physical model gets wrong of a network is wrong in much the same way on another device, the
more so the more alike these are; a known network has its own residual. The covariance of two
residuals is a sum of products of likenesses (of the networks, near and far; of the devices; of the
settings; of the script that measured), each with a variance that is learned by maximum likelihood.
What is particular to one chip is a part of the sum that no other chip shares, so that it is learned
and not passed on. See Rasmussen and Williams, Gaussian Processes for Machine Learning (2006).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.prediction import Array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Described", "ResidualProcess"]

# Products of likenesses -> the standard deviation that each starts with, in log units.
_TERMS = {
    "near": 0.08,
    "near, device": 0.05,
    "far": 0.08,
    "far, device": 0.08,
    "device": 0.08,
    "script": 0.08,
    "chip": 0.1,
    "chip, far": 0.05,
    "noise": 0.05,
}
# Likeness of different settings and precisions, and lengths (in standard deviations a feature).
_LIKENESS = {"setting": 0.4, "precision": 0.5}
_LENGTHS = {"near": 0.15, "far": 1.0, "device": 1.0}
_STEPS, _RATE = 40, 0.08
# Rows that the variances are learned from, and that are kept.
_LEARNED, _KEPT = 500, 4000
_JITTER = 1e-5
# Least spread of what is particular to a chip, so that a single one never speaks for others.
_LEAST_CHIP = 0.05
# How strongly logarithms of all these are held where they start.
_PRIOR = 0.5


class Described(NamedTuple):
    """Rows in numbers.

    Attributes:
        networks: Features of each network at its batch size, `(n, features)`.
        devices: Features of each device, `(n, features)`.
        codes: Codes of setting, precision, script and chip, `(n, 4)`; −1 is like no other.
    """

    networks: Array
    devices: Array
    codes: NDArray[np.int64]

    def rows(self, chosen: Any) -> Described:
        """Some of the rows."""
        return Described(self.networks[chosen], self.devices[chosen], self.codes[chosen])


@dataclass(frozen=True, eq=False)
class ResidualProcess:
    """A Gaussian process over residuals.

    Attributes:
        described: The rows that were learned; features scaled.
        weights: Inverse of their covariance times their residuals, `(n,)`.
        numbers: Name -> standard deviation, likeness or length.
        scales: Mean and spread of features of networks, and of devices, `(2, features)` each.
    """

    described: Described
    weights: Array
    numbers: Mapping[str, float]
    scales: tuple[Array, Array]

    @classmethod
    def of(
        cls,
        described: Described,
        residuals: Array,
        numbers: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> ResidualProcess:
        """Learn from residuals.

        Args:
            described: Rows.
            residuals: log(truth) − log(prediction) of each, `(n,)`.
            numbers: Those of a process that was learned before; found anew if left out.
            seed: Of the rows that are drawn where there are too many.
        """
        order = np.random.default_rng(seed).permutation(len(residuals))[:_KEPT]
        described, residuals = described.rows(order), residuals[order]
        scales = (_scale(described.networks), _scale(described.devices))
        # As they are stored.
        scaled = _rounded(_scaled(described, scales))
        found = dict(numbers or _likeliest(scaled.rows(slice(_LEARNED)), residuals[:_LEARNED]))
        values = {name: torch.tensor(value) for name, value in found.items()}
        with torch.no_grad():
            covariance = _covariance(scaled, scaled, values, own=True).double()
            target = torch.tensor(residuals, dtype=torch.float64)
            weights = torch.cholesky_solve(target[:, None], torch.linalg.cholesky(covariance))
        return cls(scaled, weights[:, 0].numpy(), found, scales)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays to store."""
        return {
            "residual_networks": self.described.networks.astype(np.float16),
            "residual_devices": self.described.devices.astype(np.float16),
            "residual_codes": self.described.codes.astype(np.int16),
            "residual_weights": self.weights,
            "residual_network_scales": self.scales[0],
            "residual_device_scales": self.scales[1],
        }

    @classmethod
    def restored(
        cls, tensors: Mapping[str, NDArray[Any]], numbers: Mapping[str, float]
    ) -> ResidualProcess:
        """Restore the process that `tensors` stored, with its `numbers`."""
        described = Described(
            tensors["residual_networks"].astype(np.float64),
            tensors["residual_devices"].astype(np.float64),
            tensors["residual_codes"].astype(np.int64),
        )
        scales = (tensors["residual_network_scales"], tensors["residual_device_scales"])
        values = {str(name): float(value) for name, value in numbers.items()}
        return cls(described, tensors["residual_weights"], values, scales)

    @torch.no_grad()
    def __call__(self, described: Described) -> Array:
        """Residuals that are likely on chips that were not learned, `(n,)`."""
        values = {name: torch.tensor(value) for name, value in self.numbers.items()}
        asked = _scaled(described, self.scales)
        result = np.zeros(len(asked.networks))
        for start in range(0, len(result), 500):
            part = slice(start, start + 500)
            covariance = _covariance(asked.rows(part), self.described, values, own=False)
            result[part] = covariance.double().numpy() @ self.weights
        return result


def _rounded(described: Described) -> Described:
    networks, devices = (
        table.astype(np.float16).astype(np.float64)
        for table in (described.networks, described.devices)
    )
    return Described(networks, devices, described.codes)


def _scale(features: Array) -> Array:
    spread = features.std(0)
    return np.stack([features.mean(0), np.where(spread > 1e-6, spread, 1.0)])


def _scaled(described: Described, scales: tuple[Array, Array]) -> Described:
    networks = (described.networks - scales[0][0]) / scales[0][1]
    devices = (described.devices - scales[1][0]) / scales[1][1]
    return Described(networks, devices, described.codes)


def _distances(a: Array, b: Array) -> Tensor:
    """Squared distances a feature, `(rows of a, rows of b)`."""
    x, y = torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
    result: Tensor = torch.cdist(x, y) ** 2 / x.shape[1]
    return result


def _likenesses(a: Described, b: Described) -> dict[str, Tensor]:
    same = [torch.tensor(x[:, None] == y[None]) for x, y in zip(a.codes.T, b.codes.T, strict=True)]
    known = torch.tensor(b.codes >= 0)
    return {
        "networks": _distances(a.networks, b.networks),
        "devices": _distances(a.devices, b.devices),
        "setting": same[0],
        "precision": same[1],
        "script": same[2] & known[:, 2],
        "chip": same[3] & known[:, 3],
    }


def _covariance(a: Described, b: Described, numbers: Mapping[str, Tensor], own: bool) -> Tensor:
    return _summed(_likenesses(a, b), numbers, own)


def _summed(likenesses: Mapping[str, Tensor], numbers: Mapping[str, Tensor], own: bool) -> Tensor:
    """Covariances; with what chips do not share, if `own`."""

    def length(name: str, of: str) -> Tensor:
        return torch.exp(-likenesses[of] / (2 * numbers[f"length.{name}"] ** 2))

    def variance(name: str) -> Tensor:
        return numbers[f"spread.{name}"] ** 2

    near, far = length("near", "networks"), length("far", "networks")
    device = length("device", "devices")
    setting = torch.where(likenesses["setting"], 1.0, numbers["like.setting"])
    setting = setting * torch.where(likenesses["precision"], 1.0, numbers["like.precision"])
    shared = variance("near") * near + variance("far") * far
    shared = shared + device * (
        variance("near, device") * near + variance("far, device") * far + variance("device")
    )
    shared = (shared + variance("script") * likenesses["script"]) * setting
    if not own:
        return shared
    chip = (variance("chip") + variance("chip, far") * far) * likenesses["chip"] * setting
    noise = (variance("noise") + _JITTER) * torch.eye(len(near))
    return shared + chip + noise


def _likeliest(described: Described, residuals: Array) -> dict[str, float]:
    """Numbers under which residuals are likeliest."""
    start = {
        **{f"spread.{name}": value for name, value in _TERMS.items()},
        **{f"like.{name}": value for name, value in _LIKENESS.items()},
        **{f"length.{name}": value for name, value in _LENGTHS.items()},
    }
    base = torch.tensor(list(start.values())).log()
    logs = torch.zeros(len(start), requires_grad=True)
    likenesses = _likenesses(described, described)
    target = torch.tensor(residuals, dtype=torch.float32)
    optimizer = torch.optim.Adam([logs], lr=_RATE)

    def numbers() -> dict[str, Tensor]:
        values = dict(zip(start, (base + logs).exp(), strict=True))
        likes = {n: v.clamp(max=1.0) for n, v in values.items() if n.startswith("like")}
        return values | likes | {"spread.chip": values["spread.chip"].clamp(min=_LEAST_CHIP)}

    for _ in range(_STEPS):
        factor = torch.linalg.cholesky(_summed(likenesses, numbers(), own=True))
        white = torch.linalg.solve_triangular(factor, target[:, None], upper=False)
        loss = 0.5 * (white**2).sum() + factor.diagonal().log().sum() + _PRIOR * (logs**2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: float(value.detach()) for name, value in numbers().items()}
