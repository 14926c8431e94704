"""Heartbeats of trials: trials of dead processes are noticed, marked as failed, and tried again.

Each trial has a system attribute with the process that runs it. Optuna's own loop
(`Study.optimize`) records a heartbeat while an objective runs. Before each trial it fails lost
trials: at once if their process was one of this machine and is gone, else when their last heartbeat
is older than `GRACE` intervals. The architecture of a lost trial is then tried again, once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, fail_stale_trials
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import BaseJournalBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasplug.studies.checksums import checksum_of_trial
from nasplug.studies.values import ATTRIBUTE, RETRY

__all__ = ["WatchedDatabase", "WatchedJournal", "fail_lost", "fail_stale", "retries", "retry_lost"]

# System attribute with the process that runs a trial.
WORKER = "nasplug:worker"
# Number of heartbeats that may be missed.
GRACE = 3
# Number of times that the architecture of a lost trial is tried again.
RETRIES = 1
# System attributes in which Optuna's own callback keeps the numbers of earlier lost trials.
_FIRST, _HISTORY = "failed_trial", "retry_history"


@cache
def _machine() -> str:
    """Identity of this machine, and of the container on it."""
    parts = [socket.gethostname()]
    # Process ids are only unique within one boot and one namespace.
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> float | None:
    """Start time of a process of this machine, on any fixed scale; None if the process is gone."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The process's name, in brackets, may hold anything, so fields are counted behind it.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else float(fields[19])
    import psutil  # type: ignore[import-untyped]

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _this_worker() -> dict[str, Any]:
    """Machine, process and thread that run this code."""
    pid, thread = os.getpid(), threading.get_ident()
    return {"host": _machine(), "pid": pid, "started": _started(pid), "thread": thread}


def _worker_of(trial: FrozenTrial) -> dict[str, Any]:
    """Process that runs a trial; empty if it is unknown."""
    worker = trial.system_attrs.get(WORKER)
    if isinstance(worker, dict) and {"host", "pid", "started"} <= worker.keys():
        return worker
    return {}


def _is_forgotten(worker: dict[str, Any]) -> bool:
    """Whether a trial belongs to this thread, which runs none, or to an ended thread of ours."""
    current = _this_worker()
    if any(worker.get(key) != current[key] for key in ("host", "pid", "started")):
        return False
    others = {thread.ident for thread in threading.enumerate()} - {current["thread"]}
    return worker.get("thread") not in others


def _is_gone(worker: dict[str, Any]) -> bool:
    """Whether a process of this machine has ended; False for those of other machines."""
    if worker.get("host") != _machine():
        return False
    result: bool = _started(int(worker["pid"])) != worker["started"]
    return result


def retries(trial: FrozenTrial) -> int:
    """Number of trials of the same architecture that were lost before this one."""
    return len(trial.system_attrs.get(_HISTORY, ()))


def retry_lost(study: Study, trial: FrozenTrial) -> None:
    """Queue the architecture of a lost trial again, for any worker to take, if it had one.

    The new trial claims the architecture, so that `PredictorSampler` may still give way to a worker
    that has taken it in the meantime. Numbers of lost trials are stored as Optuna's
    `RetryHeartbeatStaleTrialCallback` stores them.
    """
    history = [*trial.system_attrs.get(_HISTORY, ()), trial.number]
    claim = trial.user_attrs.get(ATTRIBUTE)
    fixed = trial.system_attrs.get("fixed_params")
    if len(history) > RETRIES or not (trial.params or fixed or claim):
        return
    system: dict[str, Any] = {_FIRST: history[0], _HISTORY: history}
    if isinstance(claim, dict) and fixed is None:
        system[RETRY] = trial.params
    else:
        system["fixed_params"] = {**(fixed or {}), **trial.params}
    study.add_trial(
        create_trial(state=TrialState.WAITING, user_attrs=trial.user_attrs, system_attrs=system)
    )


def fail_lost(study: Study) -> None:
    """Fail the trials of processes that are gone, and those that this process has forgotten.

    Call it from a thread that runs no trial of the study. An exception at the wrong moment, such as
    Ctrl-C in a notebook while a trial is chosen, leaves a trial that a living process forgot.
    """
    storage = study._storage
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_forgotten(_worker_of(trial)):
            with contextlib.suppress(UpdateFinishedTrialError):
                storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                retry_lost(study, storage.get_trial(trial._trial_id))
    fail_stale(study)


def fail_stale(study: Study) -> None:
    """Fail the trials of other processes that have stopped recording heartbeats."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)


def _gone_trials(storage: BaseStorage, study_id: int) -> list[int]:
    """Ids of running trials whose process, one of this machine, has ended."""
    running = storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
    return [t._trial_id for t in running if _is_gone(_worker_of(t))]


class WatchedJournal(JournalStorage, BaseHeartbeat):
    """Journal with heartbeats: a trial's attribute has its process and the time of the last one.

    Clocks of several machines have to agree to within the grace period. Heartbeats come every
    `interval` seconds; None is for no heartbeats.
    """

    def __init__(self, backend: BaseJournalBackend, interval: int | None) -> None:
        super().__init__(backend)
        self._interval = interval

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial whose first record has the process that runs it."""
        if template_trial is None and self._interval is not None:
            template_trial = create_trial(
                state=TrialState.RUNNING, system_attrs={WORKER: self._beat()}
            )
        return super().create_new_trial(study_id, template_trial)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set state and values; a trial that is taken from the queue gets its process."""
        is_set = super().set_trial_state_values(trial_id, state, values)
        if is_set and state == TrialState.RUNNING and self._interval is not None:
            self.record_heartbeat(trial_id)
        return is_set

    def record_heartbeat(self, trial_id: int) -> None:
        """Record that this process still runs a trial."""
        previous = _worker_of(self.get_trial(trial_id))
        # Optuna records heartbeats from another thread than the one that runs the trial.
        beat = self._beat()
        if previous.get("pid") == beat["pid"]:
            beat["thread"] = previous.get("thread")
        # Another worker may have failed the trial, or the disk be full; the trial's end reports it.
        with contextlib.suppress(UpdateFinishedTrialError, OSError):
            self.set_trial_system_attr(trial_id, WORKER, beat)

    @staticmethod
    def _beat() -> dict[str, Any]:
        return {**_this_worker(), "seen": round(time.time(), 3)}

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        assert self._interval is not None
        now, stale = time.time(), _gone_trials(self, study_id)
        for trial in self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            seen = _worker_of(trial).get("seen")
            if isinstance(seen, int | float) and now - seen > GRACE * self._interval:
                stale.append(trial._trial_id)
        return list(dict.fromkeys(stale))

    def get_heartbeat_interval(self) -> int | None:
        """Seconds between two heartbeats."""
        return self._interval

    def get_heartbeat_stale_trial_callback(self) -> Callable[[Study, FrozenTrial], None]:
        """Callback for lost trials."""
        return retry_lost


class WatchedDatabase(RDBStorage):
    """Database whose trials have from their first record on the process that runs them.

    Times of heartbeats are those of the server. Arguments are those of `RDBStorage`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Drivers warn of connections that are garbage collected while they are open.
        weakref.finalize(self, self.engine.dispose)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Any
    ) -> Any:
        from optuna.storages._rdb import models

        # In the transaction that creates the trial, as a process may die at any moment.
        trial = super()._get_prepared_new_trial(study_id, template_trial, session)
        if template_trial is None and self.heartbeat_interval is not None:
            number: Any = trial.trial_id
            self._set_trial_attr_without_commit(
                session, models.TrialSystemAttributeModel, number, WORKER, _this_worker()
            )
            session.add(models.TrialHeartbeatModel(trial_id=number))
        return trial

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set state and values, and at the end of a trial its checksum.

        A trial that is taken from the queue gets its process.
        """
        if state.is_finished():
            name, text = checksum_of_trial(self.get_trial(trial_id), state, values)
            self.set_trial_system_attr(trial_id, name, text)
        is_set = super().set_trial_state_values(trial_id, state, values)
        if is_set and state == TrialState.RUNNING and self.heartbeat_interval is not None:
            self.set_trial_system_attr(trial_id, WORKER, _this_worker())
            self.record_heartbeat(trial_id)
        return is_set

    def record_heartbeat(self, trial_id: int) -> None:
        """Record that this process still runs a trial; the trial's end reports a failure of it."""
        from sqlalchemy.exc import SQLAlchemyError

        with contextlib.suppress(StorageInternalError, SQLAlchemyError):
            super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        late = super()._get_stale_trial_ids(study_id)
        return list(dict.fromkeys([*_gone_trials(self, study_id), *late]))
