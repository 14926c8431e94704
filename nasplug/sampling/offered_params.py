"""The parameters that a study's objective offers, and the values of those that are settled.

An objective may offer a part of a space's choices, and parameters beside the space's. Optuna tells
a sampler of a parameter when it is suggested, so what this process saw is remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from optuna.samplers import PartialFixedSampler

from nasplug.sampling.other_params import contains
from nasplug.sampling.study_trials import all_trials
from nasplug.search_spaces import InputError
from nasplug.studies.values import RETRY

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["OfferedParams", "fixed_by_samplers", "settled_params", "whole_study"]


class OfferedParams:
    """The distributions that objectives of this process offer, by study.

    Args:
        own: Distributions of the space's parameters.
        space: Name of the space.
    """

    def __init__(self, own: Mapping[str, BaseDistribution], space: str) -> None:
        self._own, self._space = own, space
        self._seen: dict[str, dict[str, list[BaseDistribution]]] = {}

    def check(self, name: str, distribution: BaseDistribution) -> None:
        """Check that a parameter of the space is offered with one of its values.

        Raises:
            InputError: If it is not.
        """
        own = self._own.get(name)
        if own is not None and own != distribution and not _shared(own, distribution):
            raise InputError(
                f"parameter {name!r} is offered with {distribution}, of which space {self._space} "
                f"has no value; it has {own}"
            )

    def note(self, study: Study, name: str, distribution: BaseDistribution) -> None:
        """Remember the distribution of a parameter that was suggested."""
        seen = self._seen.setdefault(study.study_name, {}).setdefault(name, [])
        if distribution in seen:
            seen.remove(distribution)
        seen.append(distribution)

    def is_known(self, study: Study) -> bool:
        """Whether any parameter was suggested."""
        return study.study_name in self._seen

    def own(self, study: Study) -> dict[str, BaseDistribution]:
        """The space's parameters that were suggested, with the choices that were offered."""
        narrowed = self.narrowed(study)
        return {n: narrowed.get(n, d) for n, d in self._own.items() if n in self._of(study)}

    def narrowed(self, study: Study) -> dict[str, BaseDistribution]:
        """The space's parameters of which always the same part was offered."""
        # A distribution that changes depends on other parameters.
        return {
            name: seen[0]
            for name, seen in self._of(study).items()
            if name in self._own and len(seen) == 1 and seen[0] != self._own[name]
        }

    def others(self, study: Study) -> dict[str, BaseDistribution]:
        """The parameters that are not the space's, in the order of their names.

        If none was suggested here yet, those of the study's trials.
        """
        last = {name: seen[-1] for name, seen in self._of(study).items()}
        if not any(name not in self._own for name in last):
            finished = (t for t in all_trials(study) if t.state.is_finished())
            last = {n: d for trial in finished for n, d in trial.distributions.items()}
        return {n: d for n, d in sorted(last.items()) if n not in self._own and not d.single()}

    def _of(self, study: Study) -> dict[str, list[BaseDistribution]]:
        return self._seen.get(study.study_name, {})


def _shared(own: BaseDistribution, offered: BaseDistribution) -> bool:
    """Whether a distribution of the space has a value that is offered."""
    values = getattr(own, "choices", None)
    if values is None:
        values = getattr(offered, "choices", None)
        if values is None:
            low, high = (max, min)
            return bool(
                low(own.low, offered.low) <= high(own.high, offered.high)  # type: ignore[attr-defined]
            )
        return any(contains(own, value) for value in values)
    return any(contains(offered, value) for value in values)


def whole_study(study: Study) -> Study:
    """The study itself, where Hyperband hands out a view of one bracket."""
    whole: Study = getattr(study, "_study", study)
    return whole


def fixed_by_samplers(study: Study) -> dict[str, Any]:
    """The parameters that `PartialFixedSampler`s around the study's sampler fix."""
    fixed: dict[str, Any] = {}
    sampler = study.sampler
    while isinstance(sampler, PartialFixedSampler):
        # The outermost one answers first.
        fixed = {**sampler._fixed_params, **fixed}
        sampler = sampler._base_sampler
    return fixed


def settled_params(study: Study, trial: FrozenTrial, own: Collection[str]) -> dict[str, Any]:
    """The parameters of a trial that are fixed, or were suggested already.

    A trial that takes the place of a lost one has its parameters, but for the space's `own`: these
    follow from the architecture that it claims.
    """
    retried = {n: v for n, v in trial.system_attrs.get(RETRY, {}).items() if n not in own}
    enqueued = trial.system_attrs.get("fixed_params", {})
    return {**retried, **fixed_by_samplers(study), **enqueued, **trial.params}
