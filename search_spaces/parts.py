"""Parts of a space: the members whose parameters have some of their values alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.space import Architecture, FiniteSpace, SearchSpace, choice_of

if TYPE_CHECKING:
    import onnx
    from optuna.distributions import BaseDistribution

__all__ = ["Part", "part_of"]

# Most members of a space of which a part is listed.
MOST_LISTED = 50_000
# Draws in succession without a member, after which a part counts as empty.
FRUITLESS = 1_000


def part_of(whole: SearchSpace, choices: Mapping[str, tuple[Any, ...]]) -> SearchSpace:
    """The part of a space in which parameters have some of their values; see `restrict`.

    Raises:
        InputError: If it has no member.
    """
    # The members of a space of hundreds of thousands are not listed to find some of them.
    is_listed = isinstance(whole, FiniteSpace) and len(whole) <= MOST_LISTED
    part = (FinitePart if is_listed else Part)(whole, choices)
    part.sample(np.random.default_rng(0))
    return part


class Part(SearchSpace):
    """The members of a space whose parameters have some values alone.

    Its architectures are those of the whole space, which makes them and their graphs. A parameter
    that does not count has its first value that is left.

    Attributes:
        whole: The whole space.
        choices: Name of a parameter to the values that are left.

    Example:
        >>> import nasplug
        >>> part = nasplug.space("nb201").fix(op_0_1="none")
        >>> part.choices, part.has("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
        ({'op_0_1': ('none',)}, True)
    """

    def __init__(self, whole: SearchSpace, choices: Mapping[str, tuple[Any, ...]]) -> None:
        self.whole, self.choices = whole, dict(choices)
        self.name, self.deployed = whole.name, whole.deployed
        self.quality = whole.quality
        self.whole_networks, self.writes_onnx = whole.whole_networks, whole.writes_onnx
        self.writes_code = whole.writes_code

    @property
    def tasks(self) -> tuple[str, ...]:
        """The image sets of the whole space."""
        return self.whole.tasks

    @property
    def has_networks(self) -> bool:
        """Whether the whole space has networks."""
        return self.whole.has_networks

    @property
    def standards(self) -> dict[str, Architecture]:
        """The published architectures of the part, by name."""
        return {n: arch for n, arch in self.whole.standards.items() if self._params(arch)}

    @property
    def standard(self) -> Architecture | None:
        """The architecture of the default choices, if it is in the part."""
        arch = self.whole.standard
        return arch if arch is not None and self._params(arch) else None

    def family_of(self, arch: Architecture) -> str:
        """The family of a network in the whole space."""
        return self.whole.family_of(arch)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Parameters of the whole space, with the values that are left of some."""
        from nasplug.search_spaces.domains import narrowed

        domains = self.whole.distributions()
        parts = {name: narrowed(domains[name], values) for name, values in self.choices.items()}
        return domains | {name: part for name, part in parts.items() if part is not None}

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """Make the architecture of a trial's parameters; those of one value may be left out."""
        return self.whole.from_params(_Narrowed(params, self.choices, self.name))

    def _params(self, arch: Architecture) -> dict[str, Any] | None:
        """Parameters of a member, or None for another architecture of the whole space."""
        params = self.whole.to_params(arch)
        outside = {n: v[0] for n, v in self.choices.items() if params[n] not in v}
        if not outside:
            return params
        # One that does not count may have any value.
        changed = {**params, **outside}
        return changed if self.whole.from_params(changed) == arch else None

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """The parameters of a member."""
        params = self._params(arch)
        if params is None:
            raise InputError(f"{arch.text[:200]!r} is not in the chosen part of {self.name}")
        return params

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture of the whole space, and then the values that are restricted."""
        for _ in range(FRUITLESS):
            params = self.whole.to_params(self.whole.sample(rng))
            drawn = {n: v[int(rng.integers(len(v)))] for n, v in self.choices.items()}
            arch = self.whole.from_params({**params, **drawn})
            if self._params(arch) is not None:
                return arch
        raise InputError(f"no architecture of {self.name} has the values that are left")

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a neighbor."""
        neighbors = self.neighbors(arch)
        return neighbors[int(rng.integers(len(neighbors)))] if neighbors else arch

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """Members that differ in one decision of the whole space, or in one parameter."""
        from nasplug.search_spaces.domains import values_of

        params = self.to_params(arch)
        near = {
            other.text: other
            for other in self.whole.neighbors(arch)
            if self._params(other) is not None
        }
        for name, domain in self.distributions().items():
            for value in values_of(domain):
                if value != params[name]:
                    other = self.whole.from_params({**params, name: value})
                    if other.text != arch.text and self._params(other) is not None:
                        near.setdefault(other.text, other)
        return list(near.values())

    def has(self, text: str) -> bool:
        """Whether an architecture of the whole space is in the part."""
        return self._params(self.whole.parse(text)) is not None

    def validate(self, arch: Architecture) -> None:
        """Check that an architecture is in the part."""
        self.to_params(arch)

    def parse(self, text: str) -> Architecture:
        """Read the text of a member."""
        arch = self.whole.parse(text)
        self.validate(arch)
        return arch

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """The graph of the whole space."""
        return self.whole.to_graph(arch, task)

    def to_graphs(self, archs: Sequence[Architecture], task: str | None = None) -> list[Graph]:
        """The graphs of the whole space."""
        return self.whole.to_graphs(archs, task)

    def summands(
        self, archs: Sequence[Architecture], task: str | None = None
    ) -> tuple[list[Graph], NDArray[np.float64]] | None:
        """Graphs and their numbers in the whole space; see `SearchSpace.summands`."""
        return self.whole.summands(archs, task)

    def normal_form(self, graph: Graph) -> Graph:
        """The normal form of the whole space, which may lie outside of the part."""
        return self.whole.normal_form(graph)

    def to_network(self, arch: Architecture, task: str | None = None) -> Graph:
        """The network of the whole space."""
        return self.whole.to_network(arch, task)

    def to_onnx(
        self, arch: Architecture, seed: int = 0, batch_size: int = 1, task: str | None = None
    ) -> onnx.ModelProto:
        """The network of the whole space with random weights."""
        return self.whole.to_onnx(arch, seed, batch_size, task)

    def to_code(self, arch: Architecture, task: str | None = None) -> str:
        """The code of the whole space."""
        return self.whole.to_code(arch, task)


class FinitePart(Part, FiniteSpace):
    """A part of a space that can be listed."""

    @cached_property
    def _members(self) -> dict[str, Architecture]:
        whole: Any = self.whole
        return {arch.text: arch for arch in whole if self._params(arch) is not None}

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {text: k for k, text in enumerate(self._members)}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._members.values())

    def index(self, arch: Architecture) -> int:
        """Position of a member in the order of the whole space."""
        self.validate(arch)
        return self._positions[arch.text]


class _Narrowed(Mapping[str, Any]):
    """Parameters of a trial in which some have few values; each is checked when it is read."""

    def __init__(
        self, params: Mapping[str, Any], choices: Mapping[str, tuple[Any, ...]], space: str
    ) -> None:
        self._params, self._choices, self._space = params, choices, space

    def __getitem__(self, name: str) -> Any:
        values = self._choices.get(name)
        if values is None:
            return self._params[name]
        if name not in self._params and len(values) == 1:
            return values[0]
        return choice_of(self._params, name, values, self._space)

    def __contains__(self, name: object) -> bool:
        return name in self._params or len(self._choices.get(str(name), ())) == 1

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._params, *self._choices]))

    def __len__(self) -> int:
        return len(list(iter(self)))
