from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from nasplug import datasets
from nasplug.datasets.importers import nb201
from nasplug.datasets.importers.nb201 import NB201_DEVICES, import_accuracy, import_latency, is_arch
from nasplug.search_spaces.errors import InputError

NAME = "nb201-accuracy"


@pytest.fixture(scope="module")
def accuracy(nb201_cache: Path) -> pd.DataFrame:
    return datasets.load(NAME)


@pytest.fixture(scope="module")
def latency(nb201_cache: Path) -> pd.DataFrame:
    return datasets.load("nb201-latency")


# --- the published facts ------------------------------------------------------------------------


def test_accuracy_layout(accuracy: pd.DataFrame) -> None:
    assert list(accuracy.columns) == [
        "arch",
        "cifar10_val",
        "cifar10_test",
        "cifar100_val",
        "cifar100_test",
        "imagenet16-120_val",
        "imagenet16-120_test",
    ]
    assert accuracy.index.name == "index"
    assert list(accuracy.index) == list(range(15_625))
    assert all(accuracy.dtypes.iloc[1:] == np.float64)
    assert accuracy["arch"].map(is_arch).all()
    assert accuracy["arch"].is_unique
    assert all(isinstance(arch, str) for arch in accuracy["arch"].head())


@pytest.mark.parametrize(
    ("index", "arch"),
    [
        (0, "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
            "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"),
        (6111, "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
               "|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"),
        (15624, "|nor_conv_1x1~0|+|none~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|"),
    ],
)  # fmt: skip
def test_index_order(accuracy: pd.DataFrame, index: int, arch: str) -> None:
    assert accuracy["arch"][index] == arch


def test_every_operation_is_equally_frequent(accuracy: pd.DataFrame) -> None:
    text = "".join(accuracy["arch"])
    for op in ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"):
        assert text.count(f"|{op}~") == 18_750


@pytest.mark.parametrize(
    ("column", "row0", "lowest", "lowest_at", "median", "best", "best_at"),
    [
        ("cifar10_val", 81.98267, 9.712, 5241, 87.296, 91.60667, {6111}),
        ("cifar10_test", 85.86333, 10.0, 10, 90.73, 94.37333, {6111, 13714}),
        ("cifar100_val", 52.7, 1.0, 1774, 65.15333, 73.49333, {9930}),
        ("cifar100_test", 52.91333, 1.0, 8906, 65.27333, 73.51333, {9930}),
        ("imagenet16-120_val", 28.21111, 0.83333, 7309, 36.55, 46.73333, {10676}),
        ("imagenet16-120_test", 26.63333, 0.83333, 15007, 36.36667, 47.31111, {857}),
    ],
)
def test_accuracy_facts(
    accuracy: pd.DataFrame,
    column: str,
    row0: float,
    lowest: float,
    lowest_at: int,
    median: float,
    best: float,
    best_at: set[int],
) -> None:
    values = accuracy[column]
    assert values[0] == pytest.approx(row0, abs=1e-5)
    assert values.min() == pytest.approx(lowest, abs=1e-5)
    assert values.idxmin() == lowest_at
    assert values.median() == pytest.approx(median, abs=1e-5)
    assert values.max() == pytest.approx(best, abs=1e-5)
    assert set(values.index[values == values.max()]) == best_at


def test_latency_layout(latency: pd.DataFrame) -> None:
    assert list(latency.columns) == [
        f"{device}@{batch}" for device, batch in NB201_DEVICES.values()
    ]
    assert latency.shape == (15_625, 24)
    assert latency.index.name == "index"
    assert all(latency.dtypes == np.float64)
    assert np.isfinite(latency.to_numpy()).all()
    assert (latency > 0).to_numpy().all()


@pytest.mark.parametrize(
    ("column", "row0", "lowest_at", "median", "highest", "highest_at"),
    [
        ("GTX 1080 Ti@256", 17.2553, 1835, 22.5562, 35.5843, 1462),
        ("GTX 1080 Ti@32", 7.65848, 14707, 9.04817, 19.5569, 1716),
        ("RTX 2080 Ti@1", 6.02976, 1835, 7.54674, 15.8512, 13700),
        ("Titan RTX@256", 10.6519, 1835, 18.0573, 47.7211, 1462),
        ("Titan X@32", 7.52681, 1835, 8.69377, 16.2383, 7632),
        ("Xeon Gold 6226@1", 10.5246, 1835, 9.61053, 20.3731, 7632),
        ("Xeon Gold 6240@1", 6.6145, 4040, 10.0397, 25.2833, 5721),
        ("Xeon Silver 4114@1", 10.2675, 2299, 18.5243, 48.0771, 1462),
        ("Xeon Silver 4210R@1", 8.85187, 1835, 13.5884, 33.834, 1462),
        ("Galaxy A50@1", 16, 1835, 21, 183, 12500),
        ("Galaxy S7@1", 29, 25, 25, 90, 9189),
        ("Essential PH-1@1", 9, 1835, 14, 45, 13250),
        ("Pixel 2@1", 9, 25, 15, 51, 15341),
        ("Pixel 3@1", 3.60585, 7001, 10.6756, 36.7665, 12726),
        ("Raspberry Pi 4@1", 10.482, 9980, 25.6801, 98.8875, 1462),
        ("ZC706@1", 2.57296, 25, 3.72496, 8.67856, 1462),
        ("Eyeriss@1", 3.64562, 25, 5.12018, 10.5269, 2),
    ],
)
def test_latency_facts(
    latency: pd.DataFrame,
    column: str,
    row0: float,
    lowest_at: int,
    median: float,
    highest: float,
    highest_at: int,
) -> None:
    values = latency[column]
    assert values[0] == pytest.approx(row0, rel=1e-5)
    assert values.idxmin() == lowest_at
    assert values.median() == pytest.approx(median, rel=1e-5)
    assert values.max() == pytest.approx(highest, rel=1e-5)
    assert values.idxmax() == highest_at


def test_degenerate_latencies(latency: pd.DataFrame) -> None:
    assert (latency["Pixel 3@1"] < 0.1).sum() == 202
    assert (latency["Raspberry Pi 4@1"] < 0.1).sum() == 157


@pytest.mark.parametrize(
    ("column", "index", "milliseconds", "percent"),
    [
        ("Titan RTX@256", 248, 17.8, 69.7),
        ("Titan RTX@256", 11000, 18.9, 71.5),
        ("Titan RTX@256", 10603, 24.2, 71.8),
        ("Xeon Gold 6226@1", 4791, 8.0, 67.3),
        ("Xeon Gold 6226@1", 10188, 10.7, 70.2),
        ("Xeon Gold 6226@1", 3456, 14.3, 72.1),
        ("Pixel 2@1", 248, 13.0, 69.7),
        ("Pixel 2@1", 10603, 19.0, 71.8),
        ("Pixel 2@1", 6111, 25.0, 73.2),
        ("Eyeriss@1", 11000, 3.9, 71.5),
        ("Eyeriss@1", 10603, 5.1, 71.8),
        ("Eyeriss@1", 9930, 9.1, 73.5),
        ("ZC706@1", 10188, 3.8, 70.2),
        ("ZC706@1", 10603, 4.7, 71.8),
        ("ZC706@1", 9930, 7.4, 73.5),
    ],
)
def test_pairs_printed_by_help(
    accuracy: pd.DataFrame,
    latency: pd.DataFrame,
    column: str,
    index: int,
    milliseconds: float,
    percent: float,
) -> None:
    # Both tables must count the architectures alike for these to meet.
    # 0.051 and not 0.05: HELP rounds 17.7740 up to 17.8 and 9.0523 to 9.1.
    assert latency[column][index] == pytest.approx(milliseconds, abs=0.051)
    assert accuracy["cifar100_test"][index] == pytest.approx(percent, abs=0.051)


# --- foreign layouts ----------------------------------------------------------------------------


@pytest.fixture
def accuracy_files(mirror: Path) -> dict[str, Path]:
    return {file.name: mirror / file.key for file in datasets.info(NAME).files}


@pytest.fixture
def latency_files(mirror: Path) -> dict[str, Path]:
    return {file.name: mirror / file.key for file in datasets.info("nb201-latency").files}


def drop_one(content: dict[str, Any], first: str) -> None:
    del content[first]


def rename_one(content: dict[str, Any], first: str) -> None:
    content["|none~0|"] = content.pop(first)


def drop_field(content: dict[str, Any], first: str) -> None:
    del content[first]["val_acc_200"]


def set_field(value: object) -> Callable[[dict[str, Any], str], None]:
    def change(content: dict[str, Any], first: str) -> None:
        content[first]["test_acc_200"] = value

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop_one, "from those of the index table"),
        (rename_one, "from those of the index table"),
        (drop_field, "no val_acc_200"),
        (set_field(float("nan")), "nan"),
        (set_field(0), "above 0"),
        (set_field(100.5), "at most 100"),
        (set_field("90"), "not numbers"),
        (set_field(True), "not numbers"),
    ],
)
def test_foreign_json(
    accuracy_files: dict[str, Path],
    tmp_path: Path,
    change: Callable[[dict[str, Any], str], None],
    why: str,
) -> None:
    name = "nasbench201_cifar10.json"
    content = json.loads(accuracy_files[name].read_text())
    change(content, next(iter(content)))
    path = tmp_path / name
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"{name}.*{why}"):
        import_accuracy({**accuracy_files, name: path})


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, "\xff"])
def test_broken_json(accuracy_files: dict[str, Path], tmp_path: Path, text: str) -> None:
    name = "nasbench201_cifar100.json"
    path = tmp_path / name
    path.write_text(text, encoding="latin1")
    with pytest.raises(InputError, match=name):
        import_accuracy({**accuracy_files, name: path})


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_foreign_index(accuracy_files: dict[str, Path], tmp_path: Path) -> None:
    index = nb201.load_pickle_zip(accuracy_files["str_arch2idx.pt"])
    first = next(iter(index))
    for wrong in ([], {}, {**index, first: 15_625}, {**index, first: 1.0}, {**index, first: 5}):
        path = save(tmp_path / "str_arch2idx.pt", wrong)
        with pytest.raises(InputError, match=r"str_arch2idx\.pt.*numbered from 0"):
            import_accuracy({**accuracy_files, path.name: path})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "expected a list"),
        ([1.0] * 15_624, "15,624 values instead of 15,625"),
        ([1.0] * 15_624 + [float("inf")], "value 15624 is inf"),
        ([-1] + [1.0] * 15_624, "value 0 is -1.0"),
        (["1"] * 15_625, "not numbers"),
    ],
)
def test_foreign_latency(
    latency_files: dict[str, Path], tmp_path: Path, wrong: object, why: str
) -> None:
    path = save(tmp_path / "1080ti_1.pt", wrong)
    with pytest.raises(InputError, match="1080ti_1.pt does not have the layout.*"):
        import_latency({**latency_files, path.name: path})


def test_tensors_are_refused(latency_files: dict[str, Path], tmp_path: Path) -> None:
    path = save(tmp_path / "1080ti_1.pt", torch.ones(15_625))
    with pytest.raises(InputError, match="tensor"):
        import_latency({**latency_files, path.name: path})
    assert zipfile.is_zipfile(path)


@pytest.mark.parametrize(
    "text", ["", "|none~0|", None, "|none~0|+|none~0|none~1|+|none~0|none~1|none~3|", "x" * 99]
)
def test_is_arch_refuses(text: object) -> None:
    assert not is_arch(text)
