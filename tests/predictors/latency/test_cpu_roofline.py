"""The roofline of CPUs: what it learns, keeps, and never says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nasplug import hardware
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.cpu_numbers import START
from nasplug.predictors.latency.cpu_roofline import CpuRoofline
from nasplug.predictors.latency.cpu_terms import core_kind, cpu_precision
from nasplug.search_spaces import Graph
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph


def _network(width: int, side: int = 32) -> Graph:
    """A convolution, a depthwise one, and a product."""
    operators = [
        Operator("Input", (), (1, 3, side, side)),
        Operator("Conv", (0,), (1, width, side, side), weights=(width, 3, 3, 3), kernel=(3, 3)),
        Operator("Relu", (1,), (1, width, side, side)),
        Operator(
            "Conv",
            (2,),
            (1, width, side, side),
            weights=(width, 1, 3, 3),
            kernel=(3, 3),
            stride=(1, 1),
            groups=width,
        ),
        Operator("GlobalAveragePool", (3,), (1, width, 1, 1)),
        Operator("Reshape", (4,), (1, width)),
        Operator("Gemm", (5,), (1, 100), weights=(100, width)),
    ]
    return network_graph(operators, [len(operators) - 1])


def _start() -> CpuRoofline:
    return CpuRoofline({name: value for name, (value, _) in START.items()})


PIXEL = Setting(hardware("Pixel 4"), 1, "tflite", "fp32", "cpu", 1)


def test_time_grows_with_width_side_and_batch() -> None:
    model = _start()
    graphs = [_network(64), _network(128), _network(64, 64)]
    small, wide, large = np.exp(model.log_latency(graphs, [PIXEL] * 3))
    assert small < wide
    assert small < large
    batch = np.exp(model.log_latency(graphs[:1], [replace(PIXEL, batch_size=8)]))[0]
    assert batch > small


def test_more_cores_and_a_larger_core_take_less_time() -> None:
    model, graph = _start(), _network(256, 64)
    columns = [replace(PIXEL, unit="cpu little"), PIXEL, replace(PIXEL, threads=4)]
    times = model.log_latency([graph] * 3, columns)
    assert times[0] > times[1] > times[2]


def test_numbers_that_measurements_tell_are_learned_and_stored() -> None:
    graphs = [_network(width, side) for width in (32, 64, 128) for side in (16, 32, 64)]
    columns = [PIXEL, replace(PIXEL, threads=4), Setting(hardware("Galaxy S10"), 1, "tflite")]
    columns[2] = replace(columns[2], unit="cpu", threads=1)
    rows = [(graph, column) for graph in graphs for column in columns]
    graphs, columns = [graph for graph, _ in rows], [column for _, column in rows]
    truth = _start().log_latency(graphs, columns) + np.log(2)
    model = CpuRoofline.of(graphs, columns, np.exp(truth), ["here"] * len(rows), steps=80)
    errors = model.log_latency(graphs, columns, ["here"] * len(rows)) - truth
    assert np.abs(errors).mean() < 0.15
    restored = CpuRoofline.restored(model.tensors(), model.described())
    expected = model.log_latency(graphs, columns)
    assert restored.log_latency(graphs, columns) == pytest.approx(expected, abs=1e-6)
    assert restored.is_known(graphs[0], columns[0])
    assert not restored.is_known(_network(48), columns[0])


def test_parts_sum_up_to_the_latency() -> None:
    model, graph = _start(), _network(64)
    parts = model.parts(graph, PIXEL)
    total = float(parts.ms.sum()) + parts.rest
    assert total == pytest.approx(float(np.exp(model.log_latency([graph], [PIXEL])[0])), rel=1e-4)
    assert len(parts.of_nodes) == len(graph)
    assert set(parts.bounds) <= {"arithmetic", "traffic", "launch"}


def test_cores_and_precisions() -> None:
    assert core_kind("Cortex-A53", 8) == "in order"
    assert core_kind("Cortex-A72", 8) == "narrow"
    assert core_kind("Cortex-A76", 16) == core_kind("Cortex-A78", 15.994) == "wide"
    assert core_kind("Zen 4", 32) == "x86"
    assert cpu_precision(replace(PIXEL, precision="int8")) == "int8 dot"
    pi = Setting(hardware("Raspberry Pi 4"), 1, "tflite", "int8", "cpu", 4)
    assert cpu_precision(pi) == "int8"
    assert cpu_precision(replace(PIXEL, runtime="ncnn", precision="")) == "fp16"
