"""Files that are read whole, and checksums of tables and rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasplug.search_spaces import InputError
from nasplug.text import (
    CHECKSUM,
    check_no_torch_file,
    check_row,
    checksum_of,
    counted,
    read_whole,
    row_checksum,
    shown_path,
)


def test_one_thing_is_singular() -> None:
    assert [counted(n, "trial") for n in (0, 1, 1200)] == ["0 trials", "1 trial", "1,200 trials"]


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_whole(file, 5, "a file", "file") == b"12345"
    with pytest.raises(InputError, match="larger than 0 kB, the limit for a table"):
        read_whole(file, 4, "a file", "table")


@pytest.mark.parametrize("name", ["net.pt", "a/net.v2.pth", "net.CKPT"])
def test_a_torch_file_is_answered_with_the_lines_that_export_it(name: str) -> None:
    with pytest.raises(InputError) as raised:
        check_no_torch_file(name)
    sentence, *lines = str(raised.value).splitlines()
    assert sentence.startswith(f"{name} is a PyTorch file")
    assert len(lines) == 2
    assert f"torch.load('{name}')" in lines[0]
    assert f"'{name.rpartition('.')[0]}.onnx')" in lines[1]
    for line in lines:
        compile(line.strip(), "<line>", "exec")
    for other in ("net.onnx", "pt", "mine.safetensors", None):
        check_no_torch_file(other)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a file; give a table"):
        read_whole(tmp_path, 5, "a table", "table")
    with pytest.raises(InputError, match=r"absent: cannot be read \(No such file or directory\)"):
        read_whole(tmp_path / "absent", 5, "a table", "table")


def test_a_path_is_shown_on_one_line() -> None:
    assert shown_path(Path("a b.csv")) == "a b.csv"
    assert shown_path(Path("a\nb.csv")) == r"'a\nb.csv'"


def test_the_checksum_of_a_table_leaves_itself_out() -> None:
    table = {"b": 1, "a": [2.5, None]}
    assert checksum_of({**table, CHECKSUM: "any"}) == checksum_of(table)
    assert checksum_of({"a": [2.5, None], "b": 1}) == checksum_of(table)
    assert checksum_of({**table, "b": 2}) != checksum_of(table)


def test_an_altered_row_is_told() -> None:
    header, cells = ["arch", " ms", CHECKSUM], ["a", "1.5 ", ""]
    cells[2] = row_checksum(header, cells)
    check_row(header, cells, "line 2")
    check_row(header[:2], ["a", "1.6"], "line 2")
    for altered in (["a", "1.6", cells[2]], ["b", "1.5", cells[2]], ["a", "1.5", ""]):
        with pytest.raises(InputError, match="line 2 was changed after nasplug measure wrote it"):
            check_row(header, altered, "line 2")


def test_an_exported_program_is_read_in_python() -> None:
    with pytest.raises(InputError, match=r"torch.export.load\('net.pt2'\)"):
        check_no_torch_file("net.pt2")
