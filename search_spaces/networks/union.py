"""The union of several families as one search space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.networks.network_space import NetworkSpace
from nasplug.search_spaces.space import Architecture, SearchSpace

if TYPE_CHECKING:
    import onnx
    from optuna.distributions import BaseDistribution

__all__ = ["NetworkUnion"]

# The parameter that names the family.
FAMILY = "family"
_TEXT_SHOWN = 200


class NetworkUnion(SearchSpace):
    """Networks of several families: the first decision is the family.

    Parameters of a family are prefixed with its name and a dot; parameters of other families do not
    count. An architecture's text is the family's text after its name and a colon.

    Args:
        name: Name of the space.
        spaces: The families' spaces, by the families' names.
    """

    whole_networks = True
    writes_onnx = True
    writes_code = True

    def __init__(self, name: str, spaces: Sequence[NetworkSpace]) -> None:
        self.name = name
        self.spaces = {space.family.name: space for space in spaces}

    @property
    def tasks(self) -> tuple[str, ...]:
        """A single name, which stands for every family's own first image set."""
        return ("default",)

    @property
    def parts(self) -> dict[str, NetworkSpace]:
        """The families' spaces, by the families' names."""
        return self.spaces

    def family_of(self, arch: Architecture) -> str:
        """The name of the family of a network."""
        return self.unwrap(arch)[0].family.name

    def _wrap(self, inner: Architecture) -> Architecture:
        family = inner.arch_id.rpartition("-")[0]
        bare = inner.text.removeprefix(f"{family}:")
        return Architecture(self.name, f"{family}:{bare}", inner.arch_id, (family, inner))

    def unwrap(self, arch: Architecture) -> tuple[NetworkSpace, Architecture]:
        """Split a union's architecture: the family's space, and the architecture of that space.

        Raises:
            InputError: If the architecture does not belong to this space.
        """
        key = arch.key
        if (
            arch.space != self.name
            or not isinstance(key, tuple)
            or len(key) != 2
            or key[0] not in self.spaces
            or not isinstance(key[1], Architecture)
        ):
            raise InputError(
                f"{arch.text[:_TEXT_SHOWN]!r} of space {arch.space!r} is not an architecture of "
                f"{self.name}"
            )
        return self.spaces[key[0]], key[1]

    def distributions(self) -> dict[str, BaseDistribution]:
        """`family`, and every parameter of every family."""
        from optuna.distributions import CategoricalDistribution

        distributions: dict[str, BaseDistribution] = {
            FAMILY: CategoricalDistribution(tuple(self.spaces))
        }
        for family, space in self.spaces.items():
            distributions.update({f"{family}.{n}": d for n, d in space.distributions().items()})
        return distributions

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """Make the network of these choices; parameters of other families may be left out."""
        if FAMILY not in params:
            families = ", ".join(self.spaces)
            raise InputError(
                f"parameter {FAMILY!r} is missing; {self.name} needs one of {families}"
            )
        space = self._space(params[FAMILY])
        prefix = f"{space.family.name}."
        family_params = {n.removeprefix(prefix): params[n] for n in params if n.startswith(prefix)}
        return self._wrap(space.from_params(family_params))

    def _space(self, family: Any) -> NetworkSpace:
        if family not in self.spaces:
            near = closest(str(family), self.spaces)
            raise InputError(f"unknown family {family!r}; known: {near}")
        return self.spaces[family]

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """The family and all parameters; those of other families have their defaults."""
        family_space, inner = self.unwrap(arch)
        params: dict[str, Any] = {FAMILY: family_space.family.name}
        for family, space in self.spaces.items():
            values = space.to_params(inner) if space is family_space else space.family.defaults()
            params.update({f"{family}.{n}": v for n, v in values.items()})
        return params

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw a family, then a network of it, each uniformly."""
        family = list(self.spaces)[int(rng.integers(len(self.spaces)))]
        return self._wrap(self.spaces[family].sample(rng))

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Change one choice within the family; another family would change every choice."""
        space, inner = self.unwrap(arch)
        return self._wrap(space.mutate(inner, rng))

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """The neighbors within the family."""
        space, inner = self.unwrap(arch)
        return [self._wrap(neighbor) for neighbor in space.neighbors(inner)]

    def validate(self, arch: Architecture) -> None:
        """Check that `arch` is a network of one of the families."""
        space, inner = self.unwrap(arch)
        space.validate(inner)

    def parse(self, text: str) -> Architecture:
        """Read `family:…`, or the name of a standard network."""
        body = text.strip()
        for space in self.spaces.values():
            if body in space.standards:
                return self._wrap(space.standards[body])
        family, colon, family_text = body.partition(":")
        if not colon:
            raise InputError(
                f"{text[:_TEXT_SHOWN]!r} is not an architecture of {self.name}; write family:… "
                f"with a family of {', '.join(self.spaces)}, or the name of a standard network"
            )
        return self._wrap(self._space(family).parse(f"{family}:{family_text}"))

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """The whole network, one node an operator, for one image."""
        space, inner = self.unwrap(arch)
        self._check_task(task)
        return space.to_graph(inner)

    def to_onnx(
        self, arch: Architecture, seed: int = 0, batch_size: int = 1, task: str | None = None
    ) -> onnx.ModelProto:
        """The network with random weights; see `SearchSpace.to_onnx`."""
        space, inner = self.unwrap(arch)
        self._check_task(task)
        return space.to_onnx(inner, seed, batch_size)

    def to_code(self, arch: Architecture, task: str | None = None) -> str:
        """The code of the network; see `SearchSpace.to_code`."""
        space, inner = self.unwrap(arch)
        self._check_task(task)
        return space.to_code(inner)

    def _check_task(self, task: str | None) -> None:
        if task not in (None, *self.tasks):
            raise InputError(f"unknown image set {task!r}; known: {', '.join(self.tasks)}")
