"""Settings of rows, and the rows that latency models learn from."""

import numpy as np
import pytest

from nasplug import hardware
from nasplug.datasets.measurements import TEXTS, MeasurementTable
from nasplug.measurements import settings
from nasplug.measurements.graphs import graph_of
from nasplug.measurements.settings import learning_rows, setting_of
from nasplug.predictors.hardware import Hardware, Processor

AI_HUB = ("qualcomm/ai-hub-models@feecc9e", "qualcomm/ai-hub-models@b61a009")
ROW = {
    "source": "huggingface/pytorch-image-models@aa4b585",
    "kind": "network",
    "network": "resnet18",
    "graph": "timm:resnet18@224",
    "hardware": "RTX 3090",
    "device": "RTX 3090",
    "unit": "GPU",
    "runtime": "eager",
    "precision": "fp16",
    "mode": "inference",
    "batch": 1,
    "threads": 0,
    "latency_ms": 1.0,
}


def table_of(*changes):
    rows = [ROW | change for change in changes]
    values, codes = {}, {}
    for name in TEXTS:
        texts = [row.get(name, "") for row in rows]
        values[name] = tuple(sorted(set(texts)))
        codes[name] = np.array([values[name].index(text) for text in texts], np.int32)
    numbers = {
        name: np.array([row[name] for row in rows], np.int32) for name in ("batch", "threads")
    }
    return MeasurementTable(
        codes, values, numbers | {"latency_ms": np.array([row["latency_ms"] for row in rows])}
    )


@pytest.fixture
def phone(monkeypatch):
    """A phone with three clusters, in place of the catalogue's devices."""
    clusters = [
        Processor("cpu", name, units, 2.0, {"fp32": 0.03 * units})
        for name, units in (("Big", 1), ("Medium", 3), ("Little", 4))
    ]
    device = Hardware(
        *("Phone", "Maker", "phone", "Big", 2020, {"fp32": 0.03}, 30.0, 8.0, 2.0, 5.0, 2.0, 1),
        processors=(*clusters, Processor("npu", "Brain", 1, 1.0, {"int8": 10.0})),
    )
    monkeypatch.setattr(settings, "catalogued", lambda name: name)
    monkeypatch.setattr(settings, "find_hardware", lambda name: device)
    settings._placed.cache_clear()
    yield device
    settings._placed.cache_clear()


def test_the_setting_of_a_graphics_card():
    setting = setting_of(ROW | {"batch": 64})
    assert setting.hardware == hardware("RTX 3090")
    assert setting.key == "RTX 3090@64 fp16"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"cores": "1 big", "threads": 1}, ("cpu big", 1, 1)),
        ({"cores": "1 big + 2 medium", "threads": 3}, ("cpu", 3, 3)),
        ({"cores": "4 little", "threads": 0}, ("cpu little", 4, 4)),
        ({"cores": "little", "threads": 2}, ("cpu little", 2, 2)),
        ({"cores": "big", "threads": 4}, ("cpu", 4, 4)),
        ({"cores": "big", "threads": 0}, ("cpu big", 0, 1)),
        ({"cores": "", "threads": 2}, ("cpu", 2, 2)),
        ({"cores": "", "threads": 0}, ("cpu", 0, 4)),
        ({"unit": "NPU", "cores": "1 of the NPU"}, ("npu", 1, 1)),
    ],
)
def test_units_and_threads_of_a_phone(phone, columns, expected):
    row = {**ROW, "hardware": "Phone", "unit": "CPU"} | columns
    setting = setting_of(row)
    assert (setting.unit, setting.threads, setting.processor.units) == expected


def test_what_the_catalogue_lacks_has_no_setting(phone):
    assert setting_of(ROW | {"hardware": "Phone", "unit": "GPU"}) is None
    settings._placed.cache_clear()
    assert setting_of(ROW | {"hardware": "", "device": ""}) is None


def test_a_cluster_needs_a_device_that_has_it():
    row = ROW | {"hardware": "Xeon Gold 6226", "device": "Xeon Gold 6226", "unit": "CPU"}
    assert setting_of(row | {"threads": 2}).key == "Xeon Gold 6226@1 fp16 2 threads"
    assert setting_of(row | {"cores": "big"}).key == "Xeon Gold 6226@1 fp16"
    assert setting_of(row | {"cores": "1 little"}) is None


def test_a_gpu_without_bf16_ran_fp16():
    row = ROW | {"precision": "bf16"}
    assert setting_of(row).precision == "bf16"
    assert setting_of(row | {"hardware": "V100", "device": "V100"}).precision == "fp16"


def test_what_a_runtime_chooses_is_no_precision():
    assert setting_of(ROW | {"precision": "float"}).precision == ""
    assert setting_of(ROW | {"precision": "int8"}).precision == "int8"
    assert setting_of(ROW | {"precision": ""}).precision == ""
    assert setting_of(ROW | {"precision": "", "runtime": "tensorrt"}).precision == "int8"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quality": "noisy, cost model"}, "with a flag of NOT_TAUGHT"),
        ({"quality": "part of the card"}, "with a flag of NOT_TAUGHT"),
        ({"timing": "estimate"}, "of another mode or an estimate"),
        ({"mode": "training step"}, "of another mode or an estimate"),
        ({"batch": 0}, "of another mode or an estimate"),
        ({"precision": "fp64"}, "of another mode or an estimate"),
        (
            {"precision": "", "source": "mlcommons/inference_results_v1.0"},
            "of an unknown precision",
        ),
        ({"graph": ""}, "without a graph"),
        ({"graph": "op:gru{N=1}"}, "without a graph"),
        ({"unit": "CPU"}, "of another unit or kind"),
        ({"unit": "MCU"}, "of another unit or kind"),
        ({"kind": "operator"}, "of another unit or kind"),
        ({"hardware": "no such", "device": ""}, "no such device or unit in the catalogue"),
        ({"latency_ms": 1e-3}, "faster than the processor can"),
        ({"latency_ms": 2.0}, "repeated"),
    ],
)
def test_rows_that_are_left_out_are_counted(change, reason):
    rows = learning_rows(["gpu"], ["network"], table=table_of({}, {"quality": "noisy"}, change))
    dropped = {name: count for name, count in rows.dropped.items() if count}
    assert len(rows) == 1
    assert dropped == ({"repeated": 1, reason: 1} if reason != "repeated" else {"repeated": 2})


def test_repeated_rows_become_their_median():
    times = [{"latency_ms": ms} for ms in (1.0, 100.0, 3.0)]
    others = [{"batch": 8, "latency_ms": 8.0}, {"timing": "events", "latency_ms": 2.0}]
    rows = learning_rows(table=table_of(*times, *others))
    assert sorted(rows.ms) == pytest.approx([2.0, 3.0, 8.0])
    batches = rows.per_setting([setting.batch_size for setting in rows.settings])
    assert rows.ms[batches == 8] == pytest.approx([8.0])
    assert graph_of(rows.references[rows.graph[0]]).total("params") > 11e6


def test_an_older_snapshot_counts_only_for_what_the_newer_lacks():
    old, new = ({"source": name} for name in AI_HUB)
    rows = learning_rows(
        table=table_of(
            old | {"latency_ms": 9.0},
            new | {"latency_ms": 3.0},
            old | {"batch": 2, "latency_ms": 5.0},
        )
    )
    assert sorted(rows.ms) == pytest.approx([3.0, 5.0])
    assert rows.dropped["an older snapshot"] == 1


def test_large_sources_are_thinned_by_a_seed():
    many = [{"graph": f"op:linear{{M=1,K={k},N=8}}", "latency_ms": k} for k in range(1, 101)]
    few = [{"graph": "op:gelu{rows=1,cols=8}"}, {}]
    table = table_of(*many, *few)
    one, same, other = (learning_rows(most=10, seed=k, table=table) for k in (0, 0, 1))
    # Ten products, the one activation and the one network.
    assert len(one) == len(one.references) == 12
    assert one.references == same.references
    assert one.references != other.references
    assert len(learning_rows(table=table)) == 102
