"""Path features against counts by hand, and under other orders of the nodes."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.predictors.features.paths import (
    MAX_PATHS,
    count_matrix,
    neighbours,
    operation_pairs,
    path_counts,
    summaries,
)
from nasplug.predictors.training.relabeling import relabeled
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201
from nasplug.search_spaces.simplify import simplify

NB = NB201()
# input → 3×3 → pool → output, input → 3×3' → output, input → output
CELL = Graph(
    ("input", "nor_conv_3x3", "nor_conv_3x3", "avg_pool_3x3", "output"),
    ((0, 1), (0, 2), (0, 4), (1, 3), (2, 4), (3, 4)),
)


def neighbourhoods(graphs):
    return [Counter(zip(g.ops, *neighbours(g.ops, g.edges), strict=True)) for g in graphs]


def test_paths_by_hand():
    assert path_counts([CELL]) == [
        Counter({("nor_conv_3x3", "avg_pool_3x3"): 1, ("nor_conv_3x3",): 1, (): 1})
    ]
    assert operation_pairs([CELL])[0]["input", "nor_conv_3x3"] == 2
    assert neighbourhoods([CELL])[0]["nor_conv_3x3", ("input",), ("avg_pool_3x3",)] == 1


def test_summaries_by_hand():
    (row,) = summaries([CELL], ("avg_pool_3x3", "input", "nor_conv_3x3", "output", "skip_connect"))
    pool, conv, trained, rest = row[:5], row[5:10], row[10:15], row[15:]
    np.testing.assert_allclose(pool, [1, 1, 0, 1 / 3, 1])
    np.testing.assert_allclose(conv, [2, 1, 0, 2 / 3, 2])
    # without attributes no node is known to have parameters
    np.testing.assert_allclose(trained, [0, 0, 0, 0, 0])
    np.testing.assert_allclose(rest, [3, 1, 6, 5, 2, 0, 0, 0])


def test_summaries_see_parameters_and_unconnected_cells():
    graph = NB.to_graph(NB.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"))
    (row,) = summaries([simplify(graph)], ("nor_conv_3x3",))
    np.testing.assert_allclose(row[:10], [1, 1, 1, 1, 1] * 2)
    assert row[-2] > 5
    dead = simplify(NB.to_graph(NB.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")))
    (row,) = summaries([dead], ("nor_conv_3x3",))
    np.testing.assert_allclose(row[:5], [0, -1, -1, 0, 0])


@settings(max_examples=40)
@given(st.integers(0, 15_624), st.integers(0, 2**16))
def test_the_order_of_nodes_makes_no_difference(index, seed):
    graph = simplify(NB.to_graph(NB[index]))
    other = relabeled(graph, np.random.default_rng(seed))
    for counts in (path_counts, operation_pairs, neighbourhoods):
        assert counts([graph]) == counts([other])
    ops = ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    np.testing.assert_allclose(summaries([graph], ops), summaries([other], ops), rtol=1e-12)


def test_unknown_keys_keep_squared_distances():
    counts = [Counter({"a": 2}), Counter({"a": 1, "b": 2, "c": 1})]
    known = count_matrix(counts, {"a": 0})
    every = count_matrix(counts, {"a": 0, "b": 1, "c": 2})
    assert known.shape == (2, 2)
    distances = [np.sum((m[0] - m[1]) ** 2) for m in (known, every)]
    assert distances[0] == pytest.approx(distances[1])


def test_too_many_paths_are_refused():
    width, depth = 12, 4
    ops = ["input"] + ["nor_conv_3x3"] * width * depth + ["output"]
    layers = [[1 + d * width + k for k in range(width)] for d in range(depth)]
    edges = [(0, b) for b in layers[0]] + [(a, len(ops) - 1) for a in layers[-1]]
    for upper, lower in pairwise(layers):
        edges += [(a, b) for a in upper for b in lower]
    assert width**depth > MAX_PATHS
    with pytest.raises(InputError, match="more than 10,000 paths"):
        path_counts([Graph.build(ops, edges)])
