"""The search space of a family of networks."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.search_spaces.code import network_code
from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.networks.builder import NetworkBuilder
from nasplug.search_spaces.networks.family import Builder, Decision, Family, Task, Value
from nasplug.search_spaces.space import Architecture, FiniteSpace, SearchSpace

if TYPE_CHECKING:
    import onnx
    from optuna.distributions import BaseDistribution

__all__ = ["FiniteNetworkSpace", "NetworkSpace", "distribution"]

_TEXT_SHOWN = 200


class NetworkSpace(SearchSpace):
    """All networks of a family.

    The text of an architecture is `family:name=value,name=value,…` with every decision that counts
    (`parse` fills in the standard network's value for a decision that is left out, and reads the
    name of a standard network), or the benchmark's own encoding. Decisions that do not count, such
    as the kernel of a block that does not exist, keep their defaults, so that no two architectures
    differ in them alone. (Two widths that round to equal channels make two architectures.)

    Args:
        family: The family.
        name: Name of the space; the family's if it is left out.
    """

    whole_networks = True
    writes_onnx = True

    def __init__(self, family: Family, name: str | None = None) -> None:
        self.family = family
        self.name = name or family.name
        self.writes_code = family.code is not None
        self._decisions = family.decisions
        self._position = {decision.name: k for k, decision in enumerate(family.decisions)}
        self._defaults = tuple(d.choices.index(d.default) for d in family.decisions)
        # The decisions that do not always count, with their needs: positions of earlier decisions,
        # and the indices of the values that meet the need.
        self._conditional = [
            (k, [self._need(name, met) for name, met in decision.needs])
            for k, decision in enumerate(family.decisions)
            if decision.needs
        ]
        self._words = [
            [f"{decision.name}={_word(choice)}" for choice in decision.choices]
            for decision in family.decisions
        ]

    def _need(self, name: str, met: tuple[Value, ...]) -> tuple[int, frozenset[int]]:
        position = self._position[name]
        return position, frozenset(self._decisions[position].choices.index(v) for v in met)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The image sets whose networks the family knows."""
        return tuple(self.family.tasks)

    @cached_property
    def standards(self) -> dict[str, Architecture]:
        """The published networks of the family, by name."""
        return {
            name: self.from_params({**self.family.defaults(), **choices})
            for name, choices in self.family.standards.items()
        }

    @cached_property
    def standard(self) -> Architecture:
        """The network of the default choices."""
        return self.from_params(self.family.defaults())

    def family_of(self, arch: Architecture) -> str:
        """The name of this space's family."""
        return self.family.name

    def _active(self, digits: Sequence[int]) -> list[bool]:
        """Flags of the decisions that count; `digits` are indices into their choices."""
        active = [True] * len(self._decisions)
        for k, needs in self._conditional:
            for position, met in needs:
                if not active[position] or digits[position] not in met:
                    active[k] = False
                    break
        return active

    def _architecture(self, digits: Sequence[int]) -> Architecture:
        active = self._active(digits)
        key = tuple(
            [
                digit if counts else default
                for digit, counts, default in zip(digits, active, self._defaults, strict=True)
            ]
        )
        family = self.family
        if family.write is not None:
            text = family.write(self._chosen(key))
        else:
            choices = zip(self._words, key, active, strict=True)
            pairs = ",".join([words[digit] for words, digit, counts in choices if counts])
            text = f"{family.name}:{pairs}"
        identity = text if family.identity is None else family.identity(self._chosen(key))
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return Architecture(self.name, text, f"{family.name}-{digest[:12]}", key)

    def _chosen(self, digits: Sequence[int]) -> dict[str, Value]:
        return {d.name: d.choices[k] for d, k in zip(self._decisions, digits, strict=True)}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Parameter of each decision: an integer range where the choices are one, or a category."""
        return {decision.name: distribution(decision) for decision in self._decisions}

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """Make the network of these choices; parameters that do not count may be left out."""
        digits = list(self._defaults)
        conditional = dict(self._conditional)
        counts = [True] * len(digits)
        for k, decision in enumerate(self._decisions):
            needs = conditional.get(k, ())
            counts[k] = all(counts[i] and digits[i] in met for i, met in needs)
            if not counts[k]:
                continue
            if decision.name not in params:
                raise InputError(
                    f"parameter {decision.name!r} is missing; {self.name} needs one of "
                    f"{_listed(decision)} for it"
                )
            digits[k] = self._digit(decision, params[decision.name])
        return self._architecture(digits)

    @staticmethod
    def _digit(decision: Decision, value: Any) -> int:
        for k, choice in enumerate(decision.choices):
            if choice == value:
                return k
        raise InputError(
            f"parameter {decision.name!r} is {value!r}, not one of {_listed(decision)}"
        )

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """The choice of every decision; a decision that does not count has its default."""
        return dict(self._chosen(self._digits(arch)))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw a network uniformly over the choices."""
        return self._architecture([int(rng.integers(len(d.choices))) for d in self._decisions])

    def _free(self, digits: Sequence[int]) -> list[int]:
        """Positions of the decisions that count and leave a choice."""
        return [
            k
            for k, counts in enumerate(self._active(digits))
            if counts and len(self._decisions[k].choices) > 1
        ]

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Change one decision that counts to another choice."""
        digits = list(self._digits(arch))
        free = self._free(digits)
        k = free[int(rng.integers(len(free)))]
        count = len(self._decisions[k].choices)
        digits[k] = (digits[k] + int(rng.integers(1, count))) % count
        return self._architecture(digits)

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """All networks with another choice for one decision that counts."""
        digits = self._digits(arch)
        return [
            self._architecture((*digits[:k], other, *digits[k + 1 :]))
            for k in self._free(digits)
            for other in range(len(self._decisions[k].choices))
            if other != digits[k]
        ]

    def validate(self, arch: Architecture) -> None:
        """Check that `arch` is a network of this family in canonical form."""
        key = arch.key
        valid = (
            arch.space == self.name
            and isinstance(key, tuple)
            and len(key) == len(self._decisions)
            and all(
                type(digit) is int and 0 <= digit < len(decision.choices)
                for digit, decision in zip(key, self._decisions, strict=True)
            )
            and all(
                counts or digit == default
                for digit, counts, default in zip(
                    key, self._active(key), self._defaults, strict=True
                )
            )
        )
        if not valid:
            raise InputError(
                f"{arch.text[:_TEXT_SHOWN]!r} of space {arch.space!r} is not an architecture of "
                f"{self.name}"
            )

    def _digits(self, arch: Architecture) -> tuple[int, ...]:
        self.validate(arch)
        return arch.key  # type: ignore[return-value]

    def parse(self, text: str) -> Architecture:
        """Read a text of this family: the form of its architectures, or a standard's name."""
        stripped = text.strip()
        if not stripped:
            raise InputError(f"an empty string is not {self._form()}")
        body = stripped.removeprefix(f"{self.family.name}:")
        if body in self.standards:
            return self.standards[body]
        chosen = None if self.family.read is None else self.family.read(body)
        if chosen is None:
            chosen = {**self.family.defaults(), **self._pairs(body)}
        return self.from_params(chosen)

    def _form(self) -> str:
        example = ",".join(f"{d.name}={_word(d.default)}" for d in self._decisions[:2])
        standards = "".join(f", or {name}" for name in self.standards)
        return f"an architecture of {self.name}; write {self.family.name}:{example},…{standards}"

    def _pairs(self, text: str) -> dict[str, Value]:
        pairs: dict[str, Value] = {}
        for item in text.split(",") if text else []:
            name, equals, word = (part.strip() for part in item.partition("="))
            if not equals:
                raise InputError(
                    f"{item[:_TEXT_SHOWN]!r} is not a name=value pair of {self._form()}"
                )
            if name not in self._position:
                listed_by = f"nasplug.space({self.name!r}).distributions()"
                near = closest(name, self._position, listed_by)
                raise InputError(f"unknown decision {name!r}; known: {near}")
            if name in pairs:
                raise InputError(f"decision {name!r} is given twice; give it once")
            decision = self._decisions[self._position[name]]
            words = {_word(choice): choice for choice in decision.choices}
            if word not in words:
                raise InputError(f"{name} is {word!r}, not one of {_listed(decision)}")
            pairs[name] = words[word]
        return pairs

    def _built(self, arch: Architecture, task: str | None) -> tuple[Builder, int]:
        chosen = self._chosen(self._digits(arch))
        name = self.tasks[0] if task is None else task
        if name not in self.family.tasks:
            likely = closest(name, self.family.tasks)
            raise InputError(f"unknown image set {name!r}; known: {likely}")
        images = self.family.tasks[name]
        builder = self.family.start(images, chosen)
        return builder, self.family.build(builder, chosen, images.classes)

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """The whole network, one node an operator, for one image."""
        builder, output = self._built(arch, task)
        return builder.graph(output)

    def to_onnx(
        self, arch: Architecture, seed: int = 0, batch_size: int = 1, task: str | None = None
    ) -> onnx.ModelProto:
        """The network with random weights; see `SearchSpace.to_onnx`."""
        builder, output = self._built(arch, task)
        return builder.onnx_model(output, seed, batch_size, arch.arch_id)

    def to_code(self, arch: Architecture, task: str | None = None) -> str:
        """The code of the network; see `SearchSpace.to_code`."""
        if self.family.code is None:
            return super().to_code(arch, task)
        builder, output = self._built(arch, task)
        size = self.family.tasks[self.tasks[0] if task is None else task]
        constants: dict[str, Any] = {}
        if isinstance(builder, NetworkBuilder):
            # A decision may set the side of the images.
            size = Task(builder.side(builder.input), size.classes)
            constants = {"IMAGE": (3, size.side, size.side), "CLASSES": size.classes}
        template, own = self.family.code(self._chosen(self._digits(arch)), size)
        graph = builder.graph(output)
        return network_code(
            template,
            constants | dict(own),
            arch.arch_id,
            arch.text,
            {name: graph.total(name) for name in ("params", "flops")},
            folded=isinstance(builder, NetworkBuilder),
        )


class FiniteNetworkSpace(NetworkSpace, FiniteSpace):
    """Space of a family whose decisions always count, so that its networks can be listed.

    The order is lexicographic in the decisions and their choices.
    """

    def __init__(self, family: Family, name: str | None = None) -> None:
        super().__init__(family, name)
        assert not self._conditional, family.name
        self._counts = tuple(len(d.choices) for d in self._decisions)

    def __len__(self) -> int:
        return math.prod(self._counts)

    @cached_property
    def _all(self) -> tuple[Architecture, ...]:
        ranges = [range(count) for count in self._counts]
        return tuple(self._architecture(digits) for digits in itertools.product(*ranges))

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._all)

    def index(self, arch: Architecture) -> int:
        """Position of a network in the lexicographic order."""
        position = 0
        for digit, count in zip(self._digits(arch), self._counts, strict=True):
            position = position * count + digit
        return position


def distribution(decision: Decision) -> BaseDistribution:
    """Optuna's description of a decision.

    Integers of equal steps are an `IntDistribution`, so that a sampler knows their order; anything
    else is categorical.
    """
    from optuna.distributions import CategoricalDistribution, IntDistribution

    choices = decision.choices
    if all(type(choice) is int for choice in choices):
        numbers = [int(choice) for choice in choices]
        steps = {b - a for a, b in itertools.pairwise(numbers)} or {1}
        if len(steps) == 1 and min(steps) > 0:
            return IntDistribution(numbers[0], numbers[-1], step=steps.pop())
    return CategoricalDistribution(choices)


def _word(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(decision: Decision) -> str:
    return ", ".join(_word(choice) for choice in decision.choices)
