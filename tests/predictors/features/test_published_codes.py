import numpy as np
import pytest

from nasplug.predictors.features.published_codes import (
    ATTRIBUTE_WIDTH,
    MOST_OPS,
    NNLP_WIDTH,
    nerf_frequencies,
    nnlp_code,
    one_hot,
    positions,
    sinusoid,
    sinusoid_code,
    static_values,
    wave_frequencies,
)
from nasplug.predictors.training.relabeling import relabeled
from nasplug.search_spaces import ATTRIBUTES, Graph
from nasplug.search_spaces.nb201 import NB201

NB = NB201()
CELL = NB.to_graph(
    NB.parse("|nor_conv_3x3~0|+|avg_pool_3x3~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|")
)
VOCABULARY = (
    "input",
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
    "output",
)


def test_frequencies():
    np.testing.assert_allclose(wave_frequencies(5), 10_000.0 ** (-np.arange(5) / 5))
    found = nerf_frequencies(32) / np.pi
    assert found[0] == 1.0
    assert found[-1] == 2.0**31
    np.testing.assert_allclose(np.diff(found), (2.0**31 - 1) / 31)


def test_sinusoids_interleaved_and_not():
    values, frequencies = np.array([[0.5, 2.0]]), np.array([1.0, 0.1])
    plain = sinusoid(values, frequencies, interleaved=False)
    assert plain.shape == (1, 2, 4)
    np.testing.assert_allclose(plain[0, 1], [np.sin(2), np.sin(0.2), np.cos(2), np.cos(0.2)])
    mixed = sinusoid(values, frequencies, interleaved=True)
    np.testing.assert_allclose(mixed[0, 1], [np.sin(2), np.cos(2), np.sin(0.2), np.cos(0.2)])


def wave(value, width):
    pairs = [value * 10_000 ** (-2 * k / width) for k in range(width // 2)]
    return [f(angle) for angle in pairs for f in (np.sin, np.cos)]


@pytest.mark.parametrize(("numbers", "width"), [(20, 192), (10, 152)])
def test_code_of_a_cell(numbers, width):
    code = sinusoid_code([CELL], VOCABULARY, 16, numbers)
    assert code.shape == (8, width)
    # Nodes are input, the six operations in string order, output.
    attributes = code[:, MOST_OPS : MOST_OPS + ATTRIBUTE_WIDTH]
    convolution = [wave(v, 10) for v in (3, 1, 1, 1, 1, 0)]  # kernel … groups, bias
    np.testing.assert_allclose(attributes[1], [*np.ravel(convolution), *[0.0] * 20])
    pooling = [wave(v, 10) for v in (3, 1, 1)]
    np.testing.assert_allclose(attributes[2], [*np.ravel(pooling), *[0.0] * 50])
    for node in (0, 3, 4, 7):  # input, none, skip_connect, output
        assert not attributes[node].any()
    small = [wave(v, 10) for v in (1, 1, 0, 1, 1, 0)]
    np.testing.assert_allclose(attributes[5], [*np.ravel(small), *[0.0] * 20])
    shape = [wave(v, numbers) for v in (16, 16, 32, 32)]  # N, C, H, W
    np.testing.assert_allclose(code[1, MOST_OPS + ATTRIBUTE_WIDTH :], np.ravel(shape))


def test_nnlp_code_of_a_cell():
    code = nnlp_code([CELL], VOCABULARY, 1)
    assert code.shape == (8, NNLP_WIDTH) == (8, 44)
    np.testing.assert_array_equal(code[:, :MOST_OPS], one_hot([CELL], VOCABULARY))
    convolution = [
        (3 - 2.53) / 56,
        (1 - 1.16) / 56,
        (1 - 0.75) / 6,
        0,
        (1 - 15.08) / 6144,
        -0.77,
        0,
        0,
    ]
    np.testing.assert_allclose(code[1, 32:40], convolution)
    np.testing.assert_allclose(code[2, 32:40], [*convolution[:3], *[0] * 5])
    assert not code[3, 32:40].any()
    shape = [(1 - 12.25) / 1024, (16 - 286.96) / 2496, (32 - 32.62) / 256, (32 - 31.80) / 256]
    np.testing.assert_allclose(code[4, 40:], shape)


def test_one_hot_is_the_place_in_the_vocabulary():
    assert one_hot([CELL], VOCABULARY).argmax(1).tolist() == [0, 4, 5, 1, 2, 3, 1, 6]
    assert one_hot([CELL], VOCABULARY).sum() == 8


def test_positions_start_anew_in_each_graph():
    small = Graph(("input", "output"), ((0, 1),))
    assert positions([small, CELL, small]).tolist() == [0, 1, *range(8), 0, 1]


def test_static_values_count_the_batch():
    one, many = static_values([CELL], 1)[0], static_values([CELL], 32)[0]
    assert one[:3].tolist() == [1.0, CELL.total("flops"), CELL.total("params")]
    assert one[3] == pytest.approx(CELL.total("bytes") / 4)
    assert many[0] == 32
    assert many[1:3].tolist() == one[1:3].tolist()
    assert many[3] == pytest.approx(32 * (one[3] - one[2]) + one[2])
    assert static_values([], 1).shape == (0, 4)


def test_an_unknown_shape_is_no_error():
    bare = Graph(("input", "output"), ((0, 1),))
    assert np.isfinite(sinusoid_code([bare], VOCABULARY, 1, 20)).all()
    assert np.isfinite(nnlp_code([bare], VOCABULARY, 1)).all()
    assert static_values([bare], 1).tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_relabeled_graphs_are_isomorphic_and_in_another_order():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        copy = relabeled(CELL, rng)
        assert copy.canonical_hash == CELL.canonical_hash
        assert (copy.ops, copy.edges) != (CELL.ops, CELL.edges)
        flops = copy.attributes[:, ATTRIBUTES.index("flops")]
        assert flops.sum() == CELL.total("flops")
        assert (flops > 0).sum() == (CELL.attribute("flops") > 0).sum()
        seen.add((copy.ops, copy.edges))
    assert len(seen) > 3


def test_a_chain_has_no_other_order():
    chain = Graph(("input", "nor_conv_3x3", "output"), ((0, 1), (1, 2)))
    assert relabeled(chain, np.random.default_rng(0)) is chain
