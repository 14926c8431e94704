"""Trials that are evaluated by a table, a program or a function: how, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug._signals import released
from nasplug.candidates.constraints import Constraint
from nasplug.candidates.scored import Candidates
from nasplug.objectives import COSTS, Objective
from nasplug.pareto import pareto_mask
from nasplug.results.result import predicted_ends
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.searching.objectives import Asked
from nasplug.studies.evaluation import (
    ACCURACY,
    LATENCY,
    METRICS,
    Evaluation,
    Function,
    Metrics,
    Request,
    missing,
    parse_objectives,
    read_metrics,
)
from nasplug.studies.evaluation_command import Command
from nasplug.studies.evaluation_table import Table, open_table

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

    from nasplug.predictors.hardware import Hardware

__all__ = [
    "KINDS",
    "OBSERVED",
    "ObservedObjective",
    "checked_evaluation",
    "default_objectives",
    "front",
    "observed",
    "opened",
    "predicted_limits",
    "said_of",
]

Array = NDArray[np.float64]

KINDS = ("predicted", "table", "command")
# The metrics that a trial gave, kept with it.
OBSERVED = "nasplug:observed"
_QUANTITIES = {metric: name for name, metric in METRICS.items()}


def checked_evaluation(evaluate: Any) -> str | Evaluation:
    """`"predicted"`, `"table"`, or what evaluates a trial.

    Raises:
        InputError: If it is none of them.
    """
    if isinstance(evaluate, str):
        if evaluate not in KINDS:
            raise InputError(f"unknown evaluation {evaluate[:80]!r}; there are {', '.join(KINDS)}")
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


def default_objectives(
    texts: str | Sequence[str], device: Hardware | None
) -> tuple[Objective, ...]:
    """What to optimise: as said, or accuracy, and latency if there is a device."""
    if texts:
        return parse_objectives(texts)
    return parse_objectives((ACCURACY,) if device is None else (ACCURACY, LATENCY))


def predicted_limits(
    limits: Sequence[Constraint], evaluation: str | Evaluation, device: Hardware | None
) -> tuple[Constraint, ...]:
    """The limits that are met before a trial is spent; the others are learned from trials."""
    learned = ["accuracy"]
    # Without a device a program may still say how long its network takes.
    if device is None and evaluation != "table":
        learned.append("latency")
    return tuple(limit for limit in limits if limit.name not in learned)


def opened(
    evaluation: str | Evaluation,
    space: SearchSpace,
    dataset: str,
    device: Hardware | None,
    batch_size: int,
    goals: Sequence[Objective],
    limits: Sequence[Constraint],
) -> tuple[Evaluation, SearchSpace]:
    """The evaluation, ready for a space, and the part of the space that it can evaluate.

    Raises:
        InputError: If no table has what is asked for, or the space does not write its networks.
    """
    if evaluation == "table":
        return _opened_table(space, dataset, device, batch_size, goals, limits)
    assert not isinstance(evaluation, str)
    if isinstance(evaluation, Command):
        evaluation = evaluation.renewed()
    if isinstance(evaluation, Command) and evaluation.wants_network:
        from nasplug.results.export import onnx_writer
        from nasplug.search_spaces.files import write_bytes

        write = onnx_writer(space)
        evaluation.write_network = lambda request, path: write_bytes(
            path, write(request.arch, 0, batch_size, dataset).SerializeToString()
        )
    return evaluation, space


def _opened_table(
    space: SearchSpace,
    dataset: str,
    device: Hardware | None,
    batch_size: int,
    goals: Sequence[Objective],
    limits: Sequence[Constraint],
) -> tuple[Table, SearchSpace]:
    needed = [goal.name for goal in goals if goal.name not in COSTS]
    needed += [METRICS[limit.name] for limit in limits if limit.name == "accuracy"]
    needed = list(dict.fromkeys(needed))
    bounded = any(limit.name == "latency" for limit in limits) and LATENCY not in needed
    if bounded and device is not None:
        # A limit is judged by what was measured, or else by what is predicted.
        try:
            return open_table(space, dataset, device, batch_size, [*needed, LATENCY])
        except InputError:
            pass
    return open_table(space, dataset, device, batch_size, needed)


class ObservedObjective:
    """An Optuna objective whose values come from an evaluation.

    A value that it does not give is predicted, or counted, where it is a latency on the device of
    the search or a count. Each limit is set on the trial as the relative distance to its bound, by
    what was observed, or else by what is predicted.

    Args:
        candidates: The scored candidates.
        evaluation: Gives the metrics.
        goals: What the study's values are.
        limits: All limits; those of the candidates are predicted too.
        about: See `Request`.
    """

    def __init__(
        self,
        candidates: Candidates,
        evaluation: Evaluation,
        goals: Sequence[Objective],
        limits: Sequence[Constraint],
        about: Mapping[str, Any],
    ) -> None:
        self._candidates, self._evaluation = candidates, evaluation
        self._goals, self._limits, self._about = goals, limits, about
        self._distributions = candidates.space.distributions()

    def __call__(self, trial: Trial) -> tuple[float, ...]:
        """Evaluate a trial.

        Raises:
            TrialFailure: If there are no usable metrics.
        """
        candidates = self._candidates
        arch = candidates.space.from_params(Asked(trial, self._distributions))
        (cell,) = candidates.positions([arch])
        known = {name: predicted_ends(candidates, name, cell) for name in METRICS}
        request = Request(
            arch,
            trial.number,
            trial.params,
            self._about,
            {METRICS[name]: interval for name, interval in known.items()},
            {name: int(candidates.quantities[name].mean[cell]) for name in COSTS},
        )
        with released():
            answer = self._evaluation(request)
        metrics = read_metrics(answer)
        lacking = [
            name
            for name in dict.fromkeys(
                [g.name for g in self._goals] + [METRICS.get(c.name, c.name) for c in self._limits]
            )
            if name not in metrics.values and _foreseen(candidates, name, cell) is None
        ]
        if lacking:
            raise missing(lacking, answer)
        trial.set_user_attr(OBSERVED, dict(metrics.values))
        self._set_constraints(trial, metrics, cell)
        return tuple(_value(candidates, goal.name, metrics.values, cell) for goal in self._goals)

    def _set_constraints(self, trial: Trial, metrics: Metrics, cell: int) -> None:
        candidates = self._candidates
        foreseen = [str(limit) for limit in candidates.constraints]
        missed = candidates.violations()
        for limit in self._limits:
            metric = METRICS.get(limit.name, limit.name)
            if metric in metrics.values:
                sign = 1.0 if limit.is_upper else -1.0
                distance = sign * (metrics.values[metric] - limit.bound) / limit.bound
                # Not the text of the limit, which stands for the predicted one.
                trial.set_constraint(f"{metric}{limit.sense}{limit.bound:g}", distance)
            else:
                row = foreseen.index(str(limit))
                trial.set_constraint(str(limit), float(missed[row, cell]))
        for name, value in metrics.constraints.items():
            trial.set_constraint(name, value)


def _foreseen(candidates: Candidates, metric: str, cell: int) -> float | None:
    """A metric as it is predicted or counted; None for one that is not."""
    quantity = candidates.quantities.get(_QUANTITIES.get(metric, metric))
    if quantity is None or metric == ACCURACY:
        return None
    return float(quantity.mean[cell])


def _value(candidates: Candidates, metric: str, given: Mapping[str, float], cell: int) -> float:
    if metric in given:
        return given[metric]
    foreseen = _foreseen(candidates, metric, cell)
    assert foreseen is not None
    return foreseen


def said_of(evaluation: Evaluation) -> str:
    """Where the values come from, in words."""
    if isinstance(evaluation, Table):
        return f"measured, from {evaluation.identity}"
    return "printed by your program" if evaluation.name == "command" else "given by your function"


def observed(trial: FrozenTrial) -> dict[str, float]:
    """The metrics that a trial gave."""
    found = trial.user_attrs.get(OBSERVED)
    return dict(found) if isinstance(found, dict) else {}


def front(trials: Sequence[FrozenTrial], goals: Sequence[Objective]) -> list[FrozenTrial]:
    """The trials that meet every limit and that no other such trial dominates.

    In order of the last value, the best first; one of each architecture with equal values.
    """
    met = [t for t in trials if all(missed <= 0 for missed in t.constraints.values())]
    if not met:
        return []
    sign = np.array([goal.sign for goal in goals])
    losses = np.array([trial.values for trial in met], np.float64) * sign
    kept = np.flatnonzero(pareto_mask(losses))
    return [met[k] for k in kept[np.lexsort((kept, losses[kept, -1]))]]
