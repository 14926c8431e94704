"""The next architecture of a study whose values are predicted quantities."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nasplug.arrays import Array, Mask
from nasplug.candidates.candidates import Candidates
from nasplug.objectives import Objective
from nasplug.quantities import QUANTITIES
from nasplug.sampling.learned_choice import Generators
from nasplug.sampling.ranking import best_candidate, relate
from nasplug.sampling.study_trials import StudyTrials

__all__ = ["PredictedChoice", "mismatch"]


def mismatch(study: Study, objectives: Sequence[Objective], has_hardware: bool) -> str | None:
    """Sentence on why a study's values cannot be these objectives; None if they can."""
    names = [objective.name for objective in objectives]
    needing = next((name for name in names if QUANTITIES[name].needs_device), None)
    if not has_hardware and needing is not None:
        return (
            f"the objective {needing} needs hardware; give the sampler hardware, or "
            'objectives=("accuracy", "flops")'
        )
    wanted = [objective.direction for objective in objectives]
    directions = [direction.name.lower() for direction in study.directions]
    if wanted == directions:
        return None
    return (
        f"the study has the directions {', '.join(directions)}, but the sampler's objectives "
        f"{', '.join(names)} need {', '.join(wanted)}; create the study with these directions, or "
        "give the sampler other objectives"
    )


class PredictedChoice:
    """Chooses candidates by their predictions, brought to the scale of the trials.

    Args:
        candidates: The candidates, with their predictions.
        objectives: Objectives, in the order of the study's values.
        generators: Makes the generator of a step.
        trials: The trials of the study.
    """

    def __init__(
        self,
        candidates: Candidates,
        objectives: Sequence[Objective],
        generators: Generators,
        trials: StudyTrials,
    ) -> None:
        self._candidates, self._objectives = candidates, objectives
        self._generators, self._trials = generators, trials

    def __call__(
        self, others: Sequence[FrozenTrial], held: Collection[str], allowed: Mask | None
    ) -> tuple[int, bool]:
        """Choose the next candidate; the second value is whether no trial holds it.

        Of the `allowed` candidates, `(n,)`, or of all if that is None or a mask of none.
        """
        candidates = self._candidates
        if allowed is None or not allowed.any():
            allowed = np.ones(len(candidates), np.bool_)
        generator = self._generators(len(held))
        # A trial may have an architecture that no pool of this seed holds.
        candidates.indices([arch for trial in others if (arch := self._trials.arch(trial))])
        allowed = np.pad(allowed, (0, len(candidates) - len(allowed)))
        feasible, competing = allowed & candidates.feasible, np.zeros_like(allowed)
        competing[candidates.competing] = True
        for mask in (feasible & competing, feasible):
            chosen = candidates.cheapest(mask)
            pool = chosen[candidates.free(chosen, held, self._trials.by_id)]
            if len(pool):
                break
        else:
            chosen = candidates.cheapest(allowed)
            infeasible = chosen[candidates.free(chosen, held, self._trials.by_id)]
            if not len(infeasible):
                return int(generator.choice(chosen)), False
            missed = np.maximum(candidates.violations()[:, infeasible], 0.0).sum(axis=0)
            return int(infeasible[np.argmin(missed)]), True
        mean, std, observed = self._on_observed_scale(others)
        return int(
            pool[best_candidate(mean[pool], std[pool], observed, generator, mean[chosen])]
        ), True

    def _on_observed_scale(self, others: Sequence[FrozenTrial]) -> tuple[Array, Array, Array]:
        """Predictions of all candidates, and the trials so far, as values to be minimised."""
        candidates, names = self._candidates, [o.name for o in self._objectives]
        archs = [self._trials.arch(trial) for trial in others]
        remaining = iter(candidates.indices([arch for arch in archs if arch is not None]))
        indices = [None if arch is None else next(remaining) for arch in archs]
        mean, std = candidates.means(names), candidates.stds(names)
        predicted, paired, front, pending = [], [], [], []
        for trial, index in zip(others, indices, strict=True):
            if trial.state == TrialState.COMPLETE and np.isfinite(trial.values).all():
                if index is not None:
                    predicted.append(mean[index])
                    paired.append(trial.values)
                if all(value <= 0 for value in trial.constraints.values()):
                    front.append(trial.values)
            elif trial.state == TrialState.RUNNING and index is not None:
                pending.append(index)
        sign = np.array([o.sign for o in self._objectives])
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
