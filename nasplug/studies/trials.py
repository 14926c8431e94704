"""Runs the trials of a study that several processes may share, until its total is reached."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from nasplug._signals import held, released, stoppable
from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import hidden_cause
from nasplug.studies.databases import without_password
from nasplug.studies.evaluation import TrialFailure
from nasplug.studies.heartbeats import fail_lost, fail_stale

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

__all__ = ["FAILURE", "SURPLUS", "Done", "Surplus", "counts_as_failed", "finished", "run_trials"]

# Why a trial failed, kept with it.
FAILURE = "nasplug:failure"
SURPLUS = "the study had all its trials when this one was begun"
# Failures in succession after which something is wrong with the evaluation itself.
FAILURES = 10
# Between two looks at what other workers have finished.
WAIT_SECONDS = 1.0

Objective = Callable[["Trial"], Any]


@dataclass
class Done:
    """What this process did: trials that were completed, and that failed."""

    completed: int = 0
    failed: int = 0


class Surplus(TrialFailure):
    """A trial that was begun while another process began the last one that was needed."""


def finished(study: Study) -> list[FrozenTrial]:
    """The complete trials, in order."""
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
    progress: bool | None = None,
) -> Done:
    """Evaluate trials until the study has `total` complete ones, those of others included.

    A trial that fails by `TrialFailure` is kept with the reason, and the study goes on. No more
    trials are begun than are missing: while others evaluate the last ones, this waits for them.

    Args:
        study: The study, with its sampler.
        objective: Evaluates a trial.
        total: Complete trials that the study is to have; asked again before each trial.
        most: Trials to begin here; no limit if None.
        jobs: Trials to evaluate at once, each in a thread of its own.
        stop: Ends what the objective is doing in other threads.
        progress: Whether to draw a progress bar on stderr; by default on a terminal only.

    Raises:
        InputError: If ten trials in succession fail here, or the storage cannot be written.
        KeyboardInterrupt: On Ctrl-C, SIGTERM or SIGHUP, with a sentence on how to go on.
    """

    def stopped() -> str:
        kept = "is kept; the same command goes on from there"
        if isinstance(study._storage, InMemoryStorage):
            kept = "is lost, as storage is memory"
        return f"stopped after {len(finished(study))} of {total()} trials; the study {kept}"

    loop = _Loop(study, objective, total, most)
    # The bookkeeping is never broken off: only what an objective releases is, and waiting.
    with stoppable(stopped), held():
        try:
            fail_lost(study)
            with _bar(study, total, progress) as advance:
                loop.advance = advance
                loop.run() if jobs == 1 else _in_threads(loop, jobs, stop)
        except InputError:
            raise
        except Exception as error:
            cause = hidden_cause(error)
            if cause is None and not isinstance(error, (OSError, StorageInternalError)):
                raise
            said = without_password(cause or str(error))
            raise InputError(
                f"cannot write study {study.study_name!r} ({said}); finished trials are kept: "
                "make room or mend it, and the same command goes on from there"
            ) from error
    return loop.done


class _Loop:
    """What the jobs of one process share."""

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
        # The trial of each thread.
        self._mine = threading.local()

    def run(self) -> None:
        """Evaluate trials until there is nothing left to do."""
        while not self.stopping.is_set():
            with released():
                pass  # what came meanwhile is raised here
            complete, under_way = _counts(self.study)
            if complete >= self.total():
                return
            with self._lock:
                if self.most is not None and self._begun >= self.most:
                    return
                # What other jobs have begun may not be in the storage yet.
                room = complete + under_way + self._asking < self.total()
                self._begun += room
                self._asking += room
            if not room:
                # What others have under way may fail, or its process may die.
                with released():
                    self.stopping.wait(WAIT_SECONDS)
                fail_stale(self.study)
                continue
            self._one()

    def _one(self) -> None:
        """Begin and end one trial."""
        mine = self._mine
        mine.trial = None
        try:
            # One at a time: the trials of others count. Optuna's loop gives signs of life.
            self.study.optimize(
                self._evaluate, n_trials=1, catch=(TrialFailure,), callbacks=[self._after]
            )
        except KeyboardInterrupt:
            if mine.trial is not None and _was_given_up(self.study, mine.trial):
                # It is not the architecture's fault: whoever goes on tries it first.
                trial = self.study._storage.get_trial(mine.trial)
                self.study.enqueue_trial(trial.params)
            raise
        except (ValueError, UpdateFinishedTrialError) as error:
            lost = mine.trial is not None and _was_given_up(self.study, mine.trial)
            if isinstance(error, InputError) or not lost:
                raise
            self.done.failed += 1
            self.advance("a trial gave no sign of life in time, and others count it as lost")
        finally:
            with self._lock:
                self._asking -= mine.trial is None

    def _evaluate(self, trial: Trial) -> Any:
        with self._lock:
            self._asking -= 1
        self._mine.trial = trial._trial_id
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
            # Of the jobs that fail at once, one has the last failure, and it alone ends the search.
            is_enough = failed and self._in_row == FAILURES
            if is_enough:
                self.stopping.set()
        self.advance(f"trial {trial.number} failed: {_one_line(reason)}" if failed else None)
        if is_enough:
            raise InputError(
                f"{FAILURES} trials in succession failed, the last one by {_one_line(reason)}; the "
                "study is kept: mend what fails, and the same command goes on from there"
            )


def _in_threads(loop: _Loop, jobs: int, stop: Callable[[], None]) -> None:
    """Run several jobs, and end them all if one fails or we are interrupted."""

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
        # Not by `join`, which takes a thread for ended when it is interrupted.
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


def _was_given_up(study: Study, trial_id: int) -> bool:
    return bool(study._storage.get_trial(trial_id).state == TrialState.FAIL)


def _counts(study: Study) -> tuple[int, int]:
    """Complete trials, and those that are under way."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    return states.count(TrialState.COMPLETE), states.count(TrialState.RUNNING)


def _rank(study: Study, number: int) -> int:
    """How many trials that are complete or under way come before one."""
    states = (TrialState.COMPLETE, TrialState.RUNNING)
    trials = study.get_trials(deepcopy=False, states=states)
    return sum(trial.number < number or trial.state == TrialState.COMPLETE for trial in trials)


def _one_line(reason: str) -> str:
    """The first line of a reason, and the last one, which of an error's text tells most."""
    lines = reason.splitlines() or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]}; {lines[-1]}"


@contextlib.contextmanager
def _bar(
    study: Study, total: Callable[[], int], progress: bool | None
) -> Iterator[Callable[[str | None], None]]:
    """A progress bar; what is yielded moves it on, or prints a sentence beside it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    shown = console.is_terminal if progress is None else progress
    with Progress(console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("trials", total=total(), completed=len(finished(study)))

        def advance(sentence: str | None) -> None:
            if sentence is not None and shown:
                bar.console.print(f"nasplug: {sentence}", markup=False, highlight=False)
            elif sentence is not None:
                print(f"nasplug: {sentence}", file=sys.stderr, flush=True)
            # Others may work on the same study.
            bar.update(task, total=total(), completed=len(finished(study)))

        yield advance


def counts_as_failed(trial: FrozenTrial) -> bool:
    """Whether a trial failed by itself, and was not merely one too many."""
    reason = trial.user_attrs.get(FAILURE, SURPLUS)
    return trial.state.name == "FAIL" and reason != SURPLUS
