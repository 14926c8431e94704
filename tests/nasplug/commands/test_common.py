"""Tables of the commands on narrow and wide terminals."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from nasplug.commands.common import console, print_table

ROWS = [
    {"name": "RTX 3090", **{f"figure_{k}": f"value-of-{k}" for k in range(8)}, "note": ""},
    {"name": "GTX 1080 Ti", **{f"figure_{k}": "" for k in range(8)}, "note": "old and slow"},
]


def printed(
    rows: list[dict[str, str]],
    columns: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    monkeypatch.setenv("COLUMNS", columns)
    print_table(rows)
    return capsys.readouterr().out


def test_a_wide_table_is_folded_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(ROWS, "60", monkeypatch, capsys)
    assert max(map(len, text.splitlines())) <= 60
    for row in ROWS:
        for value in row.values():
            # Words stay whole; each stands on one line.
            assert all(word in text for word in value.split())
    assert "figure 3 value-of-3" in " ".join(text.replace("│", " ").split())


def test_a_table_that_fits_has_its_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(ROWS, "200", monkeypatch, capsys)
    assert "figure 7" in text.splitlines()[1]
    narrow = printed([{"name": "x" * 90, "value": "1"}], "60", monkeypatch, capsys)
    assert narrow.count("x") == 90
    assert max(map(len, narrow.splitlines())) <= 60


def test_a_reader_that_stops_is_no_error() -> None:
    program = f'{sys.executable} -m nasplug hardware list; echo "code $?" >&2'
    done = subprocess.run(
        ["bash", "-c", f"({program}) | head -1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert "library" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_gets_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        # Click ends a command quietly by the number of the error.
        with pytest.raises(BrokenPipeError) as raised:
            console().print("text")
        assert raised.value.errno == errno.EPIPE
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)
