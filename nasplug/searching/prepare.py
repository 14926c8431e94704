"""The preparation of a search: predictors, sampler, objective, and the settings of its study."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import Trial

from nasplug.candidates.pool import is_listed
from nasplug.candidates.scoring import model_of
from nasplug.objectives import COSTS, PROXIES, Objective, canonical_name, checked_objectives
from nasplug.predicting.energy import space_energy
from nasplug.predicting.zoo import (
    ArchitecturePredictor,
    NamedScorer,
    in_runtime,
    is_known,
    is_structural,
    kind_of,
    predictors_for,
)
from nasplug.predictors.features.runtimes import parse_way, way_name
from nasplug.predictors.hardware import Hardware, as_data
from nasplug.quantities import QUALITIES, on_device, quantity_named, without_device
from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import FiniteSpace, InputError, SearchSpace
from nasplug.searching.config import SearchConfig, objective_texts
from nasplug.searching.objectives import PredictedObjective
from nasplug.searching.observed import ObservedObjective, opened_evaluation, source_of_values
from nasplug.searching.predicted_front import PredictedFront
from nasplug.studies.evaluation import Evaluation
from nasplug.studies.evaluation_table import Table
from nasplug.studies.progress import Progress
from nasplug.studies.trials import Done, finished, run_trials

__all__ = ["Prepared", "prepare"]

# The count that stands for quality where no accuracy is known and no proxy is named.
_PROXY = "flops"


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A search with its predictors and the settings of its study.

    Its candidates are scored by `score`, or when something that depends on them is first read.

    Attributes:
        config: The arguments of the search.
        sampler: Proposes architectures.
        objectives: Objectives, in the order of the study's values.
        evaluation: Gives the values of trials; None for predictions.
        predictors: The predictors, by their quantity.
        settings: All that decides the result, for the study to keep and compare.
        runtime: Runtime of the networks whose latency is predicted.
    """

    config: SearchConfig
    sampler: PredictorSampler
    objectives: tuple[Objective, ...]
    evaluation: Evaluation | None
    predictors: Mapping[str, NamedScorer]
    settings: dict[str, Any]
    runtime: str | None

    @property
    def label(self) -> str:
        """Identity of the evaluation, for the default name of the study."""
        return "" if self.evaluation is None else self.evaluation.identity

    @property
    def observed_in(self) -> str | None:
        """The source of the trials' values in words; None for predictions."""
        return None if self.evaluation is None else source_of_values(self.evaluation)

    @property
    def predictor(self) -> dict[str, str | None]:
        """`"name"` and `"sha256"` of the predictors."""
        return _identity(self.predictors)

    @property
    def measured_so(self) -> tuple[str, ...]:
        """Devices that were measured in the runtime of the search."""
        model = self._runtime_model
        return model.measured_in(self.runtime) if model else ()

    @property
    def alike(self) -> tuple[str, ...]:
        """Other runtimes that get the same predictions."""
        model, config = self._runtime_model, self.config
        return model.alike(config.hardware, config.batch_size, self.runtime) if model else ()

    @property
    def _runtime_model(self) -> Any:
        return model_of(self.predictors["latency"]) if self.runtime else None

    @cached_property
    def most_trials(self) -> int:
        """Distinct architectures that can be tried."""
        candidates = self.sampler.candidates
        if not candidates.whole and self.evaluation is not None:
            return sys.maxsize
        is_apart = self.sampler.equivalents == "apart"
        return len(candidates.architectures) if is_apart else len(candidates.ids)

    @cached_property
    def front(self) -> PredictedFront | None:
        """The front of a search by prediction; None for one whose trials are observed."""
        if self.evaluation is not None:
            return None
        return PredictedFront(self.sampler.candidates, self.objectives)

    def score(self, progress: Progress) -> None:
        """Restore the predictors' models and score the candidates, which takes seconds.

        Raises:
            InputError: If no architecture meets the constraints; a search on a table goes on, with
                a warning, as it costs little and the table may know better.
        """
        if self.predictors:
            progress.phase("loading predictors")
            for predictor in self.predictors.values():
                model_of(predictor)
        space, size = self.sampler.space, self.config.pool_size
        if isinstance(space, FiniteSpace) and is_listed(space):
            size = len(space)
        progress.phase(f"scoring {size:,} architectures")
        if not isinstance(self.evaluation, Table):
            self.sampler.candidates.check_reachable(self.config.hardware)

    def total(self, study: Study, wanted: int) -> int:
        """The number of complete trials at which a study ends.

        Args:
            study: The study so far.
            wanted: The most that are wanted; there are fewer if the predicted front has no more
                points, or the space no more architectures.
        """
        most = min(wanted, self.most_trials)
        if self.front is None:
            return most
        values = [trial.values for trial in finished(study)]
        return min(most, len(values) + self.front.missing(values))

    def run(self, study: Study, wanted: Callable[[], int], **options: Any) -> Done:
        """Run the trials that a study lacks; `options` are those of `run_trials`."""
        study.sampler = self.sampler
        objective = _objective(self.config, self.sampler, self.evaluation)
        stop = (lambda: None) if self.evaluation is None else self.evaluation.stop
        return run_trials(
            study, objective, lambda: self.total(study, wanted()), stop=stop, **options
        )


def prepare(config: SearchConfig) -> Prepared:
    """Choose the predictors of a search, and all that decides its result; nothing is scored.

    Raises:
        InputError: If a predictor is missing or does not fit.
    """
    evaluation, space = None, config.space
    if not config.is_predicted:
        evaluation, space = opened_evaluation(config)
    unknown = set() if evaluation is None else _unknown(config, space)
    predictors, objective_names = _predictors(config, space, evaluation, unknown)
    runtime = _runtime(config, predictors, evaluation)
    # Cells of equal function may differ in what a table measured of them.
    apart = isinstance(evaluation, Table) and "latency_ms" in evaluation.columns
    sampler = PredictorSampler(
        space,
        config.devices,
        [c for c in config.predicted_constraints if without_device(c.name) not in unknown],
        objectives=objective_names,
        batch_size=config.batch_size,
        dataset=config.dataset,
        probability=config.probability,
        seed=config.seed,
        predictors=predictors,
        equivalents="apart" if apart else "once",
        warn_independent_sampling=False,
        pool_size=config.pool_size,
        precision=parse_way(config.runtime or "").precision or None,
        quantities=[] if evaluation is None else _foreseen(config, unknown),
    )
    return Prepared(
        config=config,
        sampler=sampler,
        objectives=config.objectives or checked_objectives(objective_names or ()),
        evaluation=evaluation,
        predictors=predictors,
        settings=_settings(
            config, space, objective_names, _identity(predictors)["sha256"], runtime
        ),
        runtime=runtime,
    )


def _identity(predictors: Mapping[str, NamedScorer]) -> dict[str, str | None]:
    """Names and checksums of predictors, joined by `+`."""
    return {
        "name": "+".join(p.name for p in predictors.values()) or None,
        "sha256": "+".join(str(p.sha256) for p in predictors.values()) or None,
    }


def _predictors(
    config: SearchConfig,
    space: SearchSpace,
    evaluation: Evaluation | None,
    unknown: Collection[str],
) -> tuple[dict[str, NamedScorer], tuple[str, ...] | None]:
    """The predictors that are needed, and the objectives of a search by prediction.

    Those of `unknown` quantities are left out.
    """
    kinds = [kind_of(predictor) for predictor in config.predictors]
    quality = space.quality
    # A count may be asked for instead of an accuracy that is itself derived from counts.
    proxied = config.proxy is not None and quality not in kinds and is_structural(space)
    has_quality = (is_known(space, quality) and not proxied) or quality in kinds
    objective_names = None
    if evaluation is None:
        objective_names = _objective_names(config, has_quality)
    predictors: dict[str, NamedScorer] = {}
    has_hardware = config.hardware is not None
    named = _named(config) - set(unknown)
    if evaluation is None and config.objectives:
        has_quality = has_quality and quality in named
    others = [name for name in ("energy", "memory") if name in named]
    # Without a device and a quality, counts are all that is needed.
    if has_hardware or config.predictors or (has_quality and evaluation is None):
        predictors = predictors_for(space, has_hardware, config.predictors, others=others)
    if evaluation is not None or not has_quality:
        # A quality that is observed is learned from trials alone.
        predictors.pop(quality, None)
    return predictors, objective_names


def _objective_names(config: SearchConfig, has_quality: bool) -> tuple[str, ...]:
    """Objectives of a search by prediction, as the sampler names them: usually quality and cost."""
    space, proxy = config.space, config.proxy
    if config.objectives:
        if proxy is not None:
            raise InputError(
                "a proxy stands for accuracy where no objectives are named; leave the proxy out, "
                f"or name the objective {canonical_name(proxy)}:max"
            )
        return objective_texts(config.objectives)
    if proxy is not None and proxy not in PROXIES:
        raise InputError(f"unknown proxy {proxy!r}; known: {', '.join(PROXIES)}")
    article = "an" if space.quality == "accuracy" else "a"
    if has_quality:
        if proxy is not None:
            raise InputError(
                f"space {space.name} has {article} {space.quality} predictor and needs no proxy; "
                "leave the proxy out"
            )
        return space.quality, *_cost("flops", config)
    bounded = next((c for c in config.constraints if c.name == space.quality), None)
    if bounded is not None:
        raise InputError(
            f"the package has no {space.quality} predictor for space {space.name}, so {bounded} "
            f"cannot be checked; give {article} {space.quality} predictor, or leave the constraint "
            "out"
        )
    quality = proxy or _PROXY
    other = next(name for name in PROXIES if name != quality)
    return f"more {quality}", *_cost(other, config)


def _cost(count: str, config: SearchConfig) -> list[str]:
    """The usual objectives beside the quality: the latency on each device, or else a count."""
    names = [device.name for device in config.devices]
    if len(names) < 2:
        return ["latency" if names else count]
    return [on_device("latency", name) for name in names]


def _named(config: SearchConfig) -> set[str]:
    """Quantities of objectives and limits, without their devices."""
    kinds = (quantity_named(o.name) for o in config.objectives)
    names = [kind.name for kind in kinds if kind is not None]
    return set(map(without_device, [*names, *(c.name for c in config.constraints)]))


def _unknown(config: SearchConfig, space: SearchSpace) -> set[str]:
    """Quantities of objectives and limits that are neither predicted nor counted.

    An evaluation may tell them all the same.
    """
    given = {kind_of(predictor) for predictor in config.predictors}
    unknown = set()
    if not space.has_networks:
        unknown.add("memory")
    if "energy" in _named(config) - given:
        arch = [space.sample(np.random.default_rng(0))]
        energies = (
            space_energy(space, arch, device, config.batch_size, None) for device in config.devices
        )
        if not config.devices or any(energy is None for energy in energies):
            unknown.add("energy")
    return unknown - given


def _foreseen(config: SearchConfig, unknown: Collection[str]) -> list[str]:
    """Observed objectives that are predicted or counted, too: for values that a trial leaves out.

    Qualities are learned from trials alone, and parameters and multiply-accumulates always there.
    """
    kinds = (quantity_named(objective.name) for objective in config.objectives)
    return [
        kind.name
        for kind in kinds
        if kind is not None
        and without_device(kind.name) not in (*QUALITIES, *COSTS, *unknown)
        and (config.devices or not kind.needs_device)
    ]


def _runtime(
    config: SearchConfig, predictors: dict[str, NamedScorer], evaluation: Evaluation | None
) -> str | None:
    """The way to run networks whose latency is predicted; None for the predictor's usual one."""
    named = _named(config)
    needs_latency = config.hardware is not None or not named & {"memory", "size"}
    asked = config.runtime
    if isinstance(evaluation, Table) and config.hardware is not None:
        asked = _way_of_table(evaluation, config.hardware, asked)
    if asked is not None and needs_latency:
        in_runtime(predictors, asked)
    latency = predictors.get("latency")
    if config.hardware is not None and isinstance(latency, ArchitecturePredictor):
        return latency.runtime_on(config.hardware)
    return None


def _way_of_table(table: Table, device: Hardware, asked: str | None) -> str | None:
    """The way of a search on a table: that in which the table's networks were run, if it is known.

    Raises:
        InputError: If another way is asked for than the one in which metrics were measured.
    """
    measured = table.way_on(device)
    if asked is None or measured is None:
        return asked or measured
    kinds = map(quantity_named, table.columns)
    has_metric = any(kind is not None and kind.needs_device for kind in kinds)
    if has_metric and parse_way(asked).precision != parse_way(measured).precision:
        raise InputError(
            f"the table was measured on {device.name} in {way_name(measured)}, and not in "
            f"{way_name(asked)}; leave runtime and precision out"
        )
    return asked


def _settings(
    config: SearchConfig,
    space: SearchSpace,
    objective_names: tuple[str, ...] | None,
    sha256: str | None,
    runtime: str | None,
) -> dict[str, Any]:
    """Everything that decides the result, to be kept in the study and compared."""
    settings = {
        "space": space.name,
        "hardware": _contents(config.devices),
        "batch_size": config.batch_size,
        "dataset": config.dataset,
        "constraints": [f"{c} @ {c.probability!r}" for c in config.constraints],
        "seed": config.seed,
        "predictor": sha256,
        "version": version("nasplug"),
    }
    if not is_listed(space):
        settings |= {"pool_size": config.pool_size}
        settings |= {"objectives": list(objective_names)} if objective_names else {}
    elif objective_names and (config.objectives or objective_names[0] != space.quality):
        # Proxies have equal directions, but are studies of their own.
        settings |= {"objectives": list(objective_names)}
    if runtime is not None:
        settings["runtime"] = runtime
    elif config.runtime is not None:
        settings["precision"] = parse_way(config.runtime).precision
    if not config.is_predicted:
        settings |= {
            "evaluate": config.evaluation_kind,
            "objectives": list(objective_texts(config.objectives)),
        }
    return settings


def _contents(devices: Sequence[Hardware]) -> Any:
    """Contents of the devices: None without any, and a list of several."""
    contents = [_content(device) for device in devices]
    return contents if len(contents) > 1 else next(iter(contents), None)


def _content(hardware: Hardware) -> dict[str, Any]:
    """All of a device that a prediction may depend on: not its aliases, source and note."""
    # A calibrated device has more fields than a description.
    content = {f.name: getattr(hardware, f.name) for f in dataclasses.fields(hardware)}
    for name in ("aliases", "source", "note", "processors"):
        del content[name]
    parts = as_data(hardware).get("processors")
    if parts:
        content["processors"] = parts
    return {**content, "peak_tflops": dict(sorted(hardware.peak_tflops.items()))}


def _objective(
    config: SearchConfig, sampler: PredictorSampler, evaluation: Evaluation | None
) -> Callable[[Trial], tuple[float, ...]]:
    """The function that evaluates a trial."""
    candidates = sampler.candidates
    if evaluation is None:
        return PredictedObjective(candidates, sampler.objectives)
    about = {
        "space": candidates.space.name,
        "dataset": config.dataset,
        "hardware": config.hardware.name if config.hardware else None,
        **({"devices": [d.name for d in config.devices]} if len(config.devices) > 1 else {}),
        "batch_size": config.batch_size,
        "seed": config.seed,
    }
    return ObservedObjective(candidates, evaluation, config.objectives, config.constraints, about)
