"""docs/own-space.md: its commands run on the example as they are printed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nasplug.cli import app

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "own-space.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_command_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    shutil.copy(DOCS / "examples" / "my_net.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_net", raising=False)
    (command,) = re.findall(r"^nasplug (search .*)$", PAGE, re.MULTILINE)
    words = [word.replace("python ", f"{sys.executable} ") for word in shlex.split(command)]
    less = ["--pool-size", "100", "--storage", "memory", "--json"]
    words[words.index("--n-trials") + 1] = "2"
    done = CliRunner().invoke(app, [*words, *less])
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["n_trials"] == 2
    assert result["pareto"][0]["observed"]["accuracy"] > 10


@pytest.mark.slow
def test_a_board_is_calibrated_with_networks_of_the_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(DOCS / "examples" / "my_net.py", tmp_path)
    hardware = (DOCS / "hardware.md").read_text(encoding="utf-8")
    board = re.findall(r"```toml\n(.*?)```", hardware, re.DOTALL)[0]
    (tmp_path / "my_board.toml").write_text(board, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delitem(sys.modules, "my_net", raising=False)
    commands = re.findall(r"^nasplug ((?:calibrate|measure|predict) .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command))
        assert done.exit_code == 0, (command, done.stderr)
    assert "ms" in done.stdout


def test_the_function_of_the_page_is_that_of_the_example() -> None:
    example = (DOCS / "examples" / "my_net.py").read_text(encoding="utf-8")
    (shown,) = re.findall(r"def build\(trial\):\n(?:(?:    .*)?\n)+", PAGE)
    assert shown.strip() in example
