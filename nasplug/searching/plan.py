"""What is to be searched and how, checked; and the form of it that a study keeps for its workers.

The kept form is data alone. It says whether trials are evaluated by a command, but not by which: a
worker runs no program that it finds in a storage.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from nasplug.arguments import (
    checked_count,
    checked_dataset,
    checked_probability,
    checked_seed,
    checked_space,
    is_registered,
)
from nasplug.candidates.constraints import (
    Constraint,
    checked_hardware,
    parse_constraint,
    parse_constraints,
)
from nasplug.devices.catalogue import parse as parse_hardware
from nasplug.devices.hardware import hardware as device_named
from nasplug.objectives import Objective
from nasplug.predicting.zoo import ArchitecturePredictor, is_path, load_predictor
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.device_profile import DeviceProfile
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.searching.observed import checked_evaluation, default_objectives, predicted_limits
from nasplug.studies.evaluation import Evaluation

if TYPE_CHECKING:
    from optuna.study import Study

__all__ = ["RECORD", "Plan", "checked_plan", "keep_plan", "kept_total", "kind_of", "plan_of"]

# What a study keeps of its plan, under this.
RECORD = "nasplug:plan"
_SAID = {
    "predicted": "prediction",
    "table": "a table",
    "command": "a command",
    "function": "a function",
}


@dataclass(frozen=True, eq=False)
class Plan:
    """A search that was checked.

    Attributes:
        space: The space.
        device: The device whose latency counts, or None.
        limits: The limits.
        probability: With which limits that are learned from trials are to hold.
        n_trials: Trials in total.
        batch_size: Images a forward pass, for the latency.
        dataset: Image set whose accuracy counts.
        seed: Seed of the sampler.
        predictors: Predictors to use instead of the package's own.
        given: How these were named; None if one was given as an object.
        proxy: What to maximise where no accuracy is known.
        pool_size: Architectures to score of a space that cannot be listed.
        runtime: How whole networks are run whose latency counts.
        evaluation: `"predicted"`, `"table"`, or what evaluates a trial.
        objectives: What evaluated trials optimise; none if they are predicted.
    """

    space: SearchSpace
    device: Hardware | None
    limits: tuple[Constraint, ...]
    probability: float
    n_trials: int
    batch_size: int
    dataset: str
    seed: int
    predictors: tuple[ArchitecturePredictor, ...]
    given: tuple[str, ...] | None
    proxy: str | None
    pool_size: int
    runtime: str | None
    evaluation: str | Evaluation
    objectives: tuple[Objective, ...]

    @property
    def is_predicted(self) -> bool:
        """Whether trials are evaluated by prediction."""
        return self.evaluation == "predicted"

    @property
    def predicted_limits(self) -> tuple[Constraint, ...]:
        """The limits that are met before a trial is spent."""
        if self.is_predicted:
            return self.limits
        return predicted_limits(self.limits, self.evaluation, self.device)


def checked_plan(
    space: str | SearchSpace,
    hardware: str | os.PathLike[str] | Hardware | None,
    constraints: str | Constraint | Iterable[str | Constraint] | None,
    *,
    n_trials: int,
    batch_size: int,
    dataset: str | None,
    seed: int,
    probability: float,
    predictors: Sequence[str | os.PathLike[str] | ArchitecturePredictor],
    proxy: str | None,
    pool_size: int,
    runtime: str | None,
    evaluate: Any,
    objectives: str | Sequence[str],
) -> Plan:
    """Check all that is said of a search; see `search` for the arguments.

    Raises:
        InputError: If something names nothing known or is out of range.
    """
    found = checked_space(space)
    limits = parse_constraints(constraints, checked_probability(probability))
    checked_count(n_trials, "number of trials")
    checked_count(batch_size, "batch size")
    checked_count(pool_size, "pool size")
    checked_seed(seed)
    data = checked_dataset(found, dataset)
    evaluation = checked_evaluation(evaluate)
    known = device_named(hardware) if hardware is not None else None
    foreseen = limits
    if evaluation != "predicted":
        foreseen = predicted_limits(limits, evaluation, known)
    device = checked_hardware(known, foreseen)
    own = [p if isinstance(p, ArchitecturePredictor) else load_predictor(p) for p in predictors]
    named = not any(isinstance(p, ArchitecturePredictor) for p in predictors)
    goals: tuple[Objective, ...] = ()
    if evaluation == "predicted":
        if objectives:
            raise InputError(
                "objectives are for trials that are evaluated by a table or a command; by "
                "prediction it is accuracy against latency, or against FLOPs without a device"
            )
    else:
        goals = default_objectives(objectives, device)
        _check_observed(own, proxy)
    return Plan(
        space=found,
        device=device,
        limits=limits,
        probability=probability,
        n_trials=n_trials,
        batch_size=batch_size,
        dataset=data,
        seed=seed,
        predictors=tuple(own),
        given=tuple(_place(p) for p in predictors) if named else None,
        proxy=proxy,
        pool_size=pool_size,
        runtime=runtime,
        evaluation=evaluation,
        objectives=goals,
    )


def _check_observed(own: Sequence[ArchitecturePredictor], proxy: str | None) -> None:
    if proxy is not None:
        raise InputError(
            "a proxy stands in for accuracy that is predicted; give what is evaluated as "
            f"objectives, such as accuracy:max or {proxy}:min"
        )
    accurate = next((p for p in own if p.kind == "accuracy"), None)
    if accurate is not None:
        raise InputError(
            f"predictor {accurate.name!r} predicts accuracy, which is evaluated here; leave it out"
        )


def _place(predictor: str | os.PathLike[str] | ArchitecturePredictor) -> str:
    """A predictor as another process finds it: a name of the zoo, or a whole path."""
    text = str(predictor)
    return os.path.abspath(text) if is_path(text) else text


def kind_of(plan: Plan) -> str:
    """`"predicted"`, `"table"`, `"command"` or `"function"`."""
    return plan.evaluation if isinstance(plan.evaluation, str) else plan.evaluation.name


def keep_plan(study: Study, plan: Plan) -> None:
    """Keep a plan in a study; the total of trials is the one that was said last."""
    record = {
        "space": plan.space.name if is_registered(plan.space) else None,
        "hardware": None if plan.device is None else _described(plan.device),
        "constraints": [[str(limit), limit.probability] for limit in plan.limits],
        "probability": plan.probability,
        "n_trials": plan.n_trials,
        "batch_size": plan.batch_size,
        "dataset": plan.dataset,
        "seed": plan.seed,
        "predictors": None if plan.given is None else list(plan.given),
        "proxy": plan.proxy,
        "pool_size": plan.pool_size,
        "runtime": plan.runtime,
        "evaluate": kind_of(plan),
        "objectives": [f"{goal.name}:{goal.direction}" for goal in plan.objectives],
    }
    if study.user_attrs.get(RECORD) != record:
        study.set_user_attr(RECORD, record)


def _described(device: Hardware) -> dict[str, Any]:
    described: dict[str, Any] = {f.name: getattr(device, f.name) for f in fields(Hardware)}
    described["peak_tflops"] = dict(device.peak_tflops)
    described["aliases"] = list(device.aliases)
    if not device.year:
        # Zero is no year: it stands for one that was left out.
        del described["year"]
    if isinstance(device, DeviceProfile):
        return {"calibrated": device.sha256, "name": device.name}
    return described


def kept_total(study: Study) -> int:
    """The trials that a study is to have in total."""
    return checked_count(_record(study)["n_trials"], "number of trials")


def plan_of(
    study: Study,
    evaluate: Any = None,
    predictors: Sequence[str | os.PathLike[str] | ArchitecturePredictor] = (),
) -> Plan:
    """The plan that a study keeps; nothing in it is trusted.

    Args:
        study: The study.
        evaluate: A command or a function, if that is how its trials are evaluated.
        predictors: To be used instead of those at the paths that the study names.

    Raises:
        InputError: If the study has no plan, needs something that is not here, or is evaluated in
            another way than the one that is given.
    """
    record, name = _record(study), study.study_name
    kind = record.get("evaluate")
    if kind in ("command", "function") and evaluate is None:
        said = (
            '--evaluate command "..."' if kind == "command" else "evaluate=, with the same function"
        )
        raise InputError(
            f"the trials of study {name!r} are evaluated by a {kind}, and a worker runs nothing "
            f"that it finds in a storage; say it here too: {said}"
        )
    evaluation = checked_evaluation(kind if evaluate is None else evaluate)
    given = evaluation if isinstance(evaluation, str) else evaluation.name
    if given != kind:
        kept_way = _SAID.get(str(kind), "nothing known")
        raise InputError(
            f"the trials of study {name!r} are evaluated by {kept_way}, not by {_SAID[given]}"
        )
    kept = record.get("predictors")
    if not isinstance(kept, list) and not predictors:
        raise InputError(
            f"study {name!r} was made with a predictor that is in no file; give it to the worker"
        )
    if record.get("space") is None:
        raise InputError(
            f"study {name!r} was made in Python with a space that has no name; join it by the same "
            "call of search"
        )
    words = ("proxy", "runtime", "dataset")
    wrong = next((k for k in words if not isinstance(record.get(k), (str, type(None)))), None)
    if wrong is not None:
        raise InputError(f"what study {name!r} keeps of its search is damaged ({wrong})")
    try:
        limits = [
            parse_constraint(str(text), float(chance)) for text, chance in record["constraints"]
        ]
        return checked_plan(
            str(record["space"]),
            _device(record["hardware"], name),
            limits,
            n_trials=record["n_trials"],
            batch_size=record["batch_size"],
            dataset=record["dataset"],
            seed=record["seed"],
            probability=record["probability"],
            predictors=predictors or [str(place) for place in kept or ()],
            proxy=record["proxy"],
            pool_size=record["pool_size"],
            runtime=record["runtime"],
            evaluate=evaluation,
            objectives=[str(text) for text in record["objectives"]],
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"what study {name!r} keeps of its search is damaged ({error})") from error


def _record(study: Study) -> Mapping[str, Any]:
    record = study.user_attrs.get(RECORD)
    if not isinstance(record, dict) or "n_trials" not in record:
        raise InputError(
            f"study {study.study_name!r} was not made by nasplug search, or by an older version; "
            "give its search command once more"
        )
    return record


def _device(described: Any, study: str) -> Hardware | None:
    """The device of a study: described there, or, if it was calibrated, by name on this machine."""
    if described is None:
        return None
    if not isinstance(described, dict):
        raise InputError(f"what study {study!r} keeps of its device is damaged")
    if "calibrated" not in described:
        return parse_hardware(described, f"study {study!r}")
    name = str(described.get("name"))
    try:
        device = device_named(name)
    except InputError:
        device = None
    if not isinstance(device, DeviceProfile) or device.sha256 != described["calibrated"]:
        raise InputError(
            f"study {study!r} is about your calibrated device {name!r}, and this machine does not "
            "have the same profile; copy it here, or calibrate it from the same measurements"
        )
    return device
