"""Latency of a user's own network: ONNX files and PyTorch modules."""

import json
import math
import random

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import nasplug
from nasplug import InputError
from nasplug.cli import app
from nasplug.commands.predict import parse_shapes, parse_values
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.predicting.architecture_predictor import ArchitecturePredictor
from nasplug.predictors import create
from nasplug.search_spaces import Graph

HARDWARE = "Titan RTX"


class Toy(nn.Module):
    """A user's toy network."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()
        )
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


EXAMPLE = torch.zeros(1, 3, 64, 64)


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    space = nasplug.space("nnlqp:squeezenet")
    path = tmp_path_factory.mktemp("networks") / "squeezenet.onnx"
    onnx.save(space.to_onnx(space.standard, 0, 1), str(path))
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_a_module_and_its_graph_are_predicted_alike():
    from nasplug.search_spaces.importers.torch_graph import torch_graph

    said = nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE)
    again = nasplug.predict(torch_graph(Toy(), EXAMPLE), hardware=HARDWARE)
    assert 0 < said.lower < said.mean < said.upper
    assert said.to_json() == again.to_json()
    assert said.evidence == "measured"
    assert said.hardware.name == HARDWARE


def test_the_answer_is_for_the_batch_of_the_example():
    one = nasplug.predict(Toy(), EXAMPLE, hardware="RTX 3090")
    eight = nasplug.predict(Toy(), EXAMPLE.expand(8, -1, -1, -1), hardware="RTX 3090")
    asked = nasplug.predict(Toy(), EXAMPLE, hardware="RTX 3090", batch_size=8)
    assert (one.batch_size, eight.batch_size) == (1, 8)
    assert eight.to_json() == asked.to_json()
    assert eight.mean >= one.mean
    # FLOPs are those of one image, whatever the batch.
    assert eight.graph.total("flops") == one.graph.total("flops")


def test_a_batch_that_is_named_wins_over_the_example_and_both_are_said():
    said = nasplug.predict(Toy(), EXAMPLE.expand(8, -1, -1, -1), hardware=HARDWARE, batch_size=2)
    assert said.batch_size == 2
    assert said.mean == nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE, batch_size=2).mean
    assert "the example holds 8 images; the prediction is for batch 2, as requested" in said.notes()
    plain = nasplug.predict(Toy(), EXAMPLE.expand(2, -1, -1, -1), hardware=HARDWARE)
    assert not any("example" in note for note in plain.notes())


def test_random_generators_are_left_alone():
    before = torch.get_rng_state(), random.getstate()
    nasplug.predict(nn.Sequential(nn.Dropout(), nn.ReLU()), EXAMPLE, hardware=HARDWARE)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_an_exported_program_needs_no_example():
    program = torch.export.export(Toy().eval(), (EXAMPLE,))
    said = nasplug.predict(program, hardware=HARDWARE)
    assert said.mean == nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE).mean


def test_products_of_weights_count_where_they_are_computed_in_each_pass():
    class Weights(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.zeros(512, 512)) for _ in range(2))

        def forward(self, x):
            return x + (self.a @ self.b)[:1]

    example = torch.zeros(1, 512)
    eager, folded = (
        nasplug.predict(Weights(), example, hardware=HARDWARE, runtime=runtime)
        for runtime in ("eager", "onnxruntime")
    )
    assert eager.graph.total("flops") == 512**3
    assert folded.graph.total("flops") == 0


def test_mixed_precision_moves_half_the_bytes():
    wide = nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE)
    narrow = nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE, autocast="float16")
    assert narrow.graph.total("bytes") < 0.7 * wide.graph.total("bytes")
    assert any("fp16" in note for note in narrow.notes())


def test_arguments_of_another_kind_of_network_are_refused(squeezenet):
    with pytest.raises(InputError, match="example and autocast are for PyTorch modules"):
        nasplug.predict(squeezenet, EXAMPLE, hardware=HARDWARE)
    with pytest.raises(InputError, match="input_shapes and input_values are for ONNX files"):
        nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE, input_shapes={"x": (1, 3, 64, 64)})
    with pytest.raises(InputError, match="it returns its inputs"):
        nasplug.predict(nn.Identity(), EXAMPLE, hardware=HARDWARE)


def test_a_default_device_of_the_caller():
    want = nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE)
    with torch.device("meta"):
        again = nasplug.predict(Toy(), torch.zeros(1, 3, 64, 64), hardware=HARDWARE)
    assert again.to_json() == want.to_json()


class TwoInputs(nn.Module):
    """A user's network of two tensors."""

    def forward(self, x, y):
        return x.mean() * y


@pytest.mark.parametrize(("sizes", "batch"), [((4, 4), 4), ((4, 3), 1)])
def test_inputs_that_read_each_other_are_one_sample(sizes, batch):
    example = tuple(torch.zeros(size, 16) for size in sizes)
    said = nasplug.predict(TwoInputs(), example, hardware=HARDWARE)
    assert (said.batch_size, said.batch_fixed) == (batch, True)
    assert any("read as one sample" in note for note in said.notes())
    with pytest.raises(InputError, match=f"fixed to a batch of {batch}.*give an example of 2"):
        nasplug.predict(TwoInputs(), example, hardware=HARDWARE, batch_size=2)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True])
def test_a_batch_that_is_no_count_is_refused(batch_size):
    with pytest.raises(InputError, match="batch size"):
        nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE, batch_size=batch_size)


def test_a_network_is_scored_once(monkeypatch):
    from nasplug.predictors.latency.network_latency import NetworkLatency

    calls, predict = [], NetworkLatency.predict
    monkeypatch.setattr(
        NetworkLatency,
        "predict",
        lambda *given, **named: calls.append(given) or predict(*given, **named),
    )
    assert nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE).mean > 0
    assert len(calls) == 1


def test_the_parts_of_a_latency_are_told_the_longest_first():
    said = nasplug.predict(Toy(), EXAMPLE, hardware=HARDWARE)
    times = [operator.latency_ms for operator in said.operators]
    assert times == sorted(times, reverse=True)
    assert len(times) == len(said.graph)
    assert math.isclose(sum(times) + said.rest_ms, said.mean, rel_tol=1e-6)
    assert math.isclose(
        sum(operator.share for operator in said.operators) + said.rest_ms / said.mean, 1
    )
    assert said.operators[0].operator == "Conv"
    rows = said.operator_rows(2)
    assert len(rows) == 4
    assert rows[-2]["operator"] == f"{len(times) - 2} others"
    assert rows[-1]["operator"] == "outside operators"
    assert float(rows[-1]["ms"]) == pytest.approx(said.rest_ms, rel=1e-3)
    every = said.operator_rows(1000)
    assert all(float(row["ms"]) > 0 for row in every[:-2])
    assert every[-2]["operator"] == f"{times.count(0)} others"


def test_equal_operators_share_a_row(squeezenet):
    said = nasplug.predict(str(squeezenet), hardware=HARDWARE)
    rows = said.operator_rows(1000)
    others = int(rows[-2]["operator"].removesuffix(" others"))
    assert sum(int(row["times"]) for row in rows[:-2]) + others == len(said.operators)
    assert len(rows) < len(said.operators)
    kinds = [(row["operator"], row["output"], row["kernel"], row["limited by"]) for row in rows]
    assert len(set(kinds)) == len(kinds)
    times = [float(row["ms"]) for row in rows]
    assert times[:-2] == sorted(times[:-2], reverse=True)
    assert math.isclose(sum(times), said.mean, rel_tol=1e-2)


def test_a_runtime_is_chosen_by_name(squeezenet):
    said = {
        runtime: nasplug.predict(str(squeezenet), hardware="RTX 3090", runtime=runtime)
        for runtime in ("eager", "tensorrt", None)
    }
    compiled = said["tensorrt"]
    assert compiled.mean < said["eager"].mean
    assert math.isclose(
        sum(operator.latency_ms for operator in compiled.operators) + compiled.rest_ms,
        compiled.mean,
        rel_tol=1e-6,
    )
    # An inference runtime runs ONNX files, a framework its own modules.
    assert said[None].to_json() == compiled.to_json()
    assert nasplug.predict(Toy(), EXAMPLE, hardware="RTX 3090").setting == "eager fp32"
    # Published measurements of this network, or of one like it, stand beside the number.
    measured = [note for note in compiled.notes() if note.startswith("measured: ")]
    assert len(measured) == 3
    assert "squeezenet" in measured[0].lower()
    assert compiled.measurements[0].same_network
    assert compiled.to_json()["measured"][0]["source"] == compiled.measurements[0].source
    assert any(note.startswith("the interval reflects the errors on") for note in compiled.notes())
    printed = run(squeezenet, "--hw", "RTX 3090", "--runtime", "eager", "--json")
    assert printed.exit_code == 0
    mean = json.loads(printed.stdout)["latency_ms"]["mean"]
    assert mean == pytest.approx(said["eager"].mean, rel=1e-5)


def test_a_network_of_a_line_of_npus_has_a_narrow_interval():
    """Known networks are within a factor of some 2 on Hexagon NPUs that were left out."""
    graphs = shipped_network_graphs()
    way = {"hardware": "Galaxy S24", "unit": "npu", "runtime": "qnn", "precision": "int8"}
    known = nasplug.predict(graphs.graph("timm:resnet50@224"), **way)
    # Published: 0.59 and 0.68 ms, in two versions of the runtime.
    assert known.lower < 0.59
    assert 0.68 < known.upper < 2.5 * known.lower
    assert (known.usable, known.familiar, known.evidence) == (True, True, "measured")
    assert "learned from 23 networks measured on Galaxy S24 (Qualcomm QNN" in known.notes()[0]
    space = nasplug.space("macro")
    new = nasplug.predict(space.to_network(space.parse("22222222")), **way)
    assert not new.familiar
    assert 2 < (new.upper / new.lower) / (known.upper / known.lower) < 5
    reflects = [note for note in new.notes() if "reflects" in note]
    assert reflects == [
        f"this network is unlike those in the training data; its interval reflects {new.rests_on}"
    ]
    assert "the errors on networks and 10 Hexagon NPUs in qnn int8" in new.rests_on


CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--hw", "RTX 3090", "--runtime", "fast"), "unknown runtime 'fast'"),
        (("--runtime", "compiled"), "name a device"),
        (("--hw", "T4", "--runtime", "amp"), "runtime 'eager' with precision 'fp16'"),
        (("--space", "nnlqp:nasbench201", "--hw", "T4", "--runtime", "x"), "unknown runtime 'x'"),
    ],
)
def test_a_runtime_that_is_not_there_is_refused(arguments, sentence):
    failed = run(CELL, *arguments)
    assert failed.exit_code == 2
    assert sentence in failed.stderr


def test_a_predictor_that_knows_one_way_of_running_takes_no_runtime():
    gp = ArchitecturePredictor("mine", nasplug.space("nb201"), create("latency-gp"))
    with pytest.raises(
        InputError, match="'mine' knows a single runtime; leave the runtime out, or use"
    ):
        gp.with_runtime("compiled")


def test_cells_on_a_device_of_ones_own_may_be_run_by_a_runtime():
    usual = json.loads(run(CELL, "--hw", "Pixel 6", "--runtime", "eager", "--json").stdout)
    exported = json.loads(run(CELL, "--hw", "Pixel 6", "--runtime", "tflite", "--json").stdout)
    # What was measured in TensorFlow Lite tells.
    assert usual != exported


def test_a_larger_batch_takes_longer():
    small, large = (
        nasplug.predict(Toy(), EXAMPLE, hardware="RTX 2080 Ti", batch_size=n).mean for n in (1, 256)
    )
    assert large > small


def test_a_file_is_predicted_on_the_command_line(squeezenet):
    result = run(squeezenet, "--hw", HARDWARE, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    said = nasplug.predict(squeezenet, hardware=HARDWARE)
    assert told == said.to_json()
    assert told["params"] == 1_248_424
    assert "explain" not in told
    shown = run(squeezenet, "--hw", HARDWARE, "--explain")
    assert shown.exit_code == 0
    for text in ("limited by", "Conv", "others", said.notes()[0][:30]):
        assert text in shown.stdout
    explained = json.loads(run(squeezenet, "--hw", HARDWARE, "--explain", "--json").stdout)
    assert len(explained["explain"]) == 12


def test_the_kind_of_knowledge_is_told(squeezenet):
    zero = nasplug.predict(squeezenet, hardware="RTX 3090")
    assert zero.evidence == "zero-shot"
    assert zero.notes()[0].startswith("zero-shot: RTX 3090")
    # A single convolution is unlike any network that was measured.
    rows = np.zeros((3, 10))
    rows[1] = [3, 1, 1, 8, 8, 4, 4, 9216, 584, 3360]
    odd = nasplug.predict(
        Graph(("Input", "Conv", "Output"), ((0, 1), (1, 2)), rows), hardware=HARDWARE
    )
    assert not odd.familiar
    assert any("unlike those in the training data" in note for note in odd.notes())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["net.onnx"], "needs a device; name one with --hw"),
        (["no-such.onnx", "--hw", HARDWARE], "no-such.onnx"),
        (["a.onnx", "b.onnx", "--hw", HARDWARE], "a.onnx does not exist"),
        (["net.onnx", "--hw", HARDWARE, "--input-shape", "x=1xtwo"], "write name=1x3x224x224"),
        (["|skip~0|", "--hw", HARDWARE, "--explain"], "need an .onnx file"),
        (["net.onnx", "--hw", HARDWARE, "--batch-size", "0"], "batch size 0"),
        (["net.onnx", "--hw", HARDWARE, "--predictor", "nb201-latency"], "cannot read whole"),
    ],
)
def test_bad_input_is_one_sentence(squeezenet, monkeypatch, arguments, words):
    monkeypatch.chdir(squeezenet.parent)
    (squeezenet.parent / "net.onnx").write_bytes(squeezenet.read_bytes())
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_garbage_is_refused(tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(bytes(range(256)) * 8)
    result = run(path, "--hw", HARDWARE)
    assert result.exit_code == 2
    assert "bad.onnx" in result.stderr
    with pytest.raises(InputError, match="needs an example"):
        nasplug.predict(Toy(), hardware=HARDWARE)
    with pytest.raises(InputError, match="a int is not a network"):
        nasplug.predict(3, hardware=HARDWARE)


def test_shapes_are_read_by_name():
    assert parse_shapes(["x=1x3x8x8", "a=b=2"]) == {"x": (1, 3, 8, 8), "a=b": (2,)}
    assert parse_shapes(["1x3", "t=", "s=scalar"]) == {"": (1, 3), "t": (), "s": ()}
    for text in ("=1x3", "=", "x=1x-3", "scalar", ""):
        with pytest.raises(InputError, match="is not a shape"):
            parse_shapes([text])
    with pytest.raises(InputError, match="given twice"):
        parse_shapes(["x=1x3", "x=1x4"])


def test_values_are_read_by_name():
    values = {"sr": 16000, "s": [1, 4], "on": True, "t": 0.5}
    assert parse_values(["sr=16000", "s=1,4", "on=True", "t=0.5"]) == values
    for text in ("16000", "sr=", "=1", "x=1,two", 'x="a"', "x=[1]", "x=null"):
        with pytest.raises(InputError, match="is not a value"):
            parse_values([text])
    with pytest.raises(InputError, match="given twice"):
        parse_values(["x=1", "x=2"])


def test_weights_of_four_bits_are_read_faster_and_said_to_be_measured_nowhere():
    graph = shipped_network_graphs().graph("timm:vgg16@224")
    times = {}
    for precision in ("fp16", "w8a16", "int4"):
        said = nasplug.predict(graph, hardware="V100", runtime="tensorrt", precision=precision)
        times[precision] = said.mean
    # Half of the time is that of reading weights, in batches of one.
    assert times["int4"] < times["w8a16"] < times["fp16"] < 4 * times["int4"]
    assert "TensorRT, int4 was measured on no device" in said.notes()
    assert any("int4 means weights of 4 bits and arithmetic in fp16" in n for n in said.notes())
