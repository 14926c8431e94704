"""Candidates that are held one by one: all members of a small space, or a growing pool."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from nasplug.arrays import Indices, Mask
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.scores import Scores
from nasplug.candidates.scoring import Scoring, cheapest
from nasplug.search_spaces import Architecture

__all__ = ["ListedCandidates"]


class ListedCandidates(Candidates):
    """Candidates in a list; an architecture that a trial brings in is appended.

    Args:
        scoring: Scores architectures.
        architectures: Those to begin with, at least one; every `arch_id` once if it is a pool.
        whole: Whether these are all members of the space.
    """

    def __init__(
        self, scoring: Scoring, architectures: Sequence[Architecture], whole: bool
    ) -> None:
        super().__init__(scoring, whole)
        self._listed: list[Architecture] = []
        self.architectures = self._listed
        self.ids = []
        self.group = np.empty(0, np.intp)
        self._by_text: dict[str, int] = {}
        self._by_id: dict[str, int] = {}
        self._id_index: dict[str, int] = {}
        self._scores = self._append(architectures)

    def find(self, arch: Architecture) -> int | None:
        """Index of an architecture, or of one with its `arch_id`; None if it is not there."""
        index = self._by_text.get(arch.text)
        return self._by_id.get(arch.arch_id) if index is None else index

    def indices(self, archs: Sequence[Architecture]) -> list[int]:
        """Indices of architectures; those that are not there yet are scored and added."""
        with self._lock:
            indices = [self._by_text.get(arch.text) for arch in archs]
            if None in indices:
                self.add(archs)
                indices = [self.find(arch) for arch in archs]
        assert None not in indices
        return [index for index in indices if index is not None]

    def cheapest(self, mask: Mask | None = None) -> Indices:
        """Index of the cheapest architecture to run of each `arch_id`, in the order of `ids`."""
        cost = self._scores.cost
        return cheapest(self.group[: len(cost)], cost, mask)

    def free(self, indices: Indices, held: Collection[str], by_id: bool) -> Mask:
        """Mask of the candidates at `indices` that no trial holds, see `Candidates.free`."""
        index_of, keys = (self._by_text, indices)
        if by_id:
            index_of, keys = self._id_index, self.group[indices]
        taken = [index_of[name] for name in held if name in index_of]
        return np.asarray(~np.isin(keys, np.array(taken, np.intp)))

    def add(self, archs: Iterable[Architecture]) -> None:
        """Score those architectures that are not there yet, and append one of each `arch_id`."""
        with self._lock:
            new: dict[str, Architecture] = {}
            for arch in archs:
                if self.find(arch) is None:
                    new.setdefault(arch.arch_id, arch)
            if new:
                # The scores, by which readers go, come last, so that nobody sees a half.
                self._scores = self._scores.joined(self._append(list(new.values())))

    def extended(self, archs: Iterable[Architecture]) -> ListedCandidates:
        """A copy with some more architectures behind these; this one stays as it is."""
        with self._lock:
            other = copy.copy(self)
            other._listed = list(self._listed)
            other._by_text, other._by_id = dict(self._by_text), dict(self._by_id)
            other._id_index = dict(self._id_index)
        other.architectures = other._listed
        other.add(archs)
        return other

    def _append(self, archs: Sequence[Architecture]) -> Scores:
        """Append architectures and return their scores, which the caller joins."""
        scores = self._scoring(archs)
        ids = self._id_index
        groups = [ids.setdefault(arch.arch_id, len(ids)) for arch in archs]
        for index, arch in enumerate(archs, start=len(self._listed)):
            self._by_id.setdefault(arch.arch_id, index)
            self._by_text[arch.text] = index
        self._listed.extend(archs)
        self.ids = list(ids)
        self.group = np.concatenate([self.group, np.array(groups, np.intp)])
        return scores
