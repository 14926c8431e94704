"""How trials are evaluated by something other than prediction, and what an evaluation may answer.

An evaluation is asked for one architecture at a time and answers with metrics: numbers by name.
There are three: a benchmark's table (`evaluation_table`), the user's own program
(`evaluation_command`), and a function of the user's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from nasplug.objectives import COSTS, OBJECTIVES, Objective
from nasplug.search_spaces import Architecture, InputError

__all__ = [
    "ACCURACY",
    "LATENCY",
    "METRICS",
    "Evaluation",
    "Function",
    "Metrics",
    "Request",
    "TrialFailure",
    "missing",
    "parse_objectives",
    "read_metrics",
]

ACCURACY, LATENCY, THROUGHPUT = "accuracy", "latency_ms", "throughput"
# Name of a limit's quantity -> name of the metric.
METRICS = {"latency": LATENCY, "accuracy": ACCURACY}
# What an answer may hold beside metrics: how far each limit of the user's own is missed.
CONSTRAINTS = "constraints"
# Directions and units that need not be said.
KNOWN = {
    ACCURACY: OBJECTIVES["accuracy"],
    LATENCY: Objective(LATENCY, "minimize", "ms"),
    THROUGHPUT: Objective(THROUGHPUT, "maximize", "img/s"),
    **{name: OBJECTIVES[name] for name in COSTS},
}
# What can be true of a metric: the least and the most, in its unit; all of them are finite.
_RANGES = {
    ACCURACY: (0.0, 100.0),
    LATENCY: (1e-9, 1e9),
    THROUGHPUT: (1e-9, 1e12),
    **{name: (0.0, 1e18) for name in COSTS},
}
_ANY_RANGE = (-1e30, 1e30)
_DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "max": "maximize",
    "maximize": "maximize",
    "min": "minimize",
    "minimize": "minimize",
}
_NAME = re.compile(r"[A-Za-z_][\w.@/-]{0,99}")
# Metrics of one answer that are kept, and letters of one that is quoted.
_MOST, _QUOTED = 100, 80


class TrialFailure(Exception):
    """A trial without usable values; the text says why."""


@dataclass(frozen=True)
class Request:
    """What an evaluation is told of a trial.

    Attributes:
        arch: The architecture.
        trial: The trial's number in its study.
        params: The trial's parameters.
        about: Space, image set, device, batch size and seed of the search, by name.
        predicted: `"accuracy"` and `"latency_ms"` to mean, lower and upper end; None if unknown.
        costs: `"flops"` and `"params"` of its network.
    """

    arch: Architecture
    trial: int
    params: Mapping[str, Any]
    about: Mapping[str, Any]
    predicted: Mapping[str, Mapping[str, float] | None]
    costs: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for `json.dumps`."""
        return {
            "space": self.about["space"],
            "arch": self.arch.text,
            "arch_id": self.arch.arch_id,
            "params": dict(self.params),
            "trial": self.trial,
            **{name: value for name, value in self.about.items() if name != "space"},
            "costs": dict(self.costs),
            "predicted": dict(self.predicted),
        }


class Evaluation(Protocol):
    """The interface of what gives the metrics of architectures.

    A search reads `identity` first, for the name of its study. Then it calls the evaluation once a
    trial, with an architecture that is a member of the space; with several jobs these calls overlap
    and come from several threads. `stop` is called, from another thread, if the search is
    interrupted while calls are under way; they should then end soon. An evaluation need not check
    its answer: `read_metrics` does.

    Attributes:
        name: `"table"`, `"command"` or `"function"`.
        identity: What tells it from others of its name, for the name of a study.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def identity(self) -> str: ...  # noqa: D102

    def __call__(self, request: Request) -> Mapping[str, Any]:
        """The metrics of one architecture; `"constraints"` may hold numbers that are to be ≤ 0.

        Raises:
            TrialFailure: If there are none, with the reason.
        """

    def stop(self) -> None:
        """End what is under way in other threads, at once."""


class Function:
    """An evaluation by a Python function of an architecture.

    An exception of its own makes a failed trial; `optuna.TrialPruned` a pruned one.

    Args:
        function: Takes an `Architecture`, returns a dictionary of metrics.
    """

    name = "function"

    def __init__(self, function: Callable[[Architecture], Mapping[str, Any]]) -> None:
        self._function = function
        module = getattr(function, "__module__", "")
        self.identity = f"{module}.{getattr(function, '__qualname__', type(function).__name__)}"

    def __call__(self, request: Request) -> Mapping[str, Any]:
        """What the function returns."""
        import optuna

        try:
            return self._function(request.arch)
        except (TrialFailure, optuna.TrialPruned):
            raise
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            raise TrialFailure(f"{type(error).__name__}: {text}") from error

    def stop(self) -> None:
        """Nothing: a function cannot be ended from outside."""


@dataclass(frozen=True)
class Metrics:
    """An answer that was checked.

    Attributes:
        values: Name of a metric to a finite number.
        constraints: Name of a limit of the user's own to how far it is missed, ≤ 0 if it is met.
    """

    values: Mapping[str, float]
    constraints: Mapping[str, float]


def read_metrics(answer: Any) -> Metrics:
    """Check what an evaluation answered.

    Values that are no numbers are left out: a program may print the name of its checkpoint beside.

    Raises:
        TrialFailure: If it is no mapping, holds too much, or a number in it cannot be true.
    """
    if not isinstance(answer, Mapping):
        raise TrialFailure(f"the answer is {_quoted(answer)}, not an object of metrics")
    if len(answer) > _MOST:
        raise TrialFailure(f"the answer has {len(answer)} entries; at most {_MOST} are read")
    limits = answer.get(CONSTRAINTS) or {}
    if not isinstance(limits, Mapping) or len(limits) > _MOST:
        raise TrialFailure(f"{CONSTRAINTS} is {_quoted(limits)}, not a few numbers by name")
    values = {
        str(name): number
        for name, value in answer.items()
        if name != CONSTRAINTS and (number := _number(str(name), value)) is not None
    }
    constraints = {}
    for name, value in limits.items():
        missed = _number(f"constraint {name}", value)
        if missed is None:
            raise TrialFailure(f"constraint {name} is {_quoted(value)}, not a number")
        constraints[str(name)] = missed
    return Metrics(values, constraints)


def _number(name: str, value: Any) -> float | None:
    """A finite number; None for what is no number at all."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        return None
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        raise TrialFailure(f"{name} is {_quoted(value)}, not a number") from None
    if not math.isfinite(number):
        raise TrialFailure(f"{name} is {number}, not a finite number")
    least, most = _RANGES.get(name, _ANY_RANGE)
    if not least <= number <= most:
        unit = f" {KNOWN[name].unit}" if name in KNOWN and KNOWN[name].unit else ""
        raise TrialFailure(
            f"{name} is {number:g}{unit}, which cannot be true; it is from {least:g} to {most:g}"
        )
    return number


def missing(names: Sequence[str], answer: Any) -> TrialFailure:
    """Why an answer lacks metrics."""
    told = [f"{n} {_quoted(answer[n])}" if n in answer else "" for n in names]
    wrong = [text for text in told if text]
    if wrong:
        return TrialFailure(f"no number: {', '.join(wrong)}")
    given = ", ".join(str(name) for name in list(answer)[:10]) or "nothing"
    return TrialFailure(f"no metric {', '.join(names)}; there is {given[:200]}")


def parse_objectives(texts: str | Sequence[str]) -> tuple[Objective, ...]:
    """Read objectives such as `accuracy:max` or `latency_ms:min`.

    A direction may be left out where it is clear: accuracy and throughput are maximised;
    latency_ms, flops and params are minimised.

    Raises:
        InputError: If one has another form or no direction, or a metric is named twice.
    """
    found: dict[str, Objective] = {}
    for text in (texts,) if isinstance(texts, str) else texts:
        name, colon, word = (part.strip() for part in str(text).partition(":"))
        shown = f"objective {str(text)[:_QUOTED]!r}"
        if not _NAME.fullmatch(name) or name == CONSTRAINTS:
            raise InputError(f"{shown} names no metric; write it like accuracy:max")
        known = KNOWN.get(name)
        if not colon and known is None:
            raise InputError(f"{shown} has no direction; write {name}:max or {name}:min")
        if colon and word not in _DIRECTIONS:
            raise InputError(f"{shown} has direction {word[:_QUOTED]!r}; write max or min")
        if name in found:
            raise InputError(f"metric {name} is an objective twice; name it once")
        direction = _DIRECTIONS[word] if colon or known is None else known.direction
        found[name] = Objective(name, direction, known.unit if known else "")
    return tuple(found.values())


def _quoted(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "a huge number"
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"


# Name of a limit's quantity -> name of the metric.
