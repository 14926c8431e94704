"""Evaluations of trials by something other than prediction, and checks of their answers.

An evaluation gets one architecture at a time and returns metrics: numbers by name. There are three
kinds: a benchmark's table (`evaluation_table`), the user's own program (`evaluation_command`), and
a Python function.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nasplug.objectives import COSTS, DIRECTIONS, Objective, split_direction
from nasplug.quantities import quantity_named, without_device
from nasplug.search_spaces import Architecture, InputError

__all__ = [
    "ACCURACY",
    "ALLOCATED",
    "ENERGY",
    "LATENCY",
    "PERPLEXITY",
    "Evaluation",
    "Function",
    "Metrics",
    "Request",
    "TrialFailure",
    "known_metric",
    "missing",
    "parse_objectives",
    "read_metrics",
]

ACCURACY, LATENCY, THROUGHPUT = "accuracy", "latency_ms", "throughput"
PERPLEXITY, ENERGY = "perplexity", "energy_j"
# What a framework holds after a forward pass: less than the peak, which a limit on memory bounds.
ALLOCATED = "allocated_mb"

# Key of an answer beside its metrics: how far each constraint of the user's own is violated.
CONSTRAINTS = "constraints"
# Least and largest plausible value of a metric, in its unit.
_RANGES = {
    ACCURACY: (0.0, 100.0),
    LATENCY: (1e-9, 1e9),
    THROUGHPUT: (1e-9, 1e12),
    PERPLEXITY: (1.0, 1e9),
    **{name: (0.0, 1e18) for name in COSTS},
}
_ANY_RANGE = (-1e30, 1e30)
# A name may end with that of a device, which has spaces.
_NAME = re.compile(r"[A-Za-z_][\w./-]{0,99}(@[^\n<>=]{1,99})?")
# Most entries of an answer, and most characters of a value in a message.
_MOST, _QUOTED = 100, 80


class TrialFailure(Exception):
    """A trial without usable values; the text says why."""


@dataclass(frozen=True)
class Request:
    """Data of a trial that an evaluation gets.

    Attributes:
        arch: The architecture.
        trial: The trial's number in its study.
        params: The trial's parameters.
        about: Space, image set, device, batch size and seed of the search, by name.
        predicted: `"accuracy"` and `"latency_ms"` to mean, lower and upper end; None if unknown.
            Of several devices also `"latency_ms@RTX 3090"` and so on.
        costs: `"flops"` and `"params"` of the architecture's network.
    """

    arch: Architecture
    trial: int
    params: Mapping[str, Any]
    about: Mapping[str, Any]
    predicted: Mapping[str, Mapping[str, float] | None]
    costs: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The request as a dictionary for `json.dumps`."""
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
        identity: Text that tells it from other evaluations of its name, for the name of a study.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def identity(self) -> str: ...  # noqa: D102

    def __call__(self, request: Request) -> Mapping[str, Any]:
        """Evaluate one architecture; `"constraints"` may hold numbers that should be ≤ 0.

        Raises:
            TrialFailure: If it gives no metrics, with the reason.
        """

    def stop(self) -> None:
        """End calls that run in other threads, at once."""


class Function:
    """An evaluation by a Python function of an architecture.

    An exception of the function makes a failed trial; `optuna.TrialPruned` a pruned one.

    Args:
        function: Takes an `Architecture`, returns a dictionary of metrics.
    """

    name = "function"

    def __init__(self, function: Callable[[Architecture], Mapping[str, Any]]) -> None:
        self._function = function
        module = getattr(function, "__module__", "")
        self.identity = f"{module}.{getattr(function, '__qualname__', type(function).__name__)}"

    def __call__(self, request: Request) -> Mapping[str, Any]:
        """Call the function."""
        import optuna

        try:
            return self._function(request.arch)
        except (TrialFailure, optuna.TrialPruned):
            raise
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            raise TrialFailure(f"{type(error).__name__}: {text}") from error

    def stop(self) -> None:
        """Do nothing: a Python function cannot be ended from outside."""


@dataclass(frozen=True)
class Metrics:
    """Checked answer of an evaluation.

    Attributes:
        values: Name of a metric to a finite number.
        constraints: Name of a constraint of the user's own to its violation, ≤ 0 if it is met.
    """

    values: Mapping[str, float]
    constraints: Mapping[str, float]


def read_metrics(answer: Any) -> Metrics:
    """Check the answer of an evaluation.

    Values that are no numbers are left out: a program may print the name of its checkpoint too.

    Raises:
        TrialFailure: If the answer is no mapping, has too many entries, or an impossible number.
    """
    if not isinstance(answer, Mapping):
        raise TrialFailure(f"the result is {_quoted(answer)}, not an object of metrics")
    if len(answer) > _MOST:
        raise TrialFailure(f"the result has {len(answer)} entries; at most {_MOST} are allowed")
    limits = answer.get(CONSTRAINTS) or {}
    if not isinstance(limits, Mapping) or len(limits) > _MOST:
        raise TrialFailure(
            f"{CONSTRAINTS} is {_quoted(limits)}, not an object of at most {_MOST} numbers"
        )
    values = {
        str(name): number
        for name, value in answer.items()
        if name != CONSTRAINTS and (number := _number(str(name), value)) is not None
    }
    constraints = {}
    for name, value in limits.items():
        violation = _number(f"constraint {name}", value)
        if violation is None:
            raise TrialFailure(f"constraint {name} is {_quoted(value)}, not a number")
        constraints[str(name)] = violation
    return Metrics(values, constraints)


def _number(name: str, value: Any) -> float | None:
    """Read a finite number; None for a value that is no number at all."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        return None
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        raise TrialFailure(f"{name} is {_quoted(value)}, not a number") from None
    if not math.isfinite(number):
        raise TrialFailure(f"{name} is {number}, not a finite number")
    least, most = _RANGES.get(without_device(name), _ANY_RANGE)
    if not least <= number <= most:
        known = known_metric(name)
        unit = f" {known.unit}" if known is not None and known.unit else ""
        raise TrialFailure(
            f"{name} is {number:g}{unit}, which is impossible; it must be from {least:g} to "
            f"{most:g}"
        )
    return number


def known_metric(name: str) -> Objective | None:
    """The direction and unit of a metric, which may be on a device; None for an unknown one."""
    kind = quantity_named(name)
    if kind is not None and kind.key == name:
        return Objective(name, kind.direction, kind.unit)
    return Objective(ALLOCATED, "minimize", "MB") if name == ALLOCATED else None


def missing(names: Sequence[str], answer: Any) -> TrialFailure:
    """Failure that explains why an answer lacks metrics."""
    wrong = [f"{name} {_quoted(answer[name])}" for name in names if name in answer]
    if wrong:
        return TrialFailure(f"not a number: {', '.join(wrong)}")
    entries = ", ".join(str(name) for name in list(answer)[:10]) or "no entries"
    return TrialFailure(f"the result has no {', '.join(names)}; it has {entries[:200]}")


def parse_objectives(texts: str | Sequence[str]) -> tuple[Objective, ...]:
    """Read objectives such as `accuracy:max` or `latency_ms:min`.

    A direction may be left out where it is clear: accuracy and throughput are maximised;
    latency_ms, perplexity, energy_j, memory_mb, allocated_mb, flops and params are minimised.
    A metric that a device decides may name it, as in `latency_ms@RTX 3090`.

    Raises:
        InputError: If one has another form or no direction, or a metric is named twice.
    """
    objectives: dict[str, Objective] = {}
    for text in (texts,) if isinstance(texts, str) else texts:
        name, colon, word = split_direction(str(text))
        shown = f"objective {str(text)[:_QUOTED]!r}"
        if not _NAME.fullmatch(name) or name == CONSTRAINTS:
            raise InputError(f"{shown} does not name a metric; write it like accuracy:max")
        # Other names for a metric are the program's own.
        name = "flops" if name == "macs" else name
        default = known_metric(name)
        if not colon and default is None:
            raise InputError(f"{shown} has no direction; write {name}:max or {name}:min")
        if colon and word not in DIRECTIONS:
            raise InputError(f"{shown} has direction {word[:_QUOTED]!r}; write max or min")
        if name in objectives:
            raise InputError(f"metric {name} is given twice as an objective; give it once")
        direction = DIRECTIONS[word] if colon or default is None else default.direction
        objectives[name] = Objective(name, direction, default.unit if default else "")
    return tuple(objectives.values())


def _quoted(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "a huge number"
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
