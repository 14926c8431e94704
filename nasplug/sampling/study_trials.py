"""Which architecture each trial of a study holds, and the claims of those under way.

Workers share nothing but the storage. A trial claims an architecture by writing a user attribute,
and then reads the others' claims. Of two that claim the same, whoever wrote last sees the other, so
they never both keep it. If both see each other, the trial of the larger number gives way, and the
other waits for it to do so; a trial that has a parameter has settled and gives way no more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import TrialState

from nasplug.sampling.expectations import is_outside
from nasplug.sampling.learned_choice import Tried, held_twice
from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.studies.values import ATTRIBUTE, note_of

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["ATTRIBUTE", "RETRY", "StudyTrials"]

# A failed trial frees its architecture; every other one holds it.
_HOLDING = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED)
# What a trial that is tried again had for parameters is kept under this.
RETRY = "nasplug:retry"
# Parameters whose architectures are kept.
_REMEMBERED = 10_000
# Seconds to wait for a later trial to give way, and between two looks; then one gives way oneself.
_PATIENCE, _PAUSE = 5.0, 0.02


class StudyTrials:
    """The architectures of a study's trials.

    Args:
        space: The space.
        equivalents: `"once"` if architectures of equal function are one; else `"apart"`.
        learns: Whether what failed twice is held too.
    """

    def __init__(self, space: SearchSpace, equivalents: str, learns: bool) -> None:
        self._space, self._equivalents, self._learns = space, equivalents, learns
        self._names = frozenset(space.distributions())
        # Each trial is asked for its architecture in every later one.
        self._archs: dict[tuple[tuple[str, Any], ...], Architecture] = {}

    def identity(self, arch: Architecture) -> str:
        """What no two trials are to have in common."""
        return arch.arch_id if self._equivalents == "once" else arch.text

    def fixed(self, trial: FrozenTrial) -> dict[str, Any]:
        """The space's parameters that were fixed when the trial was enqueued."""
        given = trial.system_attrs.get("fixed_params", {})
        return {name: value for name, value in given.items() if name in self._names}

    def arch(self, trial: FrozenTrial) -> Architecture | None:
        """What a trial's parameters make up, or what a trial that is not finished has claimed."""
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        key = tuple(params.items())
        arch = self._archs.get(key)
        # One that has parameters of these names, but not of this space, has no architecture.
        with contextlib.suppress(InputError):
            arch = arch or self._space.from_params(params)
        if arch is not None:
            if len(self._archs) >= _REMEMBERED:
                self._archs.clear()
            self._archs[key] = arch
            return arch
        return None if trial.state.is_finished() else self.claimed(trial)

    def claimed(self, trial: FrozenTrial) -> Architecture | None:
        """What a trial says that it tries."""
        claim = trial.user_attrs.get(ATTRIBUTE)
        if isinstance(claim, dict):
            with contextlib.suppress(InputError):
                return self._space.parse(str(claim.get("arch")))
        return None

    def held(self, study: Study, trial: FrozenTrial) -> tuple[list[FrozenTrial], set[str]]:
        """The other trials that hold an architecture, and the identities that they hold."""
        trials = study.get_trials(deepcopy=False, states=_HOLDING)
        others = [other for other in trials if other.number != trial.number]
        held = {self.identity(arch) for one in others if (arch := self.arch(one)) is not None}
        if self._learns:
            failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            archs = [self.arch(one) for one in failed]
            held |= held_twice([self.identity(arch) for arch in archs if arch is not None])
        return others, held

    def tried(
        self, study: Study, others: Sequence[FrozenTrial], own: Collection[str]
    ) -> list[Tried]:
        """What trials teach: those that are complete or under way.

        Args:
            study: The study.
            others: The trials.
            own: Names of constraints that are predicted, and not to be learned.
        """
        sign = [1.0 if d.name == "MINIMIZE" else -1.0 for d in study.directions]
        tried = []
        for trial in others:
            arch = self.arch(trial)
            if arch is None or trial.state not in (TrialState.COMPLETE, TrialState.RUNNING):
                continue
            if trial.state != TrialState.COMPLETE or np.isnan(trial.values).any():
                tried.append(Tried(arch, None, {}, trial.state == TrialState.RUNNING))
                continue
            losses = tuple(s * v for s, v in zip(sign, trial.values, strict=True))
            violations = {n: v for n, v in trial.constraints.items() if n not in own}
            said = note_of(trial, "expected").get("losses")
            tried.append(Tried(arch, losses, violations, False, is_outside(said, losses)))
        return tried

    def claim(self, study: Study, trial: FrozenTrial, summary: Mapping[str, Any]) -> None:
        """Say in the storage what a trial is going to try."""
        # A sampler is handed frozen trials, so the storage is the only way to write. What is
        # written already is written again, as whoever writes last is the one to look.
        study._storage.set_trial_user_attr(trial._trial_id, ATTRIBUTE, summary)

    def held_after_claim(
        self, study: Study, trial: FrozenTrial, identity: str
    ) -> tuple[list[FrozenTrial], set[str]]:
        """What `held` gives once it is clear who keeps an identity that this trial has claimed.

        It is this trial's if it is not among those held, or else it has to give way.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            others, held = self.held(study, trial)
            rivals = [one for one in others if self._holds(one, identity)]
            if not rivals or not all(self._gives_way(one, trial) for one in rivals):
                return others, held
            if time.monotonic() > deadline:
                return others, held
            time.sleep(_PAUSE)

    def _holds(self, trial: FrozenTrial, identity: str) -> bool:
        arch = self.arch(trial)
        return arch is not None and self.identity(arch) == identity

    def _gives_way(self, rival: FrozenTrial, trial: FrozenTrial) -> bool:
        """Whether a rival is going to see this trial's claim, and then to choose anew."""
        is_open = rival.state == TrialState.RUNNING and self._names.isdisjoint(rival.params)
        return is_open and rival.number > trial.number and not self.fixed(rival)
