"""Judging by chips that were left out: folds, intervals and floors."""

import numpy as np
import pytest

from experiments.latency import left_out_cpus
from experiments.latency.cpu_data import CpuMeasurement
from nasplug import hardware
from nasplug.predictors.features.settings import Setting

PIXEL = Setting(hardware("Pixel 4"), 1, "tflite", "fp32", "cpu", 1)
PI = Setting(hardware("Raspberry Pi 4"), 1, "tflite", "fp32", "cpu", 1)


def measurement(chip, ms=1.0, column=PIXEL, reference="timm:resnet18@224", group="ncnn"):
    return CpuMeasurement(reference, column, ms, "here", chip, group, 1.0)


def test_a_chip_is_in_one_fold_and_all_folds_have_chips():
    rows = [measurement(f"chip {k % 20}") for k in range(100)]
    folds = left_out_cpus.fold_of_chips(rows)
    assert set(folds) == {f"chip {k}" for k in range(20)}
    assert set(folds.values()) == set(range(left_out_cpus.FOLDS))


def test_intervals_of_a_chip_come_from_other_chips():
    rows = [measurement(f"chip {k // 50}") for k in range(200)]
    errors = np.tile(np.linspace(-0.2, 0.2, 50), 4)
    errors[:50] += 5
    bounds = left_out_cpus.intervals(rows, errors)
    assert np.abs(bounds[:50]).max() < 0.2
    assert bounds[50:, 0].min() < -4


def test_the_sibling_scales_the_nearest_chips_time_by_the_data_sheets():
    rows = [measurement("a", 10.0), measurement("b", 20.0, PI)]
    logs = left_out_cpus.sibling(rows, [measurement("c", 1.0), measurement("c", 1.0, PI)])
    assert np.exp(logs) == pytest.approx([10.0, 20.0])
    unknown = measurement("c", reference="timm:vit_base_patch16_224@224")
    assert np.isnan(left_out_cpus.sibling(rows, [unknown])).all()


def test_rows_and_their_summary():
    rows = [measurement(f"chip {k // 10}") for k in range(40)]
    errors = {name: np.full(40, np.log(1.1)) for name in left_out_cpus.MODELS}
    table = left_out_cpus.result_rows(rows, errors | {"truth": np.arange(40.0)})
    assert len(table) == 4
    assert table[0]["model"] == {
        "mape_percent": pytest.approx(10.0),
        "bias": pytest.approx(0.095),
        "shape_percent": pytest.approx(0.0, abs=1e-6),
        "spearman": pytest.approx(1.0),
    }
    summary = left_out_cpus.summary(table, lambda row: row["group"] == "ncnn")
    assert summary["chips"] == 4
    assert summary["model"]["mape_percent"] == pytest.approx(10.0)
