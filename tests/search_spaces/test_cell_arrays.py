import numpy as np
import pytest

from nasplug import InputError
from nasplug.search_spaces import Graph, space
from nasplug.search_spaces.cell_arrays import CELL_ATTRIBUTES, CellArrays
from nasplug.search_spaces.nb101.arrays import cell_arrays

NB = space("nb101")
TYPES = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")


def test_codes_and_graphs_give_the_same_arrays():
    # the smallest cells, and some of every size
    places = [*range(60), *range(2_000, len(NB), 3_011)]
    codes = NB.codes[places]
    fast = cell_arrays(codes)
    slow = CellArrays.of(NB.to_graphs([NB[k] for k in places]), TYPES, 7)
    assert set(fast.nodes.tolist()) == {2, 3, 4, 5, 6, 7}
    assert fast.types == slow.types
    for name in ("ops", "nodes", "edges"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name))
    for name in CELL_ATTRIBUTES:
        np.testing.assert_allclose(fast.attributes[name], slow.attributes[name])
    np.testing.assert_allclose(fast.attributes["params"].sum(1), NB.totals(codes)["params"])
    # in any order, as a search asks
    shuffled = np.random.default_rng(0).permutation(len(codes))
    np.testing.assert_array_equal(cell_arrays(codes[shuffled]).edges, fast.edges[shuffled])
    assert len(NB.arrays(codes[:5])) == 5


def test_no_codes_give_no_rows():
    none = cell_arrays(NB.codes[:0])
    assert none.ops.shape == (0, 7)
    assert none.edges.shape == (0, 7, 7)


def test_the_last_node_has_the_last_place():
    graph = Graph(("input", "maxpool3x3", "other", "output"), ((0, 1), (0, 2), (1, 3), (2, 3)))
    arrays = CellArrays.of([graph], TYPES, 5)
    assert arrays.ops.tolist() == [[-1, 2, -1, -1, -1]]
    assert np.argwhere(arrays.edges[0]).tolist() == [[0, 1], [0, 2], [1, 4], [2, 4]]
    assert arrays.nodes.tolist() == [4]


def test_one_node_is_no_cell():
    with pytest.raises(InputError, match="a graph has one node"):
        CellArrays.of([Graph(("input",), ())], TYPES)
