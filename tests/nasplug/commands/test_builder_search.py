"""The commands search, worker and predict with a user's own builder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import optuna
import pytest
from typer.testing import CliRunner

from nasplug.cli import app

runner = CliRunner()

NET = """
from torch import nn

class Net(nn.Sequential):
    pass

def build(trial):
    width = trial.suggest_int("width", 8, 64, step=8)
    layers = [nn.Conv2d(3, width, 3)]
    for i in range(trial.suggest_int("depth", 1, 8)):
        kernel = trial.suggest_categorical(f"kernel{i}", (1, 3))
        layers += [nn.Conv2d(width, width, kernel, padding=kernel // 2), nn.ReLU()]
    return Net(*layers)
"""
# Stands for a training: no torch is imported.
TRAIN = """
import json, sys
params = json.loads(sys.argv[1])
assert set(params) == {"width", "depth", *(f"kernel{i}" for i in range(params["depth"]))}
print(json.dumps({"accuracy": 50 + params["depth"] + params["width"] / 8}))
"""
SEARCH = ["--space", "net_to_search.py:build", "--example", "1x3x32x32"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "net_to_search", raising=False)
    (tmp_path / "net_to_search.py").write_text(NET, encoding="utf-8")
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    return tmp_path


def test_a_search_as_it_is_documented(folder: Path) -> None:
    program = f"{sys.executable} train.py {{params}}"
    words = [
        *("search", *SEARCH, "--hw", "Jetson Orin Nano", "--constraint", "latency<=4ms"),
        *("--n-trials", "4", "--pool-size", "100", "--storage", "own.journal", "--json"),
    ]
    done = runner.invoke(app, [*words, "--evaluate", "command", program])
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["n_trials"] == 4
    for row in result["pareto"]:
        assert row["arch"].startswith("width=")
        assert row["predicted"]["latency_ms"]["mean"] <= 4
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend("own.journal")
    )
    (summary,) = optuna.get_all_study_summaries(storage)
    assert summary.n_trials == 4

    joined = ["worker", "--storage", "own.journal", "--evaluate", "command", program]
    without = runner.invoke(app, joined)
    assert without.exit_code == 2
    assert "give the worker that space, as in --space my_net.py:build" in without.stderr
    larger = runner.invoke(app, [*joined, *SEARCH[:2], "--example", "1x3x9x9"])
    assert larger.exit_code == 2
    assert "give the worker the same space and --example" in larger.stderr
    worker = runner.invoke(app, [*joined, *SEARCH, "--json"])
    assert worker.exit_code == 0, worker.stderr
    assert json.loads(worker.stdout)["n_trials"] == 4


def test_a_network_of_the_builder_is_predicted(folder: Path) -> None:
    arch = "width=16,depth=1,kernel0=3"
    done = runner.invoke(app, ["predict", arch, *SEARCH, "--hw", "RTX 3090", "--json"])
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["arch"] == arch
    assert row["latency_ms"]["mean"] > 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--space", "net_to_search.py:built", "--example", "1x3x8x8"], "has no function 'built'"),
        (["--space", "net_to_search.py:build", "--example", "1,3,8"], "is not the shape"),
        (["--space", "net_to_search.py:build"], "need an example"),
        (["--space", "absent.py:build"], "there is no file"),
        (["--space", "nb201", "--example", "1x3x8x8"], "has its own"),
    ],
)
def test_what_is_no_builder_is_one_sentence(folder: Path, words: list[str], reason: str) -> None:
    done = runner.invoke(app, ["search", *words])
    assert done.exit_code == 2
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
