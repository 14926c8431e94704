"""The search: space + hardware + predictors + sampler → the front of what was tried."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning

from nasplug import __version__
from nasplug._checks import checked_count
from nasplug.candidates.constraints import Constraint
from nasplug.candidates.pool import POOL_SIZE, is_listed
from nasplug.candidates.scored import Candidates
from nasplug.candidates.scoring import PROXIES, Objective
from nasplug.predicting.shipped import ArchitecturePredictor, in_runtime, predictors_for
from nasplug.predicting.shipped import names as zoo_names
from nasplug.predictors.hardware import Hardware
from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.searching.objectives import PredictedObjective
from nasplug.searching.observed import ObservedObjective, opened, said_of
from nasplug.searching.observed_result import observed_result
from nasplug.searching.plan import Plan, checked_plan, keep_plan
from nasplug.searching.predicted import predicted_result
from nasplug.searching.result import SearchResult
from nasplug.studies.evaluation import Evaluation
from nasplug.studies.evaluation_table import Table
from nasplug.studies.storages import default_journal, open_storage, open_study
from nasplug.studies.trials import run_trials

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import Trial

__all__ = ["Prepared", "SearchResult", "prepare", "quiet_optuna", "search"]

# What stands for quality where no accuracy is known, if nothing else is said.
_PROXY = "flops"


def search(
    space: str | SearchSpace = "nb201",
    hardware: str | os.PathLike[str] | Hardware | None = None,
    constraints: str | Constraint | Iterable[str | Constraint] | None = (),
    *,
    n_trials: int = 100,
    batch_size: int = 1,
    dataset: str | None = None,
    seed: int = 0,
    storage: str | os.PathLike[str] | None = None,
    probability: float = 0.9,
    study_name: str | None = None,
    predictors: Sequence[str | os.PathLike[str] | ArchitecturePredictor] = (),
    progress: bool | None = None,
    proxy: str | None = None,
    pool_size: int = POOL_SIZE,
    runtime: str | None = None,
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
            Without it accuracy is searched against FLOPs, and a proxy against the other count.
        constraints: Limits such as `"latency<=5ms"` or `"params<=1M"`.
        n_trials: Trials in total, those of an earlier call included; at most one for each distinct
            architecture.
        batch_size: Images a forward pass, for the latency.
        dataset: Image set whose accuracy counts; `"cifar10"` for nb201 if None.
        seed: Seed of the sampler.
        storage: None for a journal file in the user's state folder, the path of a journal file,
            `"memory"`, or the URL of a database (`"sqlite:///study.db"`).
        probability: Probability with which each constraint given as text is to hold.
        study_name: Name in the storage; by default a hash of all that decides the result.
        predictors: Predictors to use instead of the package's own of the same kind: a name of the
            zoo, the path of a checkpoint, or a loaded predictor.
        progress: Whether to draw a progress bar on stderr; by default on a terminal only.
        proxy: `"flops"` or `"params"`: what to maximise where no accuracy is known; FLOPs if None.
        pool_size: Architectures to score of a space that cannot be listed.
        runtime: How networks are run, for a latency, as in `predict`.
        evaluate: `"predicted"`; `"table"` for what a benchmark measured (validation accuracy, and
            latency on a measured device); a `Command`; or a function that takes an `Architecture`
            and returns a dictionary of metrics such as `{"accuracy": 93.1, "latency_ms": 4.2}`,
            and under `"constraints"` numbers that are to be ≤ 0.
        objectives: Metrics to optimise when trials are evaluated, such as `"accuracy:max"`; left
            out, `"accuracy:max"`, and with hardware also `"latency_ms:min"`. A latency that a
            program does not give is predicted; `flops` and `params` are counted.
        n_jobs: Trials to evaluate at once, each in a thread.

    Returns:
        The front, the study, and ways to show them.

    Raises:
        InputError: If an argument names nothing known or is out of range, if no architecture meets
            the constraints, if the storage cannot be used, or if ten trials in succession fail.
        KeyboardInterrupt: On Ctrl-C, with a sentence on how to go on.
    """
    started = time.perf_counter()
    plan = checked_plan(
        space,
        hardware,
        constraints,
        n_trials=n_trials,
        batch_size=batch_size,
        dataset=dataset,
        seed=seed,
        probability=probability,
        predictors=predictors,
        proxy=proxy,
        pool_size=pool_size,
        runtime=runtime,
        evaluate=evaluate,
        objectives=objectives,
    )
    checked_count(n_jobs, "number of jobs")
    # Scoring takes longest, so it comes after everything else that may be wrong.
    where = None if storage is None else open_storage(storage)
    ready = prepare(plan)
    predicted = time.perf_counter()
    with quiet_optuna():
        study = _open(where, study_name, ready)
        keep_plan(study, plan)
        name_metrics(study, ready.goals)
        study.sampler = ready.sampler
        run_trials(
            study,
            ready.objective,
            lambda: min(n_trials, ready.most),
            jobs=n_jobs,
            stop=ready.stop,
            progress=progress,
        )
    ended = time.perf_counter()
    seconds = {
        "total": round(ended - started, 3),
        "predict": round(predicted - started, 3),
        "sample": round(ended - predicted, 3),
    }
    result = predicted_result if plan.is_predicted else observed_result
    return result(plan, ready, study, seconds)


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """What the trials of a plan need.

    Attributes:
        sampler: Proposes architectures; its candidates are scored.
        goals: What is optimised.
        objective: Evaluates a trial.
        stop: Ends what the objective is doing in other threads.
        most: Distinct architectures that can be tried.
        settings: What decides the result; kept in the study, and compared.
        label: What else tells its default name from others.
        identity: `"name"` and `"sha256"` of the predictors.
        runtime: How networks are run, for the latency.
        measured_so: Devices that were measured in this runtime.
        alike: Other runtimes that get the same predictions.
        observed_in: What trials are evaluated by, in words; None for predictions.
    """

    sampler: PredictorSampler
    goals: tuple[Objective, ...]
    objective: Callable[[Trial], tuple[float, ...]]
    stop: Callable[[], None]
    most: int
    settings: dict[str, Any]
    label: str
    identity: dict[str, str | None]
    runtime: str | None
    measured_so: tuple[str, ...]
    alike: tuple[str, ...]
    observed_in: str | None


def prepare(plan: Plan) -> Prepared:
    """Load the predictors of a plan and score what can be scored, which takes seconds.

    Raises:
        InputError: If a predictor is missing or does not fit, or no architecture meets the limits.
    """
    space, device = plan.space, plan.device
    evaluation: Evaluation | None = None
    if not plan.is_predicted:
        evaluation, space = opened(
            plan.evaluation,
            space,
            plan.dataset,
            device,
            plan.batch_size,
            plan.objectives,
            plan.limits,
        )
    kinds = [predictor.kind for predictor in plan.predictors]
    has_accuracy = f"{space.name}-accuracy" in zoo_names() or "accuracy" in kinds
    words = None
    if evaluation is None:
        words = _objectives(space, device, has_accuracy, plan.proxy, plan.limits)
    # Without a device and an accuracy, counts are all that is needed.
    chosen: dict[str, ArchitecturePredictor] = {}
    if device is not None or plan.predictors or (has_accuracy and evaluation is None):
        chosen = predictors_for(space, device is not None, plan.predictors, all_needed=False)
    if evaluation is not None:
        # What is observed is learned from trials alone.
        chosen.pop("accuracy", None)
    runtime = plan.runtime
    if runtime is not None:
        in_runtime(chosen, runtime)
    elif device is not None and isinstance(chosen.get("latency"), ArchitecturePredictor):
        runtime = chosen["latency"].runtime_on(device)
    # Cells of equal function may differ in what a table measured of them.
    apart = isinstance(evaluation, Table) and "latency_ms" in evaluation.columns
    sampler = PredictorSampler(
        space,
        device,
        plan.predicted_limits,
        objectives=words,
        batch_size=plan.batch_size,
        dataset=plan.dataset,
        probability=plan.probability,
        seed=plan.seed,
        predictors=chosen,
        equivalents="apart" if apart else "once",
        warn_independent_sampling=False,
        pool_size=plan.pool_size,
    )
    candidates = sampler.candidates
    candidates.check_reachable(device)
    identity = {
        "name": "+".join(p.name for p in chosen.values()) or None,
        "sha256": "+".join(str(p.sha256) for p in chosen.values()) or None,
    }
    settings = {
        "space": space.name,
        "hardware": _content(device),
        "batch_size": plan.batch_size,
        "dataset": plan.dataset,
        "constraints": [f"{c} @ {c.probability!r}" for c in plan.limits],
        "seed": plan.seed,
        "predictor": identity["sha256"],
        "version": __version__,
    }
    if not is_listed(space):
        settings |= {"pool_size": plan.pool_size}
        settings |= {"objectives": list(words)} if words else {}
    elif words and words[0] != "accuracy":
        # Proxies have equal directions, but are studies of their own.
        settings |= {"objectives": list(words)}
    if runtime is not None:
        settings["runtime"] = runtime
    goals = sampler.goals
    objective: Callable[[Trial], tuple[float, ...]] = PredictedObjective(
        candidates, sampler.objectives
    )
    if evaluation is not None:
        goals = plan.objectives
        settings |= {
            "evaluate": evaluation.name,
            "objectives": [f"{goal.name}:{goal.direction}" for goal in goals],
        }
        about = {
            "space": space.name,
            "dataset": plan.dataset,
            "hardware": device.name if device else None,
            "batch_size": plan.batch_size,
            "seed": plan.seed,
        }
        objective = ObservedObjective(candidates, evaluation, goals, plan.limits, about)
    return Prepared(
        sampler=sampler,
        goals=goals,
        objective=objective,
        stop=(lambda: None) if evaluation is None else evaluation.stop,
        most=_most(candidates, apart, evaluation is None),
        settings=settings,
        label="" if evaluation is None else evaluation.identity,
        identity=identity,
        runtime=runtime,
        measured_so=chosen["latency"].model.measured_in(runtime) if runtime else (),
        alike=chosen["latency"].model.alike(device, plan.batch_size, runtime) if runtime else (),
        observed_in=None if evaluation is None else said_of(evaluation),
    )


def _most(candidates: Candidates, apart: bool, predicted: bool) -> int:
    """Distinct architectures that trials may have."""
    if not candidates.whole and not predicted:
        return sys.maxsize
    return len(candidates.cells) if apart else len(candidates.ids)


def _objectives(
    space: SearchSpace,
    device: Hardware | None,
    has_accuracy: bool,
    proxy: str | None,
    limits: Sequence[Constraint],
) -> tuple[str, str]:
    """Quality and cost, in the words that the sampler takes."""
    if proxy is not None and proxy not in PROXIES:
        raise InputError(f"unknown proxy {proxy!r}; there are {', '.join(PROXIES)}")
    if has_accuracy:
        if proxy is not None:
            raise InputError(
                f"the accuracy of {space.name} is predicted; a proxy is for spaces where it is not"
            )
        return "accuracy", "flops" if device is None else "latency"
    bounded = next((c for c in limits if c.name == "accuracy"), None)
    if bounded is not None:
        raise InputError(
            f"no accuracy is known for space {space.name}, so {bounded} cannot be kept; give a "
            "predictor of accuracy, or leave the limit out"
        )
    quality = proxy or _PROXY
    other = next(name for name in PROXIES if name != quality)
    return f"more {quality}", other if device is None else "latency"


def _content(hardware: Hardware | None) -> dict[str, Any] | None:
    """All that a prediction may depend on; aliases, source and note do not count."""
    if hardware is None:
        return None
    content = {f.name: getattr(hardware, f.name) for f in dataclasses.fields(hardware)}
    for name in ("aliases", "source", "note"):
        del content[name]
    return {**content, "peak_tflops": dict(sorted(hardware.peak_tflops.items()))}


def _digest(settings: dict[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Only Optuna's warnings, and those on stderr."""
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


def name_metrics(study: Study, goals: Sequence[Objective]) -> None:
    """Say in the study what its values are, for dashboards and plots."""
    names = [goal.name for goal in goals]
    if study.metric_names != names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(names)


def _open(storage: BaseStorage | None, study_name: str | None, ready: Prepared) -> Study:
    settings = ready.settings
    digest = _digest({**settings, "label": ready.label} if ready.label else settings)
    # A colon, as in nnlqp:resnet, cannot be in the name of a file everywhere.
    name = study_name or f"{settings['space'].replace(':', '-')}-{digest}"
    if storage is None:
        path = default_journal(name)
        storage = open_storage(path)
        print(f"nasplug: the study is kept in {path}", file=sys.stderr)
    return open_study(storage, name, [goal.direction for goal in ready.goals], settings)
