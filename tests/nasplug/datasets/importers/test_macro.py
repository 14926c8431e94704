from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nasplug import datasets
from nasplug.datasets.importers.macro import MACRO_COLUMNS, import_macro
from nasplug.search_spaces.errors import InputError

NAME = "nas-bench-macro_cifar10.json"
RUNS = [f"cifar10_test_{run}" for run in (1, 2, 3)]


@pytest.fixture(scope="module")
def table(session_cache: Path, mirror: Path) -> pd.DataFrame:
    return datasets.load("macro")


@pytest.fixture(scope="module")
def published(mirror: Path) -> str:
    [file] = datasets.info("macro").files
    return (mirror / file.key).read_text()


def test_layout(table: pd.DataFrame) -> None:
    assert list(table.columns) == ["arch", *MACRO_COLUMNS]
    assert len(table) == 3**8
    assert [int(key, 3) for key in table["arch"]] == list(table.index) == list(range(3**8))
    assert set(table["arch"].str.len()) == {8}
    assert {table[c].dtype.name for c in ("params", "flops", "first_index")} == {"int64"}


def test_facts(table: pd.DataFrame) -> None:
    mean = table.set_index("arch")["cifar10_test"]
    assert mean.idxmin() == "00000000"
    assert set(mean.index[mean == mean.max()]) == {"22212202", "22212220"}
    found = (mean.min(), mean.median(), mean.mean(), mean.max())
    assert found == pytest.approx((45.36333, 90.98999786, 90.24659, 93.12666), abs=1e-5)
    assert (table[RUNS].min().min(), table[RUNS].max().max()) == pytest.approx((45.32, 93.45))
    assert table["cifar10_test_std"].max() == pytest.approx(0.82769, abs=1e-5)
    assert (table["params"].min(), table["params"].max()) == (387_882, 2_932_586)
    assert (table["flops"].min(), table["flops"].max()) == (7_713_280, 105_660_928)


def test_one_row(table: pd.DataFrame) -> None:
    row = table.set_index("arch").loc["02012100"]
    assert row[RUNS].tolist() == pytest.approx([89.47, 88.95, 89.17], abs=1e-5)
    assert row["cifar10_test"] == pytest.approx(89.19667, abs=1e-5)
    assert (row["params"], row["flops"]) == (890_666, 47_327_744)


def test_networks_that_share_a_measurement(table: pd.DataFrame) -> None:
    # An identity may swap places with the other block only behind the first of a stage of three.
    def moved(key: str) -> str:
        pairs = (key[3:5], key[6:8])
        first, second = (pair[::-1] if pair[0] == "0" else pair for pair in pairs)
        return key[:3] + first + key[5] + second

    groups = table.groupby(table["arch"].map(moved))
    assert groups.ngroups == table["first_index"].nunique() == 3_969
    assert (groups["first_index"].nunique() == 1).all()
    assert (table["first_index"] <= table.index).all()
    assert (groups[RUNS].nunique() == 1).all(axis=None)


def test_mean_and_spread_are_those_of_the_runs(table: pd.DataFrame) -> None:
    assert (table[RUNS].mean(axis=1) - table["cifar10_test"]).abs().max() < 1e-6
    assert (table[RUNS].std(axis=1, ddof=0) - table["cifar10_test_std"]).abs().max() < 1e-6


def drop(content: dict[str, Any]) -> None:
    del content["00000000"]


def rename(content: dict[str, Any]) -> None:
    content["00000003"] = content.pop("00000000")


def replace(value: object) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({"00000000": value})


def field(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["00000000"].update({name: value})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop, "6,561 words"),
        (rename, "6,561 words"),
        (replace([]), "00000000 has no list test_acc"),
        (replace({}), "00000000 has no list test_acc"),
        (field("test_acc", [90.0, 90.0]), "2 values instead of 3"),
        (field("test_acc", [90.0, 90.0, "90"]), "not numbers"),
        (field("test_acc", [90.0, 90.0, 100.5]), "at most 100"),
        (field("mean_acc", 46.0), "mean and std of 00000000"),
        (field("std", 0.5), "mean and std of 00000000"),
        (field("params", None), "None for params"),
        (field("flops", -1), "-1 for flops"),
        (field("seed", 1), "00000000 is not an object with the keys mean_acc"),
    ],
)
def test_foreign_layout(
    published: str, tmp_path: Path, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    content = json.loads(published)
    change(content)
    path = tmp_path / NAME
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=" does not have the layout.*"):
        import_macro({NAME: path})


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_broken_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / NAME
    path.write_text(text)
    with pytest.raises(InputError, match=NAME):
        import_macro({NAME: path})
