"""The search space of a function that builds a model from a trial's suggestions."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution

from nasplug.search_spaces.builders.built_networks import TEXT_SHOWN, BuiltNetworks, text_of
from nasplug.search_spaces.builders.recording import (
    BuilderError,
    NarrowedTrial,
    UnclearBuilderError,
)
from nasplug.search_spaces.builders.tree import Answer, Path
from nasplug.search_spaces.domains import (
    contains,
    draw,
    literal,
    moves,
    narrowed,
    nearest,
    size,
    spread,
)
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.space import Architecture, FiniteSpace, SearchSpace, checked_choices

if TYPE_CHECKING:
    import onnx

__all__ = ["BuilderSpace", "FiniteBuilderSpace", "space_of"]

# Most settings of a space that is listed.
MOST_LISTED = 1_000
# Members that are built again, to see whether the builder depends on its parameters alone.
BUILT_AGAIN = 2
# Draws after which no setting counts as one that can be built.
FRUITLESS = 200
_NAME = re.compile(r"[^\w.-]+")
_SETTING = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^=,"]+?)\s*=\s*("(?:[^"\\]|\\.)*"|[^,"]*)\s*(,|$)')


def space_of(
    builder: Callable[[Any], Any], example: Any = None, name: str | None = None
) -> BuilderSpace:
    """Make the space of a builder; see `nasplug.space`."""
    if not callable(builder):
        raise InputError(
            f"{builder!r} is no function; give one that takes a trial and returns a model"
        )
    networks = BuiltNetworks(builder, example, name or _name_of(builder))
    networks.tree.explore()
    space = _opened(networks, {})
    # What is wrong with a network is better known now than in the middle of a study.
    rng = np.random.default_rng(0)
    for arch in dict.fromkeys(space.sample(rng) for _ in range(BUILT_AGAIN)):
        networks.check_repeatable(space.path(arch))
    return space


def _opened(networks: BuiltNetworks, choices: Mapping[str, Sequence[Any]]) -> BuilderSpace:
    """The space of some choices: one that is listed if it is small enough."""
    whole = BuilderSpace(networks, choices)
    count = networks.tree.estimate(whole.offered)
    if not count:
        raise InputError(f"{networks.name} builds no network with these values")
    if count <= 2 * MOST_LISTED:
        paths = networks.tree.all_paths(whole.offered, MOST_LISTED)
        if paths:
            return FiniteBuilderSpace(networks, choices)
    return whole


def _name_of(builder: Callable[[Any], Any]) -> str:
    """Name of a builder with that of its module; with a dot, so that no other space has it."""
    function: Any = builder
    while hasattr(function, "func"):
        function = function.func
    module = str(getattr(function, "__module__", None) or "")
    if module == "__main__":
        import __main__

        module = os.path.basename(getattr(__main__, "__file__", "") or "main")
    name = getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]
    return _NAME.sub("-", f"{module.removesuffix('.py').rpartition('.')[2] or 'my'}.{name}")


class BuilderSpace(SearchSpace):
    """All networks that a builder returns.

    The text of an architecture is `name=value,name=value,…` with the parameters that the builder
    asked for. Its `arch_id` comes from the network: settings that build the same network are one
    architecture. Parameters are found by running the builder; one that appears under rare choices
    alone may be found later, and joins `distributions` then.

    `nasplug.space(build, example=…)` makes such a space.
    """

    whole_networks = True
    writes_onnx = True

    def __init__(self, networks: BuiltNetworks, choices: Mapping[str, Sequence[Any]]) -> None:
        self._networks, self._choices = networks, dict(choices)
        self.name = networks.name

    @property
    def tasks(self) -> tuple[str, ...]:
        """The shape of the networks' input."""
        return (self._networks.task,)

    @property
    def builder(self) -> Callable[[Any], Any]:
        """The user's function."""
        return self._networks.function

    @property
    def example(self) -> Any:
        """The input of its networks."""
        return self._networks.example

    def model(self, trial: Any) -> Any:
        """Build the model of a trial, as the builder does, from this space's parameters.

        Args:
            trial: A trial of a study, a finished one, or an `optuna.trial.FixedTrial`.

        Example:
            >>> import optuna, torch, nasplug
            >>> def build(trial):
            ...     return torch.nn.Linear(8, trial.suggest_int("width", 4, 64))
            >>> space = nasplug.space(build, example=torch.zeros(1, 8))
            >>> space.model(optuna.trial.FixedTrial({"width": 16}))
            Linear(in_features=8, out_features=16, bias=True)
        """
        offered = NarrowedTrial(trial, self.offered) if self._choices else trial
        return self._networks.function(offered)

    def restrict(self, **choices: Sequence[Any]) -> BuilderSpace:
        """The part of the space in which parameters have some of their values alone."""
        domains = self.distributions()
        checked = checked_choices(self.name, domains, choices)
        return _opened(self._networks, {**self._choices, **checked})

    def offered(self, name: str, domain: BaseDistribution) -> BaseDistribution:
        """The part of a parameter's values that this space has.

        Raises:
            InputError: If it has none of them.
        """
        if name not in self._choices:
            return domain
        part = narrowed(domain, self._choices[name])
        if part is None:
            values = ", ".join(map(literal, self._choices[name]))
            raise BuilderError(f"{self.name} offers none of the values {values} for {name!r} here")
        return part

    def distributions(self) -> dict[str, BaseDistribution]:
        """All parameters that were found; a trial has those that its choices lead to."""
        domains = self._networks.tree.domains
        return {name: self.offered(name, domain) for name, domain in domains.items()}

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """Make the architecture of a setting; parameters that do not count may be left out.

        A number that the builder does not offer under these choices stands for the nearest one.
        """

        def answer(name: str, domain: BaseDistribution) -> Any:
            part = self.offered(name, domain)
            if name not in params:
                if name in self._choices and size(part) == 1:
                    return spread(part, 1)[0]
                raise InputError(
                    f"parameter {name!r} is missing; {self.name} needs a value of {part}"
                )
            value = params[name]
            every = self._networks.tree.domains.get(name, domain)
            if not contains(part, value) and not contains(self.offered(name, every), value):
                raise InputError(f"parameter {name!r} is {value!r}, not a value of {part}")
            return nearest(part, value)

        return self._architecture(answer)

    def _architecture(self, answer: Answer) -> Architecture:
        path, built = self._networks.tree.path(answer)
        digest = self._networks.digest(path, built)
        key = tuple([(name, value) for name, _, value in path])
        return Architecture(self.name, text_of(path), f"{self.name}-{digest[:16]}", key)

    def path(self, arch: Architecture) -> Path:
        """The suggestions of a member.

        Raises:
            InputError: If it is none.
        """
        key: Any = arch.key
        is_own = arch.space == self.name and isinstance(key, tuple) and bool(key)
        if is_own and all(isinstance(pair, tuple) and len(pair) == 2 for pair in key):
            values = dict(key)
            try:
                path, built = self._networks.tree.path(
                    lambda name, domain: self._member_value(values, name, domain)
                )
            except (LookupError, InputError):
                path, built = (), None
            if text_of(path) == arch.text and arch.text:
                self._networks.digest(path, built)
                return path
        raise InputError(
            f"{arch.text[:TEXT_SHOWN]!r} of space {arch.space!r} is not an architecture of "
            f"{self.name}"
        )

    def _member_value(self, values: Mapping[Any, Any], name: str, domain: BaseDistribution) -> Any:
        if not contains(self.offered(name, domain), values[name]):
            raise LookupError(name)
        return values[name]

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """The value of every parameter; those that do not count have their first one."""
        values = {name: value for name, _, value in self.path(arch)}
        return {
            name: values[name] if name in values else spread(domain, 2)[0]
            for name, domain in self.distributions().items()
        }

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw each parameter uniformly, in the order in which the builder asks."""
        for _ in range(FRUITLESS):
            try:
                return self._architecture(lambda n, d: draw(self.offered(n, d), rng))
            except UnclearBuilderError:
                raise
            except BuilderError as error:
                last = error
        raise last

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Change one parameter that counts; what it leads to has the first of its values."""
        params, path = self.to_params(arch), self.path(arch)
        free = [suggestion for suggestion in path if size(self.offered(*suggestion[:2])) > 1]
        for _ in range(FRUITLESS if free else 0):
            name, domain, value = free[int(rng.integers(len(free)))]
            others = moves(self.offered(name, domain), value)
            other = others[int(rng.integers(len(others)))]
            mutant = self._changed(params, name, other)
            if mutant is not None and mutant.text != arch.text:
                return mutant
        neighbors = self.neighbors(arch)
        if not neighbors:
            return arch
        return neighbors[int(rng.integers(len(neighbors)))]

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """All architectures with another value of one parameter that counts."""
        params = self.to_params(arch)
        others: dict[str, Architecture] = {}
        for name, domain, value in self.path(arch):
            for other in moves(self.offered(name, domain), value):
                neighbor = self._changed(params, name, other)
                if neighbor is not None and neighbor.text != arch.text:
                    others.setdefault(neighbor.text, neighbor)
        return list(others.values())

    def _changed(self, params: Mapping[str, Any], name: str, value: Any) -> Architecture | None:
        """The architecture with another value; None if it cannot be built."""
        try:
            return self.from_params({**params, name: value})
        except BuilderError:
            return None

    def validate(self, arch: Architecture) -> None:
        """Check that the builder makes this architecture, with the values of this space."""
        self.path(arch)

    def parse(self, text: str) -> Architecture:
        """Read `name=value,name=value,…`."""
        tokens: dict[str, str] = {}
        position, body = 0, text.strip()
        while position < len(body):
            match = _SETTING.match(body, position)
            if match is None or match[1] in tokens:
                break
            tokens[match[1]] = match[2].strip()
            position = match.end()
        known = {literal(name): name for name in self.distributions()}
        if position < len(body) or not tokens or not tokens.keys() <= known.keys():
            raise InputError(
                f"{text[:TEXT_SHOWN]!r} is not an architecture of {self.name}; write "
                "name=value,name=value,… with its parameters, such as "
                f"{', '.join(list(known)[:8])}"
            )
        values = {known[name]: _read(token) for name, token in tokens.items()}
        arch = self.from_params(values)
        key: Any = arch.key
        if len(key) != len(values):
            extra = next(name for name in values if name not in dict(key))
            raise InputError(
                f"{self.name} does not ask for {extra!r} with these choices; leave it out"
            )
        return arch

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """The whole network, one node an operator, for one image."""
        self._check_task(task)
        return self._networks.graph(self.path(arch))

    def to_onnx(
        self, arch: Architecture, seed: int = 0, batch_size: int = 1, task: str | None = None
    ) -> onnx.ModelProto:
        """The network with the weights that the builder makes; see `SearchSpace.to_onnx`.

        PyTorch's random generators are left as they were. An ONNX model of the builder's keeps its
        weights.
        """
        self._check_task(task)
        return self._networks.onnx_model(self.path(arch), seed, batch_size)

    def _check_task(self, task: str | None) -> None:
        if task not in (None, *self.tasks):
            raise InputError(f"unknown image set {task!r}; {self.name} has {self.tasks[0]}")

    def to_graphs(self, archs: Sequence[Architecture], task: str | None = None) -> list[Graph]:
        """Graphs of several architectures, which are kept on disk from then on."""
        graphs = [self.to_graph(arch, task) for arch in archs]
        self._networks.save()
        return graphs


class FiniteBuilderSpace(BuilderSpace, FiniteSpace):
    """A builder's space that is small enough to be listed."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_networks": self._networks, "_choices": self._choices, "name": self.name}

    @cached_property
    def _members(self) -> list[Architecture]:
        paths = self._networks.tree.all_paths(self.offered, MOST_LISTED) or []
        members = []
        for path in paths:
            values = {name: value for name, _, value in path}
            try:
                members.append(self.from_params(values))
            except BuilderError:
                continue  # its network cannot be read
        return members

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {arch.text: k for k, arch in enumerate(self._members)}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._members)

    def index(self, arch: Architecture) -> int:
        """Position of an architecture in the order of the values."""
        self.path(arch)
        return self._positions[arch.text]


def _read(token: str) -> Any:
    """Value of a text that `literal` wrote."""
    try:
        return json.loads(token)
    except (ValueError, RecursionError):
        return token
