"""The architectures that a search chooses from, with all that is known of them before a trial."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from nasplug.arrays import Array, Indices, Mask
from nasplug.candidates.constraints import Constraint
from nasplug.candidates.scores import Quantity, Scores
from nasplug.candidates.scoring import Scoring
from nasplug.predicting.intervals import is_usable
from nasplug.predictors.hardware import Hardware
from nasplug.quantities import COUNTED, PREDICTED, QUANTITIES, without_device
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace

__all__ = ["Candidates"]

# Factor between a limit and the last value that is sure enough to meet it, worth a sentence.
FAR = 1.5


class Candidates(ABC):
    """Architectures of a space, each scored once; an architecture keeps its index for good.

    There are two kinds: `ListedCandidates`, which holds the members of a small space or a growing
    pool, and `EnumeratedCandidates`, whose members are integers and are never held all at once.

    A search makes its candidates once (`candidates_of`, `learned_candidates`) and asks
    `check_reachable`. For each trial the sampler reads `scores` and what follows from them, chooses
    among those that are `free`, and keeps the `summary` of its choice. `indices` gives the index
    of what a trial tried, and scores it first if that is needed; arrays that were read before stay
    as they are. Threads may share one object.

    Attributes:
        architectures: The architectures, length n.
        ids: Distinct `arch_id`s, in order of first appearance.
        group: Index into `ids` of each architecture, shape `(n,)`.
        whole: Whether these are all members of the space.
    """

    architectures: Sequence[Architecture]
    ids: Sequence[str]
    group: Indices
    _scores: Scores

    def __init__(self, scoring: Scoring, whole: bool) -> None:
        self.whole = whole
        self._scoring = scoring
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    def __len__(self) -> int:
        return len(self.architectures)

    # --- each kind has its own ---

    @abstractmethod
    def find(self, arch: Architecture) -> int | None:
        """Index of an architecture, or of one with its `arch_id`; None if it is not there."""

    @abstractmethod
    def indices(self, archs: Sequence[Architecture]) -> list[int]:
        """Indices of architectures, which the predictors themselves have scored from then on."""

    @abstractmethod
    def cheapest(self, mask: Mask | None = None) -> Indices:
        """Index of the cheapest architecture in a mask of each `arch_id`, in the order of `ids`."""

    @abstractmethod
    def free(self, indices: Indices, held: Collection[str], by_id: bool) -> Mask:
        """Mask of the candidates at `indices` that no trial holds, in their shape.

        The identities that trials hold are `arch_id`s if `by_id` is set, else texts.
        """

    @property
    def competing(self) -> Indices:
        """Indices among which a search by prediction chooses, as long as one is left."""
        return np.arange(len(self))

    def notes(self) -> list[str]:
        """Sentences that a reader of the scores must know."""
        found = (self._cautious(k) for k in range(len(self.constraints)))
        return [note for note in found if note is not None]

    def _cautious(self, k: int) -> str | None:
        """Say how far from its bound a limit on a device keeps networks; None if it is near."""
        limit, kind = self.constraints[k], QUANTITIES[self.constraints[k].name]
        quantity, met = self.quantities.get(limit.name), self.scores.met[k]
        if quantity is None or not kind.needs_device or not met[self.competing].any():
            return None
        sign = 1.0 if limit.is_upper else -1.0
        missed = sign * (quantity.mean - limit.bound)
        nearest = self.competing[met[self.competing]]
        last = float(quantity.mean[nearest][np.argmax(missed[nearest])])
        is_far = max(last, limit.bound) >= FAR * min(last, limit.bound)
        if not is_far or not ((missed <= 0) & ~met).any():
            return None
        return (
            f"{limit.shown} with probability {limit.probability:g} keeps networks of a predicted "
            f"{kind.text(last)} and better, as intervals are wide: a lower probability keeps more, "
            "and measurements on the device, or a precision and runtime in which networks like "
            "these were measured on it, narrow the intervals"
        )

    # --- scores, and what follows from them ---

    @property
    def space(self) -> SearchSpace:
        """The space."""
        return self._scoring.space

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints on predicted and counted quantities, length c."""
        return self._scoring.constraints

    @property
    def latency_dataset(self) -> str:
        """The image set of the networks whose latency is predicted."""
        return self._scoring.latency_dataset

    def device_of(self, name: str) -> Hardware | None:
        """The device of a quantity; see `Scoring.device_of`."""
        return self._scoring.device_of(name)

    @property
    def scores(self) -> Scores:
        """All that is known of the architectures, in their order."""
        return self._scores

    @property
    def quantities(self) -> Mapping[str, Quantity]:
        """Name such as `"latency"` to the values of all architectures."""
        return self._scores.quantities

    @property
    def feasible(self) -> Mask:
        """Whether an architecture is connected and meets all constraints; shape `(n,)`."""
        scores = self._scores
        return np.asarray(scores.met.all(axis=0) & scores.connected)

    def familiar(self, indices: Sequence[int]) -> Mask | None:
        """`Scoring.familiar` of the architectures at some indices."""
        return self._scoring.familiar([self.architectures[k] for k in indices])

    def timed_graphs(self, indices: Sequence[int]) -> Sequence[Graph]:
        """The graphs whose latency is predicted, of the architectures at some indices."""
        return self._scoring.timed_graphs([self.architectures[k] for k in indices])

    def violations(self) -> Array:
        """Distance to each bound, relative to it: `(c, n)`, ≤ 0 if the constraint is met."""
        scores = self._scores
        bound = np.array([c.bound for c in self.constraints])[:, None]
        sign = np.array([1.0 if c.is_upper else -1.0 for c in self.constraints])[:, None]
        missed = sign * (scores.reachable - bound) / bound
        # Interpolation may disagree with `met` in the last digit; `met` decides the sign.
        missed = np.where(scores.met, np.minimum(missed, 0.0), np.maximum(missed, 1e-9))
        return np.asarray(missed)

    def exactly(self, name: str, indices: Sequence[int]) -> Array:
        """A quantity of some candidates that need not be among `quantities`: memory, `(k,)`."""
        if name in self._scores.quantities:
            return np.asarray(self._scores.quantities[name].mean[list(indices)])
        if not len(indices):
            return np.empty(0)
        archs = [self.architectures[k] for k in indices]
        prediction, target = self._scoring.predict(name, archs)
        return np.asarray(prediction.mean[:, prediction.column(target)])

    def means(self, names: Sequence[str]) -> Array:
        """Predicted means, shape `(n, names)`."""
        quantities = self._scores.quantities
        return np.stack([quantities[name].mean for name in names], axis=1)

    def stds(self, names: Sequence[str]) -> Array:
        """Predicted standard deviations, shape `(n, names)`."""
        quantities = self._scores.quantities
        return np.stack([quantities[name].std for name in names], axis=1)

    def summary(self, index: int) -> dict[str, Any]:
        """The record of a candidate for its trial: text, id, mean and interval of predictions."""
        arch = self.architectures[index]
        predicted = {
            name: {end: float(getattr(q, end)[index]) for end in ("mean", "lower", "upper")}
            for name, q in self.quantities.items()
            if without_device(name) in PREDICTED
        }
        return {"arch": arch.text, "arch_id": arch.arch_id, "predicted": predicted}

    def check_reachable(self, hardware: Hardware | None) -> None:
        """Check that some architecture meets all constraints.

        Raises:
            InputError: If none does; the sentence names the bound that would just be met.
        """
        if not self.constraints or self.feasible.any():
            return
        c, best, is_alone = self._nearest_bound()
        scores = self._scores
        shown = Constraint(c.name, _round_away(best, c.is_upper), c.unit, c.sense, c.probability)
        kind = QUANTITIES[c.name]
        # A name with a device says it itself.
        named = c.name.partition("@")[2]
        where = f" on {hardware.name}" if hardware and kind.needs_device and not named else ""
        together = "" if is_alone else " together with the other constraints"
        extreme = "smallest" if c.is_upper else "largest"
        risk = f" with probability {c.probability:g}" if kind.is_risky else ""
        name = self.space.name
        tried, bound = f"no {name} architecture", f"{extreme} reachable bound"
        if not self.whole:
            tried = f"none of the {len(self):,} {name} architectures that were scored"
            bound = f"{extreme} bound that one of them meets"
        wide = ""
        is_of_latency = without_device(c.name) in ("latency", "throughput")
        latency = scores.quantities.get(f"latency@{named}" if named else "latency")
        if is_of_latency and latency is not None and hardware is not None:
            fastest = int(np.argmin(latency.upper))
            if not is_usable(latency.lower[fastest], latency.upper[fastest]):
                device = named or hardware.name
                wide = f"; only the order of magnitude of latencies on {device} is known"
                wide += ", and measurements narrow it (nasplug calibrate)"
        raise InputError(
            f"{tried} meets {c.shown}{where}{risk}{together}; the {bound} is {shown.shown}{wide}"
        )

    def _nearest_bound(self) -> tuple[Constraint, float, bool]:
        """A constraint that cannot be met, the bound that could be, and whether it fails alone."""
        scores = self._scores
        met = scores.met & scores.connected
        unmet = [k for k in range(len(self.constraints)) if not met[k].any()]
        k = unmet[0] if unmet else 0
        c = self.constraints[k]
        others_met = np.delete(met, k, axis=0).all(axis=0) & scores.connected
        # A bound on a prediction is told by the predictor's own numbers.
        is_exact = np.ones(len(self), np.bool_)
        if c.name not in COUNTED:
            is_exact[:] = False
            is_exact[self.competing] = True
        if unmet or not (others_met & is_exact).any():
            others_met = scores.connected
        values = scores.reachable[k][others_met & is_exact]
        return c, float(values.min() if c.is_upper else values.max()), bool(unmet)


def _round_away(value: float, up: bool) -> float:
    """Four significant digits, rounded so that the bound is still met."""
    if value <= 0:
        return max(value, np.finfo(float).tiny)
    unit = 10.0 ** (np.floor(np.log10(value)) - 3)
    # One unit more than needed, since interpolation is not exact in the last digit.
    return float(f"{(np.ceil(value / unit) + 1 if up else np.floor(value / unit) - 1) * unit:.4g}")
