"""Tables in the cache: imported once, and rebuilt when damaged or stale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nasplug import datasets
from nasplug.datasets import store
from nasplug.datasets.tables import Table, read_table, write_table
from nasplug.search_spaces.errors import InputError

NAME = "nb201-accuracy"


@pytest.fixture(scope="module")
def accuracy(nb201_cache: Path) -> pd.DataFrame:
    return datasets.load(NAME)


@pytest.fixture
def own(cache: Path, nb201_cache: Path) -> Path:
    """A cache of the test's own that holds copies of both tables and no sources."""
    for path in (nb201_cache / "tables").iterdir():
        target = cache / "tables" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return cache


def count_builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    built: list[str] = []
    real = store._build

    def build(entry: Any, progress: bool | None) -> Table:
        built.append(entry.name)
        return real(entry, progress)

    monkeypatch.setattr(store, "_build", build)
    return built


def test_table_is_imported_once(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = count_builds(monkeypatch)
    monkeypatch.setenv("NASPLUG_MIRROR", "http://127.0.0.1:9")
    assert len(datasets.load(NAME)) == len(datasets.load(NAME)) == 15_625
    assert built == []


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda content: b""])
def test_damaged_table_is_rebuilt(
    own: Path,
    accuracy: pd.DataFrame,
    damage: Callable[[bytes], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = count_builds(monkeypatch)
    path = own / "tables" / f"{NAME}.npz"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert datasets.verify(NAME)[-1] == (f"tables/{NAME}.npz", "damaged")
    pd.testing.assert_frame_equal(datasets.load(NAME), accuracy)
    assert built == [NAME]
    assert path.read_bytes() == whole


def test_damaged_table_that_cannot_be_rebuilt(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own / "tables" / f"{NAME}.npz"
    path.write_bytes(truncated(path.read_bytes()))
    monkeypatch.setenv("NASPLUG_MIRROR", str(own))
    with pytest.raises(InputError, match=r"nb201-accuracy\.npz cannot be read.*json is missing"):
        datasets.load(NAME)


def test_altered_number_behind_a_good_zip_is_found(own: Path) -> None:
    path = own / "tables" / f"{NAME}.npz"
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["values"][0, 0] += 1
    np.savez_compressed(path, **arrays)
    with pytest.raises(InputError, match="was changed"):
        read_table(path)


def test_stale_table_is_rebuilt(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own / "tables" / f"{NAME}.npz"
    table = read_table(path)
    for changed in (
        {"version": table.version - 1},
        {"sources": {**table.sources, "a": "b"}},
        {"sources": {}},
    ):
        built = count_builds(monkeypatch)
        write_table(path, Table(**{**vars(table), "values": table.values * 0, **changed}))
        assert datasets.verify(NAME)[-1][1] == "stale"
        assert datasets.load(NAME)["cifar10_test"].max() == pytest.approx(94.37333)
        assert built[-1] == NAME
