"""Latency of whole networks as a sum over operators, on measured networks."""

import copy
import math
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from nasplug import InputError, datasets, hardware
from nasplug.predictors import NotFittedError, Predictor
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.features.roofline import roofline_ms, roofline_parts
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.class_models import ClassModels
from nasplug.predictors.latency.network_latency import NetworkLatency, NetworkLatencyConfig
from nasplug.predictors.models.roofline_transformer import VIEWS
from nasplug.predictors.registry import restore
from nasplug.predictors.statistics.calibration import LEVELS
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.predictors.training.config import TrainingConfig
from nasplug.predictors.training.relabeling import relabeled
from nasplug.search_spaces import Graph, space

TITAN = Setting(hardware("Titan RTX"), 64)
PI = Setting(hardware("Raspberry Pi 4"), 1)
ROWS = np.random.default_rng(4).permutation(5000)[:240]
LEARN, REST = slice(0, 160), slice(160, 240)
RECIPE = TrainingConfig(
    epochs=12,
    batch_size=8,
    learning_rate=6e-3,
    rank_weight=0.0,
    columns_a_step=2,
    loss="robust",
)
CONFIG = NetworkLatencyConfig(
    training=RECIPE, calibration_share=0.2, options={"dim": 32, "num_layers": 1}
)


@pytest.fixture(scope="module")
def networks(mirror):
    table = datasets.load("fbnet-latency").iloc[ROWS]
    fbnet = space("fbnet")
    graphs = [fbnet.to_graph(fbnet.parse(text)) for text in table["arch"]]
    return graphs, table[[TITAN.key, PI.key]].to_numpy()


@pytest.fixture(scope="module")
def fitted(networks):
    graphs, latencies = networks
    predictor = NetworkLatency(CONFIG)
    groups = [f"half {k % 2}" for k in range(160)]
    predictor.fit(graphs[LEARN], latencies[LEARN], [TITAN, PI], groups=groups)
    wide = np.interp(LEVELS, [0.05, 0.95], [-1.0, 1.0])
    predictor.set_widths(
        {f"{what} {kind}": wide * factor for what, factor in (("zero-shot", 1), ("unfamiliar", 2))
         for kind in ("gpu", "other")}
    )  # fmt: skip
    return predictor


def test_it_predicts_networks_that_it_has_not_seen(fitted, networks):
    graphs, latencies = networks
    assert isinstance(fitted, Predictor)
    for k, column in enumerate((TITAN, PI)):
        said = fitted.predict(graphs[REST], column.hardware, column.batch_size)
        truth = latencies[REST, k]
        assert np.abs(said.mean[:, 0] / truth - 1).mean() < 0.08
        assert spearmanr(said.mean[:, 0], truth)[0] > 0.85
        inside = (truth >= said.lower[:, 0]) & (truth <= said.upper[:, 0])
        assert 0.75 < inside.mean() < 1
        assert said.evidence == "measured"


def test_parts_of_a_latency_sum_to_it(fitted, networks):
    graph = networks[0][-1]
    times, rest, _ = fitted.explain(graph, PI.hardware)
    mean = fitted.predict([graph], PI.hardware).mean[0, 0]
    assert times.shape == (len(graph),)
    assert (times >= 0).all()
    assert rest >= 0
    assert math.isclose(times.sum() + rest, mean, rel_tol=1e-5)
    # On a small processor convolutions take the time, not the output node.
    assert graph.ops[int(times.argmax())] == "Conv"


def test_the_order_of_the_nodes_does_not_count(fitted, networks):
    graphs = networks[0][-5:]
    rng = np.random.default_rng(0)
    said = fitted.log_latency(graphs, [TITAN, PI])
    again = fitted.log_latency([relabeled(graph, rng) for graph in graphs], [TITAN, PI])
    np.testing.assert_allclose(said, again, atol=1e-5)


def test_a_device_or_batch_that_was_not_measured_is_zero_shot(fitted, networks):
    graphs = networks[0][-5:]
    for device, batch in ((hardware("RTX 3090"), 1), (TITAN.hardware, 32)):
        said = fitted.predict(graphs, device, batch)
        assert said.evidence == "zero-shot"
        np.testing.assert_allclose(said.upper / said.lower, np.exp(2.0), rtol=1e-6)


class Halved:
    """A model of a class: a fixed time for each operator and image."""

    devices: ClassVar[dict] = {"eager": ("T4",)}

    def log_latency(self, graphs, columns):
        pairs = zip(graphs, columns, strict=True)
        return np.log([1e-2 * len(graph) * column.batch_size for graph, column in pairs])

    def parts(self, graph, column):
        ms = np.full(len(graph), 1e-2 * column.batch_size)
        return SimpleNamespace(
            ms=ms, bounds=("arithmetic",) * len(graph), of_nodes=np.arange(len(graph)), rest=0.0
        )


def test_what_was_not_measured_is_known_by_the_model_of_its_class(fitted, networks):
    graphs = [networks[0][-1], space("nnlqp:vgg").to_graph(space("nnlqp:vgg").standard)]
    told = copy.copy(fitted)
    model = Halved()
    learned = {"T4|eager|fp32|gpu": 3, "Pixel 4|tflite|fp32|cpu": 2}
    told.set_class_models(ClassModels({"gpu": model}, learned))
    assert told.measured_in("eager") == ("Titan RTX", "Raspberry Pi 4", "T4")
    assert told.measured_in("eager fp16") == told.measured_in("eager cpu") == ()
    assert told.measured_in("tflite cpu") == ("Pixel 4",)
    assert fitted.measured_in("eager cpu") == ("Titan RTX", "Raspberry Pi 4")
    pixel = Setting(hardware("Pixel 4"), 8, "tflite")
    assert (told.learned(pixel), fitted.learned(pixel)) == (2, 0)
    batches = (8, 32, 64, 128, 512)
    columns = [Setting(TITAN.hardware, batch) for batch in batches]
    before = fitted.log_latency(graphs, [TITAN, PI])
    said = told.log_latency(graphs, columns)
    alone = np.stack([model.log_latency(graphs, [c] * 2) for c in columns], axis=1)
    # A kind of networks that was measured: as before there, and nearly so around it.
    np.testing.assert_allclose(said[0, 2], before[0, 0], atol=1e-2)
    departures = np.abs(said[0] - alone[0])
    assert departures[2] > departures[1] > departures[0] > 0
    assert departures[2] > departures[3] > departures[4] > 0
    # Any other kind of networks, and what is no GPU, is as the models say.
    np.testing.assert_allclose(said[1], alone[1], atol=1e-6)
    np.testing.assert_allclose(told.log_latency(graphs, [PI])[:, 0], before[:, 1], rtol=1e-5)
    parts = told.explain(graphs[1], TITAN.hardware, 8)
    assert set(parts.bounds) == {"compute"}


def test_runtimes_that_no_measurement_tells_apart_are_named(fitted):
    assert fitted.alike(PI.hardware, 1, "eager") == ()
    assert fitted.alike(PI.hardware, 1, "compiled") == (
        "onnxruntime", "openvino", "tflite", "ncnn", "armnn", "paddle lite", "mnn"
    )  # fmt: skip
    assert fitted.alike(TITAN.hardware, 64, "eager") == ()
    assert "tensorrt fp16" in fitted.alike(TITAN.hardware, 64, "compiled fp16")


def test_a_network_unlike_the_measured_has_a_wide_interval(fitted, networks):
    vgg = space("nnlqp:vgg")
    graphs = [networks[0][-1], vgg.to_graph(vgg.standard)]
    said = fitted.predict(graphs, PI.hardware)
    factor = (said.upper / said.lower)[:, 0]
    assert said.evidence == "measured"
    assert factor[0] < 1.6
    assert math.isclose(factor[1], np.exp(4.0), rel_tol=1e-6)
    assert [bool(g) for g in fitted.groups(graphs, PI)] == [True, False]


def test_own_device_under_a_known_name_is_another_device(fitted, networks):
    from dataclasses import replace

    mine = replace(TITAN.hardware, memory_bandwidth_gbs=10.0)
    assert fitted.predict(networks[0][-2:], mine, 64).evidence == "zero-shot"


def test_without_widths_it_refuses_what_it_cannot_bound(networks):
    graphs, latencies = networks
    predictor = NetworkLatency(CONFIG.__class__(
        training=TrainingConfig(epochs=1, rank_weight=0.0), options={"dim": 8, "num_layers": 0}
    ))  # fmt: skip
    with pytest.raises(NotFittedError):
        predictor.predict(graphs[:1], PI.hardware)
    predictor.fit(graphs[:60], latencies[:60], [TITAN, PI])
    with pytest.raises(InputError, match="GTX 1080 Ti@1 was not measured"):
        predictor.predict(graphs[:1], hardware("GTX 1080 Ti"))
    with pytest.raises(InputError, match="needs a device"):
        predictor.predict(graphs[:1])


def test_what_moves_no_numbers_takes_no_time(fitted, networks):
    times, *_ = fitted.explain(networks[0][-1], TITAN.hardware, TITAN.batch_size)
    views = np.array([op in VIEWS for op in networks[0][-1].ops])
    assert views.any()
    np.testing.assert_array_equal(times == 0, views)


def test_what_is_particular_to_a_measured_column_is_corrected(fitted, networks):
    graphs, latencies = networks
    vgg = space("nnlqp:vgg")
    foreign = vgg.to_graph(vgg.standard)
    without = copy.copy(fitted)
    without._heads = None
    said, plain = (p.log_latency([*graphs[REST], foreign], [TITAN, PI]) for p in (fitted, without))
    truth = np.log(latencies[REST])
    error, before = (np.abs(logs[:-1] - truth).mean(0) for logs in (said, plain))
    assert error.mean() < before.mean()
    assert error[0] < 0.8 * before[0]
    # A network of another kind is not.
    np.testing.assert_array_equal(said[-1], plain[-1])


def test_a_runtime_may_be_chosen(fitted, networks):
    graphs, device = networks[0][-5:], hardware("RTX 3090")
    usual, compiled = (
        fitted.predict(graphs, device, runtime=runtime) for runtime in ("eager fp32", "TensorRT")
    )
    assert compiled.evidence == "zero-shot"
    # A GPU that is handed a whole network waits less between operators.
    assert (compiled.mean < usual.mean).all()
    np.testing.assert_allclose(usual.mean, fitted.predict(graphs, device).mean)
    assert fitted.predict(graphs, PI.hardware, runtime="eager").evidence == "measured"
    assert fitted.predict(graphs, PI.hardware, runtime="tflite").evidence == "zero-shot"
    with pytest.raises(InputError, match="unknown runtime 'fast'; known: eager, eager nhwc"):
        fitted.predict(graphs, device, runtime="fast")


def test_a_stored_predictor_says_the_same(fitted, networks, tmp_path):
    graphs = networks[0][REST][:7]
    fitted.save(tmp_path / "mine", {"space": "fbnet"})
    again = restore(load_checkpoint(tmp_path / "mine"))
    for device, batch in ((TITAN.hardware, 64), (hardware("T4"), 8)):
        said, told = (p.predict(graphs, device, batch) for p in (fitted, again))
        for end in ("mean", "lower", "upper"):
            np.testing.assert_allclose(getattr(said, end), getattr(told, end), rtol=1e-5)
    assert again.devices == fitted.devices == (TITAN.key, PI.key)


def test_bad_columns_are_refused(networks):
    graphs, latencies = networks
    predictor = NetworkLatency(CONFIG)
    with pytest.raises(InputError, match=r"shape \(10, 1\); expected \(10, 2\)"):
        predictor.fit(graphs[:10], latencies[:10, :1], [TITAN, PI])
    with pytest.raises(InputError, match="two columns are Titan RTX@64"):
        predictor.fit(graphs[:10], latencies[:10], [TITAN, TITAN])


def test_the_usual_runtime_of_a_gpu_is_the_same_at_every_batch_size(networks):
    graphs, latencies = networks
    amp = Setting(hardware("RTX 3090"), 128, "eager nhwc", "fp16")
    predictor = NetworkLatency(NetworkLatencyConfig(
        training=TrainingConfig(epochs=1, rank_weight=0.0), options={"dim": 8, "num_layers": 0}
    ))  # fmt: skip
    predictor.fit(graphs[:60], latencies[:60, :1], [amp])
    assert amp.key == "RTX 3090@128 eager nhwc fp16"
    for batch in (1, 128):
        assert predictor.setting(amp.hardware, batch) == Setting(amp.hardware, batch)
    assert predictor.setting(amp.hardware, 128, "eager nhwc fp16") == amp
    said = predictor.predict(graphs[-1:], amp.hardware, 128, "eager nhwc fp16")
    assert said.evidence == "measured"


def test_a_processor_that_was_measured_in_one_runtime_is_meant_in_it_at_every_batch_size(networks):
    graphs, latencies = networks
    predictor = NetworkLatency(NetworkLatencyConfig(
        training=TrainingConfig(epochs=1, rank_weight=0.0), options={"dim": 8, "num_layers": 0}
    ))  # fmt: skip
    predictor.fit(graphs[:60], latencies[:60, :1], [Setting(PI.hardware, 1, "tflite")])
    for batch in (1, 8):
        assert predictor.setting(PI.hardware, batch).runtime == "tflite"
    assert predictor.setting(hardware("Xeon Gold 6226"), 1).runtime == ""


def test_a_description_has_the_rates_first():
    device = hardware("RTX 3090")
    rates = Setting(device, 16).features(text=False)[:4]
    np.testing.assert_allclose(
        rates, [device.peak_tflops["fp32"] * 1e9, device.memory_bandwidth_gbs * 1e6, 16, 4],
        rtol=1e-6,
    )  # fmt: skip
    half = Setting(device, 16, precision="fp16").features(text=False)
    assert half[0] > 2 * rates[0]
    assert half[3] == 2


conv = Graph(
    ("Input", "Conv", "Output"),
    ((0, 1), (1, 2)),
    np.array([[0.0] * 10, [3, 1, 1, 8, 8, 4, 4, 9216, 584, 4 * (128 + 128 + 584)], [0.0] * 10]),
)


def test_the_roofline_is_the_slower_of_arithmetic_and_memory():
    device = hardware("RTX 3090")
    compute, memory = roofline_parts(conv, device, 2)
    assert math.isclose(compute[1], 2 * 9216 * 2 / (device.peak_tflops["fp32"] * 1e9))
    # Activations count once an image, parameters once a batch.
    moved = 4 * (256 * 2 + 584)
    assert math.isclose(memory[1], moved / (device.memory_bandwidth_gbs * 1e6))
    np.testing.assert_array_equal(roofline_ms(conv, device, 2), np.maximum(compute, memory))


@settings(max_examples=20)
@given(st.integers(1, 512))
def test_a_larger_batch_takes_longer_by_the_roofline(batch):
    device = hardware("Raspberry Pi 4")
    assert (roofline_ms(conv, device, batch + 1) >= roofline_ms(conv, device, batch)).all()


def test_networks_are_recognised_by_what_they_are_made_of():
    rng = np.random.default_rng(0)
    parts = {name: space(f"nnlqp:{name}") for name in ("vgg", "mobilenetv2")}
    graphs, names = [], []
    for name, where in parts.items():
        for _ in range(40):
            graphs.append(where.to_graph(where.sample(rng)))
            names.append(name)
    kinds = sorted({op for graph in graphs for op in graph.ops})
    familiar = Familiarity.of(graphs, names, kinds)
    fresh = [where.to_graph(where.sample(rng)) for where in parts.values()]
    assert familiar(fresh, ["vgg", "mobilenetv2"]) == ["vgg", "mobilenetv2"]
    assert familiar(fresh, ["vgg"]) == ["vgg", ""]
    resnet = space("nnlqp:googlenet")
    assert familiar([resnet.to_graph(resnet.standard)], familiar.names) == [""]
    again = Familiarity.restored(familiar.tensors(), familiar.names, kinds)
    assert again(fresh, again.names) == ["vgg", "mobilenetv2"]
    assert familiar(fresh, []) == ["", ""]


def test_a_group_of_several_kinds_does_not_make_everything_familiar():
    rng = np.random.default_rng(0)
    parts = [space(f"nnlqp:{name}") for name in ("alexnet", "googlenet", "resnet", "mobilenetv3")]
    graphs = [where.to_graph(where.sample(rng)) for where in parts for _ in range(60)]
    kinds = sorted({op for graph in graphs for op in graph.ops})
    familiar = Familiarity.of(graphs, ["all"] * len(graphs), kinds)
    fresh = [where.to_graph(where.sample(rng)) for where in parts for _ in range(5)]
    assert familiar(fresh, ["all"]).count("all") >= 19
    vgg = space("nnlqp:vgg")
    other = [vgg.to_graph(vgg.sample(rng)) for _ in range(5)]
    assert familiar(other, ["all"]) == [""] * 5
    again = Familiarity.restored(familiar.tensors(), familiar.names, kinds)
    assert again([*fresh, *other], ["all"]) == familiar([*fresh, *other], ["all"])


def test_batches_of_groups_hold_one_group_each():
    from nasplug.predictors.training.config import Examples
    from nasplug.predictors.training.loop import _Batches

    groups = torch.tensor([0, 1, 0, 1, 1, 0, 1])
    examples = Examples([conv] * 7, torch.zeros(7, 1), torch.ones(7), None, groups)
    batches = _Batches(examples, 2, seed=0)
    seen = list(batches)
    assert len(batches) == len(seen) == 4
    assert sorted(k for batch in seen for k in batch) == list(range(7))
    assert all(len(set(groups[batch].tolist())) == 1 for batch in seen)
