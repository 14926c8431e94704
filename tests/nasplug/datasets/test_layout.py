from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasplug.datasets.layout import named_numbers, number, numbers, read_csv, read_text, shown
from nasplug.search_spaces.errors import InputError

PATH = Path("folder/file")
COLUMNS = [{"a", "b"}, {"a", "b", "c"}]


@pytest.mark.parametrize("text", ["1", "-2.5", "+.5", "3.", "1e-3", "1E+10", "007"])
def test_number_reads_plain_digits(text: str) -> None:
    assert number(text) == float(text)


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "nan", "inf", "-inf", "1_000", "1,0", "１", "٣", "0x1", "1e999", "."]
)
def test_number_refuses_the_rest(text: str) -> None:
    assert number(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_number_reads_what_python_writes(value: float) -> None:
    assert number(repr(value)) == value


@given(st.text())
def test_number_is_finite_or_none(text: str) -> None:
    value = number(text)
    assert value is None or math.isfinite(value)


@given(st.text() | st.binary() | st.integers())
def test_shown_is_one_short_line(value: object) -> None:
    assert shown(value).isprintable()
    assert len(shown(value)) <= 60


def test_numbers_of_any_size() -> None:
    assert numbers(PATH, [1, 2.5], 2).tolist() == [1.0, 2.5]
    for bad, why in [([1], "1 values instead of 2"), ([1, 10**400], "64-bit"), ([2, 0], "0.0")]:
        with pytest.raises(InputError, match=why):
            numbers(PATH, bad, 2)


def test_named_numbers() -> None:
    entry = {"y": None, "x": 2}
    found = named_numbers(PATH, "it", entry, ("x", "y"), nullable=True)
    assert found[0] == 2.0
    assert math.isnan(found[1])
    for bad in (entry, {"x": 1}, {"x": 1, "y": 2, "z": 3}, {"x": True, "y": 1}, [1, 2], None):
        with pytest.raises(InputError, match="it "):
            named_numbers(PATH, "it", bad, ("x", "y"))
    for value in (-1, math.nan, math.inf, "1", 10**400, [1]):
        with pytest.raises(InputError, match="for y"):
            named_numbers(PATH, "it", {"x": 1, "y": value}, ("x", "y"), nullable=True)


def test_csv_is_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfb,a\r\n1,2\r\n\r\n"x,y",\r\n')
    assert read_csv(path, COLUMNS) == [(2, {"b": "1", "a": "2"}), (4, {"b": "x,y", "a": ""})]
    path.write_text("a,c,b\n1,2,3")
    assert read_csv(path, COLUMNS) == [(2, {"a": "1", "c": "2", "b": "3"})]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "its columns are"),
        (b"a\n1", "its columns are"),
        (b"a,b,b\n1,2,3", "its columns are"),
        (b"a,b,d\n1,2,3", "its columns are"),
        (b"a,b\n1", "line 2 has 1 fields"),
        (b"a,b\n1,2\n1,2,3", "line 3 has 3 fields"),
        (b'a,b\n"1,2', "not a CSV row"),
        (b"a,b\n\xff,2", "not UTF-8 text"),
    ],
)
def test_csv_of_another_layout(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"t\.csv.*{why}"):
        read_csv(path, COLUMNS)


def test_text_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path)
    with pytest.raises(InputError, match="none cannot be read"):
        read_text(tmp_path / "none")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.text(st.sampled_from('ab,"\n\r1\0')).map(str.encode))
def test_csv_is_read_or_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    try:
        rows = read_csv(path, COLUMNS)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
    else:
        assert all(set(row) in COLUMNS for _, row in rows)
