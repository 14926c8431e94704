"""The Python of README and docs runs as it stands, page by page, without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
import pytest

import nasplug
from nasplug.search_spaces.networks.builder import NetworkBuilder

ROOT = Path(__file__).resolve().parents[1]
TABLES, BY_HAND = "the tables of NAS-Bench-201", "a file that is downloaded by hand"
# A page of its own test, a program that another one runs, and pages that take longer.
OTHERS = {"cluster.md"}
SLOW = {"spaces.md", "nb101.md"}
BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>[^>]+) -->\n)?```python\n(?P<code>.*?)```", re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Needs of each block of Python beside the package, and its code."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(block["needs"] or "", block["code"]) for block in found]


def pages() -> Iterator[Any]:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        if blocks(page) and page.name not in OTHERS:
            marks = [pytest.mark.slow] if page.name in SLOW else []
            yield pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks)


def write_study(name: str, sampler: optuna.samplers.BaseSampler) -> None:
    """Keep a study of three stages in study.db; its values are counts."""
    study = optuna.create_study(
        study_name=name,
        storage="sqlite:///study.db",
        directions=["maximize", "minimize"],
        sampler=sampler,
    )
    space = nasplug.space("macro")

    def evaluate(trial: optuna.Trial) -> tuple[float, float]:
        names = space.distributions()
        params = {n: trial.suggest_categorical(n, names[n].choices) for n in names}
        graph = space.to_graph(space.from_params(params))
        return 80 + 2 * np.log(graph.total("params")), graph.total("flops") / 1e7

    study.optimize(evaluate, n_trials=14)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the pages name."""
    for name in ("DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "examples"))
    (tmp_path / "hub").symlink_to(ROOT / "hub")
    board = (ROOT / "docs" / "examples" / "my_board.toml").read_text(encoding="utf-8")
    (tmp_path / "my_board.toml").write_text(board, encoding="utf-8")
    net = NetworkBuilder(32)
    x = net.relu(net.conv(net.input, 8, 3, 2))
    model = net.onnx_model(net.linear(net.flatten(net.global_pool(x)), 10))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    yield tmp_path
    plt.close("all")


def write_latencies(board: Path) -> None:
    """Measurements of ten cells: four fifths of what is predicted, a little off."""
    archs = nasplug.suggest_measurements(count=10)
    predicted = nasplug.load_predictor("nb201-latency").predict(archs, board).mean[:, 0]
    noise = np.exp(np.random.default_rng(0).normal(0, 0.05, 10))
    rows = pd.DataFrame({"arch": [str(a) for a in archs], "latency_ms": predicted * 0.8 * noise})
    rows.to_csv("latency.csv", index=False)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
# torch's exporter of ONNX files uses what torch itself deprecates
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("page", list(pages()))
def test_page(page: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    if page.name == "plots.md":
        write_study("mine", nasplug.PredictorSampler("macro", seed=0))
        write_study("tpe", optuna.samplers.TPESampler(seed=0))
    if page.name == "hardware.md":
        write_latencies(folder / "my_board.toml")
    names: dict[str, Any] = {}
    for number, (needs, code) in enumerate(blocks(page)):
        if needs == TABLES:
            request.getfixturevalue("nb201_cache")
        if needs != BY_HAND:
            exec(compile(code, f"{page.name}, block {number}", "exec"), names)
        assert needs in {"", TABLES, BY_HAND}


def test_readme_shows_the_ways_of_use() -> None:
    assert [needs for needs, _ in blocks(ROOT / "README.md")] == ["", ""]
