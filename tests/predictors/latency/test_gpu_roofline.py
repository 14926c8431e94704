"""The roofline of GPUs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug import hardware, space
from nasplug.predictors.features.runtimes import parse_way
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency import gpu_roofline
from nasplug.predictors.latency.gpu_roofline import START, GpuRoofline, gpu_setting

NAMES = ("Titan X", "V100", "RTX 3090", "RTX 4090", "T4", "A100 40GB")
USUAL = GpuRoofline(START)
WAYS = (
    *("eager", "eager fp16", "eager nhwc fp16", "compiled fp16"),
    *("onnxruntime", "tensorrt fp16", "tflite"),
)


def networks(count):
    rng = np.random.default_rng(0)
    names = ("resnet", "mobilenetv2", "vgg")
    spaces = [space(f"nnlqp:{name}") for name in names]
    return [s.to_graph(s.sample(rng)) for _ in range(count // len(names)) for s in spaces]


GRAPHS = networks(9)


@pytest.fixture(scope="module")
def measured():
    """Measurements of GPUs that are twice as far from their data sheets as where a fit starts."""
    slow = {
        name: value * (0.5 if name.startswith(("efficiency", "bandwidth")) else 1)
        for name, value in START.items()
    }
    truth = GpuRoofline(slow)
    columns = [
        Setting.of(hardware(name), batch, parse_way(runtime))
        for name in NAMES
        for batch in (1, 64)
        for runtime in ("", "fp16", "tensorrt")
    ]
    return columns, np.exp(truth.log_latency(GRAPHS, columns))


def test_a_gpu_that_was_left_out_is_predicted_from_others(measured, monkeypatch):
    monkeypatch.setattr(gpu_roofline, "STEPS", 120)
    columns, ms = measured
    known = [k for k, column in enumerate(columns) if column.hardware.name != "RTX 4090"]
    pairs = [(i, k) for k in known for i in range(len(GRAPHS))]
    learned = GpuRoofline.of(
        [GRAPHS[i] for i, _ in pairs],
        [columns[k] for _, k in pairs],
        np.array([ms[i, k] for i, k in pairs]),
        ["here"] * len(pairs),
    )
    left = [k for k in range(len(columns)) if k not in known]
    wrong = learned.log_latency(GRAPHS, [columns[k] for k in left]) - np.log(ms[:, left])
    before = USUAL.log_latency(GRAPHS, [columns[k] for k in left]) - np.log(ms[:, left])
    assert np.abs(wrong).mean() < 0.2 < np.abs(before).mean()
    assert learned.devices["tensorrt"] == ("Titan X", "V100", "RTX 3090", "T4", "A100 40GB")


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.sampled_from(WAYS),
    st.integers(1, 2000),
    st.dictionaries(st.sampled_from(sorted(START)), st.floats(0.1, 10), max_size=5),
)
def test_it_grows_with_the_batch_whatever_its_numbers(name, runtime, batch, factors):
    numbers = {key: value * factors.get(key, 1) for key, value in START.items()}
    columns = [Setting.of(hardware(name), size, parse_way(runtime)) for size in (batch, 2 * batch)]
    smaller, larger = GpuRoofline(numbers).log_latency(GRAPHS[:3], columns).T
    assert np.isfinite(smaller).all()
    assert (larger >= smaller - 1e-9).all()


def test_half_precision_compilers_and_faster_gpus_take_less_time():
    def ms(name, runtime):
        return USUAL.log_latency(GRAPHS, [Setting.of(hardware(name), 64, parse_way(runtime))])[:, 0]

    assert (ms("RTX 3090", "fp16") < ms("RTX 3090", "")).all()
    assert (ms("RTX 3090", "tensorrt") < ms("RTX 3090", "")).all()
    assert (ms("RTX 4090", "") < ms("T4", "")).all()


def test_settings_of_runtimes():
    device = hardware("T4")
    found = {name: gpu_setting(Setting.of(device, 1, parse_way(name))) for name in WAYS}
    assert found == {
        "eager": "framework",
        "eager fp16": "framework",
        "eager nhwc fp16": "channels last",
        "compiled fp16": "compiled",
        "onnxruntime": "compiled",
        "tensorrt fp16": "tensorrt",
        "tflite": "compiled",
    }


def test_what_is_stored_says_the_same():
    stored = GpuRoofline(START, {"": ["T4"]}, ["usual"])
    again = GpuRoofline.restored(stored.tensors(), **stored.described())
    column = [Setting(hardware("T4"), 2)]
    np.testing.assert_array_equal(
        again.log_latency(GRAPHS, column), USUAL.log_latency(GRAPHS, column)
    )
    assert (again.devices, again.groups) == ({"": ("T4",)}, ("usual",))


def test_a_network_that_takes_no_time_has_a_finite_latency():
    from nasplug.search_spaces import ATTRIBUTES, Graph

    empty = Graph(("Input", "Output"), ((0, 1),), np.zeros((2, len(ATTRIBUTES))))
    assert np.isfinite(USUAL.log_latency([empty], [Setting(hardware("T4"), 1)])).all()
    assert USUAL.log_latency([], [Setting(hardware("T4"), 1)]).shape == (0, 1)
