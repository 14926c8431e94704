"""Spaces of those members of a larger one that were measured."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from nasplug.search_spaces import (
    Architecture,
    CodedSpace,
    FiniteSpace,
    Graph,
    InputError,
    SearchSpace,
)
from nasplug.search_spaces.nb101.space import NB101
from nasplug.search_spaces.networks.gpt import GPTSpace

__all__ = ["Measured", "MeasuredCells", "MeasuredModels"]


class Measured(FiniteSpace):
    """The members of a larger space that were measured.

    Choices that nobody measured stand for the member that differs from them in the fewest
    decisions, the first of such; so samplers of parameters can search the list too (`in_study`
    gives them the nearest that was not tried).

    Args:
        whole: The larger space.
        archs: The members, each once.
    """

    def __init__(self, whole: SearchSpace, archs: Sequence[Architecture]) -> None:
        self.name, self.whole_networks = whole.name, whole.whole_networks
        self._whole, self._archs = whole, list(archs)
        self._place = {arch.text: k for k, arch in enumerate(self._archs)}
        self._domains = whole.distributions()
        self._names = list(self._domains)
        self._params = [whole.to_params(arch) for arch in self._archs]
        self._digits = np.array([self._numbers(params) for params in self._params])

    def _numbers(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        """Decisions as numbers; only whether two are equal counts."""
        return np.array([d.to_internal_repr(params[n]) for n, d in self._domains.items()])

    def __len__(self) -> int:
        return len(self._archs)

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._archs)

    def index(self, arch: Architecture) -> int:
        """Position in the list."""
        return self._place[arch.text]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions of the larger space."""
        return self._whole.distributions()

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """The member nearest to these choices."""
        return self.nearest(params, ())

    def nearest(self, params: Mapping[str, Any], tried: Collection[int]) -> Architecture:
        """The member nearest to these choices, but for those at some positions."""
        missing = [name for name in self._names if name not in params]
        if missing:
            raise InputError(f"parameter {missing[0]!r} is missing")
        distances = self._distances(self._numbers(params)).astype(np.float64)
        distances[list(tried)] = np.inf
        return self._archs[int(distances.argmin())]

    def _distances(self, digits: NDArray[np.float64]) -> NDArray[Any]:
        """Decisions of each member that differ, `(members,)`."""
        return np.asarray((self._digits != digits).sum(axis=1))

    def _order(self, digits: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.argsort(self._distances(digits), kind="stable")

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """The choices of a member."""
        return self._params[self.index(arch)]

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A member, uniformly."""
        return self._archs[int(rng.integers(len(self._archs)))]

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A random one of the ten nearest other members."""
        return self.neighbors(arch)[int(rng.integers(10))]

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """The ten nearest other members."""
        position = self.index(arch)
        order = self._order(self._digits[position])[:11]
        return [self._archs[k] for k in order if k != position][:10]

    def validate(self, arch: Architecture) -> None:
        """Check that it is a member."""
        if arch.text not in self._place:
            raise InputError(f"{arch.text} was not measured")

    def parse(self, text: str) -> Architecture:
        """A member's text."""
        arch = self._whole.parse(text)
        self.validate(arch)
        return arch

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """Graph of a member."""
        return self._whole.to_graph(arch, task)

    def summands(
        self, archs: Sequence[Architecture], task: str | None = None
    ) -> tuple[list[Graph], NDArray[np.float64]] | None:
        """Graphs and their numbers in the larger space."""
        return self._whole.summands(archs, task)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of the larger space."""
        return self._whole.tasks


class MeasuredCells(Measured, CodedSpace):
    """The cells of NAS-Bench-101 that were measured.

    Args:
        archs: The cells, each once, by ascending code.
    """

    def __init__(self, archs: Sequence[Architecture]) -> None:
        super().__init__(NB101(), archs)
        self._codes = np.array([arch.key for arch in archs], np.uint32)
        assert isinstance(self._whole, NB101)
        self._cells = self._whole

    @property
    def codes(self) -> NDArray[np.uint32]:
        """Code of each member, `(members,)`."""
        return self._codes

    def __getitem__(self, index: int) -> Architecture:
        """The member at a position."""
        return self._archs[index]

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """Members at one change of the cell; the ten nearest by decisions if there are none."""
        near = [other for other in self._cells.neighbors(arch) if other.text in self._place]
        return near or super().neighbors(arch)

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a neighbor."""
        near = self.neighbors(arch)
        return near[int(rng.integers(len(near)))]

    def totals(self, codes: NDArray[np.uint32] | None = None) -> dict[str, NDArray[np.float64]]:
        """FLOPs, parameters and bytes of members."""
        return self._cells.totals(self._codes if codes is None else codes)

    def counts(self, codes: NDArray[np.uint32] | None = None) -> NDArray[np.uint8]:
        """Counts of small pieces in members."""
        return self._cells.counts(self._codes if codes is None else codes)


class MeasuredModels(Measured):
    """The language models that were measured.

    Of thousands of networks none agrees with a proposal in most decisions, and an embedding counts
    for more than the heads of a layer. So the nearest ones are those that differ in the fewest
    decisions about the whole network, and among them those that are the fewest steps away in the
    heads and MLPs of the layers that the proposal has.

    Args:
        whole: The space of their scale.
        archs: The members, each once.

    Attributes:
        decisions: Decisions of the scale.
    """

    def __init__(self, whole: GPTSpace, archs: Sequence[Architecture]) -> None:
        self.decisions = whole.family.decisions
        names = [decision.name for decision in self.decisions]
        # The layer of a decision; 0 for one about the whole network.
        self._layers = np.array([int(name.partition("_")[2] or 0) for name in names])
        self._depths, self._depth = whole.choices.layers, names.index("layers")
        super().__init__(whole, archs)

    def _numbers(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        """Positions of the choices."""
        chosen = [decision.choices.index(params[decision.name]) for decision in self.decisions]
        return np.array(chosen, np.float64)

    def _distances(self, digits: NDArray[np.float64]) -> NDArray[Any]:
        """Steps in layers, and more than these can be for each other decision that differs."""
        depth = self._depths[int(digits[self._depth])]
        inner = (self._layers > 0) & (self._layers <= depth)
        steps = np.abs(self._digits[:, inner] - digits[inner]).sum(axis=1)
        whole = self._layers == 0
        differing = (self._digits[:, whole] != digits[whole]).sum(axis=1)
        return np.asarray(steps + differing * self._digits.size)
