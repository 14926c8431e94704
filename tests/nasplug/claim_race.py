"""Processes that claim architectures of one study at the very same moment, for test_workers.py."""

from __future__ import annotations

from typing import Any

import optuna

from nasplug.sampling.study_trials import StudyTrials
from nasplug.search_spaces import space
from nasplug.studies.storages import open_storage

NB201 = space("nb201")


def take(storage: str, barrier: Any, rounds: int, own: Any) -> None:
    """Each round: create a trial, and keep the first architecture that is free."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name="race", storage=open_storage(storage, None))
    trials = StudyTrials(NB201, "once", learns=True)
    archs = [NB201[k] for k in range(0, 15625, 50)]  # type: ignore[index]
    distributions = NB201.distributions()
    for _ in range(rounds):
        trial = optuna.trial.Trial(study, study._storage.create_new_trial(study._study_id))
        frozen = study._storage.get_trial(trial._trial_id)
        _, held = trials.held(study, frozen)
        barrier.wait()
        gave_way = -1
        while True:
            arch = next(one for one in archs if trials.identity(one) not in held)
            gave_way += 1
            trials.claim(study, frozen, {"arch": arch.text})
            _, held = trials.held_after_claim(study, frozen, trials.identity(arch))
            if trials.identity(arch) not in held:
                break
        for name, value in NB201.to_params(arch).items():
            distribution = distributions[name]
            study._storage.set_trial_param(
                trial._trial_id, name, distribution.to_internal_repr(value), distribution
            )
        own.put((arch.arch_id, gave_way))
        barrier.wait()
