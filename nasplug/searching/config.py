"""The configuration of a search, checked; and the form of it that a study keeps for its workers.

The kept form is data alone. It says whether trials are evaluated by a command, but not by which: a
worker runs no program that it finds in a storage.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from optuna.study import Study

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
    checked_devices,
    for_devices,
    parse_constraint,
    parse_constraints,
)
from nasplug.devices.catalogue import parse as parse_hardware
from nasplug.devices.hardware import hardware as device_named
from nasplug.objectives import Objective, canonical_name, checked_objectives, with_key
from nasplug.predicting.zoo import NamedScorer, is_path, kind_of, opened
from nasplug.predictors.features.runtimes import check_way, known_way
from nasplug.predictors.hardware import Hardware, as_data
from nasplug.predictors.latency.device_profile import DeviceProfile
from nasplug.quantities import QUALITIES, QUANTITIES, without_device
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.studies.evaluation import (
    LATENCY,
    Evaluation,
    Function,
    parse_objectives,
)
from nasplug.studies.evaluation_command import Command
from nasplug.studies.values import RECORD

__all__ = [
    "RECORD",
    "SearchConfig",
    "checked_config",
    "keep_config",
    "kept_config",
    "kept_total",
    "objective_texts",
]

_KINDS = ("predicted", "table", "command")
_EVALUATED_BY = {
    "predicted": "prediction",
    "table": "a table",
    "command": "a command",
    "function": "a function",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchConfig:
    """The arguments of `search` that decide its result, checked and resolved.

    Attributes are those arguments, as `search` describes them, with objects in the place of names;
    `devices` has those of `hardware`, and with several of them each limit and objective that a
    device decides has the name of one. `objectives` is empty if trials are predicted and none was
    named. `predictor_names` has the names or paths of `predictors`; None if one was given as an
    object.
    """

    space: SearchSpace
    devices: tuple[Hardware, ...]
    constraints: tuple[Constraint, ...]
    probability: float
    n_trials: int
    batch_size: int
    dataset: str
    seed: int
    predictors: tuple[NamedScorer, ...]
    proxy: str | None
    pool_size: int
    runtime: str | None
    evaluate: str | Evaluation
    objectives: tuple[Objective, ...]
    predictor_names: tuple[str, ...] | None

    @property
    def hardware(self) -> Hardware | None:
        """The first device."""
        return self.devices[0] if self.devices else None

    @property
    def evaluation_kind(self) -> str:
        """`"predicted"`, `"table"`, `"command"` or `"function"`."""
        return self.evaluate if isinstance(self.evaluate, str) else self.evaluate.name

    @property
    def is_predicted(self) -> bool:
        """Whether trials are evaluated by prediction."""
        return self.evaluate == "predicted"

    @property
    def predicted_constraints(self) -> tuple[Constraint, ...]:
        """The constraints that are met before a trial is spent; trials tell of the others."""
        learned = [] if self.is_predicted else list(QUALITIES)
        # Without a device a program may still say how long its network takes.
        if self.hardware is None and self.evaluate not in ("predicted", "table"):
            learned += [kind.name for kind in QUANTITIES.values() if kind.needs_device]
        return tuple(c for c in self.constraints if without_device(c.name) not in learned)


# The arguments of a search, which are the keys of the kept form, in its order.
_ARGUMENTS = tuple(
    {"devices": "hardware"}.get(f.name, f.name)
    for f in fields(SearchConfig)
    if f.name != "predictor_names"
)


def checked_config(**arguments: Any) -> SearchConfig:
    """Check the arguments of a search, which a storage may have held, and look up their names.

    Raises:
        InputError: If one names nothing known or is out of range, or if two contradict each other.
    """
    space = checked_space(arguments["space"])
    probability = checked_probability(arguments["probability"])
    constraints = parse_constraints(arguments["constraints"], probability)
    checked_count(arguments["n_trials"], "number of trials")
    checked_count(arguments["batch_size"], "batch size")
    checked_count(arguments["pool_size"], "pool size")
    checked_seed(arguments["seed"])
    dataset = checked_dataset(space, arguments["dataset"])
    evaluate = _checked_evaluation(arguments["evaluate"])
    devices = checked_devices(arguments["hardware"], ())
    if devices or evaluate in ("predicted", "table"):
        constraints = for_devices(constraints, devices)
    names = arguments["predictors"]
    if isinstance(names, str | os.PathLike):
        raise InputError(f"predictors must be a list such as [{str(names)!r}], not {str(names)!r}")
    predictors = tuple(opened(name, space) for name in names)
    is_named = all(isinstance(name, (str, os.PathLike)) for name in names)
    resolved = {
        "space": space,
        "devices": devices,
        "constraints": constraints,
        "dataset": dataset,
        "predictors": predictors,
        "predictor_names": tuple(_lasting_name(p) for p in names) if is_named else None,
        "evaluate": evaluate,
        "proxy": None if arguments["proxy"] is None else canonical_name(arguments["proxy"]),
        "objectives": _objectives(arguments["objectives"], evaluate, devices, space.quality),
        "runtime": _checked_runtime(arguments["runtime"], devices),
    }
    if evaluate != "predicted":
        _check_observed(predictors, arguments["proxy"])
    given = {name: value for name, value in arguments.items() if name != "hardware"}
    config = SearchConfig(**(given | resolved))
    checked_devices(devices, config.predicted_constraints)
    return config


def _checked_runtime(runtime: str | None, devices: Sequence[Hardware]) -> str | None:
    """The way to run networks as one text; a study may keep one in the words of earlier versions.

    Raises:
        InputError: If it is unknown, or does not exist on one of the devices.
    """
    if runtime is None:
        return None
    way = known_way(runtime)
    for device in devices:
        check_way(device, way)
    return way.text


def _checked_evaluation(evaluate: Any) -> str | Evaluation:
    """The evaluation that `evaluate` of `search` stands for: `"predicted"`, `"table"` or an object.

    Raises:
        InputError: If it is none of them.
    """
    if isinstance(evaluate, str):
        if evaluate not in _KINDS:
            raise InputError(f"unknown evaluation {evaluate[:80]!r}; known: {', '.join(_KINDS)}")
        if evaluate == "command":
            raise InputError(
                "no command is given; in Python write evaluate=nasplug.Command(...), and on the "
                'command line --evaluate command "python train.py {arch}"'
            )
        return evaluate
    if isinstance(evaluate, (Command, Function)):
        return evaluate
    if callable(evaluate):
        return evaluate if hasattr(evaluate, "identity") else Function(evaluate)
    raise InputError(
        f"evaluate is {evaluate!r}; give predicted, table, a Command, or a function of an "
        "architecture that returns a dictionary"
    )


def _objectives(
    texts: str | Sequence[str],
    evaluate: str | Evaluation,
    devices: Sequence[Hardware],
    quality: str,
) -> tuple[Objective, ...]:
    """The objectives that were named; of trials that are evaluated, the usual ones without names.

    The usual ones are the quality of the space, and the latency on each device.
    """
    if evaluate != "predicted":
        texts = texts or ((quality, LATENCY) if devices else (quality,))
        texts = (texts,) if isinstance(texts, str) else texts
        # Metrics stand under the keys of quantities, whichever name of theirs is given.
        named = parse_objectives([with_key(str(text)) for text in texts])
        # Without devices a name with one is the program's own.
        if devices:
            named = parse_objectives(objective_texts(for_devices(named, devices)))
        return named
    if not texts:
        return ()
    objectives = checked_objectives(texts)
    needing = next((o.name for o in objectives if QUANTITIES[o.name].needs_device), None)
    if not devices and needing is not None:
        raise InputError(f"the objective {needing} needs a device; name one, such as RTX 3090")
    return checked_objectives(objective_texts(for_devices(objectives, devices)))


def objective_texts(objectives: Sequence[Objective]) -> tuple[str, ...]:
    """Objectives as they are written, such as `memory:minimize`."""
    return tuple(f"{o.name}:{o.direction}" for o in objectives)


def _check_observed(predictors: Sequence[NamedScorer], proxy: str | None) -> None:
    """Check that nothing stands in for the accuracy, which is observed."""
    if proxy is not None:
        raise InputError(
            "a proxy replaces predicted accuracy, but these trials are evaluated; name an "
            f"objective instead, such as accuracy:max or {proxy}:min"
        )
    accurate = next((p for p in predictors if kind_of(p) == "accuracy"), None)
    if accurate is not None:
        raise InputError(
            "the trials' accuracy is evaluated, not predicted; leave the accuracy predictor "
            f"{accurate.name!r} out"
        )


def _lasting_name(predictor: str | os.PathLike[str]) -> str:
    """A predictor as another process finds it: a name of the zoo, or a whole path."""
    text = str(predictor)
    return os.path.abspath(text) if is_path(text) else text


def keep_config(study: Study, config: SearchConfig) -> None:
    """Keep a configuration in a study; the total of trials is that of the last call."""
    names = config.predictor_names
    record = {name: getattr(config, name) for name in _ARGUMENTS} | {
        "space": config.space.name if is_registered(config.space) else None,
        "hardware": _kept_devices(config.devices),
        "constraints": [[str(c), c.probability] for c in config.constraints],
        "predictors": None if names is None else list(names),
        "evaluate": config.evaluation_kind,
        "objectives": list(objective_texts(config.objectives)),
    }
    if study.user_attrs.get(RECORD) != record:
        study.set_user_attr(RECORD, record)


def _kept_devices(devices: Sequence[Hardware]) -> Any:
    """Devices as data: None without any, and a list of several."""
    described = [_described(device) for device in devices]
    return described if len(described) > 1 else next(iter(described), None)


def _described(hardware: Hardware) -> dict[str, Any]:
    """A device as data; one that was calibrated by its name and content alone."""
    if isinstance(hardware, DeviceProfile):
        return {"calibrated": hardware.sha256, "name": hardware.name}
    described = as_data(hardware)
    if not hardware.year:
        # Zero is no year: it stands for one that was left out.
        del described["year"]
    return described


def kept_total(study: Study) -> int:
    """The trials that a study is to have in total."""
    return checked_count(_record(study)["n_trials"], "number of trials")


def kept_config(
    study: Study,
    evaluate: Any = None,
    predictors: Sequence[str | os.PathLike[str] | NamedScorer] = (),
    space: SearchSpace | None = None,
) -> SearchConfig:
    """The configuration that a study keeps; nothing in it is trusted.

    Args:
        study: The study.
        evaluate: A command or a function, if that is how its trials are evaluated.
        predictors: To be used instead of those at the paths that the study names.
        space: The space of a study that names none.

    Raises:
        InputError: If the study keeps none, needs something that is not here, or is evaluated in
            another way than the one that is given.
    """
    record, study_name = _record(study), study.study_name
    evaluate = _checked_way(record.get("evaluate"), evaluate, study_name)
    names = record.get("predictors")
    if not isinstance(names, list) and not predictors:
        raise InputError(
            f"study {study_name!r} uses a predictor that is not in a file; give that predictor to "
            "the worker"
        )
    if record.get("space") is None and space is None:
        raise InputError(
            f"study {study_name!r} uses a space that is not installed under a name; give the "
            "worker that space, as in --space my_net.py:build --example 1x3x32x32, or join it with "
            "the same call of nasplug.search"
        )
    if record.get("space") is not None and space is not None:
        raise InputError(
            f"study {study_name!r} uses the space {record['space']}; leave the worker's out"
        )
    dataset = record.get("dataset")
    if space is not None and dataset not in (None, *space.tasks):
        raise InputError(
            f"study {study_name!r} is on {dataset}, and the worker's space {space.name} on "
            f"{', '.join(space.tasks)}; give the worker the same space and --example"
        )
    texts = ("proxy", "runtime", "dataset")
    wrong = next((key for key in texts if not isinstance(record.get(key), (str, type(None)))), None)
    if wrong is not None:
        raise InputError(f"the settings that study {study_name!r} stores are damaged ({wrong})")
    try:
        constraints = [
            parse_constraint(str(text), float(probability))
            for text, probability in record["constraints"]
        ]
        return checked_config(
            **{name: record[name] for name in _ARGUMENTS}
            | {
                "space": str(record["space"]) if space is None else space,
                "hardware": _devices_kept(record["hardware"], study_name),
                "constraints": constraints,
                "predictors": predictors or [str(name) for name in names or ()],
                "evaluate": evaluate,
                "objectives": [str(text) for text in record["objectives"]],
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"the settings that study {study_name!r} stores are damaged ({error})"
        ) from error


def _checked_way(kept_kind: Any, evaluate: Any, study_name: str) -> str | Evaluation:
    """The evaluation of a worker's trials, which must be of the kind that the study keeps."""
    if kept_kind in ("command", "function") and evaluate is None:
        option = (
            '--evaluate command "..."'
            if kept_kind == "command"
            else "evaluate= with the same function"
        )
        raise InputError(
            f"the trials of study {study_name!r} are evaluated by a {kept_kind}, and a worker "
            f"never runs one that it finds in a storage; give it here too: {option}"
        )
    evaluation = _checked_evaluation(kept_kind if evaluate is None else evaluate)
    kind = evaluation if isinstance(evaluation, str) else evaluation.name
    if kind != kept_kind:
        kept_way = _EVALUATED_BY.get(str(kept_kind), "an unknown way")
        raise InputError(
            f"the trials of study {study_name!r} are evaluated by {kept_way}, not by "
            f"{_EVALUATED_BY[kind]}"
        )
    return evaluation


def _record(study: Study) -> Mapping[str, Any]:
    record = study.user_attrs.get(RECORD)
    if not isinstance(record, dict) or "n_trials" not in record:
        raise InputError(
            f"study {study.study_name!r} was made by an older version, or not by nasplug search; "
            "run its search command again"
        )
    return record


def _devices_kept(described: Any, study_name: str) -> tuple[Hardware, ...]:
    """The devices of a study, from the form of `_kept_devices`."""
    listed = described if isinstance(described, list) else [described]
    return tuple(_kept_device(d, study_name) for d in listed if d is not None)


def _kept_device(described: Any, study_name: str) -> Hardware:
    """A device of a study: described there, or, if it was calibrated, by name on this machine."""
    if not isinstance(described, dict):
        raise InputError(f"the device that study {study_name!r} stores is damaged")
    if "calibrated" not in described:
        return parse_hardware(described, f"study {study_name!r}")
    name = str(described.get("name"))
    try:
        device = device_named(name)
    except InputError:
        device = None
    if not isinstance(device, DeviceProfile) or device.sha256 != described["calibrated"]:
        raise InputError(
            f"study {study_name!r} uses your calibrated device {name!r}, and this machine lacks "
            "that profile; copy the profile here, or calibrate the device with the same "
            "measurements"
        )
    return device
