import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nasplug.search_spaces import ATTRIBUTES, Graph, InputError
from nasplug.search_spaces.simplify import prune, simplify


@st.composite
def graphs(draw: st.DrawFn, ops: tuple[str, ...] = ("a", "b", "none", "skip_connect")) -> Graph:
    """A typed DAG with `input` first and `output` last."""
    inner = draw(st.integers(0, 6))
    types = ("input", *(draw(st.sampled_from(ops)) for _ in range(inner)), "output")
    size = len(types)
    pairs = [(i, j) for i in range(size) for j in range(i + 1, size)]
    edges = tuple(pair for pair in pairs if draw(st.booleans()))
    values = np.arange(size * len(ATTRIBUTES), dtype=float).reshape(size, -1)
    return Graph(types, edges, values)


def topological_order(graph: Graph, rng: np.random.Generator) -> list[int]:
    """A random topological order."""
    left, order = set(range(len(graph))), []
    while left:
        ready = [n for n in left if not any(a in left and b == n for a, b in graph.edges)]
        node = int(rng.choice(sorted(ready)))
        order.append(node)
        left.remove(node)
    return order


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        (((1, 0),), "forward"),
        (((0, 0),), "forward"),
        (((0, 3),), "forward"),
        (((0, 1), (0, 1)), "repeated"),
        (((1, 2), (0, 1)), "out of order"),
    ],
)
def test_bad_edges_are_named(edges, words):
    with pytest.raises(InputError, match=words):
        Graph(("input", "a", "output"), edges)


def test_attributes_of_another_shape_are_refused():
    with pytest.raises(InputError, match="attributes have shape"):
        Graph(("input", "output"), ((0, 1),), np.zeros((2, 3)))


def test_build_sorts_topologically_and_refuses_cycles():
    graph = Graph.build(["output", "input", "a"], [(1, 2), (2, 0)])
    assert graph.ops == ("input", "a", "output")
    assert graph.edges == ((0, 1), (1, 2))
    with pytest.raises(InputError, match="cycle"):
        Graph.build(["a", "b"], [(0, 1), (1, 0)])
    with pytest.raises(InputError, match="not one of the 2 nodes"):
        Graph.build(["a", "b"], [(0, 2)])


def test_adjacency_and_totals():
    values = np.zeros((3, len(ATTRIBUTES)))
    values[:, ATTRIBUTES.index("flops")] = [1.0, 2.0, 4.0]
    graph = Graph(("input", "a", "output"), ((0, 1), (1, 2)), values)
    assert graph.adjacency.tolist() == [
        [False, True, False],
        [False, False, True],
        [False, False, False],
    ]
    assert graph.total("flops") == 7.0
    assert graph.total("params") == 0.0


@given(graphs(), st.integers(0, 2**32 - 1))
def test_relabelled_graphs_share_a_canonical_hash(graph, seed):
    order = topological_order(graph, np.random.default_rng(seed))
    other = graph.relabel(order)
    assert other.canonical_hash == graph.canonical_hash
    assert other.attributes[order.index(0)].tolist() == graph.attributes[0].tolist()


def test_hash_tells_types_and_edges_apart():
    chain = Graph(("input", "a", "output"), ((0, 1), (1, 2)))
    assert Graph(("input", "b", "output"), chain.edges).canonical_hash != chain.canonical_hash
    longer = Graph(chain.ops, ((0, 1), (0, 2), (1, 2)))
    assert longer.canonical_hash != chain.canonical_hash


def test_relabel_refuses_what_is_no_topological_order():
    chain = Graph(("input", "a", "output"), ((0, 1), (1, 2)))
    with pytest.raises(InputError, match="forward"):
        chain.relabel([1, 0, 2])
    with pytest.raises(InputError, match="permutation"):
        chain.relabel([0, 0, 2])


def output_of(graph: Graph) -> dict[tuple, int]:
    """The output as a sum of terms: term -> how often. A node with no input is zero."""
    terms: list[dict[tuple, int]] = []
    for node, op in enumerate(graph.ops):
        total: dict[tuple, int] = {("x",): 1} if node == 0 else {}
        for a, b in graph.edges:
            if b == node:
                for term, times in terms[a].items():
                    total[term] = total.get(term, 0) + times
        if node == 0 or node == len(graph.ops) - 1 or op == "skip_connect" or not total:
            terms.append(total)
        elif op == "none":
            terms.append({})
        else:
            terms.append({(op, tuple(sorted(total.items(), key=repr))): 1})
    return terms[-1]


@given(graphs())
def test_simplified_graph_computes_the_same(graph):
    assert output_of(simplify(graph)) == output_of(graph)
    assert output_of(prune(graph)) == output_of(graph)


# The output holds two terms twice, and the later term comes first.
TWO_COPIES = Graph(
    ("input", "a", "skip_connect", "skip_connect", "output"),
    ((0, 1), (0, 2), (0, 3), (1, 3), (1, 4), (2, 4), (3, 4)),
)


@given(graphs())
@example(TWO_COPIES)
def test_simplify_leaves_nothing_to_simplify(graph):
    once = simplify(graph)
    assert "none" not in once.ops
    twice = simplify(once)
    assert (twice.ops, twice.edges) == (once.ops, once.edges)
    assert once.ops[0] == "input"
    assert once.ops[-1] == "output"


@given(graphs(), st.integers(0, 2**32 - 1))
def test_simplify_of_relabelled_graphs_is_isomorphic(graph, seed):
    rng = np.random.default_rng(seed)
    order = [0, *(n for n in topological_order(graph, rng) if 0 < n < len(graph) - 1)]
    order.append(len(graph) - 1)
    try:
        other = graph.relabel(order)
    except InputError:
        return  # an inner node before the input: not an order with both ends in place
    assert simplify(other).canonical_hash == simplify(graph).canonical_hash


def test_a_doubled_skip_is_kept_once():
    # x reaches the output twice: directly and through an identity
    graph = Graph(("input", "skip_connect", "output"), ((0, 1), (0, 2), (1, 2)))
    simple = simplify(graph)
    assert sorted(simple.ops) == ["input", "output", "skip_connect"]
    alone = Graph(("input", "skip_connect", "output"), ((0, 1), (1, 2)))
    assert simplify(alone).ops == ("input", "output")


def test_prune_keeps_identities():
    graph = Graph(("input", "skip_connect", "none", "output"), ((0, 1), (0, 2), (1, 3), (2, 3)))
    assert prune(graph).ops == ("input", "skip_connect", "output")


def test_reordering_keeps_types_and_weights():
    graph = Graph(
        ("a", "b", "c"),
        ((0, 2), (1, 2)),
        types=("float16", "int8", "float32"),
        weight_types=("", "int4", "int8"),
        weight_bytes=np.array([0.0, 4.0, 8.0]),
    )
    turned = graph.relabel([1, 0, 2])
    assert turned.types == ("int8", "float16", "float32")
    assert turned.weight_types == ("int4", "", "int8")
    assert turned.weight_bytes.tolist() == [4, 0, 8]
    assert Graph(("a",), ()).executed.types == ()


@pytest.mark.parametrize("name", ["types", "weight_types"])
def test_types_are_one_a_node(name):
    with pytest.raises(InputError, match=f"{name} has 1 entries, expected 2: one a node"):
        Graph(("a", "b"), ((0, 1),), **{name: ("int8",)})
