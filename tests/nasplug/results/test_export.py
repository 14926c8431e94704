"""The networks of a front as ONNX files, run in ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting_predictors import sum_latency
from table_predictors import TablePredictor
from typer.testing import CliRunner

from nasplug import search_spaces
from nasplug.cli import app
from nasplug.search_spaces import InputError, SearchSpace, space
from nasplug.searching.search import SearchResult, search

NETS = space("nnlqp:mobilenetv2")
SAID = "quality is a proxy: FLOPs (no accuracy predictor for this space)"
Find = Callable[..., SearchResult]


@pytest.fixture
def find() -> Find:
    """`search` with a latency that is a sum."""

    def found(**options: Any) -> SearchResult:
        given = {"space": NETS.name, "hardware": "RTX 3090", "n_trials": 2, "pool_size": 40}
        given |= {"proxy": "flops"}
        options = {**given, "storage": "memory", **options}
        return search(**options, predictors=[sum_latency(space(options["space"]))])

    return found


def test_exported_networks_run(find: Find, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    result = find(batch_size=2)
    paths = result.export(tmp_path / "new" / "nets")
    *networks, index = paths
    listed = json.loads(index.read_text(encoding="utf-8"))
    assert listed["weights"] == "random, seed 0"
    assert (listed["space"], listed["batch_size"]) == (NETS.name, 2)
    assert len(networks) == len(listed["networks"]) == len(result.pareto)
    assert sorted(p.name for p in (tmp_path / "new" / "nets").iterdir()) == sorted(
        p.name for p in paths
    )
    for rank, (path, row) in enumerate(zip(networks, listed["networks"], strict=True), start=1):
        assert path.name == row["file"] == f"{rank}-{row['arch_id']}.onnx"
        assert row["rank"] == rank
        assert row["arch"] == result.pareto[rank - 1]["arch"]
        content = path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        image = np.random.default_rng(0).standard_normal(given.shape).astype(np.float32)
        (answer,) = session.run(None, {given.name: image})
        assert answer.shape == (2, 1000)
        assert np.isfinite(answer).all()
    other = result.export(tmp_path / "other", seed=1)
    assert other[0].read_bytes() != paths[0].read_bytes()
    assert json.loads(other[-1].read_text(encoding="utf-8"))["weights"] == "random, seed 1"


def test_too_little_room_is_said_before_anything_is_written(
    find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = find(n_trials=2)
    room = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("nasplug.results.export.shutil.disk_usage", lambda _: room)
    with pytest.raises(InputError, match="give a folder with more space"):
        result.export(tmp_path / "nets")
    assert list((tmp_path / "nets").iterdir()) == []


@pytest.mark.parametrize("folder", ["file", "file/nets"])
def test_a_file_in_the_place_of_the_folder(find: Find, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is a file.; give a folder that can be written"):
        find(n_trials=1).export(tmp_path / folder)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_search_that_finds_nothing_makes_no_folder(find: Find, tmp_path: Path) -> None:
    words = ["search", "--space", NETS.name, "--hw", "RTX 3090", "--constraint", "latency<=1us"]
    words += ["--pool-size", "20", "--storage", "memory", "--export", str(tmp_path / "nets")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert not (tmp_path / "nets").exists()


class _Unwritable(SearchSpace):
    """Stands for a space of cells without networks."""

    name = "cells"


def test_a_space_without_networks_is_refused_before_the_search(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _Unwritable.__abstractmethods__ = frozenset()
    cells = _Unwritable()  # type: ignore[abstract]
    monkeypatch.setattr(search_spaces, "space", lambda _: cells)
    words = ["search", "--space", "cells", "--export", str(tmp_path / "nets")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "space 'cells' cannot write its networks as ONNX files" in result.stderr
    assert not (tmp_path / "nets").exists()


def test_the_command_writes_networks_and_says_what_they_are(find: Find, tmp_path: Path) -> None:
    words = ["search", "--space", NETS.name, "--hw", "RTX 3090", "--n-trials", "2", "--json"]
    words += ["--pool-size", "30", "--storage", "memory", "--export", str(tmp_path / "nets")]
    words += ["--proxy", "flops"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    count = len(told["pareto"])
    assert len(list((tmp_path / "nets").glob("*.onnx"))) == count
    assert f"wrote {count} networks with random weights" in result.stderr
    assert SAID in result.stderr


def test_cells_are_exported_as_the_networks_of_the_benchmark(
    nb201_cache: Path, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    tables = [TablePredictor("accuracy")]
    result = search("nb201", n_trials=1, storage="memory", dataset="cifar100", predictors=tables)
    path, _ = result.export(tmp_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.shape == [1, 3, 32, 32]
    (answer,) = session.run(None, {given.name: np.zeros(given.shape, np.float32)})
    assert answer.shape == (1, 100)
