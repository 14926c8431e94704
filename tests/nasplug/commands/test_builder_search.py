"""The commands search, worker and predict with a user's own builder."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from typer.testing import CliRunner

import nasplug
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


QUICK = ["--runs", "2", "--warmup", "1", "--min-seconds", "0.001", "--max-seconds", "0.01"]


def test_a_device_is_calibrated_with_networks_of_the_builder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    suggested = runner.invoke(app, ["calibrate", "--suggest", "4", *SEARCH, "--out", "todo.txt"])
    assert suggested.exit_code == 0, suggested.stderr
    assert f"nasplug measure {' '.join(SEARCH)} --archs todo.txt" in suggested.stderr
    words = [*SEARCH, "--archs", "todo.txt", "--out", "mine.csv", "--threads", "1"]
    measured = runner.invoke(app, ["measure", *words, *QUICK, "--keep-disturbed"])
    assert measured.exit_code == 0, measured.stderr
    # Whatever else the machine did, a calibration is saved.
    rows = list(csv.DictReader(Path("mine.csv").read_text(encoding="utf-8").splitlines()))
    latencies = [f'"{row["arch"]}",{float(row["flops"]) / 1e7 + 0.1}' for row in rows]
    Path("table.csv").write_text("\n".join(["arch,latency_ms", *latencies]), encoding="utf-8")
    words = ["--hw", "EPYC 7763", "--measurements", "table.csv", *SEARCH, "--name", "mine"]
    calibrated = runner.invoke(app, ["calibrate", *words, "--force", "--json"])
    assert calibrated.exit_code == 0, calibrated.stderr
    assert json.loads(calibrated.stdout)["rows"] == 4
    arch = rows[0]["arch"]
    done = runner.invoke(app, ["predict", arch, *SEARCH, "--hw", "mine", "--json"])
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["evidence"] == "few-shot"


EVALUATE = """
import json, sys
from pathlib import Path
print(json.dumps({"accuracy": Path(sys.argv[1]).stat().st_size / 1e6}))
"""


def test_networks_are_written_for_a_program_and_at_the_end(folder: Path) -> None:
    (folder / "size.py").write_text(EVALUATE, encoding="utf-8")
    program = f"{sys.executable} size.py {{onnx}}"
    words = ["search", *SEARCH, "--n-trials", "2", "--pool-size", "20", "--storage", "memory"]
    words += ["--export", "networks", "--evaluate", "command", program, "--json"]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.stderr
    assert "with the weights that the builder makes" in done.stderr
    index = json.loads(Path("networks/index.json").read_text(encoding="utf-8"))
    for network in index["networks"]:
        size = (Path("networks") / network["file"]).stat().st_size
        assert network["observed"]["accuracy"] == pytest.approx(size / 1e6, abs=1e-3)
        assert network["weights"] == "as the builder makes them"


def test_a_predictor_is_trained_for_the_builder(folder: Path) -> None:
    space = nasplug.space("net_to_search.py:build", "1x3x32x32")
    rng = np.random.default_rng(0)
    lines = [f'"{space.sample(rng).text}",{50 + k % 40}' for k in range(48)]
    Path("trained.csv").write_text("\n".join(["arch,accuracy", *lines]), encoding="utf-8")
    words = ["train", "--data", "trained.csv", *SEARCH, "--model", "path-gp", "--out", "own"]
    done = runner.invoke(app, [*words, "--target", "accuracy"])
    assert done.exit_code == 0, done.stderr
    own = ["--predictor", "own.safetensors"]
    arch = "width=16,depth=1,kernel0=3"
    predicted = runner.invoke(app, ["predict", arch, *SEARCH, *own, "--json"])
    assert predicted.exit_code == 0, predicted.stderr
    assert set(json.loads(predicted.stdout)[0]["accuracy"]) == {"1x3x32x32"}
    words = ["search", *SEARCH, *own, "--n-trials", "2", "--pool-size", "20", "--json"]
    found = runner.invoke(app, [*words, "--storage", "memory"])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["objectives"][0]["name"] == "accuracy"
    other = runner.invoke(app, ["search", "--space", "macro", *own])
    assert other.exit_code == 2
    assert "is a predictor for space net_to_search.build of a function" in other.stderr


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
