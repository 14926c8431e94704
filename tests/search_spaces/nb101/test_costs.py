"""Costs of NAS-Bench-101 cells."""

from __future__ import annotations

from nasplug.search_spaces.nb101.cells import Cell
from nasplug.search_spaces.nb101.costs import vertex_channels
from nasplug.search_spaces.nb101.space import NB101

NB = NB101()


def test_widths_share_the_output() -> None:
    chain = Cell.of([(0, 1), (1, 2)], [0])
    assert vertex_channels(chain, 64, 128) == [64, 128, 128]
    fan = Cell.of([(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)], [0, 0, 0])
    assert vertex_channels(fan, 64, 128) == [64, 43, 43, 42, 128]
    # The first vertex is as wide as the widest that it feeds.
    fed = Cell.of([(0, 1), (1, 2), (1, 3), (2, 4), (3, 4)], [0, 0, 0])
    assert vertex_channels(fed, 64, 129) == [64, 65, 65, 64, 129]
    assert vertex_channels(Cell.of([(0, 1)], []), 64, 128) == [64, 128]


def test_costs_of_the_smallest_cell() -> None:
    graph = NB.to_graph(NB[0])
    # Stem, nine projections, classifier; every convolution with scale and shift, no bias.
    widths = [(128, 128)] * 3 + [(128, 256), (256, 256), (256, 256)]
    widths += [(256, 512), (512, 512), (512, 512)]
    params = 3 * 9 * 128 + 256 + sum(a * b + 2 * b for a, b in widths) + 512 * 10 + 10
    assert graph.total("params") == params
    sides = [32] * 3 + [16] * 3 + [8] * 3
    macs = sum(a * b * s * s for (a, b), s in zip(widths, sides, strict=True))
    assert graph.total("flops") == 27 * 128 * 32 * 32 + macs + 5120 + 10


def test_totals_are_those_of_the_graphs() -> None:
    totals = NB.totals()
    for index in (0, 5, 90, 2_531, 64_541, 64_542, 200_000, 423_623):
        graph = NB.to_graph(NB[index])
        for name, values in totals.items():
            assert values[index] == graph.total(name)
    # As published: the smallest and the largest network.
    assert (totals["params"].min(), totals["params"].max()) == (227_274, 49_979_274)
