"""The search: space + hardware + predictors + sampler → the Pareto front of its trials."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import json
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import Study

from nasplug.arguments import checked_count, is_registered
from nasplug.candidates.constraints import Constraint, Devices
from nasplug.candidates.pool import POOL_SIZE
from nasplug.devices.catalogue import catalogue
from nasplug.objectives import Objective
from nasplug.predicting.zoo import NamedScorer
from nasplug.predictors.features.runtimes import EAGER, asked_way
from nasplug.predictors.hardware import Hardware
from nasplug.results.result import SearchResult
from nasplug.search_spaces import Architecture, SearchSpace
from nasplug.searching.config import SearchConfig, checked_config, keep_config
from nasplug.searching.kept_result import keep_result, kept_result
from nasplug.searching.outcome import result_of
from nasplug.searching.prepare import Prepared, prepare
from nasplug.studies.databases import without_password
from nasplug.studies.evaluation import Evaluation
from nasplug.studies.progress import Progress
from nasplug.studies.storages import (
    default_journal,
    existing_study,
    open_storage,
    open_study,
)

__all__ = ["SearchResult", "quiet_optuna", "search"]


def search(
    space: str | SearchSpace = "nb201",
    hardware: Devices = None,
    constraints: str | Constraint | Iterable[str | Constraint] | None = (),
    *,
    n_trials: int = 100,
    batch_size: int = 1,
    dataset: str | None = None,
    seed: int = 0,
    storage: str | os.PathLike[str] | None = None,
    probability: float = 0.9,
    study_name: str | None = None,
    predictors: Sequence[str | os.PathLike[str] | NamedScorer] = (),
    progress: bool | None = None,
    proxy: str | None = None,
    pool_size: int = POOL_SIZE,
    runtime: str | None = None,
    precision: str | None = None,
    unit: str | None = None,
    threads: int | None = None,
    evaluate: str | Evaluation | Callable[[Architecture], Mapping[str, Any]] = "predicted",
    objectives: str | Sequence[str] = (),
    n_jobs: int = 1,
) -> SearchResult:
    """Search a space for architectures that are accurate, and fast on a device.

    Each trial is evaluated by prediction, unless `evaluate` says otherwise. The study is kept: the
    same call again goes on where it stopped, and a finished one gives the same result (but for the
    seconds) at once.

    Where no accuracy is known of a space its place is taken by a proxy, and the result says so.

    With `evaluate` a trial's values are observed: looked up in a benchmark's table, printed by your
    own program, or returned by your own function. The sampler learns from them (see
    `PredictorSampler`), and the front is one of observed values. A trial that fails is kept with
    the reason, and does not count; ten failures in succession end the search.

    Args:
        space: A space, or its name.
        hardware: Device whose latency counts: a name, the path of a .toml file, or a `Hardware`.
            Without it accuracy is searched against FLOPs, and a proxy against the other count. Of
            several devices, in a list, a quantity is named with one, as in
            `"latency@RTX 3090<=5ms"`; without a name it is that on each of them. `runtime` and the
            words beside it are those of all.
        constraints: Limits such as `"latency<=5ms"`, `"fps>=30"`, `"memory<=64MB"` or
            `"params<=1M"`; see `nasplug.quantities`.
        n_trials: Trials in total, those of an earlier call included, at most: a search by
            prediction ends when it has the whole predicted front, and none tries an architecture
            twice.
        batch_size: Images a forward pass, for the latency.
        dataset: Image set whose accuracy counts; `"cifar10"` for nb201 if None.
        seed: Seed of the sampler.
        storage: None for a journal file in the user's state folder, the path of a journal file,
            `"memory"`, or the URL of a database (`"sqlite:///study.db"`).
        probability: Probability with which each constraint given as text is to hold.
        study_name: Name in the storage; by default a hash of all that decides the result.
        predictors: Predictors to use instead of the package's own of the same kind: a name of the
            zoo, the path of a checkpoint, a loaded predictor, or any object with `name`, `sha256`,
            `targets` and `predict` as a loaded predictor has them.
        progress: False to show none on stderr; else a terminal gets a bar, and a pipe or a file a
            line at once and one every ten seconds.
        proxy: `"flops"` or `"params"`: what to maximise where no accuracy is known; FLOPs if None.
        pool_size: Architectures to score of a space that cannot be listed.
        runtime: Runtime of the networks, for a latency, as in `predict`.
        precision: Precision of the arithmetic, as in `predict`.
        unit: Processor of a phone or board, as in `predict`.
        threads: Threads on a CPU, as in `predict`.
        evaluate: `"predicted"`; `"table"` for what a benchmark measured (validation accuracy, and
            latency on a measured device); a `Command`; or a function that takes an `Architecture`
            and returns a dictionary of metrics such as `{"accuracy": 93.1, "latency_ms": 4.2}`,
            and under `"constraints"` numbers that are to be ≤ 0.
        objectives: Quantities to optimise, one to four, such as `["accuracy", "memory:min"]`; or,
            when trials are evaluated, metrics such as `"accuracy:max"`. Left out, accuracy, and
            with hardware also the latency. A latency that a program does not give is predicted;
            `flops` and `params` are counted.
        n_jobs: Trials to evaluate at once, each in a thread.

    Returns:
        The front, the study, and ways to show them.

    Raises:
        InputError: If an argument names nothing known or is out of range, if no architecture meets
            the constraints, if the storage cannot be used, or if ten trials in succession fail.
        KeyboardInterrupt: On Ctrl-C, with a sentence on how to go on.

    Example:
        >>> import nasplug
        >>> found = nasplug.search("nb201", "RTX 3090", n_trials=5, storage="memory")
        >>> found.n_trials
        5
    """
    call = _call_of(locals())
    started = time.perf_counter()
    way = asked_way(runtime, precision, unit, threads)
    with quiet_optuna(), Progress(progress) as shown:
        if predictors:
            shown.phase("loading predictors")
        config = checked_config(
            space=space,
            hardware=hardware,
            constraints=constraints,
            n_trials=n_trials,
            batch_size=batch_size,
            dataset=dataset,
            seed=seed,
            probability=probability,
            predictors=predictors,
            proxy=proxy,
            pool_size=pool_size,
            runtime=None if way is None else way.text or EAGER,
            evaluate=evaluate,
            objectives=objectives,
        )
        checked_count(n_jobs, "number of jobs")
        # Scoring takes longest, so it comes after everything else that may be wrong.
        opened = None if storage is None else open_storage(storage)
        if config.evaluate == "table":
            shown.phase("reading the table")
        prepared = prepare(config)
        name = study_name or _default_name(prepared)
        kept = _finished(opened, name, config, prepared, started, progress)
        if kept is not None:
            return dataclasses.replace(kept, call=call)
        prepared.score(shown)
        predicted = time.perf_counter()
        study = _open(opened, name, prepared)
        keep_config(study, config)
        name_metrics(study, prepared.objectives)
        prepared.run(study, lambda: config.n_trials, jobs=n_jobs, progress=shown)
    ended = time.perf_counter()
    seconds = {
        "total": round(ended - started, 3),
        "predict": round(predicted - started, 3),
        "sample": round(ended - predicted, 3),
    }
    result = result_of(config, prepared, study, seconds)
    keep_result(result, config, prepared)
    return dataclasses.replace(result, call=call)


def _call_of(arguments: Mapping[str, Any]) -> str:
    """The call of `search` with the arguments that differ from the usual ones, as Python reads it.

    It is empty where an argument, such as a function, cannot be written so.
    """
    words: list[str] = []
    for name, parameter in inspect.signature(search).parameters.items():
        value = arguments[name]
        is_usual = value is None or value == parameter.default or name == "progress"
        if isinstance(value, (list, tuple)) and not value:
            is_usual = True
        if is_usual and name != "space":
            continue
        try:
            text = _argument(value)
        except TypeError:
            return ""
        is_first = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name != "constraints"
        words.append(text if is_first else f"{name}={text}")
    return f"nasplug.search({', '.join(words)})"


def _argument(value: Any) -> str:
    """An argument of `search` as Python reads it, without a password.

    Raises:
        TypeError: If it cannot be written.
    """
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_argument, value))}]"
    # A space and a device that are installed are found again by their names.
    is_space = isinstance(value, SearchSpace) and is_registered(value)
    if is_space or (isinstance(value, Hardware) and value in catalogue()):
        value = value.name
    if isinstance(value, Constraint):
        value = str(value)
    if isinstance(value, (str, os.PathLike)):
        return repr(without_password(os.fspath(value)))
    if isinstance(value, (int, float)):
        return repr(value)
    raise TypeError(type(value).__name__)


def _finished(
    storage: BaseStorage | None,
    study_name: str,
    config: SearchConfig,
    prepared: Prepared,
    started: float,
    progress: bool | None,
) -> SearchResult | None:
    """The result that a finished study keeps; None if there is none.

    Raises:
        InputError: If the study was made with other settings.
    """
    if storage is None:
        path = default_journal(study_name)
        if not path.is_file():
            return None
        storage = open_storage(path)
    study = existing_study(storage, study_name, prepared.settings)
    if study is None:
        return None
    result = kept_result(study, config, prepared, started, progress)
    if result is not None:
        keep_config(study, config)
    return result


def _digest(settings: dict[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence what Optuna logs below a warning, and the tracebacks of failed trials."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, logging.WARNING))
    # It logs every failed trial with a traceback; here the exception itself arrives.
    failures = logging.getLogger("optuna.study._optimize")
    level = failures.level
    failures.setLevel(logging.ERROR)
    try:
        yield
    finally:
        failures.setLevel(level)
        optuna.logging.set_verbosity(before)


def name_metrics(study: Study, objectives: Sequence[Objective]) -> None:
    """Write the names of the objectives into the study, for dashboards and plots."""
    names = [objective.name for objective in objectives]
    if study.metric_names != names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(names)


def _default_name(prepared: Prepared) -> str:
    settings = prepared.settings
    digest = _digest({**settings, "label": prepared.label} if prepared.label else settings)
    # A colon, as in nnlqp:resnet, cannot be in the name of a file everywhere.
    return f"{re.sub(r'[^A-Za-z0-9_]+', '-', settings['space']).strip('-')}-{digest}"


def _open(storage: BaseStorage | None, name: str, prepared: Prepared) -> Study:
    if storage is None:
        path = default_journal(name)
        storage = open_storage(path)
        print(f"nasplug: the study is stored in {path}", file=sys.stderr)
    directions = [objective.direction for objective in prepared.objectives]
    return open_study(storage, name, directions, prepared.settings)
