"""The roofline on NPUs and on GPUs of systems on a chip."""

import json
from itertools import pairwise

import numpy as np
import pytest

from nasplug import hardware, space
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency import npu_residuals, npu_roofline
from nasplug.predictors.latency.npu_roofline import NpuRoofline
from nasplug.predictors.latency.npu_terms import START

# Device, unit and runtime.
PLACES = (
    *((name, "npu", "qnn") for name in ("QCS8450", "QCS8550", "Galaxy S24", "Galaxy S25")),
    *((name, "gpu", "tflite") for name in ("Snapdragon 710", "Exynos 9820")),
)
LEFT_OUT = "Galaxy S24"
NUMBERS = {name: value for name, (value, _) in START.items()}
USUAL = NpuRoofline(NUMBERS)
RNG = np.random.default_rng(0)
GRAPHS = [
    s.to_graph(s.sample(RNG))
    for s in (space(f"nnlqp:{name}") for name in ("resnet", "mobilenetv2", "vgg"))
]


def setting(name, unit="npu", runtime="qnn", precision="int8", batch=1):
    return Setting(hardware(name), batch, runtime, precision, unit)


def ms(model, *words, **names):
    return np.exp(model.log_latency(GRAPHS, [setting(*words, **names)] * len(GRAPHS)))


@pytest.fixture(scope="module")
def learned():
    """Model that learned slower processors, without one of them; all graphs, settings and ms."""
    pairs = [
        (graph, setting(*place, precision=precision))
        for place in PLACES
        for precision in ("fp16", "int8")
        for graph in GRAPHS
    ]
    graphs, settings = zip(*pairs, strict=True)
    slow = NpuRoofline(
        {k: v * (2 if "launch" in k or "fixed" in k else 1) for k, v in NUMBERS.items()}
    )
    # On all of them the second network takes longer.
    truth = slow.log_latency(graphs, settings) + 0.3 * (np.arange(len(graphs)) % len(GRAPHS) == 1)
    known = [k for k, s in enumerate(settings) if s.hardware.name != LEFT_OUT]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npu_roofline, "STEPS", 60)
        model = NpuRoofline.of(
            [graphs[k] for k in known],
            [settings[k] for k in known],
            np.exp(truth[known]),
            ["here"] * len(known),
        )
    return model, graphs, settings, truth


def test_a_processor_that_was_left_out_is_predicted_from_others(learned):
    model, graphs, settings, truth = learned
    left = np.array([s.hardware.name == LEFT_OUT for s in settings])
    sources = ["here"] * len(graphs)
    off = np.abs(model.log_latency(graphs, settings, sources) - truth)[left].mean()
    assert off < 0.2 < np.abs(USUAL.log_latency(graphs, settings) - truth)[left].mean()


def test_known_are_networks_that_were_measured_on_the_line_of_processors(learned):
    model, *_ = learned
    other = space("nnlqp:alexnet")
    graphs = [GRAPHS[0], other.to_graph(other.sample(RNG))]
    assert model.process.is_known(graphs, [setting(LEFT_OUT)] * 2).tolist() == [True, False]


def test_residuals_are_sums_over_all_measurements(learned):
    model, graphs, settings, _ = learned
    process = model.process
    asked = npu_residuals._points(graphs, settings, process.words)
    for unit in np.unique(asked.unit):
        rows, known = (np.flatnonzero(points.unit == unit) for points in (asked, process.points))
        covariance = npu_residuals._covariance(asked.take(rows), process.points.take(known))
        expected = covariance @ process.weights[known]
        np.testing.assert_allclose(process.mean(graphs, settings)[rows], expected, atol=1e-9)


def test_it_is_stored_and_restored(learned):
    model, graphs, settings, _ = learned
    card = json.loads(json.dumps(model.described()))
    restored = NpuRoofline.restored(model.tensors(), card)
    expected = model.log_latency(graphs, settings)
    np.testing.assert_allclose(restored.log_latency(graphs, settings), expected, atol=1e-3)
    assert NpuRoofline.restored(USUAL.tensors(), USUAL.described()).process is None


def test_parts_sum_to_the_latency(learned):
    model, *_ = learned
    parts = model.parts(GRAPHS[0], setting(LEFT_OUT))
    assert sum(part["ms"] for part in parts) == pytest.approx(ms(model, LEFT_OUT)[0], rel=1e-4)
    assert {part["bound"] for part in parts} <= {"compute", "memory", "launch"}
    assert parts == sorted(parts, key=lambda part: -part["ms"])


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[0])
def test_it_grows_with_the_batch_and_with_the_precision(learned, place):
    model, *_ = learned
    times = [ms(model, *place, batch=batch) for batch in (1, 2, 3, 16, 500)]
    assert all((a < b).all() for a, b in pairwise(times))
    assert (ms(USUAL, *place, precision="int8") <= ms(USUAL, *place, precision="fp16")).all()
