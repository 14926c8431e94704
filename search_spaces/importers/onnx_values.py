"""Values of an ONNX graph by name: constants, computed tensors, sequences and optional values."""

from __future__ import annotations

from dataclasses import dataclass, field

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.onnx_loading import shown
from nasplug.search_spaces.importers.onnx_node import Constant, Shape, Tensor

__all__ = ["Values"]


@dataclass
class Values:
    """Values that the nodes read so far have written, each name in one of the groups.

    Attributes:
        network: Steps of the network.
        model: Name of the model in error messages.
        constants: Tensors that depend on no input.
        tensors: Type and shape of computed tensors.
        steps: Position of the step that computes each tensor.
        sequences: Names of a sequence's elements.
        empty: Optional values that hold nothing.
    """

    network: ImportedNetwork
    model: str
    constants: dict[str, Constant] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    sequences: dict[str, tuple[str, ...]] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)

    def __contains__(self, name: object) -> bool:
        groups = (self.constants, self.steps, self.sequences, self.empty)
        return any(name in group for group in groups)

    def bind(self, name: str, source: str) -> None:
        """Give a value a further name; an empty source is an optional value that holds nothing."""
        if source in self.constants:
            self.constants[name] = self.constants[source]
        elif source in self.steps:
            self.steps[name] = self.steps[source]
            if source in self.tensors:
                self.tensors[name] = self.tensors[source]
        elif source in self.sequences:
            self.sequences[name] = self.sequences[source]
        elif not source or source in self.empty:
            self.empty.add(name)
        else:
            raise InputError(f"{self.model}: nothing writes {shown(source)}; the file is damaged")

    def shape(self, name: str) -> Shape | None:
        """Shape of a tensor; None if it is not known."""
        tensor = self.constants.get(name) or self.tensors.get(name)
        return None if tensor is None else tensor.shape

    def inputs_of(self, name: str) -> list[str]:
        """Inputs of the network that a tensor is computed from."""
        steps = self.network.steps
        seen: set[int] = set()
        waiting = self.ends(name)
        while waiting:
            step = waiting.pop()
            if step not in seen:
                seen.add(step)
                waiting.extend(steps[step].inputs)
        first = {k: name for name, k in reversed(self.steps.items()) if steps[k].op == "Input"}
        return [first[k] for k in sorted(seen & first.keys())]

    def ends(self, name: str) -> list[int]:
        """Steps that compute a value, those of all elements for a sequence."""
        if name in self.sequences:
            return [end for element in self.sequences[name] for end in self.ends(element)]
        return [self.steps[name]] if name in self.steps else []
