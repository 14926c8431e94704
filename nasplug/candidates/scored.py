"""The architectures that a search chooses from, each scored once."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.candidates.constraints import Constraint
from nasplug.candidates.scoring import Quantity, Scores, Scoring, cheapest
from nasplug.objectives import COSTS
from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces import Architecture, InputError, SearchSpace

__all__ = ["Candidates"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]


class Candidates:
    """Architectures of a space with everything that is known before a trial.

    All of them if the space was listed whole; else a pool, to which what a trial brings in is
    added. An architecture keeps its position for good. Safe to be shared by threads.

    Attributes:
        cells: The architectures.
        ids: Distinct `arch_id`s, in order of first appearance; shape `(ids,)`.
        group: Index into `ids` of each architecture, shape `(cells,)`.
        whole: Whether these are all members of the space.

    Args:
        scoring: How architectures are scored.
        cells: Those to begin with, at least one; every `arch_id` once if it is a pool.
        whole: Whether these are all members of the space.
    """

    def __init__(self, scoring: Scoring, cells: Sequence[Architecture], whole: bool) -> None:
        self.whole = whole
        self._listed: list[Architecture] = []
        self.cells: Sequence[Architecture] = self._listed
        self.ids: Sequence[str] = []
        self.group: Indices = np.empty(0, np.intp)
        self._scoring = scoring
        self._by_text: dict[str, int] = {}
        self._by_id: dict[str, int] = {}
        self._lock = threading.RLock()
        self._scores = self._append(cells)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def space(self) -> SearchSpace:
        """The space."""
        return self._scoring.space

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The limits, length c."""
        return self._scoring.constraints

    @property
    def latency_dataset(self) -> str:
        """The image set of the networks whose latency is predicted."""
        return self._scoring.latency_dataset

    def familiar(self, cells: Sequence[int]) -> Mask | None:
        """`Scoring.familiar` of some architectures, by their positions."""
        return self._scoring.familiar([self.cells[k] for k in cells])

    @property
    def scores(self) -> Scores:
        """All that is known of the architectures, in the order of `cells`."""
        return self._scores

    @property
    def quantities(self) -> Mapping[str, Quantity]:
        """Name such as `"latency"` to the values of all architectures."""
        return self._scores.quantities

    @property
    def feasible(self) -> Mask:
        """Whether an architecture is connected and meets all constraints; shape `(cells,)`."""
        scores = self._scores
        return np.asarray(scores.met.all(axis=0) & scores.connected)

    def violations(self) -> Array:
        """How far each limit is missed, relative to its bound; shape `(c, cells)`, ≤ 0 if met."""
        scores = self._scores
        bound = np.array([c.bound for c in self.constraints])[:, None]
        sign = np.array([1.0 if c.is_upper else -1.0 for c in self.constraints])[:, None]
        missed = sign * (scores.reachable - bound) / bound
        # Interpolation may disagree with `met` in the last digit; `met` decides the sign.
        result: Array = np.where(scores.met, np.minimum(missed, 0.0), np.maximum(missed, 1e-9))
        return result

    def cheapest(self, mask: Mask | None = None) -> Indices:
        """For each `arch_id` the one architecture that is cheapest to run, in the order of `ids`.

        Args:
            mask: The architectures to choose from, shape `(cells,)`; an id without any is left out.
        """
        cost = self._scores.cost
        return cheapest(self.group[: len(cost)], cost, mask)

    def means(self, names: Sequence[str]) -> Array:
        """Predicted means, shape `(cells, names)`."""
        quantities = self._scores.quantities
        return np.stack([quantities[name].mean for name in names], axis=1)

    def stds(self, names: Sequence[str]) -> Array:
        """Predicted standard deviations, shape `(cells, names)`."""
        quantities = self._scores.quantities
        return np.stack([quantities[name].std for name in names], axis=1)

    def find(self, arch: Architecture) -> int | None:
        """Position of an architecture, or of one with its `arch_id`; None if it is not there."""
        place = self._by_text.get(arch.text)
        return self._by_id.get(arch.arch_id) if place is None else place

    def free(
        self, cells: Indices, held: Collection[str], identity: Callable[[Architecture], str]
    ) -> Mask:
        """Which of some candidates are not held, shape `(cells,)`.

        Args:
            cells: Their positions.
            held: Identities of what is held.
            identity: The identity of an architecture: its `arch_id`, or its text.
        """
        return np.array([identity(self.cells[k]) not in held for k in cells], np.bool_)

    @property
    def competing(self) -> Indices:
        """Positions of those among which a search by prediction chooses, as long as one is left."""
        return np.arange(len(self))

    def notes(self) -> list[str]:
        """What a reader must know of the scores, a sentence each."""
        return []

    def add(self, archs: Iterable[Architecture]) -> None:
        """Score those architectures that are not there yet, and append one of each `arch_id`."""
        with self._lock:
            new: dict[str, Architecture] = {}
            for arch in archs:
                if self.find(arch) is None:
                    new.setdefault(arch.arch_id, arch)
            if new:
                # What readers go by comes last, so that they never see a half.
                self._scores = self._scores.joined(self._append(list(new.values())))

    def extended(self, archs: Iterable[Architecture]) -> Candidates:
        """A copy that has some more architectures behind its own; this one stays as it is."""
        with self._lock:
            other = copy.copy(self)
            other._listed = list(self._listed)
            other._by_text, other._by_id = dict(self._by_text), dict(self._by_id)
        other.cells = other._listed
        other.add(archs)
        return other

    def positions(self, archs: Sequence[Architecture]) -> list[int]:
        """Positions of architectures; those that are not there yet are scored and added."""
        with self._lock:
            places = [self._by_text.get(arch.text) for arch in archs]
            if None in places:
                self.add(archs)
                places = [self.find(arch) for arch in archs]
        assert None not in places
        return [place for place in places if place is not None]

    def _append(self, archs: Sequence[Architecture]) -> Scores:
        scores = self._scoring(archs)
        known = {arch_id: k for k, arch_id in enumerate(self.ids)}
        groups = [known.setdefault(arch.arch_id, len(known)) for arch in archs]
        for place, arch in enumerate(archs, start=len(self.cells)):
            self._by_id.setdefault(arch.arch_id, place)
            self._by_text[arch.text] = place
        self._listed.extend(archs)
        self.ids = list(known)
        self.group = np.concatenate([self.group, np.array(groups, np.intp)])
        return scores

    def summary(self, cell: int) -> dict[str, Any]:
        """What is kept in a trial: the cell, its id, and mean and interval of each prediction."""
        arch = self.cells[cell]
        predicted = {
            name: {"mean": float(q.mean[cell]), "lower": float(q.lower[cell])}
            | {"upper": float(q.upper[cell])}
            for name, q in self.quantities.items()
            if name not in COSTS
        }
        return {"arch": arch.text, "arch_id": arch.arch_id, "predicted": predicted}

    def check_reachable(self, hardware: Hardware | None) -> None:
        """Check that some architecture meets all constraints.

        Raises:
            InputError: If none does; the sentence names the bound that would just be met.
        """
        if not self.constraints or self.feasible.any():
            return
        scores = self._scores
        met = scores.met & scores.connected
        alone = [k for k in range(len(self.constraints)) if not met[k].any()]
        k = alone[0] if alone else 0
        others = np.delete(met, k, axis=0).all(axis=0) & scores.connected
        c = self.constraints[k]
        # A bound on a prediction is told by the predictor's own numbers.
        known = np.zeros(len(self), np.bool_)
        known[... if c.name in COSTS else self.competing] = True
        if alone or not (others & known).any():
            others = scores.connected
        values = scores.reachable[k][others & known]
        best = float(values.min() if c.is_upper else values.max())
        shown = Constraint(c.name, _round_away(best, c.is_upper), c.unit, c.sense, c.probability)
        where = f" on {hardware.name}" if hardware and c.name == "latency" else ""
        rest = "" if alone else " together with the other constraints"
        extreme = "smallest" if c.is_upper else "largest"
        risk = "" if c.name in COSTS else f" with probability {c.probability:g}"
        name = self.space.name
        tried, bound = f"no {name} architecture", f"{extreme} reachable bound"
        if not self.whole:
            tried = f"none of {len(self):,} {name} architectures that were looked at"
            bound = f"{extreme} bound that was found to be reachable"
        raise InputError(f"{tried} meets {c}{where}{risk}{rest}; the {bound} is {shown}")


def _round_away(value: float, up: bool) -> float:
    """Four significant digits, rounded so that the bound is still met."""
    if value <= 0:
        return max(value, np.finfo(float).tiny)
    unit = 10.0 ** (np.floor(np.log10(value)) - 3)
    # One unit more than needed, since interpolation is not exact in the last digit.
    return float(f"{(np.ceil(value / unit) + 1 if up else np.floor(value / unit) - 1) * unit:.4g}")
