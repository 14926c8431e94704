"""Models of classes of processors, and departures that are carried from measured columns."""

from dataclasses import replace

import numpy as np
import pytest

from nasplug import hardware, load_predictor, space
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.class_models import (
    Anchors,
    ClassModels,
    class_of,
    told,
    told_key,
)
from nasplug.search_spaces import Graph

GPU = hardware("RTX 3090")


@pytest.mark.parametrize(
    ("device", "unit", "name"),
    [
        ("RTX 3090", "", "gpu"),
        ("Jetson AGX Xavier", "", "gpu"),
        ("EPYC 7763", "", "cpu"),
        ("Raspberry Pi 4", "", "cpu"),
        ("Galaxy S24", "cpu big", "cpu"),
        ("Galaxy S24", "gpu", "other"),
        ("Galaxy S24", "npu", "other"),
        ("TPU v3", "", "other"),
    ],
)
def test_classes(device: str, unit: str, name: str) -> None:
    assert class_of(Setting(hardware(device), unit=unit)) == name


def test_what_models_are_told_is_in_words() -> None:
    assert told(Setting(GPU)) == Setting(GPU, runtime="eager", precision="fp32")
    assert told(Setting(hardware("Galaxy S24"), 1, "qnn", "", "npu")).precision == "fp16"
    assert told(Setting(hardware("EPYC 7763"), threads=4)).threads == 4


@pytest.mark.parametrize(("name", "unit"), [("RTX 3090", ""), ("EPYC 7763", ""), ("TPU v3", "")])
def test_a_description_without_a_year_is_predicted(name: str, unit: str) -> None:
    models = load_predictor("network-latency").model._classes
    graph = space("nnlqp:squeezenet").to_graph(space("nnlqp:squeezenet").standard)
    known = hardware(name)
    columns = [Setting(device, unit=unit) for device in (known, replace(known, year=0))]
    usual, dateless = np.exp(models.log_latency([graph], columns))[0]
    assert 0.2 < dateless / usual < 5


def test_a_departure_is_carried_to_what_is_near() -> None:
    anchors = [Setting(GPU, 32), Setting(GPU, 256)]
    columns = [Setting(GPU, n) for n in (1, 16, 32, 33, 64, 256)]
    columns += [Setting(GPU, 32, "tensorrt"), Setting(hardware("RTX 3080"), 32)]
    columns += [Setting(hardware("EPYC 7763"), 32)]
    weights = Anchors(anchors).weights(columns)
    np.testing.assert_allclose(weights[[2, 5]], np.eye(2), atol=1e-2)
    first = weights[:, 0]
    assert first[2] > first[3] > first[1] > first[0] > 0
    # No jump beside a measured batch size.
    assert first[2] - first[3] < 0.02
    assert 0 < first[6] < 0.6
    assert 0.2 < first[7] < 0.9
    assert first[8] == 0


def test_settings_of_one_device_and_way_have_one_key() -> None:
    phone = hardware("Galaxy S24")
    npu = Setting(phone, 1, "qnn", "int8", "npu")
    assert told_key(npu) == "Galaxy S24|qnn|int8|npu"
    assert told_key(npu) == told_key(Setting(phone, 8, "qnn", "int8", "npu"))
    ways = [npu, *(Setting(phone, 1, "tflite", "fp16", unit) for unit in ("gpu", "npu", "cpu big"))]
    assert len({told_key(way) for way in ways}) == len(ways)
    assert told_key(Setting(GPU, 2)) == told_key(Setting(GPU, 64, "eager", unit="gpu"))


class Fixed:
    """Model of a class that says one number."""

    def __init__(self, ms: float) -> None:
        self.ms = ms

    def log_latency(self, graphs: list[Graph], columns: list[Setting]) -> np.ndarray:
        assert len(graphs) == len(columns)
        return np.log(
            [self.ms * len(g) * c.batch_size for g, c in zip(graphs, columns, strict=True)]
        )


def test_each_column_is_predicted_by_its_class() -> None:
    graphs = [Graph(("Input", *("Relu",) * n, "Output"), (), np.zeros((n + 2, 10))) for n in (1, 4)]
    models = ClassModels({"gpu": Fixed(1.0), "cpu": Fixed(10.0)})
    columns = [Setting(GPU, 2), Setting(hardware("EPYC 7763")), Setting(GPU, 8)]
    said = np.exp(models.log_latency(graphs, columns))
    np.testing.assert_allclose(said, [[6, 30, 24], [12, 60, 48]])
    assert [models.knows(c) for c in (*columns, Setting(hardware("TPU v3")))] == [
        *(True, True, True),
        False,
    ]
    assert not models.explains(columns[0])
    assert isinstance(columns[0].hardware, Hardware)


class OfKinds(Fixed):
    """Model that tells the times of kinds of kernels."""

    def parts(self, graph: Graph, column: Setting) -> list[dict[str, object]]:
        return [
            {"kind": "convolution", "count": 2, "ms": 3.0, "bound": "compute"},
            {"kind": "driver", "count": 1, "ms": 0.5, "bound": "launch"},
        ]


def test_times_of_kinds_are_those_of_their_operators() -> None:
    rows = np.zeros((4, 10))
    rows[0] = [0, 0, 0, 0, 3, 8, 8, 0, 0, 768]
    for k, flops in ((1, 1e6), (2, 3e6)):
        rows[k] = [3, 1, 1, 8, 8, 8, 8, flops, 584, 4096]
    graph = Graph(("Input", "Conv", "Conv", "Output"), ((0, 1), (1, 2), (2, 3)), rows)
    parts = ClassModels({"other": OfKinds(1.0)}).parts(graph, Setting(hardware("TPU v3")))
    assert parts.ms[[0, 3]].tolist() == [0, 0]
    np.testing.assert_allclose(parts.ms.sum(), 3.0)
    assert parts.ms[2] > 2 * parts.ms[1]
    assert parts.rest_ms == 0.5
    assert parts.bounds == ("", "compute", "compute", "")
