"""Loop over the trials of a study that several processes may share, up to a total."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from nasplug._signals import held, released, stoppable
from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import hidden_cause
from nasplug.studies.databases import without_password
from nasplug.studies.evaluation import TrialFailure
from nasplug.studies.heartbeats import fail_lost, fail_stale
from nasplug.studies.progress import Progress
from nasplug.text import counted

__all__ = ["FAILURE", "SURPLUS", "Done", "Surplus", "counts_as_failed", "finished", "run_trials"]

# User attribute of a trial with the reason for its failure, and one such reason.
FAILURE = "nasplug:failure"
SURPLUS = "the study had all its trials when this one started"
# Failures in succession that end a search, as the evaluation itself must be wrong.
FAILURES = 10
# Seconds between two checks of what other workers have finished.
WAIT_SECONDS = 1.0

Objective = Callable[["Trial"], Any]


@dataclass
class Done:
    """Numbers of trials that this process completed, and that failed in it."""

    completed: int = 0
    failed: int = 0


class Surplus(TrialFailure):
    """Failure of a trial that began while another process began the last one that was needed."""


def finished(study: Study) -> list[FrozenTrial]:
    """Complete trials, in order of their numbers."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: trial.number)


def run_trials(
    study: Study,
    objective: Objective,
    total: Callable[[], int],
    *,
    most: int | None = None,
    jobs: int = 1,
    stop: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> Done:
    """Evaluate trials until the study has `total` complete ones, those of other processes included.

    A trial that fails by `TrialFailure` is stored with the reason, and the study goes on. No more
    trials are begun than are missing: while others evaluate the last ones, this waits for them.

    Args:
        study: The study, with its sampler.
        objective: Function that evaluates a trial.
        total: Number of complete trials at which to end; called again before each trial.
        most: Most trials to begin here; no limit if None.
        jobs: Trials to evaluate at once, each in a thread of its own.
        stop: Function that ends running calls of the objective in other threads.
        progress: Shows the number of complete trials; None for sentences on failures alone.

    Raises:
        InputError: If ten trials in succession fail here, or the storage cannot be written.
        KeyboardInterrupt: On Ctrl-C, SIGTERM or SIGHUP, with a sentence on how to go on.
    """

    def stopped() -> str:
        fate = "is stored, and the same command continues it"
        if isinstance(study._storage, InMemoryStorage):
            fate = "is lost, because its storage is memory"
        trials = counted(total(), "trial")
        return f"stopped after {len(finished(study))} of {trials}; the study {fate}"

    shown = Progress(False) if progress is None else progress

    def advance(sentence: str | None) -> None:
        if sentence is not None:
            shown.say(sentence)
        # Other processes may add trials to the study.
        done, wanted = len(finished(study)), total()
        shown.phase(f"{done} of {counted(wanted, 'trial')}", done, wanted)

    loop = _Loop(study, objective, total, most)
    loop.advance = advance
    # Interruptions are held back, but for waiting and for code that an objective releases.
    with stoppable(stopped), held():
        try:
            fail_lost(study)
            advance(None)
            loop.run() if jobs == 1 else _in_threads(loop, jobs, stop)
        except InputError:
            raise
        except Exception as error:
            cause = hidden_cause(error)
            if cause is None and not isinstance(error, (OSError, StorageInternalError)):
                raise
            reason = without_password(cause or str(error))
            raise InputError(
                f"cannot write study {study.study_name!r} ({reason}); finished trials are stored: "
                "free some space or fix the cause, and the same command continues the study"
            ) from error
    return loop.done


class _Loop:
    """State that the jobs of one process share, and the loop of one job."""

    def __init__(
        self, study: Study, objective: Objective, total: Callable[[], int], most: int | None
    ) -> None:
        self.study, self.objective, self.total, self.most = study, objective, total, most
        self.done = Done()
        self.advance: Callable[[str | None], None] = lambda _: None
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self._begun = self._asking = 0
        self._in_row = 0
        self._lock = threading.Lock()
        # Attribute `trial`: the id of the trial that this thread runs.
        self._thread = threading.local()

    def run(self) -> None:
        """Evaluate trials until there is nothing left to do."""
        while not self.stopping.is_set():
            with released():
                pass  # an interruption that was held back is raised here
            complete, running = _counts(self.study)
            if complete >= self.total():
                return
            with self._lock:
                if self.most is not None and self._begun >= self.most:
                    return
                # Trials that other jobs begin may not be in the storage yet.
                is_needed = complete + running + self._asking < self.total()
                self._begun += is_needed
                self._asking += is_needed
            if not is_needed:
                # Running trials of others may fail, or their processes may die.
                with released():
                    self.stopping.wait(WAIT_SECONDS)
                fail_stale(self.study)
                continue
            self._run_trial()

    def _run_trial(self) -> None:
        """Begin and end one trial."""
        thread = self._thread
        thread.trial = thread.raised = None
        try:
            # One trial a call, as trials of others count too. Optuna's loop records heartbeats.
            self.study.optimize(
                self._evaluate, n_trials=1, catch=(TrialFailure,), callbacks=[self._after]
            )
        except KeyboardInterrupt:
            if thread.trial is not None and _has_failed(self.study, thread.trial):
                # The architecture is not at fault, so the next run tries it first.
                trial = self.study._storage.get_trial(thread.trial)
                self.study.enqueue_trial(trial.params)
            raise
        except (ValueError, UpdateFinishedTrialError) as error:
            is_lost = thread.trial is not None and _has_failed(self.study, thread.trial)
            # Optuna fails a trial whose objective raises, so that its state alone tells nothing.
            if isinstance(error, InputError) or error is thread.raised or not is_lost:
                raise
            self.done.failed += 1
            self.advance("a trial sent no heartbeat in time, so other workers count it as failed")
        finally:
            with self._lock:
                self._asking -= thread.trial is None

    def _evaluate(self, trial: Trial) -> Any:
        with self._lock:
            self._asking -= 1
        self._thread.trial = trial._trial_id
        try:
            if _rank(self.study, trial.number) >= self.total():
                raise Surplus(SURPLUS)
            return self.objective(trial)
        except TrialFailure as failure:
            trial.set_user_attr(FAILURE, str(failure))
            raise
        except KeyboardInterrupt:
            trial.set_user_attr(FAILURE, "stopped")
            raise
        except ValueError as error:
            self._thread.raised = error
            raise

    def _after(self, study: Study, trial: FrozenTrial) -> None:
        reason = str(trial.user_attrs.get(FAILURE, "the values are not finite"))
        failed = trial.state == TrialState.FAIL
        if failed and reason == SURPLUS:
            with self._lock:
                self._begun -= 1
            return
        with self._lock:
            self.done.completed += trial.state == TrialState.COMPLETE
            self.done.failed += failed
            self._in_row = self._in_row + 1 if failed else 0
            # Jobs may fail at once; only the job whose failure reaches the number ends the search.
            is_last = failed and self._in_row == FAILURES
            if is_last:
                self.stopping.set()
        self.advance(f"trial {trial.number} failed: {_one_line(reason)}" if failed else None)
        if is_last:
            raise InputError(
                f"{FAILURES} trials in a row failed, the last one with: {_one_line(reason)}; the "
                "study is stored: fix the cause, and the same command continues it"
            )


def _in_threads(loop: _Loop, jobs: int, stop: Callable[[], None]) -> None:
    """Run several jobs, and end all of them if one fails or the process is interrupted."""

    def work() -> None:
        try:
            loop.run()
        except BaseException as error:
            loop.error = loop.error or error
            loop.stopping.set()
        finally:
            ended.release()

    ended = threading.Semaphore(0)
    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        # Not by `join`: an interrupted `join` marks its thread as ended.
        with released():
            for _ in threads:
                ended.acquire()
    except KeyboardInterrupt:
        loop.stopping.set()
        stop()
        raise
    finally:
        for thread in threads:
            thread.join()
    if loop.error is not None:
        raise loop.error


def _has_failed(study: Study, trial_id: int) -> bool:
    return bool(study._storage.get_trial(trial_id).state == TrialState.FAIL)


def _counts(study: Study) -> tuple[int, int]:
    """Numbers of complete and of running trials."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    return states.count(TrialState.COMPLETE), states.count(TrialState.RUNNING)


def _rank(study: Study, number: int) -> int:
    """Number of complete trials, and of running trials with a lower number."""
    states = (TrialState.COMPLETE, TrialState.RUNNING)
    trials = study.get_trials(deepcopy=False, states=states)
    return sum(trial.number < number or trial.state == TrialState.COMPLETE for trial in trials)


def _one_line(reason: str) -> str:
    """Shorten a reason to its first line and its last, where error messages are most telling."""
    lines = reason.splitlines() or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]}; {lines[-1]}"


def counts_as_failed(trial: FrozenTrial) -> bool:
    """Whether a trial failed by itself, and not because the study had all its trials."""
    reason = trial.user_attrs.get(FAILURE, SURPLUS)
    return trial.state.name == "FAIL" and reason != SURPLUS
