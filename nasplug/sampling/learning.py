"""What a study's trials teach, and which candidate is the most promising by it; no study here.

One Gaussian process (`surrogate`) for each value of the trials and each constraint that the trials
set. Of values the order counts, and their distances as far as no training run that diverged
flattens the rest (`value_scores`). All values are losses, to be minimised. Constraints keep their
scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from nasplug.pareto import pareto_mask
from nasplug.sampling.acquisition import expected_improvement, screened_hypervolume_improvement
from nasplug.sampling.surrogate import Kernel, Surrogate

__all__ = ["Evidence", "Learner", "Outlook", "normal_scores", "spread_design", "value_scores"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

NOISES = (0.005, 0.02, 0.1)
LENGTHS = (0.5, 0.9, 1.5)
# What a network learns is of its structure; what it costs, mostly of its counts.
KERNELS: tuple[Kernel, ...] = (
    *(((1.0, "structure", length),) for length in LENGTHS),
    *(((1.0, "counts", length),) for length in (0.9, 1.5, 3.0)),
    *(((0.6, "counts", 3.0), (0.4, "both", length)) for length in LENGTHS),
)
# With a prediction, a value may be a function of it, and of what the prediction leaves out.
PRIOR_LENGTHS = (2.0, 6.0)
PRIOR_SHARE = 0.8
# Share of the probability that is enough while trials keep the constraints more often than asked.
RELAXED = 0.4
# With so many values their scale counts beside their order.
SCALED = 8
# A limit is missed or kept by so many times what three quarters of the trials do, at most.
FAR = 4.0
# So much of the misses that the probability allows is spent on that, at most.
MOST_SPENT = 0.65
# Of more trials than the first number the second is learned from, and those that came since: time
# and memory of a trial stay what they are then. So large a share of these are the best.
MOST, KEPT, BEST = 320, 240, 0.5
# Designs to choose the most spread one from.
DESIGNS = 50


@dataclass(frozen=True, eq=False)
class Evidence:
    """What trials of candidates gave.

    Attributes:
        rows: Candidates with known losses, `(k,)`, in the order of their trials.
        losses: Their losses, `(k, m)`, finite.
        violations: Name of a constraint to how far each misses it, `(k,)`, ≤ 0 if it does not; NaN
            where a trial did not say.
        pending: Candidates whose trials are under way, `(p,)`.
    """

    rows: Indices
    losses: Array
    violations: Mapping[str, Array]
    pending: Indices

    @property
    def feasible(self) -> Mask:
        """Which of `rows` miss no constraint that they told of, `(k,)`."""
        result = np.ones(len(self.rows), np.bool_)
        for values in self.violations.values():
            result &= ~(values > 0)
        return result


@dataclass(frozen=True, eq=False)
class Outlook:
    """What is expected of all candidates.

    Attributes:
        mean: Of the scores of the losses (`value_scores`), `(n, m)`.
        std: Their standard deviations, `(n, m)`.
        chance: Probability of meeting all learned constraints, `(n,)`.
    """

    mean: Array
    std: Array
    chance: Array


class Learner:
    """Learns the losses and constraints of candidates from trials.

    Args:
        blocks: Features of all candidates by name (`candidate_features`), `(n, d)` each.
        priors: Predictions by name, `(n,)` each, that a value may follow.
    """

    def __init__(self, blocks: Mapping[str, Array], priors: Mapping[str, Array]) -> None:
        self._blocks = {name: rows.astype(np.float32) for name, rows in blocks.items()}
        self._kernels = KERNELS
        for name, values in priors.items():
            self._blocks[f"prior {name}"] = normal_scores(values)[:, None].astype(np.float32)
            self._kernels += tuple(
                (
                    (PRIOR_SHARE, f"prior {name}", length),
                    (1 - PRIOR_SHARE, "both", LENGTHS[1]),
                )
                for length in PRIOR_LENGTHS
            )
        self._surrogates: dict[str, Surrogate] = {}
        # The trials that were chosen to learn from, and what they were chosen by.
        self._recalled: tuple[Array, Mask, Indices] | None = None

    def __len__(self) -> int:
        return len(next(iter(self._blocks.values())))

    def block(self, name: str) -> NDArray[np.float32]:
        """Features of all candidates, `(n, d)`."""
        return self._blocks[name]

    def outlook(self, evidence: Evidence, recalled: Indices | None = None) -> Outlook:
        """What the trials make one expect; at least one must be known.

        Args:
            evidence: The trials.
            recalled: Those to learn from, ascending; as `recalled` chooses if left out.
        """
        kept = self.recalled(evidence) if recalled is None else recalled
        rows = evidence.rows[kept]
        columns = [
            self._posterior(f"value {k}", rows, value_scores(losses)[kept], evidence.pending)
            for k, losses in enumerate(evidence.losses.T)
        ]
        chance = np.ones(len(self))
        for name, values in evidence.violations.items():
            told = np.isfinite(values)
            missed = values[told]
            # With one outcome alone nothing is known of the border.
            if len(missed) < 2 or np.ptp(missed) == 0:
                continue
            scores, border = _in_units(values)
            own = kept[told[kept]]
            mean, std = self._posterior(
                f"constraint {name}", evidence.rows[own], scores[own], evidence.pending
            )
            # It is not the function that has to keep the limit, but one value around it.
            spread = np.sqrt(std**2 + self._surrogates[f"constraint {name}"].noise)
            chance *= ndtr((border - mean) / spread)
        return Outlook(
            np.stack([mean for mean, _ in columns], axis=1),
            np.stack([std for _, std in columns], axis=1),
            chance,
        )

    def recalled(self, evidence: Evidence) -> Indices:
        """The trials to learn from, ascending: all, or as many as keep a trial's cost in bounds.

        Of more than `MOST` they are `KEPT` of the earlier ones, the best and an even share of the
        others, and all since. They are chosen anew when there are `MOST` of them again, by what the
        trials say alone, so that a resumed study chooses the same.
        """
        count = len(evidence.rows)
        if count <= MOST:
            return np.arange(count)
        past = count - 1 - (count - 1 - MOST) % (MOST - KEPT)
        losses, feasible = evidence.losses[:past], evidence.feasible[:past]
        known = self._recalled
        if (
            known is None
            or not np.array_equal(known[0], losses)
            or not np.array_equal(known[1], feasible)
        ):
            known = self._recalled = losses, feasible, _most_telling(losses, feasible)
        return np.concatenate([known[2], np.arange(past, count)])

    def _posterior(
        self, name: str, rows: Indices, targets: Array, pending: Indices
    ) -> tuple[Array, Array]:
        if name not in self._surrogates:
            self._surrogates[name] = Surrogate(self._blocks, self._kernels, NOISES)
        surrogate = self._surrogates[name]
        mean, std = surrogate.posterior(rows, targets)
        if len(pending):
            # What is under way counts as if it had ended as expected, so that jobs spread out.
            together = np.concatenate([targets, mean[pending]])
            mean, std = surrogate.posterior(np.concatenate([rows, pending]), together)
        return mean, std

    def choose(
        self,
        evidence: Evidence,
        allowed: Indices,
        probability: float,
        generator: np.random.Generator,
    ) -> tuple[int, Outlook]:
        """The candidate of the largest expected gain among those likely enough to be feasible.

        The gain is the expected improvement, of the dominated hypervolume for two losses; for more
        than two that of a random weighting (Knowles, "ParEGO", 2006). It is multiplied by the
        probability of feasibility. Where no candidate is likely enough, the likeliest is taken.

        Args:
            evidence: The trials, at least one with known losses.
            allowed: Candidates to choose from, at least one.
            probability: With which learned constraints are to hold.
            generator: Draws the weighting.
        """
        recalled = self.recalled(evidence)
        if evidence.losses.shape[1] > 2:
            scores = np.stack([value_scores(column) for column in evidence.losses.T], axis=1)
            weighted = scores * generator.dirichlet(np.ones(scores.shape[1]))
            whole = weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)
            evidence = Evidence(
                evidence.rows, whole[:, None], evidence.violations, evidence.pending
            )
        outlook = self.outlook(evidence, recalled)
        chance = outlook.chance[allowed]
        # While far fewer trials missed a constraint than may, the border is worth a look.
        spent = (1 - probability) * min(probability, MOST_SPENT)
        is_safe = evidence.feasible.mean() > 1 - spent
        enough = allowed[chance >= (RELAXED * probability if is_safe else probability)]
        if evidence.violations and (not len(enough) or not evidence.feasible.any()):
            pool = enough if len(enough) else allowed
            return int(pool[np.argmax(outlook.chance[pool])]), outlook
        scores = np.stack([value_scores(column) for column in evidence.losses.T], axis=1)
        # What is under way counts as if it had ended as expected.
        likely = evidence.pending[outlook.chance[evidence.pending] >= 0.5]
        scores = np.concatenate([scores[evidence.feasible], outlook.mean[likely]])
        mean, std = outlook.mean[enough], outlook.std[enough]
        if scores.shape[1] == 1:
            gain = expected_improvement(mean[:, 0], std[:, 0], float(scores.min()))
        else:
            front = scores[pareto_mask(scores)]
            # The ends of the front count as far as anything was ever worse than they.
            reference = np.maximum(scores.max(axis=0), front.max(axis=0) + 0.1)
            gain = screened_hypervolume_improvement(mean, std, front, reference)
        gain = gain * outlook.chance[enough]
        if gain.max() <= 0:
            gain = -(mean - std).sum(axis=1)
        return int(enough[np.argmax(gain)]), outlook


def normal_scores(values: Array) -> Array:
    """Φ⁻¹((rank − 1/2)/n), `(n,)`; equal values share the mean rank."""
    return np.asarray(ndtri((rankdata(values) - 0.5) / max(len(values), 1)))


def value_scores(losses: Array) -> Array:
    """What is learned of losses, `(n,)`: half their order, half how far apart they are.

    The order alone spreads the best ones by their number, the scale alone lets a training run that
    diverged flatten the rest: what is far worse than most is brought closer.
    """
    scores = normal_scores(losses)
    finite = losses[np.isfinite(losses)]
    if len(finite) < SCALED:
        return scores
    low, middle, high = np.quantile(finite, (0.1, 0.5, 0.9))
    near = np.clip(losses, middle - FAR * (middle - low), high + (high - middle))
    unit = float(near.std())
    if not 0 < unit < np.inf:
        return scores
    return np.asarray((scores + (near - near.mean()) / unit) / 2)


def in_layers(scores: Array, count: int) -> Indices:
    """Rows of whole layers of the Pareto order, the best first, until there are `count`.

    Args:
        scores: Points to be minimised, `(n, m)`; of more than two columns the sum counts.
        count: How many, at least, if there are so many.
    """
    if scores.shape[1] > 2:
        return np.argsort(scores.sum(axis=1), kind="stable")[:count]
    found: list[Indices] = []
    rest = np.arange(len(scores))
    while len(rest) and sum(map(len, found)) < count:
        inside = pareto_mask(scores[rest])
        if not inside.any():
            break
        found.append(rest[inside])
        rest = rest[~inside]
    return np.concatenate([np.empty(0, np.intp), *found])


def _most_telling(losses: Array, feasible: Mask) -> Indices:
    """`KEPT` trials, ascending: the best feasible ones, and others in an even share."""
    scores = np.stack([normal_scores(column) for column in losses.T], axis=1)
    feasible_rows = np.flatnonzero(feasible)
    most = round(BEST * KEPT)
    best = feasible_rows[in_layers(scores[feasible_rows], most)[:most]]
    others = np.setdiff1d(np.arange(len(losses)), best)
    even = np.linspace(0, len(others) - 1, KEPT - len(best)).astype(np.intp)
    return np.sort(np.concatenate([best, others[even]]))


def _in_units(values: Array) -> tuple[Array, float]:
    """How far a limit is missed, centred and in units of the spread, and meeting it exactly.

    Not the order counts here: trials crowd at the limit, and to rank them there is to rank noise.
    What lies far from the limit is brought closer, so that no one trial sets the unit. NaN, of a
    trial that did not tell, stays.
    """
    missed = values[np.isfinite(values)]
    far = FAR * float(np.quantile(np.abs(missed), 0.75))
    reach = far if far > 0 else np.inf
    near = np.clip(missed, -reach, reach)
    center, unit = float(near.mean()), float(near.std()) or 1.0
    return (np.clip(values, -reach, reach) - center) / unit, -center / unit


def spread_design(
    rows: NDArray[np.float32], allowed: Indices, count: int, generator: np.random.Generator
) -> list[int]:
    """Candidates to begin with: of many random designs the one whose members lie farthest apart.

    Args:
        rows: Features of all candidates, `(n, d)`.
        allowed: Candidates to choose from, at least one.
        count: How many, at most.
        generator: Draws the designs.
    """
    count = min(count, len(allowed))
    best: tuple[float, Sequence[int]] = (-1.0, ())
    for _ in range(DESIGNS):
        chosen = allowed[generator.choice(len(allowed), count, replace=False)]
        if count < 2:
            return [int(k) for k in chosen]
        apart = ((rows[chosen][:, None] - rows[chosen][None]) ** 2).sum(axis=2)
        nearest = float(apart[np.triu_indices(count, 1)].min())
        if nearest > best[0]:
            best = nearest, [int(k) for k in chosen]
    return list(best[1])
