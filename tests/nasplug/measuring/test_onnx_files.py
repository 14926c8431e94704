"""The user's own ONNX files as networks to time."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from nasplug import InputError, MeasurementSet, measure
from nasplug.cli import app
from nasplug.measuring import campaign
from nasplug.measuring.onnx_files import networks_of_files
from nasplug.measuring.runtimes import inputs_of
from nasplug.search_spaces import space

QUICK: dict[str, Any] = {
    "threads": 1,
    "runs": 3,
    "warmup": 1,
    "min_seconds": 0.0,
    "max_seconds": 0.5,
    "retry_disturbed": False,
}
WORDS = ("--threads", "1", "--runs", "3", "--warmup", "1", "--min-seconds", "0")
WORDS = (*WORDS, "--no-retry-disturbed")
Shape = Sequence[int | str]


@pytest.fixture(autouse=True)
def tiny_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    monkeypatch.setattr(campaign, "REFERENCE", ("nnlqp:nasbench201", cell))


def write(path: Path, shape: Shape = ("N", 4, 8, 8), op: str = "Relu", scale: float = 1.0) -> Path:
    """Write a network of one operator and a product with a weight."""
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"]), helper.make_node("Mul", ["y", "w"], ["z"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.full((4, 1, 1), scale, np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def timed(files: Sequence[Path], out: Path | None = None, **options: Any) -> MeasurementSet:
    return measure(files=files, out=out, **{**QUICK, **options})


def test_files_are_rows_by_name_and_content(tmp_path: Path) -> None:
    a, b, out = write(tmp_path / "a.onnx"), tmp_path / "b.onnx", tmp_path / "latency.csv"
    write(b, (2, 4, 8, 8))
    measured = timed([a, b, a], out)
    table = pd.read_csv(out)
    assert table["arch"].tolist() == [str(a), str(b)]
    assert table["family"].tolist() == ["a.onnx", "b.onnx"]
    # The second file fixes its first axis, and is run as it is.
    assert table["batch_size"].tolist() == [1, 2]
    assert (table["latency_ms"] > 0).all()
    assert table["params"].tolist() == [4, 4]
    assert measured.description["settings"]["space"] == "ONNX files"
    first = out.read_text(encoding="utf-8")
    timed([a, b], out)
    assert out.read_text(encoding="utf-8") == first
    write(a, scale=2.0)
    assert [row.arch for row in timed([a, b], out).rows] == [str(a), str(b), str(a)]
    assert pd.read_csv(out)["arch_id"].is_unique


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_subnormal_numbers_are_numbers_again_afterwards(tmp_path: Path, backend: str) -> None:
    cell = "|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"
    cells = space("nnlqp:nasbench201")
    onnx.save(cells.to_onnx(cells.parse(cell)), tmp_path / "a.onnx")
    timed([tmp_path / "a.onnx"], backend=backend, hardware="cpu")
    assert np.finfo(np.float64).tiny / 2 > 0


def test_an_open_first_axis_is_the_batch(tmp_path: Path) -> None:
    networks = networks_of_files([write(tmp_path / "a.onnx")], 3, {})
    (arch,) = networks.archs
    inputs = inputs_of(networks.write(arch))
    assert {name: value.shape for name, value in inputs.items()} == {"x": (3, 4, 8, 8)}
    assert networks.batch_size(arch) == 3
    with pytest.raises(InputError, match="b.onnx has the fixed batch size 2, not"):
        networks_of_files([write(tmp_path / "b.onnx", (2, 4, 8, 8))], 3, {})


def test_a_first_axis_that_is_no_batch_counts_as_one(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx", (8, 4, 3, 3))
    model = onnx.load(file)
    model.graph.node.append(helper.make_node("Softmax", ["z"], ["s"], axis=0))
    model.graph.output.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, None))
    onnx.save(model, file)
    (arch,) = (networks := networks_of_files([file], 1, {})).archs
    assert networks.batch_size(arch) == 1
    assert inputs_of(networks.write(arch))["x"].shape == (8, 4, 3, 3)


def test_inputs_of_other_types_and_old_files() -> None:
    values = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 7]),
        helper.make_tensor_value_info("half", TensorProto.FLOAT16, [2]),
        helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]),
    ]
    weight = numpy_helper.from_array(np.ones(3, np.float32), "w")
    model = helper.make_model(helper.make_graph([], "g", values, [], [weight]))
    inputs = inputs_of(model)
    assert {name: (value.dtype, value.shape) for name, value in inputs.items()} == {
        "ids": (np.int64, (1, 7)),
        "half": (np.float16, (2,)),
    }
    assert not inputs["ids"].any()


def test_open_sizes_are_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx", ("N", 4, "h", "w"))
    with pytest.raises(
        InputError, match=r"axis 2 of input 'x' has no fixed size.* --input-shape x=1x4x224x224"
    ):
        timed([file])
    shape = {"x": (1, 4, 6, 6)}
    measured = timed([file], input_shapes=shape)
    assert measured.rows[0].latency_ms > 0
    assert measured.description["settings"]["input_shapes"] == {"x": [1, 4, 6, 6]}
    for wrong, said in [
        ({**shape, "y": (1,)}, "no file has an input 'y'; the inputs are x"),
        ({"x": (1, 4, 6)}, "'x' got the shape .*, which contradicts the file"),
        ({"x": (1, 5, 6, 6)}, "'x' got the shape .*, which contradicts the file"),
        ({"x": (1, 4, 0, 6)}, "sizes must be positive whole numbers"),
        ({"x": (1, 4, 2**20, 2**20)}, "is too large"),
    ]:
        with pytest.raises(InputError, match=said):
            timed([file], input_shapes=wrong)


def test_shapes_without_a_name_and_values_of_inputs(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx", ("N", 4, "h", "w"))
    (arch,) = (networks := networks_of_files([file], 1, {"": (1, 4, 6, 6)})).archs
    assert inputs_of(networks.write(arch))["x"].shape == (1, 4, 6, 6)
    model = onnx.load(file)
    model.graph.input.append(helper.make_tensor_value_info("times", TensorProto.INT64, [4]))
    model.graph.node.append(helper.make_node("Tile", ["z", "times"], ["t"]))
    model.graph.output.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, None))
    onnx.save(model, file)
    with pytest.raises(InputError, match="has inputs x, times; name the one"):
        networks_of_files([file], 1, {"": (1, 4, 6, 6)})
    shape, values = {"x": (1, 4, 6, 6)}, {"times": [1, 2, 1, 1]}
    (arch,) = (networks := networks_of_files([file], 1, shape, values)).archs
    written = networks.write(arch)
    assert inputs_of(written)["x"].shape == (1, 4, 6, 6)
    assert inputs_of(written)["times"].tolist() == [1, 2, 1, 1]
    assert networks.graph(arch).total("params") == 4
    with pytest.raises(InputError, match="no file has an input 'q'"):
        networks_of_files([file], 1, shape, {**values, "q": 1})
    measured = timed([file], input_shapes=shape, input_values=values)
    assert measured.description["settings"]["input_values"] == values


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx")
    model = onnx.load(file)
    options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(model, file, **options)
    assert timed([file]).rows[0].latency_ms > 0
    (tmp_path / "w.bin").unlink()
    with pytest.raises(InputError, match="a.onnx: cannot read the separate file of its weights"):
        measure(files=file, **QUICK)


def test_pytorch_runs_files(tmp_path: Path) -> None:
    cells = space("nnlqp:nasbench201")
    cell = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    file = tmp_path / "a.onnx"
    onnx.save(cells.to_onnx(cells.parse(cell)), file)
    (row,) = timed([file], backend="torch", hardware="cpu").rows
    assert row.latency_ms > 0
    assert row.params == cells.to_graph(cells.parse(cell)).total("params")


def test_a_network_without_a_graph_is_timed(tmp_path: Path) -> None:
    """Boxes of a detector: their number is known only when it runs."""
    file = tmp_path / "a.onnx"
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"]), helper.make_node("Transpose", ["y"], ["z"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 9])],
        [helper.make_tensor_value_info("z", TensorProto.INT64, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    assert timed([file]).rows[0].latency_ms > 0


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    return lambda *words: CliRunner().invoke(app, ["measure", *WORDS, *words])


def test_the_command_takes_files_and_architectures(run: Callable[..., Any], tmp_path: Path) -> None:
    write(tmp_path / "a.onnx", ("N", 4, "h", "w"))
    result = run("a.onnx", "--input-shape", "x=1x4x6x6", "--json")
    assert result.exit_code == 0, result.stderr
    assert [row["arch"] for row in json.loads(result.stdout)["rows"]] == ["a.onnx"]
    assert "timing 1 network of ONNX files" in result.stderr
    cell = str(next(iter(space("macro"))))  # type: ignore[call-overload]
    result = run(cell, "--space", "macro", "--out", "cells.csv")
    assert result.exit_code == 0, result.stderr
    assert pd.read_csv("cells.csv", dtype=str)["arch"].tolist() == [cell]


def test_a_file_that_does_not_run_is_named(run: Callable[..., Any], tmp_path: Path) -> None:
    write(tmp_path / "a.onnx")
    write(tmp_path / "b.onnx", op="Nonsense")
    result = run("a.onnx", "b.onnx")
    assert result.exit_code == 0
    assert "b.onnx cannot be timed: " in result.stderr
    assert pd.read_csv("latency.csv")["error"].notna().tolist() == [False, True]
    result = run("b.onnx", "--out", "b.csv")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("nasplug: b.onnx cannot be timed: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent.onnx"], "absent.onnx does not exist"),
        (["folder.onnx"], "folder.onnx is a folder"),
        (["noise.onnx"], "noise.onnx is no ONNX model, or a damaged one"),
        (["empty.onnx"], "empty.onnx has no nodes"),
        (["good.onnx", "noise.onnx"], "noise.onnx is no ONNX model"),
        (["good.onnx", "--n", "3"], "give either .onnx files or networks of a space, not both"),
        (["good.onnx", "resnet18"], "give either .onnx files or networks of a space, not both"),
        (["good.onnx", "--input-shape", "x"], "'x' is not a shape"),
        (["--n", "3", "--input-shape", "x=1x2"], "of inputs need an .onnx file"),
    ],
)
def test_a_bad_file_is_one_sentence(
    run: Callable[..., Any], tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "noise.onnx").write_bytes(np.random.default_rng(0).bytes(500))
    (tmp_path / "empty.onnx").write_bytes(b"")
    write(tmp_path / "good.onnx")
    result = run(*words)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert said in line
    assert not (tmp_path / "latency.csv").exists()
