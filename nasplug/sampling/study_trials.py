"""The architectures that trials of a study hold, and the claims of those under way.

Workers share nothing but the storage. A trial claims an architecture by writing a user attribute,
and then reads the others' claims. Of two that claim the same, whoever wrote last sees the other, so
they never both keep it. If both see each other, the trial of the larger number gives way, and the
other waits for it to do so; a trial that has a parameter has settled and gives way no more.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nasplug.sampling.announced_intervals import is_outside
from nasplug.sampling.tried import Tried
from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.studies.values import ATTRIBUTE, note_of

__all__ = ["StudyTrials", "all_trials"]

# Finished trials whose architectures are remembered.
_REMEMBERED = 10_000
# Seconds to wait for a later trial to give way, and between two looks; then one gives way oneself.
_PATIENCE, _PAUSE = 5.0, 0.02


@dataclass(eq=False)
class _Finished:
    """A finished trial with its architecture, its identity, and its outcome for a model."""

    trial: FrozenTrial
    arch: Architecture | None
    identity: str | None
    has_failed: bool
    tried: Tried | None = None


class StudyTrials:
    """The architectures of a study's trials.

    Args:
        space: The space.
        equivalents: `"once"` if architectures of equal function are one; else `"apart"`.
        learns: Whether architectures that failed twice are held too.
        repeat: Trials that may have one architecture.

    Attributes:
        by_id: Whether the identity of an architecture is its `arch_id`, not its text.
    """

    def __init__(self, space: SearchSpace, equivalents: str, learns: bool, repeat: int = 1) -> None:
        self._space, self._learns, self._repeat = space, learns, repeat
        self.by_id = equivalents == "once"
        self._names = frozenset(space.distributions())
        # Each trial is asked for its architecture in every later one.
        self._finished: dict[int, _Finished] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_finished": {}}

    def identity(self, arch: Architecture) -> str:
        """The key that must differ between trials: the `arch_id` if `by_id`, else the text."""
        return arch.arch_id if self.by_id else arch.text

    def fixed(self, trial: FrozenTrial) -> dict[str, Any]:
        """The space's parameters that were fixed when the trial was enqueued."""
        fixed = trial.system_attrs.get("fixed_params", {})
        return {name: value for name, value in fixed.items() if name in self._names}

    def arch(self, trial: FrozenTrial) -> Architecture | None:
        """The architecture of a trial's parameters, or the one that an unfinished trial claimed."""
        if not trial.state.is_finished():
            return self._arch(trial) or self.claimed(trial)
        return self._of_finished(trial).arch

    def _of_finished(self, trial: FrozenTrial) -> _Finished:
        # A storage hands out the same object of a finished trial every time; it never changes.
        finished = self._finished.get(id(trial))
        if finished is None:
            if len(self._finished) >= _REMEMBERED:
                self._finished.clear()
            arch = self._arch(trial)
            identity = None if arch is None else self.identity(arch)
            finished = self._finished[id(trial)] = _Finished(
                trial, arch, identity, trial.state == TrialState.FAIL
            )
        return finished

    def _arch(self, trial: FrozenTrial) -> Architecture | None:
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        # One that has parameters of these names, but not of this space, has no architecture.
        with contextlib.suppress(InputError):
            return self._space.from_params(params)
        return None

    def _identity(self, trial: FrozenTrial) -> str | None:
        if trial.state.is_finished():
            return self._of_finished(trial).identity
        arch = self.arch(trial)
        return None if arch is None else self.identity(arch)

    def claimed(self, trial: FrozenTrial) -> Architecture | None:
        """The architecture that a trial has claimed."""
        claim = trial.user_attrs.get(ATTRIBUTE)
        if isinstance(claim, dict):
            with contextlib.suppress(InputError):
                return self._space.parse(str(claim.get("arch")))
        return None

    def held(self, study: Study, trial: FrozenTrial) -> tuple[list[FrozenTrial], set[str]]:
        """The other trials that hold an architecture, and the identities that they hold.

        A failed trial frees its architecture; every other one holds it.
        """
        others: list[FrozenTrial] = []
        names: list[str | None] = []
        failed: list[str | None] = []
        remembered = self._finished.get
        for other in all_trials(study):
            finished = remembered(id(other))
            if finished is None and other.state.is_finished():
                finished = self._of_finished(other)
            if finished is None:
                if other.number != trial.number:
                    others.append(other)
                    names.append(self._identity(other))
            elif finished.has_failed:
                failed.append(finished.identity)
            else:
                others.append(other)
                names.append(finished.identity)
        held = {name for name, n in Counter(names).items() if name and n >= self._repeat}
        if self._learns:
            # What failed twice is not tried again.
            held |= {name for name, count in Counter(failed).items() if name and count > 1}
        return others, held

    def tried(self, study: Study, trial: FrozenTrial, predicted: Collection[str]) -> list[Tried]:
        """The outcomes of the other trials, in their order, but for predicted constraints.

        Waiting trials have none; a trial without an architecture, or one that was pruned or failed
        in a study that does not learn, teaches nothing.
        """
        sign = [1.0 if d.name == "MINIMIZE" else -1.0 for d in study.directions]
        outcomes = []
        for other in all_trials(study):
            finished = self._finished.get(id(other))
            if finished is not None and finished.tried is not None:
                outcomes.append(finished.tried)
                continue
            if other.state.is_finished():
                finished = self._of_finished(other)
                if finished.tried is None and finished.arch is not None:
                    others = self._others(other)
                    finished.tried = _tried(other, finished.arch, sign, predicted, others)
                tried = finished.tried
            elif other.state == TrialState.RUNNING and other.number != trial.number:
                arch = self.arch(other)
                others = self._others(other)
                tried = None if arch is None else Tried(arch, None, {}, True, others=others)
            else:
                tried = None
            if tried is not None:
                outcomes.append(tried)
        return outcomes

    def _others(self, trial: FrozenTrial) -> dict[str, Any]:
        """Parameters of a trial that are not the space's."""
        return {name: value for name, value in trial.params.items() if name not in self._names}

    def foreign(self, study: Study) -> int:
        """Number of complete trials that have parameters, but no architecture of the space."""
        finished = [t for t in all_trials(study) if t.state == TrialState.COMPLETE and t.params]
        return sum(self._of_finished(trial).arch is None for trial in finished)

    def claim(self, study: Study, trial: FrozenTrial, summary: Mapping[str, Any]) -> None:
        """Write the architecture that a trial is going to try into the storage."""
        # A sampler is handed frozen trials, so the storage is the only way to write. An equal
        # claim is written again, as whoever writes last is the one to look.
        study._storage.set_trial_user_attr(trial._trial_id, ATTRIBUTE, summary)

    def held_after_claim(
        self, study: Study, trial: FrozenTrial, identity: str
    ) -> tuple[list[FrozenTrial], set[str]]:
        """The result of `held` if another trial keeps the claimed architecture, else nothing.

        It waits until that is clear. A trial with a result has to give way and choose anew.
        """
        deadline = time.monotonic() + _PATIENCE
        while len(rivals := self._rivals(study, trial, identity)) >= self._repeat:
            waits = all(self._gives_way(rival, trial) for rival in rivals)
            if not waits or time.monotonic() > deadline:
                return self.held(study, trial)
            time.sleep(_PAUSE)
        return [], set()

    def _rivals(self, study: Study, trial: FrozenTrial, identity: str) -> list[FrozenTrial]:
        """The other trials that hold an identity."""
        rivals = []
        remembered = self._finished.get
        for other in all_trials(study):
            finished = remembered(id(other))
            name = self._identity(other) if finished is None else finished.identity
            is_held = name == identity and other.state != TrialState.FAIL
            if is_held and other.number != trial.number:
                rivals.append(other)
        return rivals

    def _gives_way(self, rival: FrozenTrial, trial: FrozenTrial) -> bool:
        """Whether a rival is going to see this trial's claim, and then to choose anew."""
        is_open = rival.state == TrialState.RUNNING and self._names.isdisjoint(rival.params)
        return is_open and rival.number > trial.number and not self.fixed(rival)


def all_trials(study: Study) -> list[FrozenTrial]:
    """All trials of a study; Hyperband hands out a study that shows those of one bracket."""
    return study._storage.get_all_trials(study._study_id, deepcopy=False)


def _tried(
    trial: FrozenTrial,
    arch: Architecture,
    sign: Sequence[float],
    predicted: Collection[str],
    others: Mapping[str, Any],
) -> Tried:
    """The outcome of a finished trial."""
    violations = {n: v for n, v in trial.constraints.items() if n not in predicted}
    curve = {}
    if len(sign) == 1:
        reported = sorted(trial.intermediate_values.items())
        curve = {step: sign[0] * value for step, value in reported if np.isfinite(value)}
    if trial.state != TrialState.COMPLETE or np.isnan(trial.values).any():
        failed = trial.state == TrialState.FAIL
        kept = {} if failed else violations
        return Tried(arch, None, kept, False, None, failed, curve, others)
    losses = tuple(s * v for s, v in zip(sign, trial.values, strict=True))
    intervals = note_of(trial, "expected").get("losses")
    outside = is_outside(intervals, losses)
    return Tried(arch, losses, violations, False, outside, False, curve, others)
