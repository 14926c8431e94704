"""The space nb101: parameters, texts, neighbours, graphs and networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.search_spaces import Architecture, FiniteSpace, InputError, names, space
from nasplug.search_spaces.nb101.cells import MAX_EDGES, OPS, module_hash, prune
from nasplug.search_spaces.nb101.costs import node_rows
from nasplug.search_spaces.nb101.space import NB101, repaired

NB = NB101()
indices = st.integers(0, 423_623)
edge_sets = st.sets(st.sampled_from([(a, b) for b in range(7) for a in range(b)]))
RESNET_LIKE = "0110001100010000:input,conv1x1-bn-relu,conv3x3-bn-relu,output"
# The cell that the benchmark's documentation shows.
INCEPTION = np.array(
    [
        [0, 1, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ]
)
INCEPTION_OPS = ["input", OPS[1], OPS[0], OPS[0], OPS[0], OPS[2], "output"]


def test_is_registered() -> None:
    assert "nb101" in names()
    assert isinstance(space("nb101"), NB101)
    assert isinstance(NB, FiniteSpace)
    assert (len(NB), NB.tasks) == (423_624, ("cifar10",))
    assert NB.has_networks
    assert not NB.whole_networks


@given(indices)
def test_round_trips(index: int) -> None:
    arch = NB[index]
    NB.validate(arch)
    assert NB.index(arch) == index
    assert NB.parse(arch.text) == arch
    assert NB.from_params(NB.to_params(arch)) == arch
    assert arch.arch_id == module_hash(NB.cell(arch))


def test_reads_any_spelling_as_the_one_that_was_trained() -> None:
    arch = NB.parse(RESNET_LIKE)
    assert arch.text == RESNET_LIKE
    assert arch.arch_id == "5529e1779433733d1145e20de5d8604e"
    # A vertex that leads nowhere, and one whose operation is none, are not there.
    padded = "0110100110000010000000000:input,conv1x1-bn-relu,conv3x3-bn-relu,what,output"
    matrix = [[0, 1, 1, 1, 0], [0, 0, 1, 0, 1], [0, 0, 0, 0, 1], [0] * 5, [0] * 5]
    text = "".join(str(d) for row in matrix for d in row)
    assert NB.parse(f"{text}:{padded.partition(':')[2]}") == arch
    assert NB.from_matrix(matrix, padded.partition(":")[2].split(",")) == arch


def test_the_cell_of_the_documentation() -> None:
    arch = NB.from_matrix(INCEPTION, INCEPTION_OPS)
    graph = NB.to_graph(arch)
    assert sorted(graph.ops) == sorted(INCEPTION_OPS)
    assert len(graph.edges) == INCEPTION.sum() == 9
    # In the documentation's own order the vertices share the output's channels differently.
    order = [0, 5, 3, 4, 2, 1, 6]
    assert (
        NB.from_matrix(INCEPTION[np.ix_(order, order)], [INCEPTION_OPS[v] for v in order]) == arch
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a NAS-Bench-101 cell; write its"),
        ("|nor_conv_3x3~0|+|none~0|", "is not a NAS-Bench-101 cell; write its"),
        ("01:input,output", "is not a NAS-Bench-101 cell; write its"),
        ("0200:input,output", "is not a NAS-Bench-101 cell; write its"),
        ("0100:input,maxpool3x3,output", "3 operations do not fit an adjacency matrix of 2 rows"),
        ("0010:input,output", "a backward edge"),
        ("1100:input,output", "a backward edge"),
        ("0000:input,output", "no path from its input to its output"),
        ("0100:output,input", "operation 0 is 'output', but must be 'input'"),
        ("010001000:input,maxpool,output", "unknown operation 'maxpool'; .* maxpool3x3"),
        ("f" * 32, "no cell with the hash f"),
    ],
)
def test_malformed_text_says_what_is_right(
    text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = type("Few", (), {"hashes": np.zeros((1, 16), np.uint8)})
    monkeypatch.setattr("nasplug.search_spaces.nb101.space.cell_table", few)
    with pytest.raises(InputError, match=words) as caught:
        NB.parse(text)
    assert "\n" not in str(caught.value)


def test_hash_is_read_as_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    from nasplug.search_spaces.nb101.enumeration import CellTable, cell_hashes

    table = CellTable(NB.codes[:91], cell_hashes(NB.codes[:91]))
    monkeypatch.setattr("nasplug.search_spaces.nb101.space.cell_table", lambda: table)
    assert NB.parse("5529e1779433733d1145e20de5d8604e").text == RESNET_LIKE
    assert [arch.arch_id for arch in NB] == [NB[k].arch_id for k in range(91)]
    assert list(NB) == [NB[k] for k in range(91)]


@pytest.mark.parametrize(("vertices", "edges"), [(7, 10), (8, 7)])
def test_cells_out_of_the_benchmark_are_refused(vertices: int, edges: int) -> None:
    chain = [(v, v + 1) for v in range(vertices - 1)]
    more = [(0, v) for v in range(2, vertices)]
    chosen = [*chain, *more][:edges]
    matrix = [[int((a, b) in chosen) for b in range(vertices)] for a in range(vertices)]
    with pytest.raises(
        InputError, match=f"{vertices} vertices and {edges} edges; NAS-Bench-101 allows"
    ):
        NB.from_matrix(matrix, ["input", *[OPS[0]] * (vertices - 2), "output"])


@given(st.text(max_size=80))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        NB.parse(text)
    except InputError as error:
        assert "\n" not in str(error)


# --- parameters --------------------------------------------------------------------------------


def test_distributions() -> None:
    found = NB.distributions()
    assert len(found) == 26
    assert [name for name in found if name.startswith("op")] == [f"op_{v}" for v in range(1, 6)]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(5):
        NB.validate(NB.from_params(study.ask(found).params))
    study.enqueue_trial(NB.to_params(NB[300_000]))
    assert NB.from_params(study.ask(found).params) == NB[300_000]


def test_bad_parameters_are_named() -> None:
    params = NB.to_params(NB[100])
    with pytest.raises(InputError, match="'op_2' is 'conv'"):
        NB.from_params(params | {"op_2": "conv"})
    with pytest.raises(InputError, match="'edge_0_1' is 2"):
        NB.from_params(params | {"edge_0_1": 2})
    del params["edge_3_5"]
    with pytest.raises(InputError, match="'edge_3_5' is missing"):
        NB.from_params(params)


@given(edge_sets)
def test_any_edges_are_repaired_to_a_cell(edges: set[tuple[int, int]]) -> None:
    found = repaired(edges)
    assert found == repaired(sorted(edges, reverse=True))
    live = prune(7, found)
    assert live is not None
    assert 1 <= len(found) <= MAX_EDGES
    assert all(a in live and b in live for a, b in found)
    assert repaired(found) == found
    before = prune(7, edges)
    if before is None:
        assert len(set(found) - edges) == 1
    else:
        kept = {(a, b) for a, b in edges if a in before and b in before}
        assert set(found) <= kept
        if len(kept) <= MAX_EDGES:
            assert set(found) == kept


def test_repair_cuts_off_no_vertex_if_it_can() -> None:
    full = [(a, b) for b in range(7) for a in range(b)]
    assert prune(7, repaired(full)) == list(range(7))
    # Ten edges without one to spare: each is the only one of its source or of its target.
    fan = [(0, v) for v in range(1, 6)] + [(v, 6) for v in range(1, 6)]
    assert repaired(fan) == sorted(e for e in fan if 1 not in e)
    assert repaired([(0, 3), (3, 4), (1, 5)]) == [(0, 3), (3, 4), (4, 6)]


# --- sampling and neighbours -------------------------------------------------------------------


def test_sampling_depends_on_the_generator_alone() -> None:
    def draw(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        return [NB.index(NB.sample(rng)) for _ in range(200)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    # Over cells, not over parameters: six of seven have seven vertices.
    large = np.mean([k >= 64_542 for k in draw(3)])
    assert abs(large - 359_082 / 423_624) < 0.08


# --- graphs and networks -----------------------------------------------------------------------


@settings(max_examples=30)
@given(indices)
def test_graph_follows_the_cell(index: int) -> None:
    arch = NB[index]
    cell, graph = NB.cell(arch), NB.to_graph(arch)
    assert graph.ops == cell.ops
    assert graph.edges == cell.edges
    rows = node_rows(cell.bits, cell.vertices)
    for v, label in enumerate(cell.labels, start=1):
        assert np.array_equal(graph.attributes[v], rows[v, label])


def test_foreign_architectures_and_image_sets_are_refused() -> None:
    arch = NB[7]
    bad: list[Architecture] = [
        replace(arch, space="nb201"),
        replace(arch, key=1),
        replace(arch, key=(1, 2)),
        replace(arch, key=2**40),
        replace(arch, key=-1),
    ]
    for one in bad:
        for method in (NB.validate, NB.to_graph, NB.to_network, NB.neighbors, NB.index):
            with pytest.raises(InputError, match="is not a NAS-Bench-101 cell"):
                method(one)  # type: ignore[operator]
    for expand in (NB.to_graph, NB.to_network):
        with pytest.raises(InputError, match="unknown image set 'mnist'; known: cifar10"):
            expand(arch, "mnist")


def test_spaces_of_cells_do_not_expand() -> None:
    other = space("nb201")
    with pytest.raises(InputError, match="space nb201 has cells"):
        other.to_network(next(iter(other)))  # type: ignore[call-overload]
