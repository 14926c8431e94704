"""Scores of architectures: values of quantities, and how they meet constraints.

Notation: n architectures, c constraints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from nasplug.arrays import Array, Mask
from nasplug.predictors.prediction import EVIDENCE

__all__ = ["Quantity", "Scores"]

_NO_EVIDENCE: tuple[str | None, int] = (None, 0)


@dataclass(frozen=True, eq=False)
class Quantity:
    """Values of a quantity, in its unit, with the ends of their intervals; shape `(n,)` each.

    A quantity that is counted, not predicted, has no spread and equal ends of its interval.
    """

    mean: Array
    std: Array
    lower: Array
    upper: Array

    def joined(self, other: Quantity) -> Quantity:
        """Join the values of both quantities, those of this one first."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Quantity(*map(np.concatenate, pairs))


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of n architectures under c constraints.

    Attributes:
        quantities: Name such as `"latency"` to its values.
        reachable: The bound that an architecture meets with the constraint's probability, in the
            constraint's unit; shape `(c, n)`.
        met: Whether an architecture meets a constraint, shape `(c, n)`.
        connected: Whether the output depends on the input, shape `(n,)`; a network where it does
            not is useless, however fast.
        cost: Latency, or FLOPs without one, to choose among equivalent architectures; `(n,)`.
        interval: Probability that the intervals of the predictions are meant to cover.
        evidence_on: Name of each latency, then of each energy, to the kind of data behind it, and
            the networks on its device that it was learned from (see `Prediction`).
    """

    quantities: Mapping[str, Quantity]
    reachable: Array
    met: Mask
    connected: Mask
    cost: Array
    interval: float
    evidence_on: Mapping[str, tuple[str | None, int]] = field(default_factory=dict)

    @property
    def evidence(self) -> str | None:
        """Kind of data behind the latency on the first device; None without a latency."""
        return next(iter(self.evidence_on.values()), _NO_EVIDENCE)[0]

    @property
    def learned(self) -> int:
        """Networks on the first device that the latency was learned from."""
        return next(iter(self.evidence_on.values()), _NO_EVIDENCE)[1]

    def joined(self, other: Scores) -> Scores:
        """The scores of this one's architectures, then of the other's."""
        return Scores(
            {name: q.joined(other.quantities[name]) for name, q in self.quantities.items()},
            np.concatenate([self.reachable, other.reachable], axis=1),
            np.concatenate([self.met, other.met], axis=1),
            np.concatenate([self.connected, other.connected]),
            np.concatenate([self.cost, other.cost]),
            self.interval,
            # The weakest evidence is that of all.
            {
                name: (max(kind, other.evidence_on[name][0], key=EVIDENCE.index), learned)
                for name, (kind, learned) in self.evidence_on.items()
            },
        )
