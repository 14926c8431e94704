"""Calibrated devices, and networks unlike those measured: every family, and some like timm's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline_predictor import Roofline

import nasplug
from nasplug import InputError, hardware
from nasplug.calibrating.calibrate import calibrate
from nasplug.predicting.few_shot import draw, familiar, predict_few_shot, promise
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors import Hardware
from nasplug.predictors.features.runtimes import Way
from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks, Run
from nasplug.predictors.latency.measured_device import LARGEST_FACTOR
from nasplug.search_spaces import Graph, space
from nasplug.search_spaces.networks.builder import NetworkBuilder
from nasplug.search_spaces.operators import Operator

NNLQP = space("nnlqp")
# Ten networks of NNLQP's families in ONNX Runtime on one thread of a desktop's processor, in ms.
ONE_THREAD = Path(__file__).with_name("one_thread.csv")
DENSENET121_MS = 32.9


def densenet(blocks: Sequence[int], growth: int = 32, side: int = 224) -> Graph:
    net = NetworkBuilder(side)
    x = net.relu(net.conv(net.input, 2 * growth, 7, 2))
    x = net.max_pool(x, 3, 2, 1)
    for k, count in enumerate(blocks):
        for _ in range(count):
            inner = net.relu(net.conv(net.relu(net.batch_norm(x)), 4 * growth))
            x = net.concat([x, net.conv(inner, growth, 3)])
        if k < len(blocks) - 1:
            x = net.avg_pool(net.conv(net.relu(net.batch_norm(x)), net.channels(x) // 2), 2, 2)
    x = net.flatten(net.global_pool(net.relu(net.batch_norm(x))))
    return net.graph(net.linear(x, 1000))


def transformer(depth: int, width: int, patch: int = 16, side: int = 224) -> Graph:
    net = NetworkBuilder(side)

    def norm(x: int) -> int:
        shape = net.operators[x].shape
        return net._add(
            Operator("LayerNormalization", (x,), shape, other_params=2 * net.channels(x))
        )

    x = net.conv(net.input, width, patch, patch, padding=0)
    for _ in range(depth):
        parts = [net.conv(norm(x), width) for _ in range(3)]
        attention = net.sigmoid(net.mul(parts[0], parts[1]))
        x = net.add(x, net.conv(net.mul(attention, parts[2]), width))
        x = net.add(x, net.conv(net.silu(net.conv(norm(x), 4 * width)), width))
    return net.graph(net.linear(net.flatten(net.global_pool(x)), 1000))


def convnext(depth: int, width: int, side: int = 224) -> Graph:
    net = NetworkBuilder(side)
    x = net.conv(net.input, width, 4, 4, padding=0)
    for stage in range(4):
        if stage:
            x = net.conv(net.batch_norm(x), 2 * net.channels(x), 2, 2, padding=0)
        for _ in range(depth):
            inner = net.silu(net.conv(net.batch_norm(net.depthwise(x, 7)), 4 * net.channels(x)))
            x = net.add(x, net.conv(inner, net.channels(x)))
    return net.graph(net.linear(net.flatten(net.global_pool(x)), 1000))


@cache
def timm_like() -> list[Graph]:
    return [
        densenet((6, 12, 24, 16)),
        densenet((2, 2), 8, 64),
        densenet((40, 40, 40), 12),
        transformer(12, 192),
        transformer(24, 768, 14),
        transformer(2, 64, 32),
        convnext(3, 96),
        convnext(1, 16, 96),
    ]


@cache
def predictor() -> ArchitecturePredictor:
    return ArchitecturePredictor("roofline", NNLQP, Roofline())


def own() -> Hardware:
    return Hardware(**{**vars(hardware("Raspberry Pi 4")), "name": "mine", "aliases": ()})


@cache
def judged() -> tuple[Graph, ...]:
    """A few networks of every family, and timm-like ones."""
    rng = np.random.default_rng(0)
    families = [*NNLQP.spaces.values(), *(space(name) for name in ("fbnet", "ofa", "accel"))]
    drawn = [w.to_graph(w.sample(rng)) for w in (*families, space("macro")) for _ in range(2)]
    return (*drawn, *timm_like())


HALF = 1.645 * Roofline.spread
TABLES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "exact": lambda logs, rng: logs,
    "noisy": lambda logs, rng: logs + rng.normal(0, 0.2, len(logs)),
    "five orders of noise": lambda logs, rng: rng.uniform(-4.6, 6.9, len(logs)),
    "equal": lambda logs, rng: np.full(len(logs), 1.5),
    "one outlier": lambda logs, rng: logs + 7 * (np.arange(len(logs)) == 1),
    "upside down": lambda logs, rng: 4 - logs,
    "steeper": lambda logs, rng: 2 * logs,
}
# The mean for a network unlike those measured stays within this factor of the data sheet at the
# scales that were measured.
FARTHEST = np.log(3)


@cache
def measurable(name: str) -> tuple[list[str], list[Graph], np.ndarray]:
    """Texts, graphs and promised log ms of forty networks of a space."""
    archs, graphs = draw(space(name))
    promised = promise(Roofline(), own(), 1, graphs[:40])[0]
    return [arch.text for arch in archs[:40]], graphs[:40], promised


tables = (
    st.sampled_from(list(TABLES)),
    st.integers(3, 12),
    st.floats(-5, 5),
    st.integers(0, 2**32 - 1),
)


@settings(max_examples=25)
@given(st.sampled_from(["nnlqp", "fbnet"]), *tables)
def test_calibration_cannot_make_things_worse(
    name: str, table: str, count: int, scale: float, seed: int
) -> None:
    check_that_it_is_not_worse(name, table, count, scale, seed)


@pytest.mark.slow
@settings(max_examples=400)
@given(st.sampled_from(["nnlqp", "nnlqp:resnet", "fbnet", "ofa", "accel", "macro"]), *tables)
def test_calibration_cannot_make_things_worse_in_any_space(
    name: str, table: str, count: int, scale: float, seed: int
) -> None:
    check_that_it_is_not_worse(name, table, count, scale, seed)


def check_that_it_is_not_worse(name: str, table: str, count: int, scale: float, seed: int) -> None:
    texts, graphs, promised = measurable(name)
    rng = np.random.default_rng(seed)
    places = rng.permutation(40)[:count].tolist()
    logs = np.maximum(TABLES[table](promised[places], rng) + scale, np.log(0.01) + 1e-9)
    measured = MeasuredNetworks(
        tuple(texts[k] for k in places), np.exp(logs), tuple(graphs[k] for k in places)
    )
    profile = DeviceProfile(own(), name, 1, measured)
    asked, base = judged(), predictor()
    said, like = base.predict(asked, profile), familiar(base, profile, asked, 1)
    sheet = promise(Roofline(), own(), 1, asked)[0]
    apart = np.log(said.mean[:, 0]) - sheet
    ratios = np.append(logs - promised[places], 0)
    assert (apart <= ratios.max() + FARTHEST).all()
    assert (apart >= ratios.min() - FARTHEST).all()
    width = np.log(said.upper[:, 0] / said.lower[:, 0]) / 2
    assert (width <= HALF + 0.01).all()
    assert np.isfinite(said.std).all()
    # Networks that were measured are like themselves, in every table.
    assert familiar(base, profile, measured.graphs, 1).all()
    assert not like[-len(timm_like()) :].all()


def test_the_scale_is_learned_and_what_is_far_keeps_it() -> None:
    texts, graphs, promised = measurable("fbnet")
    logs = promised + np.log(2)
    asked, base, errors, widths = judged(), predictor(), [], []
    for count in (1, 3, 10):
        measured = MeasuredNetworks(
            tuple(texts[:count]), np.exp(logs[:count]), tuple(graphs[:count])
        )
        said = base.predict(asked, DeviceProfile(own(), "fbnet", 1, measured))
        truth = promise(Roofline(), own(), 1, asked)[0] + np.log(2)
        errors.append(np.median(np.abs(np.log(said.mean[:, 0]) - truth)))
        widths.append(np.log(said.upper / said.lower)[:, 0] / 2)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] <= np.log(2) + 1e-9
    assert errors[-1] < 0.3
    # Intervals narrow as more is measured, and are widest for networks unlike those measured.
    assert np.median(widths[0]) > np.median(widths[-1])
    near = base.predict(graphs[20:], DeviceProfile(own(), "fbnet", 1, measured))
    assert np.median(widths[-1]) > np.log(near.upper / near.lower).mean() / 2


def test_measurements_in_one_way_tell_of_another() -> None:
    """Twice as slow in fp32, and in fp16 probably so, with a wider interval."""
    texts, graphs, promised = measurable("fbnet")
    runs = (Run(1, Way("eager", "fp32")),) * 5
    measured = MeasuredNetworks(tuple(texts[:5]), 2 * np.exp(promised[:5]), tuple(graphs[:5]), runs)
    profile = DeviceProfile(own(), "fbnet", 1, measured)
    assert profile.usual_way.text == "eager fp32"
    same, other = (
        predict_few_shot(predictor(), profile, graphs[10:], 1, runtime)
        for runtime in ("eager fp32", "onnxruntime fp16")
    )
    ratios = [
        np.log(said.mean[:, 0]) - promise(Roofline(), own(), 1, graphs[10:])[0]
        for said in (same, other)
    ]
    assert (ratios[0] > ratios[1]).all()
    assert (ratios[1] > 0.05).all()
    assert (same.spread < other.spread).all()


def test_few_measurements_of_cells_are_bounded_too(nb201_cache: Path) -> None:
    cells, zoo = space("nb201"), nasplug.load_predictor("nb201-latency")
    rng = np.random.default_rng(1)
    archs = [cells.sample(rng) for _ in range(60)]
    graphs = cells.to_graphs(archs)
    center, half = promise(zoo.model, own(), 1, graphs)
    for table in ("five orders of noise", "one outlier"):
        logs = np.maximum(TABLES[table](center[:6], rng), np.log(0.01) + 1e-9)
        texts = tuple(arch.text for arch in archs[:6])
        measured = MeasuredNetworks(texts, np.exp(logs), tuple(graphs[:6]))
        said = zoo.predict(graphs, DeviceProfile(own(), "nb201", 1, measured))
        ratio = logs - center[:6]
        apart = np.abs(np.log(said.mean[:, 0]) - center - np.median(ratio))
        scatter = np.abs(ratio - np.median(ratio)).max()
        assert (apart <= np.log(LARGEST_FACTOR) + scatter + 1e-6).all()
        assert (np.log(said.upper / said.lower)[:, 0] / 2 <= half + 0.01).all()


def test_one_thread_of_a_processor_with_many_cores(tmp_path: Path) -> None:
    """Ten networks as suggested, on one thread; DenseNet-121 took 32.9 ms."""
    file = tmp_path / "mine.json"
    done = calibrate("EPYC 7763", ONE_THREAD, "nnlqp", name="one thread", out=file)
    assert done.factors[0] < done.factors[1]
    network = densenet((6, 12, 24, 16))
    sheet = nasplug.predict(network, hardware="EPYC 7763", runtime="eager")
    said = nasplug.predict(network, hardware=file)
    assert 1 / 3 < said.mean / (sheet.mean * done.data_sheet_ratio) < 3
    assert said.lower < DENSENET121_MS < said.upper
    # The data sheet alone says a third of it.
    assert DENSENET121_MS / 2 < said.mean < 2 * DENSENET121_MS
    assert said.upper / said.lower <= 1.01 * sheet.upper / sheet.lower
    assert not said.familiar
    assert "unlike those that you measured" in said.notes()[1]
    # One of those measured is like itself.
    again = nasplug.predict(done.profile.measured.graphs[1], hardware=file)
    assert again.familiar
    assert len(again.notes()) == 1
    assert again.mean == pytest.approx(done.profile.measured.latencies[1], rel=0.5)


def test_measurements_that_make_it_worse_are_not_saved(tmp_path: Path) -> None:
    archs = draw(NNLQP)[0][:8]
    promised = np.exp(promise(Roofline(), own(), 1, NNLQP.to_graphs(archs))[0])
    noise = np.exp(np.random.default_rng(0).permutation(np.linspace(-1.5, 1.5, 8)))
    rows = [f'"{a.text}",{p * n}' for a, p, n in zip(archs, promised, noise, strict=True)]
    table, file = tmp_path / "noise.csv", tmp_path / "mine.json"
    table.write_text("\n".join(["arch,latency_ms", *rows]))

    def run(force: bool) -> nasplug.CalibratedDevice:
        return calibrate(own(), table, NNLQP, predictor=predictor(), out=file, force=force)

    with pytest.raises(InputError, match="noise.csv.*sheet alone.*factor of .*--force"):
        run(force=False)
    assert not file.exists()
    saved = run(force=True)
    assert file.exists()
    own_factor, sheet_factor = saved.factors
    assert own_factor > sheet_factor > 1
    assert json.loads(file.read_text())["about"]["calibration"]["data_sheet"][
        "typical_factor"
    ] == pytest.approx(sheet_factor, abs=1e-5)
