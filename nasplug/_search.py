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
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from nasplug import __version__
from nasplug._checks import (
    checked_count,
    checked_dataset,
    checked_hardware,
    checked_probability,
    checked_seed,
    checked_space,
)
from nasplug._measured import measured
from nasplug._result import SearchResult
from nasplug._zoo import ArchitecturePredictor, in_runtime, load_predictor, predictors_for
from nasplug._zoo import names as zoo_names
from nasplug.acquisition import pareto_mask
from nasplug.candidates import Candidates
from nasplug.constraints import Constraint, parse_constraints
from nasplug.objectives import PredictedObjective
from nasplug.pool import POOL_SIZE, is_listed
from nasplug.predictors.hardware import Hardware
from nasplug.sampler import PredictorSampler
from nasplug.scoring import PROXIES, Objective
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.studies import default_journal, fail_abandoned, open_storage, open_study

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study

__all__ = ["SearchResult", "search"]

# Digits after the point in results: enough for any use, and the same on every machine.
_DIGITS = 6
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
) -> SearchResult:
    """Search a space for architectures that are accurate, and fast on a device.

    Each trial is evaluated by prediction. The study is kept: the same call again goes on where it
    stopped, and a finished one gives the same result (but for the seconds) at once.

    Where no accuracy is known of a space its place is taken by a proxy, and the result says so.

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
        runtime: How whole networks are run whose latency counts, as in `predict`.

    Returns:
        The front, the study, and ways to show them.

    Raises:
        InputError: If an argument names nothing known or is out of range, if no architecture meets
            the constraints, or if the storage cannot be used.
        KeyboardInterrupt: On Ctrl-C, with a sentence on how to go on.
    """
    started = time.perf_counter()
    found = checked_space(space)
    limits = parse_constraints(constraints, checked_probability(probability))
    checked_count(n_trials, "number of trials")
    checked_count(batch_size, "batch size")
    checked_count(pool_size, "pool size")
    checked_seed(seed)
    data = checked_dataset(found, dataset)
    device = checked_hardware(hardware, limits)
    own = [p if isinstance(p, ArchitecturePredictor) else load_predictor(p) for p in predictors]
    has_accuracy = f"{found.name}-accuracy" in zoo_names() or any(p.kind == "accuracy" for p in own)
    words = _objectives(found, device, has_accuracy, proxy, limits)
    # Scoring takes longest, so it comes after everything else that may be wrong.
    opened = None if storage is None else open_storage(storage)

    # Without a device and an accuracy, counts are all that is needed.
    chosen: dict[str, ArchitecturePredictor] = {}
    if device is not None or has_accuracy or own:
        chosen = predictors_for(found, device is not None, own, all_needed=False)
    if runtime is not None:
        in_runtime(chosen, runtime)
    elif device is not None and isinstance(chosen.get("latency"), ArchitecturePredictor):
        runtime = chosen["latency"].runtime_on(device)
    sampler = PredictorSampler(
        found,
        device,
        limits,
        objectives=words,
        batch_size=batch_size,
        dataset=data,
        seed=seed,
        predictors=chosen,
        warn_independent_sampling=False,
        pool_size=pool_size,
    )
    goals, names = sampler.goals, sampler.objectives
    candidates = sampler.candidates
    predicted = time.perf_counter()
    candidates.check_reachable(device)

    identity = {
        "name": "+".join(p.name for p in chosen.values()) or None,
        "sha256": "+".join(str(p.sha256) for p in chosen.values()) or None,
    }
    settings = {
        "space": found.name,
        "hardware": _content(device),
        "batch_size": batch_size,
        "dataset": data,
        "constraints": [f"{c} @ {c.probability!r}" for c in limits],
        "seed": seed,
        "predictor": identity["sha256"],
        "version": __version__,
    }
    if not is_listed(found):
        settings |= {"objectives": list(words), "pool_size": pool_size}
    if runtime is not None:
        settings["runtime"] = runtime
    with _quiet_optuna():
        study = _open(opened, study_name, goals, settings)
        study.sampler = sampler
        _run(study, candidates, names, n_trials, progress)
    trials = _cells(study, candidates)[:n_trials]
    front = _front(candidates, trials, goals)
    # Devices in tables were measured in their usual runtime.
    truths = measured(candidates, front, data, None if runtime else device, batch_size)
    pareto = [_entry(candidates, k, truth, goals) for k, truth in zip(front, truths, strict=True)]
    ended = time.perf_counter()
    return SearchResult(
        space=found.name,
        hardware=device,
        dataset=data,
        batch_size=batch_size,
        seed=seed,
        n_trials=len(trials),
        objectives=goals,
        constraints=limits,
        predictor=identity,
        pareto=pareto,
        trials=tuple(trials),
        seconds={
            "total": round(ended - started, 3),
            "predict": round(predicted - started, 3),
            "sample": round(ended - predicted, 3),
        },
        study=study,
        candidates=candidates,
        runtime=runtime,
        measured_so=chosen["latency"].model.measured_in(runtime) if runtime else (),
    )


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
def _quiet_optuna() -> Iterator[None]:
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


def _finished(study: Study) -> list[Any]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: trial.number)


def _open(
    storage: BaseStorage | None,
    study_name: str | None,
    goals: Sequence[Objective],
    settings: dict[str, Any],
) -> Study:
    # A colon, as in nnlqp:resnet, cannot be in the name of a file everywhere.
    name = study_name or f"{settings['space'].replace(':', '-')}-{_digest(settings)}"
    if storage is None:
        path = default_journal(name)
        storage = open_storage(path)
        print(f"nasplug: the study is kept in {path}", file=sys.stderr)
    return open_study(storage, name, [goal.direction for goal in goals], settings)


def _run(
    study: Study,
    candidates: Candidates,
    names: Sequence[str],
    n_trials: int,
    progress: bool | None,
) -> None:
    """Evaluate trials until `n_trials` are complete, or every distinct candidate is tried."""
    total = min(n_trials, len(candidates.ids))
    if len(_finished(study)) >= total:
        return
    fail_abandoned(study)
    try:
        _optimize(study, PredictedObjective(candidates, names), total, progress)
    except KeyboardInterrupt:
        kept = "is kept; the same command goes on from there"
        if isinstance(study._storage, InMemoryStorage):
            kept = "is lost, as storage is memory"
        raise KeyboardInterrupt(
            f"stopped after {len(_finished(study))} of {total} trials; the study {kept}"
        ) from None
    except (OSError, StorageInternalError) as error:
        raise InputError(f"cannot write study {study.study_name!r} ({error})") from error


def _optimize(study: Study, objective: Any, total: int, progress: bool | None) -> None:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    shown = console.is_terminal if progress is None else progress
    with Progress(console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("trials", total=total)
        before = -1
        # Others may work on the same study: count what is finished, not what was done here.
        while (done := len(_finished(study))) < total:
            if done == before:
                raise RuntimeError(f"no trial of study {study.study_name!r} ends; see the log")
            bar.update(task, completed=(before := done))
            study.optimize(
                objective, n_trials=total - done, callbacks=[lambda *_: bar.advance(task)]
            )


def _cells(study: Study, candidates: Candidates) -> list[int]:
    space = candidates.space
    return candidates.positions([space.from_params(trial.params) for trial in _finished(study)])


def _front(candidates: Candidates, trials: Sequence[int], goals: Sequence[Objective]) -> list[int]:
    """The non-dominated feasible cells, one of each id, cheapest first."""
    names = [goal.name for goal in goals]
    sign = np.array([goal.sign for goal in goals])
    cells = [k for k in dict.fromkeys(trials) if candidates.feasible[k]]
    if not cells:
        return []
    # As it will be shown: equal functions may differ in digits that are noise.
    shown = np.round(candidates.means(names)[cells], _DIGITS)
    front = np.array(cells)[pareto_mask(shown * sign)]
    # The second objective is what it costs; the official order decides between equals.
    order = np.lexsort((front, candidates.means(names)[front, 1]))
    unique = {int(candidates.group[k]): int(k) for k in front[order][::-1]}
    return list(unique.values())[::-1]


def _entry(
    candidates: Candidates,
    cell: int,
    truth: dict[str, float | None],
    goals: Sequence[Objective],
) -> dict[str, Any]:
    def predicted(name: str) -> dict[str, float] | None:
        quantity = candidates.quantities.get(name)
        if quantity is None:
            return None
        return {
            end: round(float(getattr(quantity, end)[cell]), _DIGITS)
            for end in ("mean", "lower", "upper")
        }

    arch = candidates.cells[cell]
    # Where no accuracy is predicted a count is the quality, and belongs to the result.
    names = () if goals[0].name == "accuracy" else ("flops",)
    counts = {name: int(candidates.quantities[name].mean[cell]) for name in ("params", *names)}
    return {
        "arch": arch.text,
        "arch_id": arch.arch_id,
        **counts,
        "predicted": {"accuracy": predicted("accuracy"), "latency_ms": predicted("latency")},
        "measured": truth,
    }
