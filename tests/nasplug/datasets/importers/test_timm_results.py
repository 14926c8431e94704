from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasplug import datasets
from nasplug.datasets.importers import timm_results
from nasplug.datasets.importers.timm_results import TIMM_FILES, import_accuracy, import_latency
from nasplug.search_spaces.errors import InputError

STEM = "benchmark-infer-amp-nhwc-pt240-cu124-rtx3090"
HEADER = (
    "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count,"
    "infer_gmacs,infer_macts"
)
ACCURACY = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation"


@pytest.fixture(scope="module")
def latency(session_cache: Path, mirror: Path) -> pd.DataFrame:
    return datasets.load("timm-latency")


@pytest.fixture(scope="module")
def accuracy(session_cache: Path, mirror: Path) -> pd.DataFrame:
    return datasets.load("timm-accuracy")


def test_latency_layout(latency: pd.DataFrame) -> None:
    assert list(latency.columns) == [
        *("model", "device", "mode", "image_size", "batch_size", "latency_ms", "img/s"),
        *("gmacs", "macts", "params_millions"),
    ]
    assert len(latency) == 17_567
    assert list(latency.index) == list(range(17_567))
    assert set(latency["device"]) == {"RTX 3090", "RTX 4090", "Core i9-10940X"}
    assert not latency.duplicated(["model", "device", "mode", "image_size"]).any()
    assert not latency["model"].str.contains(".", regex=False).any()


@pytest.mark.parametrize(
    ("device", "mode", "rows", "models", "fastest", "median", "slowest", "batches", "resnet50"),
    [
        ("RTX 3090", "amp nchw pt113 cu117", 932, 932, 0.020293, 0.62437, 96.525, (32, 1024),
            (3025.4, 1024)),
        ("RTX 3090", "amp nchw pt210 cu121", 1293, 1017, 0.019761, 0.62661, 158.48, (6, 1024),
            (3021.24, 1024)),
        ("RTX 3090", "amp nchw pt240 cu124", 1443, 1128, 0.009146, 0.60937, 157.48, (6, 1024),
            (3219.06, 1024)),
        ("RTX 4090", "amp nchw pt240 cu124 dynamo", 1443, 1127, 0.0052935, 0.2546, 64.226, (8, 256),
            (8237.46, 256)),
        ("RTX 4090", "amp nchw pt240 cu124", 1444, 1128, 0.0053094, 0.42419, 100.1, (6, 1024),
            (4217.6, 1024)),
        ("RTX 4090", "amp nchw pt291 cu128 dynamo", 1625, 1281, 0.0033416, 0.26454, 80.71,
            (6, 1024), (8039.05, 1024)),
        ("RTX 4090", "amp nchw pt291 cu128", 1627, 1282, 0.0051331, 0.42187, 159.24, (4, 1024),
            (4302.84, 1024)),
        ("RTX 3090", "amp nhwc pt113 cu117", 929, 929, 0.013748, 0.59273, 95.057, (32, 1024),
            (3668.58, 1024)),
        ("RTX 3090", "amp nhwc pt210 cu121", 1204, 1006, 0.013282, 0.54848, 151.29, (8, 1024),
            (3687.18, 1024)),
        ("RTX 3090", "amp nhwc pt240 cu124", 1430, 1121, 0.0096482, 0.56668, 149.25, (8, 1024),
            (3729.86, 1024)),
        ("RTX 4090", "amp nhwc pt240 cu124", 1441, 1124, 0.0051655, 0.38944, 92.251, (8, 512),
            (5088.39, 512)),
        ("Core i9-10940X", "fp32 nchw pt221 dynamo", 1321, 1032, 3.2282, 27.956, 5263.2, (1, 1),
            (64.51, 1)),
        ("Core i9-10940X", "fp32 nchw pt240 dynamo", 1435, 1120, 1.4138, 26.116, 4545.5, (1, 1),
            (67.2, 1)),
    ],
)  # fmt: skip
def test_latency_facts(
    latency: pd.DataFrame,
    device: str,
    mode: str,
    rows: int,
    models: int,
    fastest: float,
    median: float,
    slowest: float,
    batches: tuple[int, int],
    resnet50: tuple[float, int],
) -> None:
    found = latency[(latency["device"] == device) & (latency["mode"] == mode)]
    assert (len(found), found["model"].nunique()) == (rows, models)
    each = 1000 / found["img/s"]
    stats = (each.min(), each.median(), each.max())
    assert stats == pytest.approx((fastest, median, slowest), rel=5e-5)
    assert (found["batch_size"].min(), found["batch_size"].max()) == batches
    [one] = found[(found["model"] == "resnet50") & (found["image_size"] == 224)].index
    assert tuple(found.loc[one, ["img/s", "batch_size"]]) == resnet50
    # The columns are in another order in each file: mixed up, these would not agree.
    per_image = found["latency_ms"] / found["batch_size"]
    assert ((per_image / each - 1).abs().dropna() < (0.031 if device[0] == "C" else 0.0065)).all()


def test_all_files_are_in_the_facts() -> None:
    assert len(TIMM_FILES) == len(set(TIMM_FILES.values())) == 13
    files = {file.name for file in datasets.info("timm-latency").files}
    assert files == {f"{stem}.csv" for stem in TIMM_FILES}


def test_missing_values(latency: pd.DataFrame) -> None:
    unmeasured = latency[latency["img/s"].isna()]
    assert sorted(unmeasured["model"]) == [
        "eva02_enormous_patch14_clip_224",
        "vit_huge_patch16_gap_448",
    ]
    assert unmeasured[["batch_size", "latency_ms"]].isna().all(axis=None)
    assert unmeasured[["gmacs", "macts", "params_millions"]].notna().all(axis=None)
    no_costs = latency[latency["gmacs"].isna()]
    assert no_costs["macts"].isna().all()
    others = no_costs[no_costs["mode"] != "fp32 nchw pt221 dynamo"]
    assert len(no_costs) - len(others) == 1321
    assert others["model"].tolist() == ["mobilenetv3_large_150d"] * 3
    assert latency["params_millions"].notna().all()


def test_speed_goes_with_work_as_documented(latency: pd.DataFrame) -> None:
    found = latency[(latency["device"] == "RTX 3090") & (latency["mode"] == "amp nhwc pt240 cu124")]
    each = 1000 / found["img/s"]
    for column, rho in {"gmacs": 0.924, "macts": 0.957, "params_millions": 0.828}.items():
        assert each.corr(found[column], method="spearman") == pytest.approx(rho, abs=5e-4)
    assert (found["gmacs"] < 50).sum() == 1_217
    assert (found["batch_size"] == 1024).sum() == 1_128


def test_accuracy_facts(accuracy: pd.DataFrame, latency: pd.DataFrame) -> None:
    assert list(accuracy.columns) == [
        *("model", "tag", "interpolation", "image_size", "imagenet_val", "imagenet_val_top5"),
        *("params_millions", "crop"),
    ]
    assert len(accuracy) == 1_556
    assert accuracy.groupby(["model", "tag"]).ngroups == 1_266
    assert accuracy["model"].nunique() == 900
    best = accuracy.loc[accuracy["imagenet_val"].idxmax()]
    assert (best["model"], best["tag"], best["image_size"], best["imagenet_val"]) == (
        *("eva02_large_patch14_448", "mim_m38m_ft_in22k_in1k"),
        *(448, 90.056),
    )
    worst = accuracy.loc[accuracy["imagenet_val"].idxmin()]
    assert (worst["model"], worst["tag"]) == ("test_vit", "r160_in1k")
    assert worst["imagenet_val"] == 40.982
    assert accuracy["imagenet_val"].median() == pytest.approx(81.856)
    resnet = accuracy[(accuracy["model"] == "resnet50") & (accuracy["tag"] == "a1_in1k")]
    assert dict(zip(resnet["image_size"], resnet["imagenet_val"], strict=True)) == {
        288: 81.24,
        224: 80.382,
    }
    eva = accuracy[accuracy["model"] == "eva_giant_patch14_560"]
    assert eva["params_millions"].tolist() == [1014.45]
    nhwc = latency[(latency["device"] == "RTX 3090") & (latency["mode"] == "amp nhwc pt240 cu124")]
    assert len(set(accuracy["model"]) & set(nhwc["model"])) == 820


# --- foreign layouts ----------------------------------------------------------------------------


@pytest.fixture
def one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one benchmark file be all of them."""
    monkeypatch.setattr(timm_results, "TIMM_FILES", {STEM: TIMM_FILES[STEM]})


def latencies(folder: Path, text: str) -> pd.DataFrame:
    path = folder / f"{STEM}.csv"
    path.write_text(text)
    return import_latency({path.name: path}).to_frame()


def accuracies(folder: Path, text: str) -> pd.DataFrame:
    path = folder / "results-imagenet.csv"
    path.write_text(text)
    return import_accuracy({path.name: path}).to_frame()


def test_rows_with_and_without_numbers(one_file: None, tmp_path: Path) -> None:
    rows = "a,224,2000,0.5,1.0,3,1.5,2\na,256,,,,3,1.5,2\nb,224,2000,0.5,1,3,,\n"
    table = latencies(tmp_path, f"{HEADER}\n{rows}")
    assert table["image_size"].tolist() == [224, 256, 224]
    np.testing.assert_array_equal(table["img/s"], [2000, np.nan, 2000])
    np.testing.assert_array_equal(table["gmacs"], [1.5, 1.5, np.nan])
    short = HEADER.removesuffix(",infer_gmacs,infer_macts")
    assert latencies(tmp_path, f"{short}\na,224,2000,0.5,1,3\n")["macts"].isna().all()


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a,224,2000,0.5,1,3,1.5", "line 2 has 7 fields"),
        (",224,2000,0.5,1,3,1.5,2", "a model or has none"),
        ("a\x1b,224,2000,0.5,1,3,1.5,2", "a model or has none"),
        (
            "a,224,2000,0.5,1,3,1.5,2\na,224,2000,0.5,1,3,1.5,2",
            "line 3 repeats a model or has none",
        ),
        ("a,,2000,0.5,1,3,1.5,2", "'' for infer_img_size"),
        ("a,224.5,2000,0.5,1,3,1.5,2", "'224.5' for infer_img_size"),
        ("a,224,nan,0.5,1,3,1.5,2", "'nan' for infer_samples_per_sec"),
        ("a,224,0,0.5,1,3,1.5,2", "'0' for infer_samples_per_sec"),
        ("a,224,2000,,1,3,1.5,2", "'' for infer_step_time"),
        ("a,224,2000,0.5,1.5,3,1.5,2", "'1.5' for infer_batch_size"),
        ("a,224,2000,0.5,1,,1.5,2", "'' for param_count"),
        ("a,224,2000,0.5,1,3,-1,2", "'-1' for infer_gmacs"),
        ("a,224,2000,0.5,1,3,1.5,", "'' for infer_macts"),
    ],
)
def test_foreign_latency(one_file: None, tmp_path: Path, row: str, why: str) -> None:
    with pytest.raises(InputError, match=".csv does not have the layout.*"):
        latencies(tmp_path, f"{HEADER}\n{row}\n")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a.x,224,80,20,95,5,3,0.9", "line 2 has 8 fields"),
        ("a.x,224,101,20,95,5,3,0.9,bicubic", "above 100"),
        ("a.x,224,80,20,100.5,5,3,0.9,bicubic", "above 100"),
        ("a.x,224,,20,95,5,3,0.9,bicubic", "'' for top1"),
        ("a.x,224,80,20,95,5,x,0.9,bicubic", "'x' for param_count"),
        ('a.x,"2,240",80,20,95,5,3,0.9,bicubic', "'2,240' for img_size"),
    ],
)
def test_foreign_accuracy(tmp_path: Path, row: str, why: str) -> None:
    with pytest.raises(InputError, match="results-imagenet.csv does not have the layout.*"):
        accuracies(tmp_path, f"{ACCURACY}\n{row}\n")


def test_missing_column(one_file: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its columns are"):
        latencies(tmp_path, HEADER.replace("infer_macts", "macts") + "\n")
    with pytest.raises(InputError, match="its columns are"):
        accuracies(tmp_path, HEADER + "\n")


CELL = st.sampled_from(["", "a", "b.c", "1", "2.0", "1,000.5", "-3", "nan", "1e400", '"', "٣"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(CELL, min_size=7, max_size=9), max_size=3))
def test_any_row_is_read_or_refused_in_a_sentence(
    one_file: None, tmp_path: Path, rows: list[list[str]]
) -> None:
    lines = [",".join(f'"{cell}"' if "," in cell else cell for cell in row) for row in rows]
    try:
        table = latencies(tmp_path, "\n".join([HEADER, *lines]))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert (table["image_size"] > 0).all()
        assert not (table[["latency_ms", "img/s", "gmacs", "params_millions"]] <= 0).any(axis=None)
