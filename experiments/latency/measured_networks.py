"""Graphs of networks as they were run when they were measured."""

from __future__ import annotations

from functools import cache

from nasplug.measurements.graphs import graph_of
from nasplug.search_spaces import Graph, space
from nasplug.search_spaces.networks.nasbench201 import network_as_written

__all__ = ["measured_network"]


@cache
def measured_network(reference: str, is_engine: bool) -> Graph:
    """Graph of a reference; of a NAS-Bench-201 cell the whole network.

    A cell has eight nodes, and its network starts hundreds of kernels. A framework runs it as it is
    written, an engine without what has no influence.
    """
    package, _, name = reference.partition(":")
    if package != "nb201":
        return graph_of(reference)
    if is_engine:
        family = space("nnlqp:nasbench201")
        return family.to_graph(family.parse(name))
    return network_as_written(space(package).parse(name))
