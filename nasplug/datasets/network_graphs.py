"""Graphs of networks that other packages build, in one compact file that the package ships.

A reference such as `timm:resnet50@224` stands for a graph of one image (or sequence). The file
holds each distinct operator once, and for each graph the numbers of its operators and the distances
along its edges. It is opened when the first graph is asked for; a graph is decoded when it is asked
for.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.archives import (
    joined_lines,
    lines_of,
    numbers_of,
    planes_of,
    shipped_arrays,
    write_arrays,
)
from nasplug.search_spaces.costs import FLOAT_BYTES
from nasplug.search_spaces.graph import ATTRIBUTES, Graph

__all__ = [
    "KnownNetwork",
    "NetworkGraphs",
    "network_graphs_file",
    "read_network_graphs",
    "shipped_network_graphs",
    "write_network_graphs",
]

FORMAT_VERSION = 1
_FILE = "network_graphs.npz"
_FLOAT = "float32"
_PARAMS = ATTRIBUTES.index("params")
# Columns of an operator: its type, `ATTRIBUTES`, the types of its output and of its weights, and
# the bytes of its weights beyond those of its parameters in float32.
_COLUMNS = ("op", *ATTRIBUTES, "type", "weight_type", "weight_bytes")


@dataclass(frozen=True)
class KnownNetwork:
    """Network with a reference.

    Attributes:
        reference: Package, name and size of the input, such as `timm:resnet50@224`.
        family: Networks of one design, such as `"resnet"`: the module or the type of model that
            the package builds it by.
        parameters: Trainable parameters of the module, before anything is folded.
        graph: Graph for one image or one sequence.
    """

    reference: str
    family: str
    parameters: int
    graph: Graph


@dataclass(frozen=True, eq=False)
class NetworkGraphs:
    """Graphs of networks by reference; all sequences have one item for each reference.

    Attributes:
        references: References in sorted order.
        families: Family of each network; see `KnownNetwork`.
        parameters: Trainable parameters of each network's module.
        macs: Multiply-accumulates of each network, for one image or one sequence.
        made_with: Versions of the packages that built the networks.
        arrays: Operators and edges of all graphs, as `_encoded` makes them.
    """

    references: tuple[str, ...]
    families: tuple[str, ...]
    parameters: tuple[int, ...]
    macs: tuple[int, ...]
    made_with: str
    arrays: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.references)

    def __contains__(self, reference: object) -> bool:
        return reference in self._positions

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {reference: k for k, reference in enumerate(self.references)}

    def graph(self, reference: str) -> Graph:
        """Decode the graph of a reference.

        Raises:
            KeyError: If there is none.
        """
        return self._decoded(int(self.arrays["graphs"][self._positions[reference]]))

    def family(self, reference: str) -> str:
        """Family of a reference; see `KnownNetwork`.

        Raises:
            KeyError: If there is none.
        """
        return self.families[self._positions[reference]]

    def known(self, reference: str) -> KnownNetwork:
        """Network of a reference.

        Raises:
            KeyError: If there is none.
        """
        k = self._positions[reference]
        return KnownNetwork(reference, self.families[k], self.parameters[k], self.graph(reference))

    def totals(
        self, columns: Mapping[str, Callable[[Mapping[str, Any]], NDArray[Any]]]
    ) -> dict[str, NDArray[np.float64]]:
        """Sums over the operators of each network, `(references,)` by name.

        Args:
            columns: Name -> what an operator adds, from a table of operators: a dictionary of
                `ATTRIBUTES` to arrays, and `"op"` to types.
        """
        nodes, _, operators = self._starts
        table = {name: self.arrays["operators"][j] for j, name in enumerate(_COLUMNS)}
        kinds = np.array(self._texts[0], dtype=object)[table["op"]]
        attributes = {name: table[name].astype(np.float64) for name in ATTRIBUTES}
        graphs = self.arrays["graphs"]
        result = {}
        for name, add in columns.items():
            values = add({**attributes, "op": kinds})[operators]
            result[name] = np.add.reduceat(values, nodes[:-1])[graphs]
        return result

    @cached_property
    def _starts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """First node and first edge of each graph, and the operator of each node."""
        codes = self.arrays["nodes"]
        is_new = codes == 0
        newest = np.cumsum(is_new, dtype=np.int64)
        nodes = np.append(0, np.cumsum(self.arrays["sizes"], dtype=np.int64))
        sources = np.append(0, np.cumsum(self.arrays["degrees"], dtype=np.int64))
        return nodes, sources[nodes], np.where(is_new, newest - 1, newest - codes)

    @cached_property
    def _texts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return lines_of(self.arrays["ops"]), lines_of(self.arrays["types"])

    def _decoded(self, k: int) -> Graph:
        nodes, edges, operators = self._starts
        ops, types = self._texts
        own = operators[nodes[k] : nodes[k + 1]]
        table = self.arrays["operators"]
        column = {name: table[j][own] for j, name in enumerate(_COLUMNS)}
        targets = np.repeat(np.arange(len(own)), self.arrays["degrees"][nodes[k] : nodes[k + 1]])
        sources = targets - self.arrays["distances"][edges[k] : edges[k + 1]]
        attributes = np.stack([column[name] for name in ATTRIBUTES], axis=1).astype(np.float64)
        parameters = attributes[:, _PARAMS]
        weights = parameters * FLOAT_BYTES + column["weight_bytes"]
        return Graph(
            tuple(ops[j] for j in column["op"]),
            tuple(sorted(zip(sources.tolist(), targets.tolist(), strict=True))),
            attributes,
            types=_types(column["type"], types),
            weight_types=_types(column["weight_type"], types),
            weight_bytes=weights if column["weight_bytes"].any() else None,
        )


def _types(codes: NDArray[np.int64], names: Sequence[str]) -> tuple[str, ...]:
    """Type of each node; empty where all are float32 or, of weights, none."""
    used = tuple(names[j] for j in codes)
    return () if set(used) <= {_FLOAT, ""} else used


@cache
def shipped_network_graphs() -> NetworkGraphs:
    """Graphs that the package ships.

    Raises:
        InputError: If the file is damaged.

    Example:
        >>> from nasplug.datasets.network_graphs import shipped_network_graphs
        >>> graph = shipped_network_graphs().graph("torchvision:resnet50@224")
        >>> round(graph.total("macs") / 1e9, 2), round(graph.total("params") / 1e6, 2)
        (4.09, 25.56)
    """
    return read_network_graphs(network_graphs_file())


def network_graphs_file() -> Path:
    """Path of the shipped file."""
    return Path(__file__).with_name(_FILE)


def write_network_graphs(path: Path, networks: Sequence[KnownNetwork], made_with: str) -> None:
    """Write networks, at least one, atomically; equal graphs are written once.

    Raises:
        OSError: If the folder cannot be written.
    """
    networks = sorted(networks, key=lambda network: network.reference)
    which: dict[tuple[Any, ...], int] = {}
    distinct: list[Graph] = []
    graphs = []
    for network in networks:
        key = _key(network.graph)
        if key not in which:
            which[key] = len(distinct)
            distinct.append(network.graph)
        graphs.append(which[key])
    arrays = {
        "version": np.array(FORMAT_VERSION),
        "made_with": joined_lines([made_with]),
        "references": joined_lines([network.reference for network in networks]),
        "families": joined_lines([network.family for network in networks]),
        "parameters": np.array([network.parameters for network in networks], dtype=np.int64),
        "macs": np.array([network.graph.total("macs") for network in networks], dtype=np.int64),
        "graphs": np.array(graphs, dtype=np.int32),
        **_encoded(distinct),
    }
    write_arrays(path, arrays, method=zipfile.ZIP_LZMA)


def read_network_graphs(path: Path) -> NetworkGraphs:
    """Read a file that `write_network_graphs` wrote.

    Raises:
        InputError: If the file is missing or damaged, or of another version.
    """
    missing = f"the graphs of networks are not in {path}"
    with shipped_arrays(path, FORMAT_VERSION, missing) as arrays:
        differences = (numbers_of(arrays[f"operators.{name}"]) for name in _COLUMNS)
        arrays["operators"] = np.stack([np.cumsum(each, dtype=np.int64) for each in differences])
        for name in ("nodes", "degrees", "distances"):
            arrays[name] = numbers_of(arrays[name]).astype(np.int64)
        return NetworkGraphs(
            lines_of(arrays["references"]),
            lines_of(arrays["families"]),
            tuple(arrays["parameters"].tolist()),
            tuple(arrays["macs"].tolist()),
            lines_of(arrays["made_with"])[0],
            arrays,
        )


def _rows(graph: Graph) -> list[tuple[Any, ...]]:
    """Values of `_COLUMNS` for each node, with texts as they are."""
    count = len(graph)
    attributes = np.rint(graph.attributes).astype(np.int64)
    if not np.array_equal(attributes, graph.attributes):
        raise ValueError("an attribute of a graph is no whole number")
    weights: NDArray[np.float64] = np.zeros(count)
    if graph.weight_bytes is not None:
        weights = graph.weight_bytes - FLOAT_BYTES * graph.attributes[:, _PARAMS]
    beyond = np.rint(weights).astype(np.int64).tolist()
    types = graph.types or (_FLOAT,) * count
    weight_types = graph.weight_types or (_FLOAT,) * count
    columns = (graph.ops, *attributes.T.tolist(), types, weight_types, beyond)
    return list(zip(*columns, strict=True))


def _key(graph: Graph) -> tuple[Any, ...]:
    return tuple(_rows(graph)), graph.edges


def _encoded(graphs: Sequence[Graph]) -> dict[str, NDArray[Any]]:
    """Arrays of graphs.

    Returns:
        `ops` and `types`, the texts of operators' columns; `operators.<column>`, differences
        between distinct operators in the order of their first use; `sizes`, nodes a graph;
        `nodes`, for each node 0 for the next new operator or how long ago it was new; `degrees`,
        predecessors a node; `distances`, nodes from each predecessor to its successor.
    """
    rows = [_rows(graph) for graph in graphs]
    number: dict[tuple[Any, ...], int] = {}
    nodes = []
    for row in (row for own in rows for row in own):
        nodes.append(len(number) - number[row] if row in number else 0)
        number.setdefault(row, len(number))
    ops = sorted({row[0] for row in number})
    types = sorted({text for row in number for text in row[-3:-1]})
    position = {text: k for k, text in enumerate(ops)}, {text: k for k, text in enumerate(types)}
    table = np.array(
        [
            (position[0][row[0]], *row[1:-3], *(position[1][t] for t in row[-3:-1]), row[-1])
            for row in number
        ],
        dtype=np.int64,
    ).T
    degrees: list[int] = []
    distances: list[int] = []
    for graph in graphs:
        before: list[list[int]] = [[] for _ in graph.ops]
        for source, target in graph.edges:
            before[target].append(target - source)
        degrees.extend(len(own) for own in before)
        distances.extend(distance for own in before for distance in own)
    return {
        "ops": joined_lines(ops),
        "types": joined_lines(types),
        "sizes": np.array([len(graph) for graph in graphs], dtype=np.int32),
        "nodes": planes_of(np.array(nodes, dtype=np.int64)),
        "degrees": planes_of(np.array(degrees, dtype=np.int64)),
        "distances": planes_of(np.array(distances, dtype=np.int64)),
        **{
            f"operators.{name}": planes_of(np.diff(column, prepend=0))
            for name, column in zip(_COLUMNS, table, strict=True)
        },
    }
