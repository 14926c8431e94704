"""docs/own-space.md: the command of its last step runs on the example as it is printed."""

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


def test_the_function_of_the_page_is_that_of_the_example() -> None:
    example = (DOCS / "examples" / "my_net.py").read_text(encoding="utf-8")
    (shown,) = re.findall(r"def build\(trial\):\n(?:(?:    .*)?\n)+", PAGE)
    assert shown.strip() in example
