"""Trials whose process died: how they are noticed, marked as failed, and tried again.

Each trial says in a system attribute which process runs it. Optuna's own loop (`Study.optimize`)
records a heartbeat while an objective runs, and before each trial fails those that lost theirs: at
once if they are of a process of this machine that is gone, else when their last heartbeat is older
than `GRACE` intervals. The architecture of a lost trial is then tried again, once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import warnings
import weakref
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, fail_stale_trials
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasplug.studies.checksums import checksum_of_trial
from nasplug.studies.values import ATTRIBUTE, RETRY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna.storages.journal import BaseJournalBackend
    from optuna.study import Study

__all__ = ["RetryLost", "WatchedDatabase", "WatchedJournal", "fail_lost", "fail_stale", "retries"]

# The system attribute that says which process runs a trial.
WORKER = "nasplug:worker"
# Heartbeats that may be missed.
GRACE = 3
# How often the architecture of a lost trial is tried again.
RETRIES = 1
# Where Optuna's own callback keeps the numbers of the trials that were lost before.
_FIRST, _HISTORY = "failed_trial", "retry_history"


@cache
def _machine() -> str:
    """What tells machines, and containers on one, apart."""
    parts = [socket.gethostname()]
    # Numbers of processes mean something within one boot and one namespace.
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> float | None:
    """When a process of this machine started, on a scale of its own; None if it is gone."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name, in brackets, may hold anything.
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
    pid, thread = os.getpid(), threading.get_ident()
    return {"host": _machine(), "pid": pid, "started": _started(pid), "thread": thread}


def _worker_of(trial: FrozenTrial) -> dict[str, Any]:
    """Which process runs a trial; empty if it is not known."""
    worker = trial.system_attrs.get(WORKER)
    if isinstance(worker, dict) and {"host", "pid", "started"} <= worker.keys():
        return worker
    return {}


def _is_forgotten(worker: dict[str, Any]) -> bool:
    """Whether a trial is of this thread, which runs none, or of one of this process that ended."""
    own = _this_worker()
    if any(worker.get(key) != own[key] for key in ("host", "pid", "started")):
        return False
    others = {thread.ident for thread in threading.enumerate()} - {own["thread"]}
    return worker.get("thread") not in others


def _is_gone(worker: dict[str, Any]) -> bool:
    """Whether a process is known to have ended, which is known of this machine's own only."""
    if worker.get("host") != _machine():
        return False
    return _started(int(worker["pid"])) != worker["started"]


def retries(trial: FrozenTrial) -> int:
    """How many trials of the same architecture were lost before this one."""
    return len(trial.system_attrs.get(_HISTORY, ()))


class RetryLost:
    """Puts what a lost trial was to try in the queue again, for any worker to take.

    The new trial holds the architecture by its claim, so that `PredictorSampler` may still give way
    to a worker that has taken it in the meantime. Numbers of lost trials are kept as Optuna's
    `RetryHeartbeatStaleTrialCallback` keeps them.

    Args:
        most: How often to try again.
    """

    def __init__(self, most: int = RETRIES) -> None:
        self._most = most

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Queue the trial, unless it was lost too often or had not chosen anything."""
        history = [*trial.system_attrs.get(_HISTORY, ()), trial.number]
        claim = trial.user_attrs.get(ATTRIBUTE)
        fixed = trial.system_attrs.get("fixed_params")
        if len(history) > self._most or not (trial.params or fixed or claim):
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
    """Fail the trials of processes that are gone, and those that this one has forgotten.

    To be called by a thread that runs no trial of the study. An exception at the wrong moment, such
    as Ctrl-C in a notebook while a trial is chosen, leaves a trial that a living process forgot.
    """
    storage = study._storage
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_forgotten(_worker_of(trial)):
            with contextlib.suppress(UpdateFinishedTrialError):
                storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                RetryLost()(study, storage.get_trial(trial._trial_id))
    fail_stale(study)


def fail_stale(study: Study) -> None:
    """Fail the trials of others that give no signs of life any more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)


def _gone_trials(storage: BaseStorage, study_id: int) -> list[int]:
    running = storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
    return [t._trial_id for t in running if _is_gone(_worker_of(t))]


class WatchedJournal(JournalStorage, BaseHeartbeat):
    """A journal with heartbeats: the time of the last one is kept beside the process.

    Clocks of several machines have to agree to within the grace period.

    Args:
        backend: Where its records are.
        interval: Seconds between two heartbeats; None for no heartbeats.
    """

    def __init__(self, backend: BaseJournalBackend, interval: int | None) -> None:
        super().__init__(backend)
        self._interval = interval

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial that says from its first record on which process runs it."""
        if template_trial is None and self._interval is not None:
            template_trial = create_trial(
                state=TrialState.RUNNING, system_attrs={WORKER: self._beat()}
            )
        return super().create_new_trial(study_id, template_trial)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set state and values; a trial that is taken from the queue says by whom."""
        done = super().set_trial_state_values(trial_id, state, values)
        if done and state == TrialState.RUNNING and self._interval is not None:
            self.record_heartbeat(trial_id)
        return done

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that this process still runs a trial."""
        before = _worker_of(self.get_trial(trial_id))
        # The heartbeat has a thread of its own, but the trial is that of the first.
        beat = self._beat()
        if before.get("pid") == beat["pid"]:
            beat["thread"] = before.get("thread")
        # Another worker may have given up a trial of this one, and a disk be full; its end tells.
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
        """What is done with a lost trial."""
        return RetryLost()


class WatchedDatabase(RDBStorage):
    """A database in which trials say from the first on which process runs them.

    The time of heartbeats is the server's. Arguments are those of `RDBStorage`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Drivers complain of connections that are dropped while they are open.
        weakref.finalize(self, self.engine.dispose)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Any
    ) -> Any:
        from optuna.storages._rdb import models

        # In one transaction with the trial: a process may die at any moment.
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
        """Set state and values, with a checksum if that is the end of the trial.

        A trial that is taken from the queue says by whom.
        """
        if state.is_finished():
            name, text = checksum_of_trial(self.get_trial(trial_id), state, values)
            self.set_trial_system_attr(trial_id, name, text)
        done = super().set_trial_state_values(trial_id, state, values)
        if done and state == TrialState.RUNNING and self.heartbeat_interval is not None:
            self.set_trial_system_attr(trial_id, WORKER, _this_worker())
            self.record_heartbeat(trial_id)
        return done

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that this process still runs a trial; if that fails its end tells why."""
        from sqlalchemy.exc import SQLAlchemyError

        with contextlib.suppress(StorageInternalError, SQLAlchemyError):
            super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        late = super()._get_stale_trial_ids(study_id)
        return list(dict.fromkeys([*_gone_trials(self, study_id), *late]))
