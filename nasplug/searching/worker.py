"""A worker: joins a study that `nasplug search` made, and evaluates trials of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study

from nasplug.arguments import checked_count
from nasplug.predicting.zoo import NamedScorer
from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.search_spaces.errors import closest
from nasplug.searching.config import RECORD, kept_config, kept_total
from nasplug.searching.kept_result import kept_result
from nasplug.searching.prepare import prepare
from nasplug.searching.search import quiet_optuna
from nasplug.studies.checksums import check_trials
from nasplug.studies.evaluation import Evaluation
from nasplug.studies.progress import Progress
from nasplug.studies.storages import SETTINGS, differences, open_storage
from nasplug.studies.trials import finished
from nasplug.text import counted

__all__ = ["WorkerResult", "worker"]

# Function that shows all studies of a storage, where a sentence names a few.
_LISTER = "optuna.get_all_study_names"

# Between two looks for a study that is not there yet.
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerResult:
    """The work of one worker.

    Attributes:
        study: Name of the study.
        completed: Trials that it completed.
        failed: Trials that failed here.
        n_trials: Trials that the study has complete now, those of all workers.
        total: Trials that it is to have.
    """

    study: str
    completed: int
    failed: int
    n_trials: int
    total: int

    def to_json(self) -> dict[str, Any]:
        """Result as a dictionary for `json.dumps`."""
        return dict(vars(self))

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return (
            f"{counted(self.completed, 'trial')} completed here{failed}; study {self.study} has "
            f"{self.n_trials} of {self.total}"
        )


def worker(
    storage: str | os.PathLike[str],
    study_name: str | None = None,
    *,
    n_trials: int | None = None,
    evaluate: Evaluation | Callable[[Architecture], Mapping[str, Any]] | None = None,
    predictors: Sequence[str | os.PathLike[str] | NamedScorer] = (),
    n_jobs: int = 1,
    wait: float = 0.0,
    progress: bool | None = None,
    space: SearchSpace | None = None,
) -> WorkerResult:
    """Evaluate trials of a study, beside others, until it has all of them.

    Space, device, constraints, seed and total are read from the study, as `search` keeps them
    there. A command or a function is not: no worker runs what it finds in a storage.

    Args:
        storage: The path of a journal file that all workers can reach, or the URL of a database.
        study_name: The study's name in there; may be left out if there is only one.
        n_trials: Trials to begin here, at most; no limit if None.
        evaluate: The `Command` or function of a study that is evaluated by one.
        predictors: To use instead of those that the study names by their paths.
        n_jobs: Trials to evaluate at once, each in a thread.
        wait: Seconds to wait for a study that is not there yet.
        progress: False to show none on stderr; else a terminal gets a bar, and a pipe or a file a
            line at once and one every ten seconds.
        space: The space of a study whose space is installed under no name, such as that of a
            function; the one that the search was given.

    Returns:
        The work that was done here, and the state of the study.

    Raises:
        InputError: If there is no such study, it needs something that is not here, the storage
            cannot be used, or ten trials in succession fail here.
        KeyboardInterrupt: On Ctrl-C or SIGTERM; the trial that was under way is marked failed.

    Example:
        >>> import nasplug
        >>> def train(arch):
        ...     return {"accuracy": 90.0}  # stands for a training run
        >>> found = nasplug.search("nb201", n_trials=2, evaluate=train, storage="shared.journal")
        >>> done = nasplug.worker("shared.journal", evaluate=train)  # of another process, meanwhile
        >>> done.n_trials, done.total
        (2, 2)
    """
    if n_trials is not None:
        checked_count(n_trials, "number of trials")
    checked_count(n_jobs, "number of jobs")
    with quiet_optuna(), Progress(progress) as shown:
        study = _joined(storage, study_name, wait)
        shown.phase(f"joining study {study.study_name}")
        started = time.perf_counter()
        config = kept_config(study, evaluate, predictors, space)
        prepared = prepare(config)
        _check_same(study, prepared.settings)
        complete, total = len(finished(study)), kept_total(study)
        # A search that has its whole front keeps its result before it has the wanted number.
        if complete >= total or kept_result(study, config, prepared, started) is not None:
            return WorkerResult(study.study_name, 0, 0, complete, min(complete, total))
        prepared.score(shown)
        # Who gives the search command again may ask for more trials meanwhile.
        done = prepared.run(
            study, lambda: kept_total(study), most=n_trials, jobs=n_jobs, progress=shown
        )
        complete, total = len(finished(study)), prepared.total(study, kept_total(study))
        return WorkerResult(study.study_name, done.completed, done.failed, complete, total)


def _joined(storage: str | os.PathLike[str], name: str | None, wait: float) -> Study:
    """A study of this name, or the only one, as soon as there is one."""
    if storage == "memory":
        raise InputError(
            "the storage memory belongs to one process; give the journal file or database of "
            "the study"
        )
    until = time.monotonic() + wait
    opened_storage: BaseStorage | None = None
    while True:
        is_url = isinstance(storage, str) and "://" in storage
        # Opening would make it, and hide a mistyped path.
        if opened_storage is None and (is_url or os.path.isfile(Path(storage).expanduser())):
            opened_storage = open_storage(storage)
        names = [] if opened_storage is None else optuna.study.get_all_study_names(opened_storage)
        if name is None and len(names) > 1:
            raise InputError(
                f"the storage has several studies: {closest('', names, _LISTER)}; choose one "
                "with --study-name"
            )
        wanted = names[0] if name is None and names else name
        study = None if opened_storage is None or wanted is None else _study(opened_storage, wanted)
        if study is not None:
            return study
        if time.monotonic() >= until:
            break
        time.sleep(min(LOOK_SECONDS, max(0.0, until - time.monotonic())))
    if opened_storage is None:
        raise InputError(
            f"the storage {str(storage)!r} does not exist; give the same --storage as in nasplug "
            "search"
        )
    if name is None or not names:
        raise InputError(
            f"the storage {str(storage)!r} has no study yet; start nasplug search first, or "
            "wait for it with --wait"
        )
    listed = closest(name, names, _LISTER)
    raise InputError(f"the storage has no study {name!r}; it has {listed}")


def _study(storage: BaseStorage, name: str) -> Study | None:
    """The study of a name, once it keeps its configuration; None before."""
    try:
        study = optuna.load_study(
            study_name=name, storage=storage, sampler=optuna.samplers.RandomSampler()
        )
    except KeyError:
        return None
    check_trials(study)
    is_made = RECORD in study.user_attrs or bool(study.get_trials(deepcopy=False))
    return study if is_made else None


def _check_same(study: Study, settings: Mapping[str, Any]) -> None:
    """Check that all that decides the trials is the same here: predictors, tables and version."""
    differing = differences(study.user_attrs.get(SETTINGS), settings)
    if differing:
        advice = "install the same nasplug and data here"
        if differing.startswith("space ("):
            advice = "give the worker the same space"
        raise InputError(
            f"study {study.study_name!r} was made with other settings: {differing}; {advice}"
        )
