"""The program and the command of docs/cluster.md run as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nasplug.studies.storages import open_storage

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page."""
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    files = re.findall(r"<!-- file: (\S+) -->\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in files] == ["train.py"]
    for name, content in files:
        (tmp_path / name).write_text(content)
    return tmp_path


def test_the_example_runs_as_printed(folder: Path) -> None:
    (line,) = re.findall(r"<!-- run -->\n\n    (.*)", PAGE.read_text())
    name, *words = shlex.split(line)
    assert name == "nasplug"
    code = f"import sys; sys.argv = ['nasplug', *{words!r}]; import nasplug.cli as c; c.main()"
    # "python" on the page is the one that runs this.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "3 trials; values: printed by your program" in done.stdout
    study = optuna.load_study(study_name="digits", storage=open_storage("digits.journal"))
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 3
    accuracy = [t.user_attrs["nasplug:observed"]["accuracy"] for t in study.trials]
    # Ten classes; a cell that is connected learns them.
    assert max(accuracy) > 40
    assert len(set(accuracy)) > 1


def test_the_page_names_what_there_is() -> None:
    from typer.main import get_command

    from nasplug.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    text = PAGE.read_text()
    for name in ("search", "worker"):
        known = {option for param in commands[name].params for option in param.opts}
        for line in re.findall(rf"nasplug {name} (.*(?:\\\n.*)*)", text):
            used = set(re.findall(r"(?<!\S)--[a-z-]+", line.replace("\\\n", " ")))
            assert used <= known, line
