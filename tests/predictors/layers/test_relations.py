import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.predictors.layers.relations import RELATIONS, relation_edges
from nasplug.search_spaces import InputError

# 0 -> 1, 0 -> 2, 1 -> 3, 2 -> 3
DIAMOND = ((0, 1), (0, 2), (1, 3), (2, 3))


def attended(nodes, edges, relation, **tokens):
    """Node -> the nodes it attends to."""
    size = nodes + sum(v for k, v in tokens.items() if k.endswith("tokens"))
    found = relation_edges(nodes, edges, **tokens)
    key, query = found.relations[RELATIONS.index(relation)]
    return {i: set(key[query == i].tolist()) for i in range(size)}


def test_relations_of_a_diamond():
    assert attended(4, DIAMOND, "successors") == {0: {0, 1, 2}, 1: {1, 3}, 2: {2, 3}, 3: {3}}
    assert attended(4, DIAMOND, "predecessors") == {0: {0}, 1: {0, 1}, 2: {0, 2}, 3: {1, 2, 3}}
    both = {0: {0}, 1: {1, 2}, 2: {1, 2}, 3: {3}}
    assert attended(4, DIAMOND, "siblings_by_predecessor") == both
    assert attended(4, DIAMOND, "siblings_by_successor") == both


def test_the_two_sibling_relations_differ():
    fork = ((0, 1), (0, 2))  # 1 and 2 share a parent, no child
    assert attended(3, fork, "siblings_by_predecessor")[1] == {1, 2}
    assert attended(3, fork, "siblings_by_successor")[1] == {1}
    join = ((0, 2), (1, 2))  # 0 and 1 share a child, no parent
    assert attended(3, join, "siblings_by_successor")[0] == {0, 1}
    assert attended(3, join, "siblings_by_predecessor")[0] == {0}


def test_tokens_relate_to_everyone():
    found = attended(4, DIAMOND, "siblings_by_successor", leading_tokens=1, trailing_tokens=1)
    assert found[0] == set(range(6))
    assert found[5] == set(range(6))
    assert found[2] == {0, 2, 3, 5}


def test_padded_sibling_mask_is_global_attention():
    # The behaviour of NN-Former's released code, here on its own example size of five nodes.
    edges = ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4))
    for relation in RELATIONS[2:]:
        tokens = {"leading_tokens": 1, "trailing_tokens": 1}
        padded = attended(5, edges, relation, **tokens, sibling_mask="padded")
        assert sum(len(keys) for keys in padded.values()) == 49
        honest = attended(5, edges, relation, **tokens)
        assert sum(len(keys) for keys in honest.values()) < 49
    without = attended(5, edges, "siblings_by_successor")
    assert sum(len(keys) for keys in without.values()) == 7


def test_unknown_sibling_mask_is_refused():
    with pytest.raises(InputError, match="sibling_mask is 'all'"):
        relation_edges(2, ((0, 1),), sibling_mask="all")


@given(st.integers(1, 8), st.data())
def test_relations_are_the_matrix_products(nodes, data):
    pairs = [(i, j) for i in range(nodes) for j in range(i + 1, nodes)]
    edges = tuple(pair for pair in pairs if data.draw(st.booleans()))
    a = np.zeros((nodes, nodes), dtype=int)
    for i, j in edges:
        a[i, j] = 1
    expected = [np.eye(nodes) + m > 0 for m in (a, a.T, a.T @ a, a @ a.T)]
    for relation, mask in zip(relation_edges(nodes, edges).relations, expected, strict=True):
        built = np.zeros_like(mask)
        built[relation[1], relation[0]] = True
        assert (built == mask).all()
