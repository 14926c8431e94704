"""Architecture, and the SearchSpace protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    import onnx
    from optuna.distributions import BaseDistribution

__all__ = ["Architecture", "FiniteSpace", "SearchSpace", "checked_choices", "choice_of"]

# A part of a space is a space, whose file imports this one.
_later = loader(__name__, {"part_of": "nasplug.search_spaces.parts"})


@dataclass(frozen=True)
class Architecture:
    """Immutable member of a space.

    Attributes:
        space: Name of its space, such as `"nb201"`.
        text: The form that `SearchSpace.parse` reads; for a benchmark its own string.
        arch_id: Canonical id: equal for architectures that the space counts as one.
        key: The space's own encoding.

    Example:
        >>> import nasplug
        >>> arch = nasplug.space("macro").parse("02012100")
        >>> arch.space, arch.text
        ('macro', '02012100')
    """

    space: str
    text: str
    arch_id: str
    key: Hashable = field(repr=False)

    def __str__(self) -> str:
        return self.text


class SearchSpace(ABC):
    """A set of architectures, without state: a random generator is always an argument.

    Every method may be called at any time, from several threads and processes, and gives equal
    results for equal arguments (`sample` and `mutate` for equal states of the generator too). A
    method that takes an architecture refuses one that is no member, as `validate` does.
    `nasplug.testing.check_space` checks a space of your own.

    A search calls the methods in this order:

    1. `tasks`, to check the image set, and `distributions`, for the parameters of the study.
    2. `sample`, and with what it has found `neighbors` or `mutate`, for candidates of a space that
       cannot be listed; `FiniteSpace.__iter__` (or the arrays of a `CodedSpace`) for others.
    3. `to_graphs` and `normal_form`, for what a predictor of cells reads; `to_network`, if
       `has_networks`, for one of whole networks. Graphs are made of members alone.
    4. `to_params`, the inverse of `from_params`, for each proposed candidate: the parameters of a
       trial.
    5. `from_params`, for each trial, with values of `distributions`. It should read the values of
       those parameters alone that count: a trial fixes a parameter when it is first read.
    6. `parse`, for texts of users and of stored results; `to_onnx`, if `writes_onnx`, when networks
       are exported or measured; `to_code`, if `writes_code`, when they are exported as code.

    Attributes:
        name: Name of the space.
        whole_networks: Whether graphs are complete networks of ONNX operators (see `operators`), as
            predictors of whole networks read them.
        deployed: Whether its networks are files for an inference runtime, not code of a framework.
        writes_onnx: Whether `to_onnx` gives a network that can be run.
        writes_code: Whether `to_code` gives a network that can be trained.
        quality: Quantity by which a trained network is judged: `"accuracy"`, or `"perplexity"`.

    Example:
        >>> import numpy as np
        >>> import nasplug
        >>> space = nasplug.space("fbnet")
        >>> arch = space.sample(np.random.default_rng(0))
        >>> space.from_params(space.to_params(arch)) == space.parse(arch.text) == arch
        True
        >>> space.mutate(arch, np.random.default_rng(0)) in space.neighbors(arch)
        True
    """

    name: str
    whole_networks: bool = False
    deployed: bool = False
    writes_onnx: bool = False
    writes_code: bool = False
    quality: str = "accuracy"

    @property
    def parts(self) -> Mapping[str, SearchSpace]:
        """The spaces that this space joins, by the names of their families; empty for most."""
        return {}

    @property
    def standards(self) -> Mapping[str, Architecture]:
        """The published architectures of this space, by name."""
        return {}

    @property
    def standard(self) -> Architecture | None:
        """The architecture of the default choices, if there is one."""
        return None

    def family_of(self, arch: Architecture) -> str:
        """The family that a network belongs to, in a space of families; else the space's name."""
        return self.name

    @abstractmethod
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's description of the parameters that `from_params` reads."""

    @abstractmethod
    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """The architecture of a trial's parameters.

        Raises:
            InputError: If a parameter is missing or has no such value.
        """

    @abstractmethod
    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """The parameters of an architecture; the inverse of `from_params`."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly over the parameters."""

    @abstractmethod
    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A copy with one decision changed to another value."""

    @abstractmethod
    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """All architectures that differ in one decision, in a fixed order."""

    @abstractmethod
    def validate(self, arch: Architecture) -> None:
        """Check that an architecture belongs to this space.

        Raises:
            InputError: If it does not.
        """

    @abstractmethod
    def parse(self, text: str) -> Architecture:
        """Read an architecture's text.

        Raises:
            InputError: If the text is not of this space's form.
        """

    @abstractmethod
    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """The graph that predictors read, with costs for the network of `task`.

        Args:
            arch: A member of this space.
            task: One of `tasks`; the first if it is left out.
        """

    def normal_form(self, graph: Graph) -> Graph:
        """The graph of the member that stands for all that are equal as functions of their weights.

        Predictors of properties of the function, such as accuracy, read this graph, so that equal
        functions get equal predictions. A space that does not know equal functions returns `graph`.

        Args:
            graph: A graph that `to_graph` made; any other graph is returned unchanged.
        """
        return graph

    def normal_graph(self, arch: Architecture) -> Graph:
        """The `normal_form` of an architecture's graph, for the first of `tasks`."""
        return self.normal_form(self.to_graph(arch))

    @property
    def has_networks(self) -> bool:
        """Whether `to_network` gives the complete network of an architecture."""
        return self.whole_networks

    def to_network(self, arch: Architecture, task: str | None = None) -> Graph:
        """The complete network of ONNX operators, as predictors of whole networks read it.

        Args:
            arch: A member of this space.
            task: One of `tasks`; the first if it is left out.

        Raises:
            InputError: If the space has graphs of cells alone.
        """
        if not self.whole_networks:
            raise InputError(f"space {self.name} has cells only and cannot expand them to networks")
        return self.to_graph(arch, task)

    def to_onnx(
        self, arch: Architecture, seed: int = 0, batch_size: int = 1, task: str | None = None
    ) -> onnx.ModelProto:
        """Write the network with random weights, to be run and timed.

        Args:
            arch: A member of this space.
            seed: Seed of the weights.
            batch_size: Images a forward pass.
            task: One of `tasks`; the first if it is left out.

        Raises:
            InputError: If the space does not write its networks, or the weights exceed ONNX's limit
                of 2 GB.
        """
        raise InputError(f"space {self.name} cannot write its networks as ONNX models")

    def to_code(self, arch: Architecture, task: str | None = None) -> str:
        """Write the code of the network, to be trained: a Python file that needs PyTorch alone.

        It defines a subclass `Network` of `torch.nn.Module` with an argument `num_classes`, and the
        constants `IMAGE`, the shape of an image, and `CLASSES`. For a language model the argument
        is `vocabulary`, and the constants `LENGTH`, the tokens of a sequence, and `VOCABULARY`.

        Args:
            arch: A member of this space.
            task: One of `tasks`; the first if it is left out.

        Raises:
            InputError: If the space does not write code.

        Example:
            >>> import nasplug
            >>> space = nasplug.space("macro")
            >>> code = space.to_code(space.parse("02012100"))
            >>> "class Network(nn.Module):" in code
            True
        """
        raise InputError(
            f"space {self.name} writes no code of its networks; a function that builds them is "
            "itself the code"
        )

    @property
    @abstractmethod
    def tasks(self) -> tuple[str, ...]:
        """The data sets whose networks the space knows, such as `("cifar10", "cifar100")`."""

    def to_graphs(self, archs: Sequence[Architecture], task: str | None = None) -> list[Graph]:
        """Graphs of several architectures, in their order; see `to_graph`."""
        return [self.to_graph(arch, task) for arch in archs]

    def summands(
        self, archs: Sequence[Architecture], task: str | None = None
    ) -> tuple[list[Graph], NDArray[np.float64]] | None:
        """Find a few graphs of whose totals those of whole networks are sums.

        Totals are numbers of operators, costs, and the length of the longest path. No operator of
        such networks is idle.

        Returns:
            The graphs, and how often each of them counts in an architecture, also less than never,
            `(archs, graphs)`; None if the space knows none.
        """
        return None

    def fix(self, **values: Any) -> SearchSpace:
        """The part of the space in which parameters have one value each.

        Raises:
            InputError: If there is no such parameter or value.

        Example:
            >>> import nasplug
            >>> part = nasplug.space("nb201").fix(op_0_1="none", op_0_2="skip_connect")
            >>> len(part), part.distributions()["op_0_1"].single()
            (625, True)
        """
        return self.restrict(**{name: (value,) for name, value in values.items()})

    def restrict(self, **choices: Sequence[Any]) -> SearchSpace:
        """The part of the space in which parameters have some of their values alone.

        Args:
            **choices: Values by the name of their parameter, such as `width=(32, 64)`.

        Raises:
            InputError: If there is no such parameter or value, or no value is left.

        Example:
            >>> import nasplug
            >>> len(nasplug.space("nb201").restrict(op_0_1=("none", "skip_connect")))
            6250
        """
        part: SearchSpace = _later("part_of")(
            self, checked_choices(self.name, self.distributions(), choices)
        )
        return part


class FiniteSpace(SearchSpace):
    """A space that can be listed, in a fixed order.

    Example:
        >>> import nasplug
        >>> space = nasplug.space("macro")
        >>> len(space), next(iter(space)).text, space.index(space.parse("00000002"))
        (6561, '00000000', 2)
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __iter__(self) -> Iterator[Architecture]: ...

    def __getitem__(self, index: int) -> Architecture:
        """The member at a position of the space's order, from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has members 0 to {len(self) - 1}")
        return next(islice(self, index, None))

    @abstractmethod
    def index(self, arch: Architecture) -> int:
        """Position of an architecture in the space's order."""


def choice_of(params: Mapping[str, Any], name: str, choices: Sequence[Any], space: str) -> Any:
    """The value of a trial's parameter.

    Raises:
        InputError: If it is missing, or none of the choices.
    """
    if name not in params:
        raise InputError(f"parameter {name!r} is missing; {space} needs one of {choices} for it")
    if params[name] not in choices:
        raise InputError(f"parameter {name!r} is {params[name]!r}, not one of {choices}")
    return params[name]


def checked_choices(
    space: str, distributions: Mapping[str, BaseDistribution], choices: Mapping[str, Sequence[Any]]
) -> dict[str, tuple[Any, ...]]:
    """Check the values that are left of some parameters of a space.

    Raises:
        InputError: If one names no parameter, or a value that it does not have.
    """
    # It loads Optuna, which a space itself need not.
    from nasplug.search_spaces.domains import contains

    checked = {}
    for name, values in choices.items():
        if name not in distributions:
            raise InputError(
                f"{space} has no parameter {name!r}; it has {closest(name, distributions)}"
            )
        if isinstance(values, str) or not isinstance(values, (Sequence, range, set)):
            raise InputError(f"the values of {name!r} are {values!r}; give a list of them")
        domain = distributions[name]
        for value in values:
            if not contains(domain, value):
                raise InputError(f"{value!r} is no value of {name!r}, which has {domain}")
        if not values:
            raise InputError(f"no value of {name!r} is left; it has {domain}")
        checked[name] = tuple(dict.fromkeys(values))
    return checked
