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
from nasplug.predicting.few_shot import draw, likeness, measured_device, promise
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors import Hardware
from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks
from nasplug.predictors.latency.measured_device import LARGEST_FACTOR, MeasuredDevice
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


class Measurable:
    """Forty networks of a space, learned by a device that is told their latencies."""

    def __init__(self, name: str) -> None:
        self.space = space(name)
        archs, graphs = draw(self.space)
        self.texts, self.graphs = [arch.text for arch in archs[:40]], graphs[:40]
        table = MeasuredNetworks(tuple(self.texts), np.ones(40), tuple(self.graphs))
        self.transfer = measured_device(predictor(), DeviceProfile(own(), name, 1, table)).transfer
        every = [*self.graphs, *judged()]
        self.promised = dict(
            zip(map(id, every), promise(Roofline(), own(), 1, every)[0], strict=True)
        )

    def sheet(self, graphs: Sequence[Graph]) -> tuple[np.ndarray, np.ndarray]:
        center = np.array([self.promised[id(graph)] for graph in graphs])
        return center, np.full(len(graphs), HALF)

    def learn(self, places: Sequence[int], latencies: np.ndarray) -> MeasuredDevice:
        texts = [self.texts[k] for k in places]
        device = MeasuredDevice(self.transfer, self.sheet, likeness(self.space, texts, NNLQP))
        device.fit([self.graphs[k] for k in places], latencies)
        return device


HALF = 1.645 * Roofline.spread
measurable = cache(Measurable)
TABLES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "exact": lambda logs, rng: logs,
    "noisy": lambda logs, rng: logs + rng.normal(0, 0.2, len(logs)),
    "five orders of noise": lambda logs, rng: rng.uniform(-4.6, 6.9, len(logs)),
    "equal": lambda logs, rng: np.full(len(logs), 1.5),
    "one outlier": lambda logs, rng: logs + 7 * (np.arange(len(logs)) == 1),
    "upside down": lambda logs, rng: 4 - logs,
    "steeper": lambda logs, rng: 2 * logs,
}


tables = (
    st.sampled_from(list(TABLES)),
    st.integers(3, 12),
    st.floats(-5, 5),
    st.integers(0, 2**32 - 1),
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["nnlqp", "fbnet"]), *tables)
def test_calibration_cannot_make_things_worse(
    name: str, table: str, count: int, scale: float, seed: int
) -> None:
    check_that_it_is_not_worse(name, table, count, scale, seed)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["nnlqp", "nnlqp:resnet", "fbnet", "ofa", "accel", "macro"]), *tables)
def test_calibration_cannot_make_things_worse_in_any_space(
    name: str, table: str, count: int, scale: float, seed: int
) -> None:
    check_that_it_is_not_worse(name, table, count, scale, seed)


def check_that_it_is_not_worse(name: str, table: str, count: int, scale: float, seed: int) -> None:
    where, rng = measurable(name), np.random.default_rng(seed)
    places = rng.permutation(40)[:count].tolist()
    known = where.sheet([where.graphs[k] for k in places])[0]
    logs = np.maximum(TABLES[table](known, rng) + scale, np.log(0.01) + 1e-9)
    device = where.learn(places, np.exp(logs))
    asked = judged()
    said, like = device.predict(asked), device.like(asked)
    anchor = where.sheet(asked)[0] + np.median(logs - known)
    apart = np.abs(np.log(said.mean[:, 0]) - anchor)
    assert (apart[~like] <= np.log(LARGEST_FACTOR) + 1e-6).all()
    scatter = np.abs(logs - known - np.median(logs - known)).max()
    assert (apart <= np.log(LARGEST_FACTOR) + scatter + 1e-6).all()
    width = np.log(said.upper[:, 0] / said.lower[:, 0]) / 2
    assert (width <= HALF + 0.01).all()
    assert np.isfinite(said.std).all()
    # Networks of families that were not measured, and timm's, are none of those measured.
    assert not like[-len(timm_like()) :].any()
    families = {text.split(":")[0] for text in (where.texts[k] for k in places)}
    vgg = 2 * list(NNLQP.spaces).index("vgg")
    assert "vgg" in families or not like[vgg : vgg + 2].any()


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
