from __future__ import annotations

import copy
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasplug import datasets
from nasplug.datasets.importers import accel
from nasplug.datasets.importers.accel import ACCEL_THROUGHPUT, import_accel
from nasplug.search_spaces.errors import InputError

NAME = "anb_dataset_jsons.tar.gz"


@pytest.fixture(scope="module")
def table(session_cache: Path, mirror: Path) -> pd.DataFrame:
    return datasets.load("accel")


def test_layout(table: pd.DataFrame) -> None:
    assert len(table) == 5_138
    assert list(table.columns[:6]) == [
        *("arch", "imagenet_val", "imagenet_val_top5", "train_time"),
        *("macs_millions", "params_millions"),
    ]
    speeds = [f"{d} img/s{std}" for d in ACCEL_THROUGHPUT.values() for std in ("", " std")]
    assert list(table.columns[6:18]) == speeds
    assert list(table.columns[18:]) == ["ZCU102@1", "VCK190@6", "noisy_rtx3090", "first_index"]


@pytest.mark.parametrize(
    ("column", "missing", "lowest", "median", "highest"),
    [
        ("imagenet_val", 0, 42.85, 60.712, 67.052),
        ("imagenet_val_top5", 0, 67.664, 83.359, 87.686),
        ("macs_millions", 0, 84.1415, 368.449, 718.968),
        ("params_millions", 0, 1.83875, 3.53828, 7.97219),
        ("RTX 3090 img/s", 3, 2984.56, 5554.99, 21733.2),
        ("A100 40GB img/s", 0, 4279.73, 8173.15, 30275.4),
        ("TPU v2 img/s", 37, 314.451, 668.974, 1803.14),
        ("TPU v3 img/s", 44, 633.657, 1208.73, 1803.32),
        ("ZCU102 img/s", 2, 76.2411, 390.796, 1449.46),
        ("VCK190 img/s", 2, 543.518, 2331.70, 4488.98),
        ("ZCU102@1", 2, 1.68331, 5.71971, 23.5799),
        ("VCK190@6", 2, 1.60764, 3.58674, 12.1082),
    ],
)
def test_facts(
    table: pd.DataFrame, column: str, missing: int, lowest: float, median: float, highest: float
) -> None:
    values = table[column]
    assert values.isna().sum() == missing
    found = (values.min(), values.median(), values.max())
    assert found == pytest.approx((lowest, median, highest), rel=1e-5)


def test_rows(table: pd.DataFrame) -> None:
    assert table["imagenet_val"].idxmax() == 2274
    assert list(table.index[table["RTX 3090 img/s"].isna()]) == [3287, 3300, 4276]
    assert table["arch"][0] == ("e=6,4,6,6,6,1,1;k=3,5,3,5,5,3,3;l=1,2,3,3,2,2,2;se=0,0,0,0,0,0,0")
    assert table["arch"][3287].endswith(";se=1,0,1,0,1,1,0")
    assert table["RTX 3090 img/s"][0] == 4536.288095401336
    assert table["ZCU102@1"][0] == 5.023423633627983


def test_duplicates_name_their_first_row(table: pd.DataFrame) -> None:
    assert table["arch"].nunique() == 5_125
    first = table["first_index"]
    assert (first != table.index).sum() == 13
    assert (table["arch"].loc[first].to_numpy() == table["arch"].to_numpy()).all()
    assert (first <= table.index).all()


def test_noisy_rows_are_marked_and_kept(table: pd.DataFrame) -> None:
    noisy = table[table["noisy_rtx3090"]]
    assert table["noisy_rtx3090"].dtype == np.bool_
    assert len(noisy) == 22
    spread = table["RTX 3090 img/s std"] / table["RTX 3090 img/s"]
    assert noisy.index.equals(table.index[spread > 0.05])
    assert noisy["RTX 3090 img/s std"].max() == pytest.approx(1530.65, rel=1e-5)


def test_documented_correlations(table: pd.DataFrame) -> None:
    gpu = table["RTX 3090 img/s"]
    others = {"A100 40GB img/s": 0.996, "macs_millions": -0.881, "ZCU102 img/s": 0.746}
    for column, rho in others.items():
        assert gpu.corr(table[column], method="spearman") == pytest.approx(rho, abs=5e-4)


def test_layers_of_each_block(table: pd.DataFrame) -> None:
    layers = table["arch"].str.extract("l=([^;]*)")[0].str.split(",", expand=True).astype(int)
    assert layers.max().tolist() == [3, 3, 3, 3, 3, 4, 3]
    assert layers.min().tolist() == [1] * 7


# --- foreign layouts ----------------------------------------------------------------------------


RESULT: dict[str, Any] = {
    "architecture": {
        f"block{b}_{key}": value
        for b in range(7)
        for key, value in (("e", 4), ("k", 3), ("l", 2), ("se", True))
    },
    "metrics": {"val_top1": 60.0, "val_top5": 80.0, "train_time": 1000.0},
    "model_info": {"macs": 300.0, "params": 3.0},
    "platform_perf": {
        **{k: {"throughput_mean": 100.0, "throughput_std": None} for k in ACCEL_THROUGHPUT},
        **{
            k: {"latency_mean": None, "latency_std": None}
            for k in ("latency_zcu102", "latency_vck190")
        },
    },
}


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def results(*entries: object) -> dict[str, bytes]:
    return {
        f"./anb_dataset_jsons/result_{i}.json": json.dumps(entry).encode()
        for i, entry in enumerate(entries)
    }


def changed(section: str, name: str, value: object) -> dict[str, Any]:
    entry = copy.deepcopy(RESULT)
    if value is ...:
        del entry[section][name]
    else:
        entry[section][name] = value
    return entry


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an archive of two results be a whole one."""
    monkeypatch.setattr(accel, "N_ARCHS", 2)


def test_small_archive(two: None, tmp_path: Path) -> None:
    table = import_accel({NAME: pack(tmp_path / NAME, results(RESULT, RESULT))}).to_frame()
    assert table["first_index"].tolist() == [0, 0]
    assert not table["noisy_rtx3090"].any()
    assert table["ZCU102@1"].isna().all()


@pytest.mark.parametrize(
    ("section", "name", "value", "why"),
    [
        ("architecture", "block5_l", 5, "5 for block5_l"),
        ("architecture", "block4_l", 4, "4 for block4_l"),
        ("architecture", "block0_e", 2, "2 for block0_e"),
        ("architecture", "block0_k", 3.0, "3.0 for block0_k"),
        ("architecture", "block0_l", True, "True for block0_l"),
        ("architecture", "block6_se", 1, "neither true nor false"),
        ("architecture", "block6_se", ..., "other keys"),
        ("architecture", "block7_e", 1, "other keys"),
        ("metrics", "val_top1", None, "None for val_top1"),
        ("metrics", "val_top1", 100.1, "above 100"),
        ("metrics", "val_top5", "80", "for val_top5"),
        ("metrics", "seed", 1, "not an object with the keys val_top1"),
        ("model_info", "macs", ..., "not an object with the keys macs"),
        ("platform_perf", "throughput_3090", ..., "other devices"),
        ("platform_perf", "throughput_3090", None, "throughput_3090 of result 1"),
        ("platform_perf", "throughput_a100", {"throughput_mean": 1.0}, "throughput_a100"),
        (
            *("platform_perf", "latency_zcu102"),
            {"latency_mean": 0, "latency_std": None},
            "0 for latency_zcu102",
        ),
        (
            *("platform_perf", "latency_zcu102"),
            {"latency_mean": -1.0, "latency_std": None},
            "-1.0 for latency_mean",
        ),
    ],
)
def test_foreign_result(
    two: None, tmp_path: Path, section: str, name: str, value: object, why: str
) -> None:
    path = pack(tmp_path / NAME, results(RESULT, changed(section, name, value)))
    with pytest.raises(InputError, match=" does not have the layout.*"):
        import_accel({NAME: path})


@pytest.mark.parametrize(
    ("members", "why"),
    [
        (results(RESULT), "it holds 1 results"),
        (results(RESULT, RESULT, RESULT), "it holds 3 results"),
        (results(RESULT, []), "not an object with"),
        ({"../result_0.json": b"{}"}, "member '../result_0.json'"),
        ({"anb_dataset_jsons/result_00.json": b"{}"}, "the member"),
        ({"anb_dataset_jsons/result_0.json": b" " * 100_001}, "the member"),
        ({"anb_dataset_jsons/result_0.json": b"{"}, "not a readable tar.gz of JSON"),
        ({"anb_dataset_jsons/result_0.json": b"[" * 99_999}, "not a readable tar.gz of JSON"),
        (results(RESULT) | {k[2:]: v for k, v in results(RESULT).items()}, "twice"),
    ],
)
def test_foreign_archive(two: None, tmp_path: Path, members: dict[str, bytes], why: str) -> None:
    with pytest.raises(InputError, match=rf"{NAME}.*{why}"):
        import_accel({NAME: pack(tmp_path / NAME, members)})


def test_link_in_the_archive_is_refused(two: None, tmp_path: Path) -> None:
    path = tmp_path / NAME
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("./anb_dataset_jsons/result_0.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(InputError, match="the member"):
        import_accel({NAME: path})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archive_is_refused_in_a_sentence(
    two: None, tmp_path: Path, data: st.DataObject
) -> None:
    path = pack(tmp_path / NAME, results(RESULT, RESULT))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        table = import_accel({NAME: path})
    except InputError as error:
        assert "\n" not in str(error)
    else:
        # Bytes of the gzip header mean nothing here.
        assert table.values[0, 0] == 60.0
