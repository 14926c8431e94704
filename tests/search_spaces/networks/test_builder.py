"""Networks that are built operator by operator."""

import numpy as np
import pytest

from nasplug.search_spaces import InputError
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible


def test_make_divisible_follows_the_reference():
    cases = {19.2: 24, 28.8: 32, 134.4: 136, 3: 8, 16: 16, 20: 24, 11: 16, 91.7: 88}
    assert {value: make_divisible(value) for value in cases} == cases


def test_window_larger_than_the_image_is_refused():
    net = NetworkBuilder(4)
    with pytest.raises(InputError, match="window of 7 pixels does not fit into an image of 4"):
        net.conv(net.input, 8, 7, padding=0)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "ceil", "out"),
    [
        (112, 3, 2, 0, True, 56),
        (112, 3, 2, 0, False, 55),
        (7, 2, 2, 0, True, 4),
        (7, 2, 2, 0, False, 3),
        (3, 2, 2, 1, True, 2),  # a window that would start in the right padding is left out
        (7, 3, 1, 1, False, 7),
    ],
)
def test_sides_of_poolings(side, kernel, stride, padding, ceil, out):
    net = NetworkBuilder(side)
    assert net.side(net.max_pool(net.input, kernel, stride, padding, ceil)) == out


def test_channel_shuffle_interleaves_and_keeps_the_shape():
    import onnxruntime

    net = NetworkBuilder(2, channels=6)
    model = net.onnx_model(net.channel_shuffle(net.input, 2))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    image = np.arange(6, dtype=np.float32)[None, :, None, None] * np.ones((1, 1, 2, 2), np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: image})
    assert found[0, :, 0, 0].tolist() == [0, 3, 1, 4, 2, 5]
    assert net.graph(len(net.operators) - 1).ops == (
        "Input",
        "Reshape",
        "Transpose",
        "Reshape",
        "Output",
    )
