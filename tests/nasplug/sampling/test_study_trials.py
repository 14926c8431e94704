"""Trials that claim the same architecture: one of them keeps it."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import optuna
import pytest
from claim_race import NB201, take

from nasplug.sampling import study_trials
from nasplug.sampling.study_trials import StudyTrials
from nasplug.search_spaces import Architecture
from nasplug.studies.storages import open_storage


def test_one_of_those_that_claim_in_the_same_moment_keeps_it(shared_storage: str) -> None:
    count, rounds = 3, 5
    optuna.create_study(storage=open_storage(shared_storage), study_name="race")
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(count), context.Queue()
    processes = [
        # Daemons end with the tests: one that fails would leave the others at the barrier.
        context.Process(target=take, args=(shared_storage, barrier, rounds, found), daemon=True)
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    taken = [found.get(timeout=300) for _ in range(count * rounds)]
    for process in processes:
        process.join(300)
    assert len({arch_id for arch_id, _ in taken}) == count * rounds
    # They did claim the same.
    assert sum(gave_way for _, gave_way in taken) >= rounds


class Claims:
    """Two trials of a study in memory, the first of which looks whether it keeps its claim."""

    def __init__(self) -> None:
        self.study = optuna.create_study()
        self.storage = self.study._storage
        self.first, self.second = (
            self.storage.get_trial(self.storage.create_new_trial(self.study._study_id))
            for _ in range(2)
        )
        self.trials = StudyTrials(NB201, "once", learns=True)
        self.same, self.other = self.cell(77), self.cell(1234)

    @staticmethod
    def cell(place: int) -> Architecture:
        found: Architecture = NB201[place]  # type: ignore[index]
        return found

    def claim(self, trial: Any, arch: Architecture) -> None:
        self.trials.claim(self.study, trial, {"arch": arch.text})

    def keeps(self, trial: Any) -> bool:
        identity = self.trials.identity(self.same)
        return identity not in self.trials.held_after_claim(self.study, trial, identity)[1]


@pytest.fixture
def claims() -> Claims:
    made = Claims()
    made.claim(made.first, made.same)
    made.claim(made.second, made.same)
    return made


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails whoever waits."""
    monkeypatch.setattr(study_trials.time, "sleep", lambda seconds: pytest.fail("it waited"))


@pytest.mark.usefixtures("at_once")
def test_the_later_trial_gives_way(claims: Claims) -> None:
    assert not claims.keeps(claims.second)


def test_the_earlier_trial_waits_for_that(claims: Claims) -> None:
    timer = threading.Timer(0.1, claims.claim, (claims.second, claims.other))
    timer.start()
    assert claims.keeps(claims.first)
    timer.join()


@pytest.mark.usefixtures("at_once")
def test_the_earlier_trial_gives_way_to_one_that_has_settled(claims: Claims) -> None:
    distribution = NB201.distributions()["op_0_1"]
    claims.storage.set_trial_param(claims.second._trial_id, "op_0_1", 0.0, distribution)
    assert not claims.keeps(claims.first)


def test_the_earlier_trial_gives_way_to_one_that_never_moves(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_trials, "_PATIENCE", 0.2)
    assert not claims.keeps(claims.first)
