"""Families of networks: a family's decisions, and the network that a choice for each builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.networks.builder import NetworkBuilder

if TYPE_CHECKING:
    import onnx

__all__ = [
    "IMAGENET",
    "Builder",
    "Choices",
    "Code",
    "Decision",
    "Family",
    "Task",
    "Value",
    "at_least",
]

Value = int | float | str | bool
# A value for each decision, by name.
Choices = Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    """Decision of a family, with the values to choose from.

    Attributes:
        name: Name of the parameter, such as `"k_2_1"`.
        choices: Values to choose from, ascending if they are numbers.
        default: The value in the family's standard network, and wherever the decision does not
            count.
        needs: Earlier decisions, each with the values for which this decision counts: a kernel
            counts if its block exists.
    """

    name: str
    choices: tuple[Value, ...]
    default: Value
    needs: tuple[tuple[str, tuple[Value, ...]], ...] = ()


def at_least(decision: Decision, smallest: int) -> tuple[str, tuple[Value, ...]]:
    """Make an entry of `Decision.needs`: the values of a numeric decision from `smallest` on."""
    return decision.name, tuple(v for v in decision.choices if float(v) >= smallest)


@dataclass(frozen=True)
class Task:
    """Image set: side of the images in pixels, and number of classes."""

    side: int
    classes: int


# The image set of the ImageNet families.
IMAGENET: Mapping[str, Task] = {"imagenet": Task(224, 1000)}


# Name of a template of `templates/`, and values of its constants.
Code = tuple[str, Mapping[str, Any]]


class Builder(Protocol):
    """Builder of one network: its graph, and an ONNX model of it."""

    def graph(self, output: int) -> Graph:
        """Convert the operators that `output` needs to a graph."""

    def onnx_model(
        self, output: int, seed: int = 0, batch_size: int = 1, name: str = "network"
    ) -> onnx.ModelProto:
        """Write a runnable ONNX model with random weights."""


def _image_builder(task: Any, chosen: Choices) -> NetworkBuilder:
    return NetworkBuilder(task.side)


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
        name: Name of the family, and the prefix of its texts.
        decisions: The decisions in order; a decision may need earlier ones only.
        build: Adds the network of the given choices, with the given number of classes, to the
            builder and returns the position of its output.
        tasks: Image set to its size; for language models a use of the network, such as
            `"prefill"`, to what `start` reads.
        standards: Published networks by name, as choices that differ from the defaults.
        start: Makes the builder for one of the values of `tasks` and for choices; by default that
            of an image of the task's side.
        identity: A text that is equal for choices that give the same network; None if all of them
            differ.
        write: The benchmark's own text for an architecture; None for `name=value` pairs.
        read: Reads the benchmark's own text to choices; None for a text of another form, which is
            then read as `name=value` pairs; raises InputError.
        code: The template of the network's code, and the values of its constants, for choices and
            one of the values of `tasks`; None if there is no template. Constants of images are
            added.
    """

    name: str
    decisions: tuple[Decision, ...]
    build: Callable[[Any, Choices, int], int]
    tasks: Mapping[str, Any] = field(default_factory=lambda: IMAGENET)
    standards: Mapping[str, Choices] = field(default_factory=dict)
    start: Callable[[Any, Choices], Builder] = _image_builder
    identity: Callable[[Choices], str] | None = None
    write: Callable[[Choices], str] | None = None
    read: Callable[[str], Choices | None] | None = None
    code: Callable[[Choices, Any], Code] | None = None

    def __post_init__(self) -> None:
        earlier: dict[str, Decision] = {}
        for decision in self.decisions:
            # Assertions, since these are mistakes in the code of a family, not of a user.
            assert decision.name not in earlier, decision.name
            assert decision.default in decision.choices, decision
            for name, values in decision.needs:
                assert set(values) <= set(earlier[name].choices), decision
            earlier[decision.name] = decision

    def defaults(self) -> dict[str, Value]:
        """The choices of the first standard network, by the decisions' names."""
        return {decision.name: decision.default for decision in self.decisions}
