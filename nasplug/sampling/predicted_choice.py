"""The next architecture of a study whose values are predicted quantities."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from nasplug.candidates.candidates import Candidates
from nasplug.objectives import Objective
from nasplug.sampling.ranking import best_candidate, relate
from nasplug.sampling.study_trials import StudyTrials

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["PredictedChoice", "mismatch"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def mismatch(study: Study, goals: Sequence[Objective], has_hardware: bool) -> str | None:
    """Why a study's values cannot be these objectives, in one sentence."""
    names = [goal.name for goal in goals]
    if not has_hardware and "latency" in names:
        return (
            "the objective latency needs hardware; give the sampler hardware, or "
            'objectives=("accuracy", "flops")'
        )
    wanted = [goal.direction for goal in goals]
    given = [direction.name.lower() for direction in study.directions]
    if wanted == given:
        return None
    return (
        f"the study has directions {', '.join(given)}, but the sampler's objectives "
        f"{', '.join(names)} need {', '.join(wanted)}; create the study with these "
        "directions or give the sampler other objectives"
    )


class PredictedChoice:
    """Chooses candidates by what is predicted of them, brought to the scale of the trials.

    Args:
        candidates: The candidates, with their predictions.
        goals: What the study's values are.
        generators: Makes the generator of a step, of the seed and of a number.
        trials: Tells the architectures of trials.
    """

    def __init__(
        self,
        candidates: Candidates,
        goals: Sequence[Objective],
        generators: Callable[[int], np.random.Generator],
        trials: StudyTrials,
    ) -> None:
        self._candidates, self._goals = candidates, goals
        self._generators, self._trials = generators, trials

    def __call__(
        self, others: Sequence[FrozenTrial], held: Collection[str], allowed: Mask | None
    ) -> tuple[int, bool]:
        """The next candidate, and whether it is one that no trial holds.

        Args:
            others: The other trials, in their order.
            held: Identities that trials hold.
            allowed: Candidates to choose from, `(cells,)`; all if left out.
        """
        candidates = self._candidates
        chosen = candidates.cheapest(allowed if allowed is not None and allowed.any() else None)
        generator = self._generators(len(held))
        # A trial may have what no pool of this seed holds.
        candidates.positions([arch for one in others if (arch := self._trials.arch(one))])
        free = candidates.free(chosen, held, self._trials.identity)
        feasible = candidates.feasible[chosen]
        competing = np.isin(chosen, candidates.competing)
        if (free & feasible & competing).any():
            chosen, free, feasible = chosen[competing], free[competing], feasible[competing]
        pool = chosen[free & feasible]
        if not len(pool):
            rest = chosen[free]
            if not len(rest):
                return int(generator.choice(chosen)), False
            missed = np.maximum(candidates.violations()[:, rest], 0.0).sum(axis=0)
            return int(rest[np.argmin(missed)]), True
        mean, std, observed = self._on_observed_scale(others)
        horizon = mean[chosen[feasible]]
        return int(pool[best_candidate(mean[pool], std[pool], observed, generator, horizon)]), True

    def _on_observed_scale(self, others: Sequence[FrozenTrial]) -> tuple[Array, Array, Array]:
        """Predictions of all candidates, and the trials so far, as values to be minimised."""
        candidates, names = self._candidates, [goal.name for goal in self._goals]
        archs = [self._trials.arch(trial) for trial in others]
        # A trial may have what no pool of this seed holds.
        places = iter(candidates.positions([arch for arch in archs if arch is not None]))
        cells = [None if arch is None else next(places) for arch in archs]
        mean, std = candidates.means(names), candidates.stds(names)
        predicted, paired, front, pending = [], [], [], []
        for trial, cell in zip(others, cells, strict=True):
            if trial.state == TrialState.COMPLETE and np.isfinite(trial.values).all():
                if cell is not None:
                    predicted.append(mean[cell])
                    paired.append(trial.values)
                if all(value <= 0 for value in trial.constraints.values()):
                    front.append(trial.values)
            elif trial.state == TrialState.RUNNING and cell is not None:
                pending.append(cell)
        sign = np.array([goal.sign for goal in self._goals])
        p, o = np.array(predicted), np.array(paired)
        columns = [
            relate(mean[:, k], std[:, k], p[:, k] if len(p) else p, o[:, k] if len(o) else o)
            for k in range(len(sign))
        ]
        mean = np.stack([m for m, _ in columns], axis=1) * sign
        std = np.stack([s for _, s in columns], axis=1)
        observed = np.array(front).reshape(-1, len(sign)) * sign
        # A running trial counts as if it had ended as predicted, so that jobs spread out.
        return mean, std, np.vstack([observed, mean[pending]])
