"""Several processes on one study: no architecture twice, and nothing lost with a process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from study_worker import HEARTBEAT, NB201, join, objective

from nasplug.studies import heartbeats
from nasplug.studies.heartbeats import fail_lost
from nasplug.studies.storages import open_storage

Worker = subprocess.Popen[str]
Start = Callable[..., Worker]
SCRIPT = Path(__file__).parents[1] / "study_worker.py"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers, and ends those of a test that failed."""
    with contextlib.ExitStack() as stack:

        def started(*words: object) -> Worker:
            command = [sys.executable, str(SCRIPT), *map(str, words)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield started


def ids(study: optuna.Study, *states: TrialState) -> list[str]:
    trials = study.get_trials(states=states or (TrialState.COMPLETE,))
    return [NB201.from_params(trial.params).arch_id for trial in trials]


def test_workers_share_a_study_without_repeats(start: Start, shared_storage: str) -> None:
    workers = [start(shared_storage, "one", 8, 0) for _ in range(2)]
    for worker in workers:
        worker.communicate(timeout=300)
    assert [worker.returncode for worker in workers] == [0] * 2
    study = join(shared_storage, "one")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 16
    assert len(set(ids(study))) == 16


def killed_in_a_trial(start: Start, storage: str, name: str) -> None:
    worker = start(storage, name, 1, 0, 600)
    assert worker.stdout is not None
    assert worker.stdout.readline().startswith("started")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(300)


def test_a_killed_worker_s_trial_fails_and_is_tried_again_once(
    start: Start, shared_storage: str
) -> None:
    killed_in_a_trial(start, shared_storage, "lost")
    # Of another seed, it would choose something else by itself.
    study = join(shared_storage, "lost", 1)
    (lost,) = study.trials
    assert lost.state == TrialState.RUNNING
    # Another sampler's own worker that is alive is left alone.
    alive = study._storage.create_new_trial(study._study_id)
    study.optimize(objective, n_trials=2)
    lost, _, *rest = study.trials
    assert lost.state == TrialState.FAIL
    assert study._storage.get_trial(alive).state == TrialState.RUNNING
    assert [trial.state for trial in rest] == [TrialState.COMPLETE] * 2
    assert rest[0].params == lost.params
    assert heartbeats.retries(rest[0]) == 1
    assert rest[0].system_attrs["retry_history"] == [lost.number]
    assert rest[1].params != lost.params
    assert heartbeats.retries(rest[1]) == 0


def test_what_was_lost_twice_is_left(start: Start, tmp_path: Path) -> None:
    storage = str(tmp_path / "twice.journal")
    killed_in_a_trial(start, storage, "twice")
    killed_in_a_trial(start, storage, "twice")
    study = join(storage, "twice", 0)
    first, second = study.trials
    assert second.params == first.params
    study.optimize(objective, n_trials=3)
    assert [t.state for t in study.trials[:2]] == [TrialState.FAIL] * 2
    assert ids(study, TrialState.FAIL)[0] not in ids(study)
    assert len(study.trials) == 5


def test_a_search_frees_what_its_own_process_forgot(tmp_path: Path) -> None:
    study = join(str(tmp_path / "own.journal"), "own", 0)
    study._storage.create_new_trial(study._study_id)
    fail_lost(study)
    (trial,) = study.trials
    # It had chosen nothing, so that there is nothing to try again.
    assert trial.state == TrialState.FAIL


def test_a_search_leaves_what_another_thread_runs(
    shared_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = join(shared_storage, "threads", 0, heartbeat=2)
    begun, checked, beats = threading.Event(), threading.Event(), threading.Semaphore(0)
    record: Any = study._storage.record_heartbeat  # type: ignore[attr-defined]

    def beat(trial_id: int) -> None:
        record(trial_id)
        if begun.is_set():
            beats.release()

    def wait(trial: optuna.trial.Trial) -> float:
        begun.set()
        assert checked.wait(300)
        return objective(trial)

    monkeypatch.setattr(study._storage, "record_heartbeat", beat)

    thread = threading.Thread(target=study.optimize, args=(wait,), kwargs={"n_trials": 1})
    thread.start()
    # Heartbeats come from a thread of their own.
    assert beats.acquire(timeout=300)
    fail_lost(study)
    checked.set()
    thread.join()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_trials_of_other_machines_fail_when_their_heartbeat_is_old(tmp_path: Path) -> None:
    study = join(str(tmp_path / "far.journal"), "far", 0)
    storage = study._storage
    trials = [storage.create_new_trial(study._study_id) for _ in range(3)]
    limit = heartbeats.GRACE * HEARTBEAT
    for trial, age in zip(trials[:2], (limit + 1, limit - 1), strict=True):
        seen = {"host": "elsewhere", "pid": 1, "started": 1.0, "seen": time.time() - age}
        storage.set_trial_system_attr(trial, heartbeats.WORKER, seen)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        optuna.storages.fail_stale_trials(study)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]


def test_a_retry_gives_way_to_whoever_took_the_architecture(tmp_path: Path) -> None:
    study = join(str(tmp_path / "taken.journal"), "taken", 0)
    study.optimize(objective, n_trials=1)
    (done,) = study.trials
    lost = study._storage.create_new_trial(study._study_id)
    study._storage.set_trial_user_attr(lost, "nasplug", done.user_attrs["nasplug"])
    fail_lost(study)
    assert [t.state for t in study.trials[1:]] == [TrialState.FAIL, TrialState.WAITING]
    study.optimize(objective, n_trials=1)
    assert len(set(ids(study))) == 2


def test_other_parameters_are_tried_again_too(tmp_path: Path) -> None:
    study = join(str(tmp_path / "rate.journal"), "rate", 0)

    def train(trial: optuna.trial.Trial) -> float:
        trial.suggest_float("rate", 0, 1)
        value = objective(trial)
        if trial.number == 0:
            raise SystemExit
        return value

    with pytest.raises(SystemExit):
        study.optimize(train, n_trials=1)
    fail_lost(study)
    study.optimize(train, n_trials=1)
    lost, again = study.trials
    assert again.params == lost.params
    assert again.params["rate"] == pytest.approx(lost.params["rate"])


def test_a_study_is_copied_and_continued_elsewhere_with_the_same_decisions(
    start: Start, postgres: Any, tmp_path: Path
) -> None:
    target = postgres.url()
    whole = join(str(tmp_path / "whole.journal"), "whole", 3)
    whole.optimize(objective, n_trials=11)
    begun = join(str(tmp_path / "begun.journal"), "begun", 3)
    begun.optimize(objective, n_trials=7)
    optuna.copy_study(
        from_study_name="begun",
        from_storage=begun._storage,
        to_storage=open_storage(target),
        to_study_name="copy",
    )
    worker = start(target, "copy", 4, 3)
    worker.communicate(timeout=300)
    assert worker.returncode == 0
    copied = join(target, "copy")
    assert [t.params for t in copied.trials] == [t.params for t in whole.trials]
    assert [t.values for t in copied.trials] == [t.values for t in whole.trials]
