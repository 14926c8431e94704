"""The candidates that have parameters which the user fixed when a trial was enqueued."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasplug.arrays import Mask
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.pool import best
from nasplug.objectives import Objective
from nasplug.search_spaces import Architecture, InputError

__all__ = ["FixedParams"]

# Candidates that are given the fixed parameters, at most.
_ADAPTED = 256


class FixedParams:
    """Finds the candidates that have fixed parameters; a pool gets some that do.

    The answer for the last parameters is kept, as trials are enqueued with equal ones.

    Args:
        candidates: The candidates.
        objectives: Predicted objectives, by which the best of a pool are adapted; none if values
            are learned from trials.
    """

    def __init__(self, candidates: Candidates, objectives: Sequence[Objective]) -> None:
        self._candidates, self._objectives = candidates, objectives
        self._last: Mapping[str, Any] = {}
        self._mask: Mask = np.empty(0, np.bool_)

    def __call__(self, fixed: Mapping[str, Any]) -> Mask | None:
        """Mask of the candidates that have the parameters; None if a value is not the space's."""
        candidates = self._candidates
        with contextlib.suppress(InputError):
            # Nothing is left open, as in a trial that was enqueued whole.
            (only,) = candidates.indices([candidates.space.from_params(fixed)])
            return np.asarray(np.arange(len(candidates)) == only)
        with contextlib.suppress(InputError):
            return self._having(fixed)
        return None

    def _having(self, fixed: Mapping[str, Any]) -> Mask:
        candidates, space = self._candidates, self._candidates.space

        def adapted(arch: Architecture) -> Architecture:
            return space.from_params({**space.to_params(arch), **fixed})

        is_new = self._last != fixed
        if isinstance(candidates, EnumeratedCandidates):
            if is_new:
                self._last, self._mask = fixed, candidates.having(adapted, _ADAPTED)
            return self._mask
        if is_new:
            self._last, self._mask = fixed, np.empty(0, np.bool_)
            if isinstance(candidates, ListedCandidates) and not candidates.whole:
                chosen = np.arange(min(len(candidates), _ADAPTED))
                if self._objectives:
                    chosen = best(candidates, self._objectives, _ADAPTED)
                candidates.add([adapted(candidates.architectures[int(k)]) for k in chosen])
        # A fixed parameter that does not count changes nothing.
        new = candidates.architectures[len(self._mask) :]
        have = np.array([adapted(arch).text == arch.text for arch in new], np.bool_)
        self._mask = np.concatenate([self._mask, have])
        return self._mask
