"""Files that docs/architecture.md names exist, and those that it shows do what it says."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import nasplug
from experiments import ROOT
from nasplug.datasets.tables import read_table, write_table
from nasplug.search_spaces import InputError

PAGE = ROOT / "docs" / "architecture.md"
EXAMPLES = ROOT / "docs" / "examples"
sys.path.append(str(EXAMPLES))

from my_command import neighbors  # noqa: E402
from my_importer import import_mine  # noqa: E402


def test_files_that_the_page_names_are_there():
    text = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"`([\w/]+\.(?:py|toml|cfg))`", text):
        assert (ROOT / name).is_file() or (ROOT / "nasplug" / name).is_file(), name
    linked = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert {file.name for file in EXAMPLES.glob("*.*")} <= {Path(name).name for name in linked}
    for name in linked:
        assert (PAGE.parent / name).exists(), name


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.*")), ids=lambda file: file.name)
def test_the_page_counts_the_lines_of_its_examples(file):
    text = PAGE.read_text(encoding="utf-8")
    (lines,) = re.findall(rf"in (\d+) lines: \[{re.escape(file.name)}\]", text)
    assert int(lines) == len(file.read_text(encoding="utf-8").splitlines())


def test_the_device():
    device = nasplug.hardware(EXAMPLES / "my_board.toml")
    space = nasplug.space("nb201")
    latency = nasplug.load_predictor("nb201-latency").predict([space[0]], device)
    assert latency.zero_shot
    assert latency.mean[0, 0] > 0


def test_the_importer(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"a": [90, 89.5], "b": [70, 69]}), encoding="utf-8")
    write_table(tmp_path / "mine.npz", import_mine({path.name: path}))
    frame = read_table(tmp_path / "mine.npz").to_frame()
    assert frame["arch"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(frame["cifar10_test"], [89.5, 69])
    for content in ("[]", '{"a": [90]}', '{"a": [90, 101]}'):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"mine\.json"):
            import_mine({path.name: path})


def test_the_command():
    app = typer.Typer()
    app.command()(neighbors)
    text = str(nasplug.space("nb201")[7])
    done = CliRunner().invoke(app, [text, "--json"])
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)) == 24
    wrong = CliRunner().invoke(app, ["no cell"])
    assert wrong.exit_code == 2
