import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.search_spaces import FiniteSpace, InputError, names, space
from nasplug.search_spaces.nb201 import CELL_EDGES, NB201, OPS
from nasplug.search_spaces.simplify import simplify

NB = NB201()
indices = st.integers(0, 15_624)

# As the benchmark prints them, by official index.
KNOWN = {
    0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
    "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    857: "|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+"
    "|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    6111: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
    "|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    15624: "|nor_conv_1x1~0|+|none~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|",
}


def test_is_registered():
    assert "nb201" in names()
    assert isinstance(space("nb201"), NB201)
    assert space("nb201") is space("nb201")
    with pytest.raises(InputError, match=r"nb2011.*known: .*nb201"):
        space("nb2011")


def test_official_order():
    assert len(NB) == 15_625
    assert {k: NB[k].text for k in KNOWN} == KNOWN
    texts = [arch.text for arch in NB]
    assert len(set(texts)) == 15_625
    # All 15,625 strings in the order of the benchmark's own index table.
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest() == (
        "83abc799e45cf34e9d2163654668ab998b9a54d01c39e72ca1f71f2cdf356d84"
    )


def test_published_number_of_distinct_cells():
    assert len({arch.arch_id for arch in NB}) == 6_466


def test_equivalents_share_the_function():
    for arch in NB.equivalents(NB[0]):
        assert arch.arch_id == NB[0].arch_id
    # x + 0 and 0 + x, by any of the paths that a zero can take
    a = NB.parse("|nor_conv_1x1~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    b = NB.parse("|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|")
    assert simplify(NB.to_graph(a)).canonical_hash == simplify(NB.to_graph(b)).canonical_hash


def test_equal_id_never_joins_a_live_with_a_dead_cell():
    dead = {a.arch_id for a in NB if len(simplify(NB.to_graph(a)).edges) == 0}
    live = {a.arch_id for a in NB if len(simplify(NB.to_graph(a)).edges) > 0}
    assert not dead & live


@pytest.mark.parametrize(
    ("index", "mflops", "params"),
    [(0, 15.64737, 129_306), (1462, 220.11969, 1_531_546), (6111, 153.27297, 1_073_466)],
)
def test_published_costs(index, mflops, params):
    graph = NB.to_graph(NB[index])
    assert graph.total("flops") / 1e6 == pytest.approx(mflops, abs=1e-9)
    assert graph.total("params") == params


def test_costs_of_the_other_image_sets():
    skeleton = NB.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    assert NB.to_graph(skeleton, "cifar10").total("params") == 73_306
    assert NB.to_graph(skeleton, "cifar100").total("params") == 73_306 + 90 * 65
    assert NB.to_graph(skeleton, "imagenet16-120").total("params") == 73_306 + 110 * 65
    # A quarter of the pixels, so a quarter of the convolutions' work.
    big = NB.to_graph(NB[1462], "cifar10").total("flops") - 650
    small = NB.to_graph(NB[1462], "imagenet16-120").total("flops") - 120 * 65
    assert small == big / 4
    with pytest.raises(InputError, match="cifar11"):
        NB.to_graph(skeleton, "cifar11")


def test_graph_follows_the_cell():
    graph = NB.to_graph(NB[0])
    assert graph.ops[0] == "input"
    assert graph.ops[-1] == "output"
    for (a, _), node in zip(CELL_EDGES, range(1, 7), strict=True):
        sources = {i for i, j in graph.edges if j == node}
        # An edge that leaves cell node a reads every edge that ends there.
        expected = {0} if a == 0 else {k for k, e in enumerate(CELL_EDGES, 1) if e[1] == a}
        assert sources == expected


@given(indices)
def test_text_round_trip(index):
    arch = NB[index]
    assert NB.parse(arch.text) == arch
    assert NB.index(arch) == index
    assert NB.from_params(NB.to_params(arch)) == arch


@given(indices)
def test_neighbors_differ_in_one_edge(index):
    arch = NB[index]
    near = NB.neighbors(arch)
    assert len(set(near)) == 24
    for other in near:
        assert sum(x != y for x, y in zip(arch.key, other.key, strict=True)) == 1
        assert arch in NB.neighbors(other)


@given(indices, st.integers(0, 2**32 - 1))
def test_mutation_is_a_neighbor_and_repeats_by_seed(index, seed):
    arch = NB[index]
    child = NB.mutate(arch, np.random.default_rng(seed))
    assert child in NB.neighbors(arch)
    assert child == NB.mutate(arch, np.random.default_rng(seed))


def test_mutation_reaches_all_neighbors():
    rng = np.random.default_rng(0)
    assert {NB.mutate(NB[7], rng) for _ in range(600)} == set(NB.neighbors(NB[7]))


def test_sampling_depends_on_the_generator_alone():
    def draw(seed):
        rng = np.random.default_rng(seed)
        return [NB.sample(rng) for _ in range(50)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert len(set(draw(1))) > 45


def test_distributions_reach_every_cell():
    distributions = NB.distributions()
    assert list(distributions) == ["op_0_1", "op_0_2", "op_1_2", "op_0_3", "op_1_3", "op_2_3"]
    assert all(d.choices == OPS for d in distributions.values())


@given(st.text(max_size=120))
def test_any_text_parses_or_is_refused(text):
    try:
        assert NB.parse(text).text == text
    except InputError as error:
        assert "\n" not in str(error)


@given(indices, st.integers(0, 80), st.sampled_from("|+~01 ax"))
def test_a_changed_text_is_another_cell_or_refused(index, place, letter):
    text = NB[index].text
    changed = text[:place] + letter + text[place + 1 :]
    try:
        assert NB.parse(changed).text == changed
    except InputError:
        assert changed != text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a NAS-Bench-201 architecture string"),
        ("|none~0|+|none~0|none~1|", "is not a NAS-Bench-201 architecture string"),
        (KNOWN[0] + "+|none~0|none~1|none~2|none~3|", "is not a NAS-Bench-201 architecture string"),
        (KNOWN[0].replace("~2", "~1"), "is not a NAS-Bench-201 architecture string"),
        (KNOWN[0].replace("avg_pool_3x3", "max_pool_3x3"), "unknown operation 'max_pool_3x3'"),
    ],
)
def test_malformed_text_says_what_is_right(text, words):
    with pytest.raises(InputError, match=words):
        NB.parse(text)


def test_bad_parameters_are_named():
    params = NB.to_params(NB[0])
    with pytest.raises(InputError, match="'op_1_2' is 'conv'"):
        NB.from_params(params | {"op_1_2": "conv"})
    del params["op_0_3"]
    with pytest.raises(InputError, match="'op_0_3' is missing"):
        NB.from_params(params)


def test_foreign_architecture_is_refused():
    from dataclasses import replace

    with pytest.raises(InputError, match="not a NAS-Bench-201 cell"):
        NB.to_graph(replace(NB[0], space="nb101"))


def test_is_a_finite_space_with_its_tasks():
    assert isinstance(NB, FiniteSpace)
    assert NB.tasks == ("cifar10", "cifar100", "imagenet16-120")
