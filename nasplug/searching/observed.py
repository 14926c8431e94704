"""Trials that are evaluated by a table, a program or a function: objective, metrics and front."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, Trial

from nasplug._signals import released
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.constraints import Constraint
from nasplug.objectives import COSTS, Objective
from nasplug.pareto import pareto_mask
from nasplug.quantities import (
    COUNTED,
    PREDICTED,
    QUALITIES,
    QUANTITIES,
    quantity_named,
    without_device,
)
from nasplug.results.result import predicted_ends
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.searching.config import SearchConfig
from nasplug.searching.objectives import suggest_architecture
from nasplug.studies.evaluation import (
    Evaluation,
    Request,
    missing,
    read_metrics,
)
from nasplug.studies.evaluation_command import Command
from nasplug.studies.evaluation_table import Table, open_table
from nasplug.studies.values import OBSERVED

__all__ = [
    "OBSERVED",
    "ObservedObjective",
    "front",
    "observed",
    "opened_evaluation",
    "source_of_values",
]


def opened_evaluation(config: SearchConfig) -> tuple[Evaluation, SearchSpace]:
    """The evaluation, ready for the space, and the part of the space that it can evaluate.

    Raises:
        InputError: If no table has what is asked for, or the space does not write its networks.
    """
    evaluation, space = config.evaluate, config.space
    if evaluation == "table":
        return _opened_table(config)
    assert not isinstance(evaluation, str)
    if isinstance(evaluation, Command):
        evaluation = evaluation.renewed()
    if isinstance(evaluation, Command) and evaluation.wants_network:
        from nasplug.arguments import onnx_writer
        from nasplug.search_spaces.files import write_bytes

        write = onnx_writer(space)
        evaluation.write_network = lambda request, path: write_bytes(
            path, write(request.arch, 0, config.batch_size, config.dataset).SerializeToString()
        )
    return evaluation, space


def _opened_table(config: SearchConfig) -> tuple[Table, SearchSpace]:
    """The table that has the objectives, and the architectures that are in it."""
    bounded = [constraint.name for constraint in config.constraints]
    # Tables lack what nasplug counts or computes of a network.
    kinds = {o.name: quantity_named(o.name) for o in config.objectives}
    needed = [n for n, k in kinds.items() if k is None or k.name not in (*COUNTED, "memory")]
    if config.space.quality in bounded and config.space.quality not in needed:
        needed.append(config.space.quality)
    setting = (config.space, config.dataset, config.devices, config.batch_size)
    for name in bounded:
        key, needs_device = QUANTITIES[name].key, QUANTITIES[name].needs_device
        if needs_device and key not in needed and config.devices:
            # A constraint is judged by what was measured, or else by what is predicted.
            with contextlib.suppress(InputError):
                open_table(*setting, [*needed, key])
                needed.append(key)
    return open_table(*setting, needed)


class ObservedObjective:
    """An Optuna objective whose values come from an evaluation.

    A value that the evaluation does not give is predicted or counted, unless it is a quality. Each
    constraint is set on the trial as the relative distance to its bound, by the observed value or
    else by the predicted one.

    Args:
        candidates: The scored candidates.
        evaluation: Gives the metrics.
        objectives: Objectives, in the order of the study's values.
        constraints: All constraints; those of the candidates are predicted too.
        about: Settings of the search that an evaluation is told, see `Request`.
    """

    def __init__(
        self,
        candidates: Candidates,
        evaluation: Evaluation,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        about: Mapping[str, Any],
    ) -> None:
        self._candidates, self._evaluation = candidates, evaluation
        self._objectives, self._constraints, self._about = objectives, constraints, about
        self._distributions = candidates.space.distributions()

    def __call__(self, trial: Trial) -> tuple[float, ...]:
        """Evaluate a trial.

        Raises:
            TrialFailure: If there are no usable metrics.
        """
        candidates = self._candidates
        arch = suggest_architecture(trial, candidates.space, self._distributions)
        (index,) = candidates.indices([arch])
        names = [n for n in candidates.quantities if without_device(n) in PREDICTED]
        predicted = {
            QUANTITIES[name].key: predicted_ends(candidates, name, index)
            for name in dict.fromkeys(("accuracy", "latency", *names))
        }
        request = Request(
            arch,
            trial.number,
            trial.params,
            self._about,
            predicted,
            {name: int(candidates.quantities[name].mean[index]) for name in COSTS},
        )
        with released():
            answer = self._evaluation(request)
        metrics = read_metrics(answer)
        needed = [objective.name for objective in self._objectives]
        needed += [QUANTITIES[c.name].key for c in self._constraints]
        told = dict(metrics.values)
        for name in needed:
            spelling = next((word for word in self._spellings(name) if word in told), None)
            if spelling is not None:
                told[name] = told[spelling]
        values = {
            name: told.get(name, _predicted_value(candidates, name, index)) for name in needed
        }
        lacking = [name for name, value in values.items() if value is None]
        if lacking:
            raise missing(lacking, answer)
        trial.set_user_attr(OBSERVED, told)
        self._set_constraints(trial, told, index)
        for name, value in metrics.constraints.items():
            trial.set_constraint(name, value)
        return tuple(float(values[o.name]) for o in self._objectives)  # type: ignore[arg-type]

    def _spellings(self, key: str) -> list[str]:
        """Names under which an answer may hold a metric: its key, or its quantity's name.

        One without a device is that on the first one.
        """
        kind = quantity_named(key)
        words = [key] if kind is None else [kind.key, kind.name]
        is_first = key.partition("@")[2] == self._about["hardware"]
        return [*words, *map(without_device, words)] if is_first else words

    def _set_constraints(self, trial: Trial, told: Mapping[str, float], index: int) -> None:
        """Tell the trial how far each constraint is missed, relative to its bound."""
        candidates = self._candidates
        predicted = [str(constraint) for constraint in candidates.constraints]
        violations = candidates.violations()
        for constraint in self._constraints:
            metric, bound = QUANTITIES[constraint.name].key, constraint.bound
            if metric in told:
                sign = 1.0 if constraint.is_upper else -1.0
                distance = sign * (told[metric] - bound) / bound
                # Not the constraint's own text, which stands for the predicted quantity.
                trial.set_constraint(f"{metric}{constraint.sense}{bound:g}", distance)
            else:
                row = predicted.index(str(constraint))
                trial.set_constraint(str(constraint), float(violations[row, index]))


def _predicted_value(candidates: Candidates, metric: str, index: int) -> float | None:
    """A metric as it is predicted or counted; None for a quality, and for what is neither."""
    kind = quantity_named(metric)
    quantity = None if kind is None else candidates.quantities.get(kind.name)
    if quantity is None or metric in QUALITIES:
        return None
    return float(quantity.mean[index])


def source_of_values(evaluation: Evaluation) -> str:
    """The source of a trial's values, in words."""
    if isinstance(evaluation, Table):
        return f"measured, from {evaluation.identity}"
    return (
        "printed by your program" if evaluation.name == "command" else "returned by your function"
    )


def observed(trial: FrozenTrial) -> dict[str, float]:
    """The metrics that a trial gave."""
    metrics = trial.user_attrs.get(OBSERVED)
    return dict(metrics) if isinstance(metrics, dict) else {}


def front(trials: Sequence[FrozenTrial], objectives: Sequence[Objective]) -> list[FrozenTrial]:
    """The trials that meet every constraint and that no other such trial dominates.

    In order of the last value, the best first; one of each architecture with equal values.
    """
    feasible = [t for t in trials if all(missed <= 0 for missed in t.constraints.values())]
    if not feasible:
        return []
    sign = np.array([objective.sign for objective in objectives])
    losses = np.array([trial.values for trial in feasible], np.float64) * sign
    rows = np.flatnonzero(pareto_mask(losses))
    return [feasible[k] for k in rows[np.lexsort((rows, losses[rows, -1]))]]
