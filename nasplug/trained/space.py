"""Space `timm`: networks of the package timm with trained weights.

A member is a name that `timm.create_model(name, pretrained=True)` takes, and the size of its images
(`resnet50.a1_in1k@224`). The accuracies are those that timm's author measured; the graphs were read
from timm's modules once, and come with the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.datasets.trained_networks import shipped_trained_networks
from nasplug.search_spaces import Architecture, FiniteSpace, Graph, InputError
from nasplug.search_spaces.errors import closest
from nasplug.search_spaces.space import choice_of

if TYPE_CHECKING:
    import onnx

__all__ = ["TimmSpace", "timm"]

NAME = "timm"
# What shows all names, of which messages have the nearest alone.
_LISTED_BY = "list(nasplug.space('timm'))"
TASKS = ("imagenet",)
_PARAMETER = "network"


class TimmSpace(FiniteSpace):
    """Networks of timm with trained weights, the most accurate first.

    Attributes:
        accuracy_source: Source of the measured accuracies, in words.
        writer: Package that writes the networks.

    Args:
        pattern: Part of the space: a pattern of names, such as `"mobilenet*"`; all if it is empty.

    Raises:
        InputError: If no network has such a name.

    Example:
        >>> import nasplug
        >>> space = nasplug.space("timm:mobilenetv3*")
        >>> arch = space.parse("mobilenetv3_large_100.ra_in1k")
        >>> arch.text, round(float(space.accuracies([arch])[0, 0]), 3)
        ('mobilenetv3_large_100.ra_in1k@224', 75.776)
    """

    whole_networks = True
    deployed = True
    accuracy_source = "pytorch-image-models on ImageNet's 50,000 validation images"
    writer = "timm"
    writes_code = True

    def __init__(self, pattern: str = "") -> None:
        trained = shipped_trained_networks()
        wanted = pattern if any(c in pattern for c in "*?[") else f"{pattern}*"
        rows = [k for k, name in enumerate(trained.names) if fnmatchcase(name, wanted)]
        if not rows:
            names = sorted({name.split(".")[0] for name in trained.names})
            near = closest(pattern.strip("*"), names, _LISTED_BY)
            raise InputError(
                f"no trained network has a name like {pattern[:80]!r}; there is {near}"
            )
        self.name = f"{NAME}:{pattern}" if pattern else NAME
        self._top1 = trained.top1[rows]
        self._texts = tuple(f"{trained.names[k]}@{trained.sides[k]}" for k in rows)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {text: k for k, text in enumerate(self._texts)}

    @property
    def tasks(self) -> tuple[str, ...]:
        """ImageNet alone, on which the accuracies were measured."""
        return TASKS

    @property
    def writes_onnx(self) -> bool:  # type: ignore[override]
        """Whether the package that writes the networks is installed."""
        return find_spec(self.writer) is not None

    def accuracies(self, archs: Sequence[Architecture]) -> NDArray[np.float64]:
        """Measured accuracies in %, a column for each of `tasks`, `(n, tasks)`."""
        return self._top1[[self.index(arch) for arch in archs]][:, None]

    def family_of(self, arch: Architecture) -> str:
        """Networks of one design, such as `"resnet"`."""
        return shipped_network_graphs().family(_reference(arch))

    def distributions(self) -> dict[str, BaseDistribution]:
        """One parameter, `network`, whose values are the texts of all members."""
        return {_PARAMETER: CategoricalDistribution(self._texts)}

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """The network that the parameter names."""
        return self._member(choice_of(params, _PARAMETER, self._texts, self.name))

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """The parameter that names a network."""
        self.validate(arch)
        return {_PARAMETER: arch.text}

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one of the networks, uniformly."""
        return self._member(self._texts[rng.integers(len(self))])

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the other networks, uniformly."""
        position = self.index(arch)
        others = [k for k in range(len(self)) if k != position]
        return self._member(self._texts[int(rng.choice(others))]) if others else arch

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """All other networks, in the space's order."""
        self.validate(arch)
        return [self._member(text) for text in self._texts if text != arch.text]

    def validate(self, arch: Architecture) -> None:
        """Check that a network is one of this space."""
        if arch.text not in self._positions or arch != self._member(arch.text):
            raise InputError(f"{arch.text[:80]!r} is no network of the space {self.name}")

    def _member(self, text: str) -> Architecture:
        # Networks of one form with other weights are other networks.
        return Architecture(self.name, text, text, text)

    def parse(self, text: str) -> Architecture:
        """Read a name of timm; without a size the images have the smallest that was measured.

        Raises:
            InputError: If timm has no such trained network, or several.
        """
        if text in self._positions:
            return self._member(text)
        name, _, side = text.partition("@")
        sizes = [known for known in self._texts if known.rpartition("@")[0] == name]
        if sizes and not side:
            return self._member(min(sizes, key=lambda known: int(known.rpartition("@")[2])))
        if sizes:
            raise InputError(
                f"{name} was not measured at {side[:20]!r}; there is {', '.join(sizes)}"
            )
        trained = [known for known in self._texts if known.partition(".")[0] == name]
        if trained:
            raise InputError(
                f"{name} was trained in several ways; name one: {', '.join(trained[:5])}"
                + (", …" if len(trained) > 5 else "")
            )
        raise InputError(
            f"{text[:80]!r} is no trained network of {self.name}; there is "
            f"{closest(name[:80], self._texts, _LISTED_BY)}"
        )

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """The graph of a network, as it was read from timm's module."""
        self.validate(arch)
        if task not in (None, *TASKS):
            raise InputError(f"unknown image set {task!r}; {self.name} knows {', '.join(TASKS)}")
        return shipped_network_graphs().graph(_reference(arch))

    def to_onnx(
        self, arch: Architecture, seed: int = 0, batch_size: int = 1, task: str | None = None
    ) -> onnx.ModelProto:
        """Write the network with its trained weights; with random ones where they cannot be had.

        Raises:
            InputError: If timm is not installed.
        """
        from nasplug.trained.export import trained_onnx

        self.validate(arch)
        name, _, side = arch.text.rpartition("@")
        return trained_onnx(name, int(side), seed, batch_size)

    def to_code(self, arch: Architecture, task: str | None = None) -> str:
        """The code that builds the network with timm and its trained weights."""
        from nasplug.trained.export import trained_code

        graph = self.to_graph(arch, task)
        name, _, side = arch.text.rpartition("@")
        return trained_code(name, int(side), graph.total("params"), graph.total("flops"))

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[Architecture]:
        return map(self._member, self._texts)

    def index(self, arch: Architecture) -> int:
        """Position of a network: 0 is the most accurate one."""
        self.validate(arch)
        return self._positions[arch.text]


def timm(pattern: str = "") -> TimmSpace:
    """Open the space `timm`, or the part of it whose names are like a pattern."""
    return TimmSpace(pattern)


def _reference(arch: Architecture) -> str:
    name, _, side = arch.text.rpartition("@")
    return f"timm:{name.partition('.')[0]}@{side}"
