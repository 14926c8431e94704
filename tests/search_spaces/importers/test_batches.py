"""The rule that tells a batch from a first axis that belongs to one sample."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.batches import (
    Reading,
    batch_axes,
    candidates,
    independent,
    one_sample,
)
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.torch_graph import torch_network


def perceptron(batch, features=6):
    """Reading of a network that treats its rows independently."""
    network = ImportedNetwork("perceptron")
    x = network.add("Input", (), (batch, features))
    hidden = network.add_product(x, (features, 4), (batch, 4))
    return Reading(network, [network.add("Relu", (hidden,), (batch, 4))])


def attention(length):
    """Reading of a network whose rows read each other."""
    network = ImportedNetwork("attention")
    x = network.add("Input", (), (length, 8))
    return Reading(network, [network.add_attention(x, x, x)])


@pytest.mark.parametrize(
    ("shapes", "sizes", "axes"),
    [
        ([(8, 3, 4), (8, 5)], [8], [0, 0]),
        ([(8, 3), (1, 3), (8,)], [8], [0, None, 0]),
        ([(1, 3), ()], [1], [0, None]),
        ([(8, 3), (5, 3)], [], None),
        # Beside an image a vector is a setting.
        ([(1, 3, 8, 8), (4,)], [1], [0, None]),
        ([(16,)], [16], [0]),
        ([()], [1], [None]),
        # States of a recurrent layer: layers first.
        ([(8, 6, 4), (2, 8, 4)], [8], [0, 1]),
        ([(1, 6, 4), (2, 1, 4)], [2, 1], [None, 0]),
        ([(0, 3)], [], None),
    ],
)
def test_axes_that_may_be_the_batch(shapes, sizes, axes):
    assert candidates(shapes) == sizes
    if sizes:
        assert batch_axes(shapes, sizes[0]) == axes


@given(st.integers(2, 40), st.integers(1, 20))
def test_rows_that_are_independent_are_a_batch(batch, features):
    read = one_sample(
        perceptron(batch, features), [(batch, features)], lambda *_: perceptron(1, features)
    )
    assert (read.batch, read.is_free) == (batch, True)
    assert read.graph.total("flops") == features * 4


@given(st.integers(2, 40))
def test_rows_that_read_each_other_are_one_sample(length):
    read = one_sample(attention(length), [(length, 8)], lambda *_: attention(1))
    assert (read.batch, read.is_free) == (length, False)
    assert read.graph.total("flops") == 2 * length * length * 8


def test_what_cannot_be_read_with_one_entry_is_one_sample():
    def refused(times, axes):
        raise InputError(f"no network of {times} on {axes}")

    read = one_sample(perceptron(5), [(5, 6)], refused)
    assert (read.batch, read.is_free) == (5, False)


def test_first_axes_that_differ_are_no_batch():
    read = one_sample(perceptron(5), [(5, 6), (7, 2)], lambda *_: perceptron(1))
    assert (read.batch, read.is_free) == (1, False)


def test_a_single_entry_is_read_once():
    read = one_sample(perceptron(1), [(1, 6)], lambda *_: pytest.fail("read again"))
    assert (read.batch, read.is_free) == (1, True)


@pytest.mark.parametrize(("axis", "is_free"), [(0, False), (-2, False), (1, True), (-1, True)])
@pytest.mark.parametrize("function", ["softmax", "log_softmax", "cumsum"])
def test_functions_of_pytorch_along_the_first_axis(function, axis, is_free):
    class Module(torch.nn.Module):
        def forward(self, x):
            return x * getattr(x, function)(axis)

    assert torch_network(Module(), torch.zeros(8, 4)).is_free is is_free


def test_rows_of_an_image_are_no_batch():
    def convolution(height):
        network = ImportedNetwork("an image without a batch")
        x = network.add("Input", (), (height, 8, 3))
        image = network.add("Reshape", (x,), (1, 3, height, 8))
        conv = network.add_conv(
            "Conv", image, (4, 3, 3, 3), (1, 4, height, 8), bias=False, stride=(1, 1), groups=1
        )
        return Reading(network, [conv])

    assert not independent(convolution(16), convolution(1), 16)


def test_steps_that_differ_are_no_batch():
    longer = perceptron(4)
    longer.network.add("Relu", (2,), (4, 4))
    assert not independent(longer, perceptron(1), 4)
    other = perceptron(4)
    other.network.steps[2] = other.network.steps[2].becomes("Tanh")
    assert not independent(other, perceptron(1), 4)
