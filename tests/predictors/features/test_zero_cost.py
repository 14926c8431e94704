"""Responses of random networks: deterministic, of the graph alone, and telling."""

import numpy as np
import pytest

from nasplug.predictors.features.zero_cost import RESPONSES, responses
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201
from nasplug.search_spaces.simplify import simplify

NB = NB201()
GRAPHS = [simplify(NB.to_graph(NB[k])) for k in (3, 77, 1234, 9930)]


def test_they_do_not_depend_on_company():
    together = responses(GRAPHS, seed=1)
    assert together.shape == (4, len(RESPONSES))
    np.testing.assert_allclose(together[2:3], responses(GRAPHS[2:3], seed=1), rtol=1e-5)
    assert np.isfinite(together).all()
    assert np.abs(together - responses(GRAPHS, seed=2)).max() > 1e-3


def column(graph, name):
    return responses([graph])[0, RESPONSES.index(name)]


def chain(*ops):
    nodes = ("input", *ops, "output")
    return Graph(nodes, tuple((k, k + 1) for k in range(len(nodes) - 1)))


def test_they_tell_what_operations_do():
    wide, narrow = chain("nor_conv_3x3"), chain("nor_conv_1x1")
    # A 1×1 convolution reaches other pixels through its normalisation only.
    assert column(wide, "receptive_radius") > 4 * column(narrow, "receptive_radius")
    assert column(chain("avg_pool_3x3"), "roughness_4") < column(narrow, "roughness_4")
    assert column(chain("skip_connect"), "input_similarity") == pytest.approx(1)
    # no unit is switched, so no two images are told apart
    assert column(chain("avg_pool_3x3"), "code_agreement") == 1
    assert 0 < column(wide, "code_agreement") < 1


def test_an_unconnected_cell_responds_with_zeros():
    assert not responses([Graph(("input", "output"), ())]).any()
    assert responses([]).shape == (0, len(RESPONSES))


def test_other_names_of_the_same_operations():
    for name in ("conv3x3-bn-relu", "maxpool3x3", "conv1x1-bn-relu"):
        assert np.isfinite(responses([chain(name)])).all()
    with pytest.raises(InputError, match="operation 'softmax'"):
        responses([chain("softmax")])
