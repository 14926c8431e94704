"""A user's own network: batches of files, operators without a model, element types."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import nasplug
from nasplug import InputError
from nasplug.cli import app
from nasplug.predicting.own_network import (
    batch_note,
    held_precision,
    precision_note,
    priced,
    unknown_operators,
    widened,
)
from nasplug.predictors.features.runtimes import Way
from nasplug.search_spaces import Graph

HARDWARE = "Titan RTX"
N = helper.make_node


def weight(name, *shape, type_=np.float32):
    return numpy_helper.from_array(np.zeros(shape, type_), name)


def network(batch=1, extra=(), code=TensorProto.FLOAT, type_=np.float32, target=None):
    """Two convolutions and what is put between them."""
    nodes = [
        N("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        *extra,
        N("Reshape", ["c" if not extra else extra[-1].output[0], "s"], ["r"]),
        N("Conv", ["r", "v"], ["y"]),
    ]
    size = batch if isinstance(batch, int) else -1
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", code, (batch, 3, 32, 32))],
        [helper.make_tensor_value_info("y", code, None)],
        [
            weight("w", 16, 3, 3, 3, type_=type_),
            weight("v", 8, 16, 1, 1, type_=type_),
            numpy_helper.from_array(np.array(target or [size, 16, 32, 32]), "s"),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def sequence(length=6):
    """Rows that read each other, so that the first axis is no batch."""
    nodes = [
        N("Transpose", ["x"], ["t"], perm=[1, 0]),
        N("MatMul", ["x", "t"], ["s"]),
        N("Softmax", ["s"], ["p"]),
        N("MatMul", ["p", "x"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (length, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def predicted(model, **options):
    return nasplug.predict(model, hardware=HARDWARE, **options)


def test_the_batch_is_that_of_the_file():
    one, eight = predicted(network(1)), predicted(network(8))
    assert (one.batch_size, eight.batch_size) == (1, 8)
    assert predicted(network("N")).batch_size == 1
    for batch in (1, 8, 3):
        sizes = {predicted(network(n), batch_size=batch).mean for n in (1, 8, "N")}
        assert max(sizes) == pytest.approx(min(sizes), rel=1e-6)
    asked = predicted(network(8), batch_size=2)
    assert "the file holds 8 images; the prediction is for batch 2, as requested" in asked.notes()
    assert not eight.batch_fixed


def test_a_network_that_is_fixed_to_its_first_axis():
    said = predicted(sequence())
    assert (said.batch_size, said.batch_fixed) == (6, True)
    assert any("read as one sample" in note for note in said.notes())
    assert said.to_json()["batch_fixed"] is True
    assert "first axis fixed to 6" in said.table()[0]["predicted"]
    assert predicted(sequence(), batch_size=6).mean == said.mean
    with pytest.raises(InputError, match="fixed to a batch of 6.*--input-shape") as caught:
        predicted(sequence(), batch_size=8)
    assert "\n" not in str(caught.value)
    given = predicted(sequence(), input_shapes={"": (8, 8)}, batch_size=8)
    assert given.batch_size == 8
    assert given.graph.total("flops") == 2 * 8 * 8 * 8


def test_a_batch_of_one_that_is_fixed():
    assert predicted(sequence(1)).batch_size == 1
    with pytest.raises(InputError, match="fixed to a batch of 1"):
        predicted(sequence(1), batch_size=8)


def strange():
    return [N("Strange", ["c"], ["a"], domain="com.example")]


@pytest.mark.filterwarnings("ignore:the ONNX model has operators of unknown cost")
def test_operators_without_a_model_are_named_and_widen_the_interval():
    plain, said = predicted(network()), predicted(network(extra=strange()))
    (share,) = said.unknown_operators.values()
    assert list(said.unknown_operators) == ["Strange"]
    moved = said.graph.attribute("bytes")
    assert share == pytest.approx(moved[said.graph.ops.index("Strange")] / moved.sum())
    assert said.to_json()["unknown_operators"] == {"Strange": round(share, 6)}
    assert any(f"Strange {share:.1%} of the bytes" in note for note in said.notes())
    assert said.upper / said.mean > 2 * plain.upper / plain.mean
    assert said.lower / said.mean < plain.lower / plain.mean
    assert plain.unknown_operators == {}


@pytest.mark.filterwarnings("ignore:the ONNX model has operators of unknown cost")
def test_a_network_that_is_mostly_unknown_is_refused():
    many = [
        N("Strange", ["c"], ["a0"], domain="com.example"),
        *(N("Strange", [f"a{k}"], [f"a{k + 1}"], domain="com.example") for k in range(8)),
    ]
    with pytest.raises(InputError, match="of the network, by the bytes .*Strange") as caught:
        predicted(network(extra=many))
    assert "\n" not in str(caught.value)


def test_the_interval_holds_what_the_unknown_share_may_take():
    assert widened(1.0, 2.0, {}) == (1.0, 2.0)
    lower, upper = widened(1.0, 2.0, {"A": 0.1, "B": 0.1})
    assert lower == pytest.approx(0.8)
    assert upper == pytest.approx(2.0 * 2.8)


def test_shares_are_those_of_bytes():
    rows = np.zeros((4, 10))
    rows[:, -1] = [0, 30, 10, 60]
    graph = Graph(("Input", "Odd", "Strange", "Conv"), ((0, 1), (1, 2), (2, 3)), rows)
    assert unknown_operators(graph) == {"Odd": 0.3, "Strange": 0.1}


def test_element_types_are_told():
    half = predicted(network(code=TensorProto.FLOAT16, type_=np.float16))
    assert half.setting == "tensorrt fp16"
    assert any("tensors are in fp16, and it is predicted" in note for note in half.notes())
    wide = predicted(network())
    assert half.graph.total("bytes") == wide.graph.total("bytes") / 2
    # Predictors halve the bytes themselves, by the precision.
    assert priced(half.graph).total("bytes") == wide.graph.total("bytes")
    assert (held_precision(half.graph), held_precision(wide.graph)) == ("fp16", "fp32")
    assert precision_note("fp32", nasplug.hardware("Titan RTX"), Way()) is None
    assert "run in TF32" in precision_note("fp32", nasplug.hardware("RTX 3090"), Way())
    assert "computed in int8" in precision_note("fp32", nasplug.hardware("T4"), Way("", "int8"))


def test_notes_on_batches():
    assert batch_note(1, 8, True, "the file") is None
    assert batch_note(8, 8, True, "the file") is None
    assert "the example holds 8" in batch_note(8, 4, True, "the example")
    assert "its inputs have no batch" in batch_note(1, 1, False, "the file")


def test_shapes_and_values_on_the_command_line(tmp_path):
    onnx.save(network("N"), tmp_path / "net.onnx")

    def run(*words):
        words = ["predict", str(tmp_path / "net.onnx"), "--hw", HARDWARE, *words]
        return CliRunner().invoke(app, words)

    told = json.loads(run("--json", "--input-shape", "4x3x32x32").stdout)
    assert (told["batch_size"], told["batch_fixed"]) == (4, False)
    assert json.loads(run("--json", "--batch-size", "2").stdout)["batch_size"] == 2
    shown = run("--input-shape", "4x3x32x32")
    assert "batch 4, ms" in shown.stdout
    failed = run("--input-value", "q=1")
    assert failed.exit_code == 2
    assert "names 'q', but the inputs" in failed.stderr
