"""Latency on a new device from a handful of measurements, and what is known of other devices.

What other devices do is known for any graph (`known_devices`): from their benchmark tables one
Gaussian process over operators learns all of them at once, which also takes the noise out of their
measurements; or a trained predictor of many devices is asked. The new device is then a mixture of
simple hypotheses, each a Bayesian linear model with a process around it: it behaves like one of
the known devices, like their mean, like a price list of operations, or as its own description
promises; and it departs from that a little, by prices of FLOPs and bytes (`operator_prices`) not
at all, a little or much. The evidence that the few measurements give for each hypothesis, at
several levels of noise, weighs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import cho_solve
from scipy.special import ndtri

from nasplug.predictors.features.operator_prices import OperatorPrices
from nasplug.predictors.features.operators import kind_counts, operator_kinds
from nasplug.predictors.latency.known_devices import KnownLatencies
from nasplug.predictors.prediction import Array, NotFittedError, Prediction
from nasplug.predictors.statistics.calibration import LEVELS
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.simplify import prune, simplify

__all__ = ["FEWEST", "MOST_ALONE", "DeviceTransfer", "few_shot_prediction"]

FEWEST = 3
# To tell the error, of at most so many measurements each is left out alone; of more, a tenth.
MOST_ALONE = 30
FOLDS = 10
# Variances of the parts of a hypothesis, for features of unit variance and a device whose
# log-latencies have unit variance: round numbers, chosen by leaving out one of HELP's known devices
# after the other.
BASE, OFFSET = 5.0, 1.0
DEPARTURES = (0.02, 0.1, 1.0)
NOISES = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
# Variance of what prices add, and how likely it is.
PRICES = ((0.0, 0.5), (0.1, 0.25), (0.5, 0.25))
USUAL_NOISE = 0.1
# A hypothesis of so small a chance is left out; one so far below the best has a smaller one.
NEGLIGIBLE, HOPELESS = 1e-4, 12.0
COMPONENTS = 6
COUNTS = ("counts", "pruned", "simplified")
# Of what departs from the base: block -> variance of its linear part; and a smooth part.
LINEAR = {"devices": 0.001, "counts": 0.02, "pruned": 0.01, "simplified": 0.03}
SMOOTH, SMOOTH_SCALE = 0.05, 2.0
# Standard deviations that a count may be off the mean, or as many as it is among known graphs.
MOST_USUAL = 6.0
# Measured graphs that are this much more alike than the others say little of how those spread: the
# scale of the device is then taken from what the known devices make of the difference.
ALIKE = 0.35
# Of fewer measurements the spread says little, and intervals that trust it are too narrow; that of
# the known devices stands in for the rest. Chosen on HELP's known devices.
ENOUGH = 10
# A device on which all graphs take nearly the same time is rare; a coarse clock is not.
SMALLEST_SCALE = 0.05


@dataclass(frozen=True, eq=False)
class _Hypothesis:
    """Fit to a device: its mixture, posterior weights, and log marginal likelihood."""

    base: int
    departure: float
    prices: float
    weights: Array
    factor: Array
    noise: float
    evidence: float


@dataclass(frozen=True, eq=False)
class _Learned:
    """A device: scale of its log-latencies, what was measured, and what it may be."""

    shift: float
    scale: float
    blocks: dict[str, Array]
    hypotheses: list[_Hypothesis]
    chances: Array


class DeviceTransfer:
    """A device that only a few measurements are known of.

    Args:
        known: What is known without them, of graphs of the same space.
    """

    def __init__(self, known: KnownLatencies) -> None:
        self.known = known
        self._prices = OperatorPrices.of(known.graphs)
        self._kinds = sorted({kind for graph in known.graphs for kind in operator_kinds(graph)})
        raw = self._raw(known.graphs)
        self._centers = {name: block.mean(0) for name, block in raw.items()}
        self._scales = {
            name: np.where(block.std(0) > 1e-9, block.std(0), np.inf) for name, block in raw.items()
        }
        varying = self._scales["each"][np.isfinite(self._scales["each"])]
        self._usual_scale = float(np.median(varying)) if len(varying) else 1.0
        standard = self._standard(raw)
        # Of an operator that is rare among these graphs, many would count without bound.
        self._most = {n: np.maximum(np.abs(standard[n]).max(0), MOST_USUAL) for n in COUNTS}
        each = standard["each"]
        self._spread = max(float(each.mean(1).std()), 1e-9)
        apart = each - each.mean(1, keepdims=True)
        _, sizes, axes = np.linalg.svd(apart, full_matrices=False)
        self._axes = axes[:COMPONENTS].T / (max(sizes[0], 1e-9) / np.sqrt(len(each)))
        self._learned: _Learned | None = None

    def fit(self, graphs: Sequence[Graph], latencies: Array) -> None:
        """Learn the device from its measurements.

        Args:
            graphs: Measured graphs, at least three; `suggest` says which are worth measuring.
            latencies: In ms, shape `(graphs,)`, positive; degenerate ones are left out.

        Raises:
            InputError: If there are too few, or a latency is not a positive number.
        """
        measured, logs = self.usual(graphs, latencies)
        self._learned = self._learn(self._features(measured), logs)

    def left_out(self, graphs: Sequence[Graph], latencies: Array) -> tuple[Array, Array, Array]:
        """Predict each measured graph by a device that was learned without it; errors as `fit`.

        Of at most `MOST_ALONE` measurements each is left out alone, of more a tenth at a time.

        Returns:
            Log-latencies that were measured, and mean and standard deviation of their prediction,
            in log ms, `(graphs,)` each, without degenerate ones.
        """
        measured, logs = self.usual(graphs, latencies)
        blocks = self._features(measured)
        count = len(logs)
        fold = np.arange(count) % (count if count <= MOST_ALONE else FOLDS)
        mean, std = np.empty(count), np.empty(count)
        for k in range(fold.max() + 1):
            out = fold == k
            learned = self._learn({n: b[~out] for n, b in blocks.items()}, logs[~out])
            mean[out], std[out] = self._answer(learned, {n: b[out] for n, b in blocks.items()})
        return logs, mean, std

    def usual(self, graphs: Sequence[Graph], latencies: Array) -> tuple[list[Graph], Array]:
        """Measured graphs and their log-latencies without degenerate ones; errors as `fit`."""
        values = np.asarray(latencies, dtype=np.float64).reshape(-1)
        if len(values) != len(graphs) or len(graphs) < FEWEST:
            raise InputError(
                f"there are {len(graphs)} graphs and {len(values)} latencies; give one latency "
                f"per graph, and at least {FEWEST}"
            )
        if not (np.isfinite(values) & (values > 0)).all():
            raise InputError("a latency is not a positive number of ms")
        usual = np.flatnonzero(values >= self.known.smallest_ms)
        if len(usual) < FEWEST:
            raise InputError(
                f"only {len(usual)} latencies are at least {self.known.smallest_ms} ms, and "
                f"{FEWEST} are needed; shorter ones are degenerate"
            )
        return [graphs[k] for k in usual.tolist()], np.log(values[usual])

    def _learn(self, blocks: dict[str, Array], logs: Array) -> _Learned:
        shift, scale = float(logs.mean()), self._scale_of(blocks, logs)
        target = (logs - shift) / scale
        around, prices = _around(blocks, blocks), blocks["prices"] @ blocks["prices"].T
        hypotheses: list[_Hypothesis] = []
        best = -np.inf
        bases = self._bases(blocks)
        for k, (base, chance) in enumerate(zip(bases, self._prior_of_bases(), strict=True)):
            linear = BASE * base @ base.T + OFFSET
            settings = list(product(DEPARTURES, PRICES, NOISES))
            parts = [d * around + p * prices + n * np.eye(len(target)) for d, (p, _), n in settings]
            covariances = linear + np.stack(parts)
            factors = np.linalg.cholesky(covariances)
            solved = np.linalg.solve(covariances, target[:, None])[..., 0]
            for (departure, (price, likely), noise), factor, weights in zip(
                settings, factors, solved, strict=True
            ):
                evidence = -0.5 * target @ weights - np.log(np.diag(factor)).sum()
                # A device may be noisy or exact, but a tenth of the variance is usual.
                unusual = 0.5 * np.log(noise / USUAL_NOISE) ** 2
                evidence = float(evidence + np.log(chance * likely) - unusual)
                if evidence < best - HOPELESS:
                    continue
                best = max(best, evidence)
                # A copy, as a part of the stack would keep all of it.
                hypotheses.append(
                    _Hypothesis(k, departure, price, weights, factor.copy(), noise, evidence)
                )
        hypotheses = [each for each in hypotheses if each.evidence >= best - HOPELESS]
        evidences = np.array([hypothesis.evidence for hypothesis in hypotheses])
        chances = np.exp(evidences - evidences.max())
        return _Learned(shift, scale, blocks, hypotheses, chances / chances.sum())

    def _scale_of(self, blocks: dict[str, Array], logs: Array) -> float:
        """Spread of the device's log-latencies over all graphs, from that of the measured ones."""
        spread = float(logs.std())
        if spread < 1e-9:
            return 1.0
        relative = float(blocks["mean"].std()) / self._spread
        scale = max(spread, SMALLEST_SCALE) * max(1.0, ALIKE / max(relative, 0.01))
        missing = max(0, ENOUGH - len(logs)) / ENOUGH
        return float(np.sqrt((1 - missing) * scale**2 + missing * self._usual_scale**2))

    def log_latency(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        """Mean and standard deviation of a measured log-latency in log ms, `(graphs,)` each.

        Raises:
            NotFittedError: If nothing was learned.
        """
        if self._learned is None:
            raise NotFittedError("this device has no measurements yet; call fit")
        return self._answer(self._learned, self._features(graphs))

    def _answer(self, learned: _Learned, blocks: dict[str, Array]) -> tuple[Array, Array]:
        around = _around(blocks, learned.blocks)
        itself = _around_itself(blocks)
        prices = blocks["prices"] @ learned.blocks["prices"].T
        priced = (blocks["prices"] ** 2).sum(1)
        bases, measured = self._bases(blocks), self._bases(learned.blocks)
        mean, square = np.zeros((2, len(itself)))
        for hypothesis, chance in zip(learned.hypotheses, learned.chances, strict=True):
            if chance < NEGLIGIBLE:
                continue
            base = bases[hypothesis.base]
            cross = BASE * base @ measured[hypothesis.base].T + OFFSET
            cross += hypothesis.departure * around + hypothesis.prices * prices
            center = cross @ hypothesis.weights
            prior = BASE * (base**2).sum(1) + OFFSET
            prior += hypothesis.departure * itself + hypothesis.prices * priced
            explained = (cross * cho_solve((hypothesis.factor, True), cross.T).T).sum(1)
            spread = np.maximum(prior - explained, 0) + hypothesis.noise
            mean += chance * center
            square += chance * (spread + center**2)
        std = np.sqrt(np.maximum(square - mean**2, 1e-12))
        return mean * learned.scale + learned.shift, std * learned.scale

    def predict(self, graphs: Sequence[Graph]) -> Prediction:
        """Predict latency in ms; the evidence is `"few-shot"`.

        Raises:
            NotFittedError: If nothing was learned.
        """
        mean, std = self.log_latency(graphs) if graphs else (np.empty(0), np.empty(0))
        return few_shot_prediction(mean, std)

    def suggest(self, graphs: Sequence[Graph], count: int = 10) -> list[int]:
        """Positions of graphs to measure on a new device.

        One after the other, each leaves the least variance over all of them, some hundreds, under
        the average of the hypotheses.

        Raises:
            InputError: If there are fewer graphs than that.
        """
        if not 0 < count <= len(graphs):
            raise InputError(f"cannot choose {count} of {len(graphs)} graphs")
        blocks = self._features(graphs)
        covariance = _around(blocks, blocks) + OFFSET
        bases = self._bases(blocks)
        for base, chance in zip(bases, self._prior_of_bases(), strict=True):
            covariance += chance * BASE * base @ base.T
        chosen: list[int] = []
        for _ in range(count):
            gain = (covariance**2).sum(0) / (np.diag(covariance) + USUAL_NOISE)
            gain[chosen] = -np.inf
            best = int(gain.argmax())
            chosen.append(best)
            column = covariance[:, best]
            covariance = covariance - np.outer(column, column) / (column[best] + USUAL_NOISE)
        return chosen

    def _prior_of_bases(self) -> Array:
        """The known devices share as much as their mean, as the price lists together, and as what
        the description promises."""
        devices = len(self._centers["each"])
        others = 1 + ("own" in self._centers)
        chances = [1 / devices] * devices + [1.0] * others + [1 / len(COUNTS)] * len(COUNTS)
        result: Array = np.array(chances) / sum(chances)
        return result

    def _bases(self, blocks: dict[str, Array]) -> list[Array]:
        each = [column[:, None] for column in blocks["each"].T]
        described = [blocks["own"]] if "own" in blocks else []
        return [*each, blocks["mean"], *described, *(blocks[name] for name in COUNTS)]

    def _raw(self, graphs: Sequence[Graph]) -> dict[str, Array]:
        each = self.known.log_latency(graphs)
        described = {"own": each[:, -1:]} if self.known.describes else {}
        counts = kind_counts(graphs, self._kinds)

        def recounted(rewrite: Callable[[Graph], Graph]) -> Array:
            rewritten = [rewrite(graph) for graph in graphs]
            # Whole networks hold nothing to drop and come back as they are.
            changed = [k for k, graph in enumerate(graphs) if rewritten[k] is not graph]
            rows = counts.copy()
            rows[changed] = kind_counts([rewritten[k] for k in changed], self._kinds)
            return rows

        return {
            "each": each[:, :-1] if described else each,
            **described,
            "counts": counts,
            "pruned": recounted(prune),
            "simplified": recounted(simplify),
        }

    def _standard(self, blocks: dict[str, Array]) -> dict[str, Array]:
        return {
            name: (block - self._centers[name]) / self._scales[name]
            for name, block in blocks.items()
        }

    def _features(self, graphs: Sequence[Graph]) -> dict[str, Array]:
        blocks = self._standard(self._raw(graphs))
        for name in COUNTS:
            blocks[name] = np.clip(blocks[name], -self._most[name], self._most[name])
        blocks["prices"] = self._prices(graphs)
        mean = blocks["each"].mean(1, keepdims=True)
        blocks["mean"] = mean
        blocks["devices"] = (blocks["each"] - mean) @ self._axes
        for name in COUNTS:
            varies = np.isfinite(self._scales[name]).sum()
            blocks[name] = blocks[name] / max(varies, 1) ** 0.5
        blocks["smooth"] = np.concatenate(
            [blocks[name] for name in ("mean", "devices", "pruned", "simplified")], axis=1
        )
        return blocks


def few_shot_prediction(mean: Array, std: Array) -> Prediction:
    """Make a prediction of latencies whose logarithms of ms are normal, `(graphs,)` each."""
    center, spread, residuals = mean[:, None], std[:, None], ndtri(LEVELS)[:, None]
    return Prediction(
        ("latency",), ("ms",), center, spread, LEVELS, residuals, (True,), evidence="few-shot"
    )


def _around(a: dict[str, Array], b: dict[str, Array]) -> Array:
    """Covariance of what departs from a hypothesis."""
    total = sum(variance * a[name] @ b[name].T for name, variance in LINEAR.items())
    x, y = a["smooth"], b["smooth"]
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    result: Array = total + SMOOTH * np.exp(-0.5 * np.maximum(squares, 0) / SMOOTH_SCALE**2)
    return result


def _around_itself(blocks: dict[str, Array]) -> Array:
    """The diagonal of `_around`."""
    total = sum(variance * (blocks[name] ** 2).sum(1) for name, variance in LINEAR.items())
    result: Array = total + SMOOTH
    return result
