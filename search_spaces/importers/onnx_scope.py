"""Names and nodes of graphs inside of an ONNX graph: branches, loop bodies, local functions.

All graphs of a file are read into one list of steps. A name of an inner graph becomes a name of
its own for each time that the graph runs.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.importers.onnx_loading import (
    RUN_MARK,
    graphs_of,
    opset_versions,
    shape_only,
    sorted_nodes,
)
from nasplug.search_spaces.importers.onnx_node import Constant

if TYPE_CHECKING:
    import onnx

__all__ = ["Body", "Scope"]


@dataclass
class Scope:
    """Names that the nodes of one graph see while it runs once.

    Attributes:
        opset_imports: Versions of the operators by domain, as the graph's file or function says.
        visible: Names that the outermost graph has.
        names: Name in the list of values for each name of the graph itself.
        parent: Scope of the graph around it, whose names it sees; None for a file's graph and for
            a function.
        run: Number of the run, unique in a file; 0 for the file's graph.
        title: Name of the graph.
        attributes: Attributes that the caller of a function gives; None outside of functions.
        declared: Types that an inner graph declares for its tensors, by their names in it.
    """

    opset_imports: list[onnx.OperatorSetIdProto]
    visible: Container[str] = ()
    names: dict[str, str] = field(default_factory=dict)
    parent: Scope | None = None
    run: int = 0
    title: str = ""
    attributes: Mapping[str, onnx.AttributeProto] | None = None
    declared: Mapping[str, onnx.ValueInfoProto] = field(default_factory=dict)

    @cached_property
    def opsets(self) -> dict[str, int]:
        """Version of the operators of each domain."""
        return opset_versions(self.opset_imports)

    def __contains__(self, name: object) -> bool:
        if name in self.names:
            return True
        return name in (self.visible if self.parent is None else self.parent)

    def flat(self, name: str) -> str:
        """The name in the list of values; empty for an input that is left out."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return name

    def add(self, name: str) -> str:
        """Give a name of this graph its name in the list of values."""
        self.names[name] = f"{name}{RUN_MARK}{self.run}" if self.run and name else name
        return self.names[name]

    def tensor(self, name: str) -> str:
        """A name for a constant of this graph that is the same in each run."""
        return f"{name.split(RUN_MARK, maxsplit=1)[0]}{RUN_MARK}{self.title}" if self.run else name

    def inner(self, title: str, run: int) -> Scope:
        """Scope of a graph inside of this one."""
        return Scope(
            self.opset_imports, parent=self, run=run, title=title, attributes=self.attributes
        )

    def flat_node(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """The node with its names in the list of values, without its graphs."""
        import onnx

        if not self.run and not any(True for _ in graphs_of(node)):
            return node
        flat = onnx.NodeProto(op_type=node.op_type, domain=node.domain, overload=node.overload)
        flat.input.extend(self.flat(source) for source in node.input)
        flat.output.extend(self.add(output) for output in node.output)
        for attribute in node.attribute:
            stated: onnx.AttributeProto | None = attribute
            if attribute.ref_attr_name:
                stated = (self.attributes or {}).get(attribute.ref_attr_name)
            if stated is None or stated.HasField("g") or stated.graphs:
                continue
            copy = flat.attribute.add()
            if stated.HasField("t"):
                copy.type = stated.type
                copy.t.CopyFrom(shape_only(stated.t))
            else:
                copy.CopyFrom(stated)
            copy.name = attribute.name
        return flat


class Body:
    """Graph or function that runs inside of a graph, its nodes in order.

    Args:
        graph: The graph or function.
        sources: Names that its nodes may read beside its own.
        name: Name of the model in error messages.
    """

    def __init__(
        self, graph: onnx.GraphProto | onnx.FunctionProto, sources: Container[str], name: str
    ) -> None:
        import onnx

        self.name = graph.name
        self.tensors: list[onnx.TensorProto] = []
        self.sparse: list[onnx.SparseTensorProto] = []
        if isinstance(graph, onnx.GraphProto):
            self.tensors, self.sparse = list(graph.initializer), list(graph.sparse_initializer)
        constants = [*(t.name for t in self.tensors), *(s.values.name for s in self.sparse)]
        self.inputs = [name for name in _names(graph.input) if name not in constants]
        self.outputs = _names(graph.output)
        values = [*graph.value_info]
        if isinstance(graph, onnx.GraphProto):
            values += graph.output
        self.declared = {value.name: value for value in values}
        # Made when the body runs first.
        self.constants: dict[str, Constant] | None = None
        own = {*self.inputs, *constants}
        self.nodes = sorted_nodes(graph.node, _Either(own, sources), own, name)


def _names(values: Iterable[Any]) -> list[str]:
    return [value if isinstance(value, str) else value.name for value in values]


@dataclass(frozen=True)
class _Either:
    """Names that are in one of two containers."""

    first: Container[str]
    second: Container[str]

    def __contains__(self, name: object) -> bool:
        return name in self.first or name in self.second
