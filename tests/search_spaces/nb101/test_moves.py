"""Neighbours and mutations of NAS-Bench-101 cells."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.search_spaces.nb101.cells import OPS
from nasplug.search_spaces.nb101.space import NB101

NB = NB101()
indices = st.integers(0, 423_623)
seeds = st.integers(0, 2**32 - 1)
# The cell that the benchmark's documentation shows.
INCEPTION = (
    "0111100000000100000010000001000001000000010000000:"
    "input,conv3x3-bn-relu,conv1x1-bn-relu,maxpool3x3,conv3x3-bn-relu,conv3x3-bn-relu,output"
)


@settings(max_examples=20)
@given(indices, seeds)
def test_mutation_is_a_neighbor_and_repeats_by_seed(index: int, seed: int) -> None:
    arch = NB[index]
    near = NB.neighbors(arch)
    assert len(set(near)) == len(near) >= 3
    assert arch not in near
    assert [NB.index(a) for a in near] == sorted(NB.index(a) for a in near)
    child = NB.mutate(arch, np.random.default_rng(seed))
    assert child in near
    assert child == NB.mutate(arch, np.random.default_rng(seed))


def test_neighbors_have_one_change() -> None:
    arch = NB.parse(INCEPTION)
    cell = NB.cell(arch)
    for other in map(NB.cell, NB.neighbors(arch)):
        labels = sorted(cell.labels), sorted(other.labels)
        if other.bits == cell.bits and other.vertices == cell.vertices:
            assert len(set(zip(cell.labels, other.labels, strict=True))) <= 5
        else:
            # No edge can be added to nine, no vertex to seven.
            assert other.vertices == cell.vertices - 1 or len(other.edges) < 9
            assert labels[0] == labels[1] or len(other.labels) < len(cell.labels)
    chain = NB.parse("010001000:input,maxpool3x3,output")
    near = {a.text for a in NB.neighbors(chain)}
    assert "0100:input,output" in near  # a vertex less
    assert "011001000:input,maxpool3x3,output" in near  # an edge more
    assert "010001000:input,conv3x3-bn-relu,output" in near  # another operation
    longer = "0100001000010000:input,conv1x1-bn-relu,maxpool3x3,output"
    assert longer in near  # a vertex more
    assert len(near) == 1 + 1 + 2 + 5


def test_an_edge_may_join_parallel_vertices_either_way() -> None:
    fork = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    joined = [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    near = NB.neighbors(NB.from_matrix(fork, ["input", OPS[0], OPS[1], "output"]))
    for first, second in ((OPS[0], OPS[1]), (OPS[1], OPS[0])):
        assert NB.from_matrix(joined, ["input", first, second, "output"]) in near


def test_mutation_reaches_all_kinds_of_neighbors() -> None:
    arch = NB[3_000]
    rng = np.random.default_rng(0)
    found = {NB.mutate(arch, rng) for _ in range(900)}
    assert found == set(NB.neighbors(arch))


def test_every_small_cell_is_reached_from_the_smallest() -> None:
    reached = {NB[0]}
    waiting = [NB[0]]
    while waiting:
        for other in NB.neighbors(waiting.pop()):
            if other not in reached and NB.cell(other).vertices <= 4:
                reached.add(other)
                waiting.append(other)
    assert len(reached) == 91
