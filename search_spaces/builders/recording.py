"""A trial that answers a builder's suggestions, and where a builder's code is."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nasplug.search_spaces.errors import InputError

__all__ = [
    "BuilderError",
    "NarrowedTrial",
    "RecordingTrial",
    "Suggestion",
    "UnclearBuilderError",
    "failure_of",
    "is_users",
    "user_place",
]

# Name, domain and value.
Suggestion = tuple[str, BaseDistribution, Any]
# Code that is not the user's: this package, and Python's own.
_OTHERS = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    sysconfig.get_paths()["stdlib"],
)


class BuilderError(InputError):
    """Error of a builder for one setting, which is no member of its space.

    Attributes:
        is_refusal: Whether the builder refused the setting itself, by `optuna.TrialPruned`.
    """

    is_refusal = False


class UnclearBuilderError(BuilderError):
    """Error of a builder that describes no one space."""


@contextmanager
def _without_advice() -> Iterator[None]:
    """Leave unsaid that a range is no multiple of its step, as the trials of a study say it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class RecordingTrial:
    """Trial that is asked by a builder: each suggestion is answered by a function, and recorded.

    It has the attributes of an Optuna trial that a builder may read. It belongs to no study: it
    reports nothing, and is never pruned.

    Attributes:
        suggestions: Suggestions so far, in the order in which they were first asked.
        number: 0.
    """

    def __init__(self, answer: Callable[[str, BaseDistribution], Any]) -> None:
        self._answer = answer
        self.suggestions: list[Suggestion] = []
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, BaseDistribution] = {}
        self.user_attrs: dict[str, Any] = {}
        self.system_attrs: dict[str, Any] = {}
        self.number = 0
        self.relative_params: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Answer with one of some choices."""
        return self._suggested(name, CategoricalDistribution(tuple(choices)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Answer with a whole number."""
        with _without_advice():
            domain = IntDistribution(low, high, log=log, step=step)
        value: int = self._suggested(name, domain)
        return value

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Answer with a number."""
        with _without_advice():
            domain = FloatDistribution(low, high, log=log, step=step)
        value: float = self._suggested(name, domain)
        return value

    def _suggested(self, name: str, domain: BaseDistribution) -> Any:
        if name in self.params:
            # Optuna, too, gives a parameter one value in a trial.
            return self.params[name]
        value = self._answer(name, domain)
        self.params[name], self.distributions[name] = value, domain
        self.suggestions.append((name, domain, value))
        return value

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep an attribute for this run."""
        self.user_attrs[key] = value

    def report(self, value: float, step: int) -> None:
        """Ignore an intermediate value."""

    def should_prune(self) -> bool:
        """False."""
        return False

    def set_constraint(self, key: str, value: float) -> None:
        """Ignore a constraint."""


class NarrowedTrial:
    """A trial whose suggestions are asked within narrower domains; else it is the trial itself.

    Args:
        trial: The trial of a study.
        narrow: Function from a name and its domain to the domain that is offered.
    """

    def __init__(
        self, trial: Any, narrow: Callable[[str, BaseDistribution], BaseDistribution]
    ) -> None:
        self._trial, self._narrow = trial, narrow

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of the choices that are left."""
        return self._suggest(name, CategoricalDistribution(tuple(choices)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Any:
        """Suggest one of the whole numbers that are left."""
        return self._suggest(name, IntDistribution(low, high, log=log, step=step))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Any:
        """Suggest one of the numbers that are left."""
        return self._suggest(name, FloatDistribution(low, high, log=log, step=step))

    def _suggest(self, name: str, domain: BaseDistribution) -> Any:
        offered = self._narrow(name, domain)
        if isinstance(offered, CategoricalDistribution):
            return self._chosen(name, offered.choices)
        if isinstance(offered, IntDistribution):
            return self._trial.suggest_int(
                name, offered.low, offered.high, step=offered.step, log=offered.log
            )
        assert isinstance(offered, FloatDistribution)
        return self._trial.suggest_float(
            name, offered.low, offered.high, step=offered.step, log=offered.log
        )

    def _chosen(self, name: str, choices: Sequence[Any]) -> Any:
        try:
            return self._trial.suggest_categorical(name, choices)
        except ValueError as error:
            if "dynamic value space" not in str(error):
                raise
            raise InputError(
                f"earlier trials of this study have other choices for {name!r} than "
                f"{', '.join(map(repr, choices))}, and Optuna keeps the choices of a parameter; "
                "begin a new study for this part of the space"
            ) from error


def place_of(error: BaseException) -> str:
    """File and line of the user's code in which an error arose: the last one outside of packages.

    Empty where no such line is known.
    """
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    return _place(frames)


def user_place() -> str:
    """File and line of the user's code that is running now."""
    frames = [(f.f_code.co_filename, line) for f, line in traceback.walk_stack(sys._getframe(1))]
    return _place(frames[::-1])


def _place(frames: Sequence[tuple[str, int | None]]) -> str:
    for file, line in reversed(frames):
        if is_users(file):
            return f"{os.path.basename(file)}, line {line}"
    return ""


def is_users(file: str) -> bool:
    """Whether a file of code is the user's, not of a package or of Python."""
    path = os.path.abspath(file)
    is_package = "site-packages" in path or path.startswith(_OTHERS)
    return not is_package and not file.startswith("<frozen")


def failure_of(error: BaseException, name: str) -> BuilderError:
    """The error of a builder as one sentence with the line of its code."""
    place = place_of(error)
    text = " ".join(str(error).split())[:300] or "no message"
    where = f" ({place})" if place else ""
    failure = BuilderError(f"{name}{where}: {type(error).__name__}: {text}")
    failure.is_refusal = type(error).__name__ == "TrialPruned"
    return failure
