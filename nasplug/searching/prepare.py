"""The preparation of a search: predictors, sampler, objective, and what decides the result."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nasplug.candidates.constraints import Constraint
from nasplug.candidates.pool import is_listed
from nasplug.candidates.scored import Candidates
from nasplug.objectives import PROXIES, Objective
from nasplug.predicting.zoo import ArchitecturePredictor, in_runtime, predictors_for
from nasplug.predicting.zoo import names as zoo_names
from nasplug.predictors.hardware import Hardware
from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.searching.objectives import PredictedObjective
from nasplug.searching.observed import ObservedObjective, opened, said_of
from nasplug.searching.plan import Plan
from nasplug.studies.evaluation import Evaluation
from nasplug.studies.evaluation_table import Table

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Prepared", "prepare"]

# What stands for quality where no accuracy is known, if nothing else is said.
_PROXY = "flops"


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
    evaluation, space = _evaluation(plan)
    chosen, words = _predictors(plan, space, evaluation)
    latency = chosen.get("latency")
    runtime = plan.runtime
    if runtime is not None:
        in_runtime(chosen, runtime)
    elif plan.device is not None and isinstance(latency, ArchitecturePredictor):
        runtime = latency.runtime_on(plan.device)
    # Cells of equal function may differ in what a table measured of them.
    apart = isinstance(evaluation, Table) and "latency_ms" in evaluation.columns
    sampler = PredictorSampler(
        space,
        plan.device,
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
    candidates.check_reachable(plan.device)
    identity = {
        "name": "+".join(p.name for p in chosen.values()) or None,
        "sha256": "+".join(str(p.sha256) for p in chosen.values()) or None,
    }
    model = chosen["latency"].model if runtime else None
    return Prepared(
        sampler=sampler,
        goals=sampler.goals if evaluation is None else plan.objectives,
        objective=_objective(plan, sampler, evaluation),
        stop=(lambda: None) if evaluation is None else evaluation.stop,
        most=_most(candidates, apart, evaluation is None),
        settings=_settings(plan, space, evaluation, words, identity["sha256"], runtime),
        label="" if evaluation is None else evaluation.identity,
        identity=identity,
        runtime=runtime,
        measured_so=model.measured_in(runtime) if model else (),
        alike=model.alike(plan.device, plan.batch_size, runtime) if model else (),
        observed_in=None if evaluation is None else said_of(evaluation),
    )


def _evaluation(plan: Plan) -> tuple[Evaluation | None, SearchSpace]:
    """What evaluates the trials, if not prediction, and the space of what it can evaluate."""
    if plan.is_predicted:
        return None, plan.space
    return opened(
        plan.evaluation,
        plan.space,
        plan.dataset,
        plan.device,
        plan.batch_size,
        plan.objectives,
        plan.limits,
    )


def _predictors(
    plan: Plan, space: SearchSpace, evaluation: Evaluation | None
) -> tuple[dict[str, ArchitecturePredictor], tuple[str, str] | None]:
    """The predictors that are needed, and the objectives of a search by prediction."""
    kinds = [predictor.kind for predictor in plan.predictors]
    has_accuracy = f"{space.name}-accuracy" in zoo_names() or "accuracy" in kinds
    words = None
    if evaluation is None:
        words = _objectives(space, plan.device, has_accuracy, plan.proxy, plan.limits)
    chosen: dict[str, ArchitecturePredictor] = {}
    # Without a device and an accuracy, counts are all that is needed.
    if plan.device is not None or plan.predictors or (has_accuracy and evaluation is None):
        chosen = predictors_for(space, plan.device is not None, plan.predictors, all_needed=False)
    if evaluation is not None:
        # What is observed is learned from trials alone.
        chosen.pop("accuracy", None)
    return chosen, words


def _settings(
    plan: Plan,
    space: SearchSpace,
    evaluation: Evaluation | None,
    words: tuple[str, str] | None,
    weights: str | None,
    runtime: str | None,
) -> dict[str, Any]:
    """Everything that decides the result, to be kept in the study and compared."""
    settings = {
        "space": space.name,
        "hardware": _content(plan.device),
        "batch_size": plan.batch_size,
        "dataset": plan.dataset,
        "constraints": [f"{c} @ {c.probability!r}" for c in plan.limits],
        "seed": plan.seed,
        "predictor": weights,
        "version": version("nasplug"),
    }
    if not is_listed(space):
        settings |= {"pool_size": plan.pool_size}
        settings |= {"objectives": list(words)} if words else {}
    elif words and words[0] != "accuracy":
        # Proxies have equal directions, but are studies of their own.
        settings |= {"objectives": list(words)}
    if runtime is not None:
        settings["runtime"] = runtime
    if evaluation is not None:
        settings |= {
            "evaluate": evaluation.name,
            "objectives": [f"{goal.name}:{goal.direction}" for goal in plan.objectives],
        }
    return settings


def _objective(
    plan: Plan, sampler: PredictorSampler, evaluation: Evaluation | None
) -> Callable[[Trial], tuple[float, ...]]:
    """The function that evaluates a trial."""
    if evaluation is None:
        return PredictedObjective(sampler.candidates, sampler.objectives)
    about = {
        "space": sampler.candidates.space.name,
        "dataset": plan.dataset,
        "hardware": plan.device.name if plan.device else None,
        "batch_size": plan.batch_size,
        "seed": plan.seed,
    }
    return ObservedObjective(sampler.candidates, evaluation, plan.objectives, plan.limits, about)


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
