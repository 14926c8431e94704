"""The tree of a builder's suggestions, discovered by running the builder.

A node of the tree is a suggestion, its branches are the values that were answered, and a leaf is a
finished run. A builder may ask for a parameter under some choices alone, and may offer other values
under others. What is known of the tree is walked without running the builder.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from nasplug.search_spaces.builders.recording import (
    BuilderError,
    RecordingTrial,
    Suggestion,
    UnclearBuilderError,
    failure_of,
    user_place,
)
from nasplug.search_spaces.domains import (
    contains,
    draw,
    literal,
    nearest,
    size,
    spread,
    united,
)
from nasplug.search_spaces.errors import InputError

__all__ = ["Answer", "Offered", "Path", "SuggestionTree"]

Answer = Callable[[str, BaseDistribution], Any]
Offered = Callable[[str, BaseDistribution], BaseDistribution]
Path = tuple[Suggestion, ...]
# Runs that look for parameters: most with one value changed, and a few at random.
MOST_RUNS, RANDOM_RUNS = 400, 24
# Values of a parameter that are tried for parameters that depend on it.
TRIED_VALUES = 7


@dataclass(eq=False)
class _Leaf:
    """A finished run: it has failed if there is an error."""

    error: BuilderError | None = None


@dataclass(eq=False)
class _Node:
    """A suggestion, with what follows each value by its text."""

    name: str
    domain: BaseDistribution
    branches: dict[str, _Node | _Leaf] = field(default_factory=dict)


class SuggestionTree:
    """Suggestions of a builder, as far as they are known.

    Args:
        run: Runs the builder with a trial; its result is handed to whoever asked for the run.
        name: Name of the builder in error messages.
    """

    def __init__(self, run: Callable[[Any], Any], name: str) -> None:
        self._run, self._name = run, name
        self._root: _Node | _Leaf | None = None
        self._domains: dict[str, BaseDistribution] = {}
        self._lock = threading.RLock()

    @property
    def domains(self) -> dict[str, BaseDistribution]:
        """Name of each parameter to all its values; grows where a run finds more."""
        return dict(self._domains)

    def path(self, answer: Answer) -> tuple[Path, Any]:
        """The suggestions of a setting, and what the builder returned if it had to be run.

        Args:
            answer: Gives the value of a parameter among those that are offered.

        Raises:
            InputError: If the builder fails with this setting, or contradicts an earlier run.
        """
        taken: list[Suggestion] = []
        node = self._root
        while isinstance(node, _Node):
            value = answer(node.name, node.domain)
            taken.append((node.name, node.domain, value))
            node = node.branches.get(literal(value))
        if isinstance(node, _Leaf):
            if node.error is not None:
                raise node.error
            return tuple(taken), None
        return self._ran(taken, answer)

    def built(self, path: Path, run: Callable[[Any], Any] | None = None) -> Any:
        """The network of a known setting, which the builder makes again.

        Args:
            path: The suggestions with their values.
            run: Runs the builder otherwise, such as with weights.

        Raises:
            InputError: If the builder fails, or asks for other parameters than before.
        """
        values = {name: value for name, _, value in path}

        def answer(name: str, domain: BaseDistribution) -> Any:
            if name not in values or not contains(domain, values[name]):
                raise self._contradiction(name)
            return values[name]

        trial = RecordingTrial(answer)
        try:
            built = (run or self._run)(trial)
        except UnclearBuilderError:
            raise
        except (Exception, SystemExit) as error:
            raise failure_of(error, self._name) from error
        if len(trial.suggestions) < len(path):
            raise self._contradiction(path[len(trial.suggestions)][0])
        return built

    def fail(self, path: Path, error: BuilderError) -> None:
        """Note that the network of a known setting cannot be read."""
        node = self._root
        for _, _, value in path:
            assert isinstance(node, _Node)
            following = node.branches[literal(value)]
            if isinstance(following, _Leaf):
                following.error = error
                return
            node = following

    def _ran(self, taken: Sequence[Suggestion], answer: Answer) -> tuple[Path, Any]:
        """Run the builder, with the answers that were given up to the end of the known tree."""
        known = {name: value for name, _, value in taken}
        # Errors of the answers, such as of a study's storage, are none of the builder's.
        raised: list[Exception] = []

        def replayed(name: str, domain: BaseDistribution) -> Any:
            self._check(name, domain)
            if name not in known:
                try:
                    return answer(name, domain)
                except Exception as error:
                    raised.append(error)
                    raise
            if not contains(domain, known[name]):
                raise self._contradiction(name)
            return known[name]

        trial = RecordingTrial(replayed)
        built: Any = None
        failure: BuilderError | None = None
        # Without a lock: an answer may wait for another thread, which may be here, too.
        try:
            built = self._run(trial)
        except (Exception, SystemExit) as error:
            if error in raised or isinstance(error, UnclearBuilderError):
                raise
            is_told = isinstance(error, BuilderError)
            failure = error if is_told else failure_of(error, self._name)  # type: ignore[assignment]
        path = tuple(trial.suggestions)
        asked = [name for name, _, _ in path[: len(taken)]]
        if failure is None and asked != [name for name, _, _ in taken]:
            raise self._contradiction(next((n for n in known if n not in asked), asked[0]))
        self.add(path, failure)
        if failure is not None:
            raise failure
        return path, built

    def _check(self, name: str, domain: BaseDistribution) -> None:
        earlier = self._domains.get(name)
        if earlier is not None and united(earlier, domain) is None:
            place = user_place()
            kind = "choices" if isinstance(domain, CategoricalDistribution) else "a kind"
            raise UnclearBuilderError(
                f"{self._name}{f' ({place})' if place else ''} offers {kind} for the parameter "
                f"{name!r} that differ between runs; Optuna keeps one set for each name, so give "
                "the parameter another name where it differs"
            )

    def _contradiction(self, name: str) -> InputError:
        return UnclearBuilderError(
            f"{self._name} suggests {name!r} in one run and not in another with equal values; it "
            "must depend on the trial's suggestions alone"
        )

    def add(self, path: Path, error: BuilderError | None = None) -> None:
        """Add a finished run."""
        with self._lock:
            leaf = _Leaf(error)
            for name, domain, _ in path:
                earlier = self._domains.setdefault(name, domain)
                self._domains[name] = united(earlier, domain) or earlier
            if not path:
                self._root = leaf
                return
            if not isinstance(self._root, _Node):
                self._root = _Node(path[0][0], path[0][1])
            node = self._root
            for k, (name, domain, value) in enumerate(path):
                if node.name != name or node.domain != domain:
                    raise self._contradiction(name)
                following: _Node | _Leaf | None = node.branches.get(literal(value))
                if following is None:
                    is_last = k + 1 == len(path)
                    following = leaf if is_last else _Node(path[k + 1][0], path[k + 1][1])
                    node.branches[literal(value)] = following
                if isinstance(following, _Leaf):
                    return
                node = following

    def explore(self) -> None:
        """Find the parameters: draw a few settings, then change one value of a setting at a time.

        Raises:
            InputError: If no setting can be built, or none has a parameter.
        """
        errors: list[BuilderError] = []
        rng = np.random.default_rng(0)
        waiting: list[tuple[str, dict[str, Any]]] = []
        runs = 0
        succeeded: set[tuple[tuple[str, Any], ...]] = set()

        def try_setting(answer: Answer) -> None:
            nonlocal runs
            runs += 1
            try:
                path, _ = self.path(answer)
            except UnclearBuilderError:
                raise
            except BuilderError as error:
                errors.append(error)
                return
            values = {name: value for name, _, value in path}
            succeeded.add(tuple(values.items()))
            new = [name for name in values if name not in seen]
            seen.update(new)
            waiting.extend((name, values) for name in new)

        seen: set[str] = set()
        try_setting(lambda _, domain: spread(domain, 2)[0])
        for _ in range(RANDOM_RUNS):
            try_setting(lambda _, domain: draw(domain, rng))
        while waiting and runs < MOST_RUNS:
            name, values = waiting.pop(0)
            for value in spread(self._domains[name], TRIED_VALUES):
                try_setting(partial(_changed, {**values, name: value}))
        if len(errors) == runs:
            raise errors[0]
        if not self._domains:
            raise InputError(
                f"{self._name} suggests nothing; a space needs a parameter, such as "
                'trial.suggest_int("width", 16, 96, step=8)'
            )
        # A setting that is tried again fails with the error of its first run.
        failed = list(dict.fromkeys(errors))
        failures = [error for error in failed if not error.is_refusal]
        if failures:
            tried = len(failed) + len(succeeded)
            warnings.warn(
                f"{len(failures)} of {tried} settings that were tried cannot be built and are left "
                f"out, the first one by {failures[0]}",
                stacklevel=4,
            )

    def estimate(self, offered: Offered, draws: int = 64) -> float:
        """Estimated number of settings: the mean over random walks of the product of branches.

        Knuth, "Estimating the efficiency of backtrack programs", 1975.

        Args:
            offered: Gives the part of a domain that the space has.
            draws: Number of walks.
        """
        rng = np.random.default_rng(1)
        products = []
        for _ in range(draws):
            product = 1.0

            def answer(name: str, domain: BaseDistribution) -> Any:
                nonlocal product
                part = offered(name, domain)
                product *= size(part)
                return draw(part, rng)

            try:
                self.path(answer)
            except InputError:
                continue
            products.append(product)
        return float(np.mean(products)) if products else 0.0

    def all_paths(self, offered: Offered, most: int) -> list[Path] | None:
        """All settings that can be built, in the order of their values; None if more than `most`.

        Args:
            offered: Gives the part of a domain that the space has.
            most: Most settings to try.
        """
        paths: list[Path] = []
        # Position of each value; of those that can be raised, the last one is raised next.
        positions: list[int] = []
        for _ in range(most):
            sizes: list[int] = []
            try:
                paths.append(self.path(partial(_answer_at, positions, sizes, offered, most))[0])
            except _TooManyError:
                return None
            except BuilderError:
                pass
            positions += [0] * (len(sizes) - len(positions))
            while positions and positions[-1] + 1 >= sizes[len(positions) - 1]:
                positions.pop()
            if not positions:
                return paths
            positions[-1] += 1
        return None


class _TooManyError(InputError):
    """Raised where a parameter alone has more values than a list may have."""


def _answer_at(
    positions: Sequence[int],
    sizes: list[int],
    offered: Offered,
    most: int,
    name: str,
    domain: BaseDistribution,
) -> Any:
    """The value at a position of what is offered; the number of values is appended to `sizes`."""
    part = offered(name, domain)
    if size(part) > most:
        raise _TooManyError(f"parameter {name!r} has more than {most:,} values")
    values = spread(part, most)
    sizes.append(len(values))
    return values[positions[len(sizes) - 1] if len(sizes) <= len(positions) else 0]


def _changed(values: dict[str, Any], name: str, domain: BaseDistribution) -> Any:
    """The value of a setting where it has one, else the first one."""
    return nearest(domain, values[name]) if name in values else spread(domain, 2)[0]
