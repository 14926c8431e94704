"""ONNX's Attention, with the masks and outputs that its own tests have."""

import pytest
from onnx import TensorProto, helper

from nasplug.search_spaces.importers.onnx_graph import onnx_graph

BOOL, FLOAT, HALF = TensorProto.BOOL, TensorProto.FLOAT, TensorProto.FLOAT16


def read(code=FLOAT, mask=None, mask_code=BOOL, outputs=("y",), past=0, **attributes):
    """Attention of 4 words to `6 + past` words, 3 heads of 8 features."""
    shapes = {"q": (1, 3, 4, 8), "k": (1, 3, 6, 8), "v": (1, 3, 6, 8)}
    names = ["q", "k", "v", "mask" if mask else ""]
    if past:
        shapes |= dict.fromkeys(("past_k", "past_v"), (1, 3, past, 8))
        names += ["past_k", "past_v"]
    values = [helper.make_tensor_value_info(name, code, shape) for name, shape in shapes.items()]
    if mask:
        values.append(helper.make_tensor_value_info("mask", mask_code, mask))
    node = helper.make_node("Attention", names, list(outputs), **attributes)
    ends = [helper.make_tensor_value_info(name, code, None) for name in outputs if name]
    graph = helper.make_graph([node], "g", values, ends)
    return onnx_graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)]))


@pytest.mark.parametrize(
    "options",
    [
        {"mask": (4, 6)},
        {"mask": (6,)},
        {"mask": (1, 3, 4, 6)},
        {"mask": (1, 1, 4, 4)},
        {"mask": (1, 1, 4, 4), "mask_code": FLOAT},
        {"is_causal": 1},
        {"is_causal": 1, "code": HALF},
        {"outputs": ("y", "", "", "scores")},
        {"outputs": ("y", "", "", "scores"), "qk_matmul_output_mode": 3, "mask": (4, 6)},
    ],
)
def test_masks_and_outputs(options):
    assert read(**options).total("flops") == 2 * 3 * 4 * 6 * 8


def test_a_cache():
    graph = read(past=5, outputs=("y", "present_k", "present_v"))
    assert graph.total("flops") == 2 * 3 * 4 * 11 * 8
