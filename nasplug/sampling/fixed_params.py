"""The candidates that have parameters which are fixed, or are limited to some values."""

from __future__ import annotations

import contextlib
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.arrays import Indices, Mask
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.pool import best
from nasplug.objectives import Objective
from nasplug.sampling.other_params import contains
from nasplug.search_spaces import Architecture, InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Adapted", "FixedParams"]

# Candidates that are given the parameters: of a pool, and of a space whose members are integers.
_ADAPTED, _ENUMERATED = 256, 2_000
# Gives an architecture the parameters; None if the space has no such one.
Adapted = Callable[[Architecture], Architecture | None]
# Masks that are kept.
_KEPT = 8
# Rounds in which more members are given the parameters, when all that have them were tried.
_ROUNDS = 12


class FixedParams:
    """Finds the candidates that have fixed parameters; a pool gets some that do.

    The answers for the last parameters are kept, as many trials have equal ones.

    Args:
        candidates: The candidates.
        objectives: Predicted objectives, by which the best of a pool are adapted; none if values
            are learned from trials.
    """

    def __init__(self, candidates: Candidates, objectives: Sequence[Objective]) -> None:
        self._candidates, self._objectives = candidates, objectives
        self._masks: OrderedDict[str, Mask] = OrderedDict()

    def __call__(
        self,
        fixed: Mapping[str, Any],
        offered: Mapping[str, BaseDistribution] | None = None,
        is_free: Callable[[Indices], Mask] | None = None,
    ) -> Mask | None:
        """Mask of the candidates that have the parameters; None if a value is not the space's.

        Args:
            fixed: Fixed parameters.
            offered: Distributions that other parameters are limited to.
            is_free: Mask of the candidates at some indices that no trial holds; while none of those
                that have the parameters is free, more members are looked for.
        """
        candidates, offered = self._candidates, offered or {}
        with contextlib.suppress(InputError):
            # Nothing is left open, as in a trial that was enqueued whole.
            (only,) = candidates.indices([candidates.space.from_params(fixed)])
            return np.asarray(np.arange(len(candidates)) == only)
        mask = self._having(fixed, offered, is_free)
        return mask if mask.any() else None

    def adapted(self, fixed: Mapping[str, Any], offered: Mapping[str, BaseDistribution]) -> Adapted:
        """The function that gives an architecture the parameters."""
        space = self._candidates.space

        def adapted(arch: Architecture) -> Architecture | None:
            params = {**space.to_params(arch), **fixed}
            for name, distribution in offered.items():
                if name not in fixed and name in params:
                    params[name] = _nearest(distribution, params[name], arch.text)
            # Not every mixture of parameters is an architecture.
            with contextlib.suppress(InputError):
                return space.from_params(params)
            return None

        return adapted

    def _having(
        self,
        fixed: Mapping[str, Any],
        offered: Mapping[str, BaseDistribution],
        is_free: Callable[[Indices], Mask] | None,
    ) -> Mask:
        candidates, space = self._candidates, self._candidates.space

        adapted = self.adapted(fixed, offered)
        key = f"{sorted(fixed.items())} {sorted((n, str(d)) for n, d in offered.items())}"
        is_new = key not in self._masks
        mask = self._masks.pop(key, np.empty(0, np.bool_))
        if isinstance(candidates, EnumeratedCandidates):
            count = _ENUMERATED
            mask = candidates.having(adapted, count) if is_new else mask
            while _none(mask, is_free) and count < len(candidates):
                count *= 4
                mask = candidates.having(adapted, count)
        else:
            if is_new and isinstance(candidates, ListedCandidates) and not candidates.whole:
                chosen = np.arange(min(len(candidates), _ADAPTED))
                if self._objectives:
                    chosen = best(candidates, self._objectives, _ADAPTED)
                candidates.add(_made(adapted, [candidates.architectures[int(k)] for k in chosen]))
            mask = self._extended(mask, adapted)
            rounds = 0 if candidates.whole else _ROUNDS
            while _none(mask, is_free) and rounds:
                rounds -= 1
                assert isinstance(candidates, ListedCandidates)
                rng = np.random.default_rng(len(candidates) + rounds)
                candidates.add(_made(adapted, [space.sample(rng) for _ in range(_ADAPTED)]))
                mask = self._extended(mask, adapted)
        self._masks[key] = mask
        if len(self._masks) > _KEPT:
            self._masks.popitem(last=False)
        return mask

    def _extended(self, mask: Mask, adapted: Adapted) -> Mask:
        """A mask with those of the candidates that have come since."""
        # A fixed parameter that does not count changes nothing.
        new = self._candidates.architectures[len(mask) :]
        texts = [None if (a := adapted(arch)) is None else a.text for arch in new]
        have = np.array([t == arch.text for t, arch in zip(texts, new, strict=True)], np.bool_)
        return np.concatenate([mask, have])


def _made(adapted: Adapted, archs: Sequence[Architecture]) -> list[Architecture]:
    """Architectures with the parameters, as far as there are such ones."""
    return [arch for arch in map(adapted, archs) if arch is not None]


def _none(mask: Mask, is_free: Callable[[Indices], Mask] | None) -> bool:
    """Whether no candidate of a mask is free."""
    return is_free is not None and not is_free(np.flatnonzero(mask)).any()


def _nearest(distribution: BaseDistribution, value: Any, text: str) -> Any:
    """A value itself, if a distribution has it; else one that it has."""
    if contains(distribution, value):
        return value
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        # Different ones for different architectures, equal ones in all processes.
        return choices[zlib.crc32(text.encode()) % len(choices)]
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    return min(max(value, low), high)
