"""Tables as files: what is written is read, and damage never passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasplug.datasets.tables import Table, read_table, write_table
from nasplug.search_spaces.errors import InputError


def test_table_with_gaps_keeps_its_index(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "t.npz"
    values = np.array([[1.0], [np.nan]])
    write_table(path, Table(np.array([3, 7]), ("x",), values, None, {}))
    frame = read_table(path).to_frame()
    assert list(frame.index) == [3, 7]
    assert frame.index.name == "index"
    np.testing.assert_array_equal(frame["x"], values[:, 0])


def test_table_keeps_texts_and_kinds_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    values = np.array([[1.0, 7.0, 0.5], [0.0, -8.0, np.nan]])
    texts = {"model": ("ä.b", ""), "mode": ("x", "a longer one")}
    dtypes = {"flag": "bool", "count": "int64"}
    table = Table(
        np.arange(2), ("flag", "count", "x"), values, ("A", "B"), {}, texts=texts, dtypes=dtypes
    )
    write_table(path, table)
    frame = read_table(path).to_frame()
    assert list(frame.columns) == ["arch", "model", "mode", "flag", "count", "x"]
    assert [frame[c].dtype.name for c in ("flag", "count", "x")] == ["bool", "int64", "float64"]
    assert frame["model"].tolist() == ["ä.b", ""]
    assert frame["mode"].tolist() == ["x", "a longer one"]
    assert frame["arch"].tolist() == ["A", "B"]
    assert frame["flag"].tolist() == [True, False]
    assert frame["count"].tolist() == [7, -8]


def test_pickles_in_a_table_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez_compressed(path, values=np.array([{}], dtype=object), checksum=np.zeros(32))
    with pytest.raises(InputError, match="allow_pickle=False"):
        read_table(path)
    with pytest.raises(InputError, match="is missing"):
        read_table(tmp_path / "none.npz")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_in_a_table_never_passes(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "t.npz"
    write_table(
        path,
        Table(
            np.arange(3),
            ("x", "y"),
            np.eye(3)[:, :2],
            ("a", "b", "c"),
            {"f": "0"},
            texts={"t": ("p", "q", "r")},
            dtypes={"x": "bool"},
        ),
    )
    content = bytearray(path.read_bytes())
    whole = read_table(path)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        found = read_table(path)
    except InputError:
        return
    # Some bytes of a zip file mean nothing (dates, flags): then the content must be the same.
    assert found.columns == whole.columns
    assert found.archs == whole.archs
    assert (found.texts, found.dtypes) == (whole.texts, whole.dtypes)
    np.testing.assert_array_equal(found.values, whole.values)
