"""Every example of the documentation that names or describes a device runs as it stands."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from typer.testing import CliRunner

import nasplug
from nasplug.cli import app
from nasplug.search_spaces import names as space_names
from nasplug.search_spaces import space
from nasplug.search_spaces.networks.builder import NetworkBuilder

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
runner = CliRunner()


def descriptions() -> list[str]:
    """The TOML blocks that describe a device."""
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    return [block for block in blocks if "memory_bandwidth_gbs" in block]


def commands() -> list[tuple[str, list[str]]]:
    """The commands that take a device, as page and words, each once."""
    found: dict[tuple[str, ...], str] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^ *(?:exec )?nasplug ([a-z]+ .*)$", text, re.MULTILINE):
            # What stands for something else, as in a list of commands, is no example; those with a
            # function as the space have tests of their own.
            if "--hw " in line and not re.search(r"…|\bNAME\b|--hw local|my_net\.py", line):
                words = shlex.split(line.partition(" > ")[0], comments=True)
                found.setdefault(tuple(words), page.name)
    return [(page, list(words)) for words, page in found.items()]


DESCRIPTIONS, COMMANDS = descriptions(), commands()
# Names under which the documentation's commands know the description.
FILES = {w[w.index("--hw") + 1] for _, w in COMMANDS if w[w.index("--hw") + 1].endswith(".toml")}
# What makes a command cheap: fewer trials or rows, and nothing that another machine would have.
CHEAP = {
    "search": ["--n-trials", "2", "--storage", "memory"],
    "train": ["--train-size", "60"],
    "predict": [],
    "calibrate": [],
    "measured": [],
}
# Commands that score a large space, or train, take longer than a test may.
QUICK = {"predict", "calibrate", "measured"}


# Networks of several inputs that the pages name, with the shapes of their inputs.
INPUTS = {
    "masked": {"image": [1, 3, "height", "width"], "mask": [1, "height", "width"]},
    "speech": {"audio": [1, "samples"], "sr": []},
}


def product(shapes: dict[str, Any]) -> onnx.ModelProto:
    """A network that multiplies its two inputs."""
    first, second = shapes
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    node = onnx.helper.make_node("Mul", [first, second], ["y"])
    return onnx.helper.make_model(onnx.helper.make_graph([node], "pair", inputs, [output]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the commands name."""
    for name in ("DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    for name in FILES | {"my_board.toml"}:
        (tmp_path / name).write_text(DESCRIPTIONS[0], encoding="utf-8")
    for name, channels in {"model": 8, "a": 8, "b": 32, "c": 128, "d": 64}.items():
        net = NetworkBuilder(32)
        x = net.relu(net.conv(net.input, channels, 3, 2))
        model = net.onnx_model(net.linear(net.flatten(net.global_pool(x)), 10))
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    for name, shapes in INPUTS.items():
        (tmp_path / f"{name}.onnx").write_bytes(product(shapes).SerializeToString())
    program = "import json; print(json.dumps({'accuracy': 90.0, 'latency_ms': 5.0}))\n"
    (tmp_path / "train.py").write_text(program)
    return tmp_path


def run(*words: str) -> Any:
    done = runner.invoke(app, list(words))
    assert done.exit_code == 0, f"{words}: {done.output}{done.stderr}"
    return done


def measured(archs: list[str], hardware: str) -> pd.DataFrame:
    """A table of measurements: a quarter of what is predicted, a little off."""
    said = nasplug.load_predictor("nb201-latency").predict(archs, hardware).mean[:, 0]
    off = np.exp(np.random.default_rng(0).normal(0, 0.05, len(archs)))
    return pd.DataFrame({"arch": archs, "latency_ms": said / 4 * off})


def calibrate_by_files() -> None:
    """Write mine.csv, a table of files, and calibrate by it as the documentation does."""
    files = ["a.onnx", "b.onnx", "c.onnx"]
    said = [nasplug.predict(file, hardware="my_board.toml").mean for file in files]
    pd.DataFrame({"arch": files, "latency_ms": np.array(said) / 4}).to_csv("mine.csv", index=False)
    words = ("--hw", "my_board.toml", "--measurements", "mine.csv", "--name", "mine")
    run("calibrate", *words)


def test_the_documentation_has_such_examples() -> None:
    assert len(DESCRIPTIONS) == 1
    assert {"my_board.toml", "my-device.toml"} <= FILES
    assert {words[0] for _, words in COMMANDS} == set(CHEAP)
    assert len(COMMANDS) >= 15


@pytest.mark.parametrize("name", space_names())
def test_the_described_board_in_every_space(name: str, folder: Path) -> None:
    arch = space(name).sample(np.random.default_rng(0)).text
    done = run("predict", arch, "--space", name, "--hw", "my_board.toml", "--json")
    (row,) = json.loads(done.stdout)
    assert row["evidence"] == "zero-shot"
    ends = [row["latency_ms"][end] for end in ("lower", "mean", "upper")]
    assert 0 < ends[0] < ends[1] < ends[2]


def test_the_described_board_in_every_command(folder: Path) -> None:
    shown = json.loads(run("hardware", "show", "my_board.toml", "--json").stdout)
    assert shown["name"] == "My board"
    said = json.loads(run("predict", "model.onnx", "--hw", "my_board.toml", "--json").stdout)
    assert said["latency_ms"]["mean"] > 0
    for runtime in ("eager", "ncnn", "tflite"):
        run("predict", "model.onnx", "--hw", "my_board.toml", "--runtime", runtime)
    more = ("--hw", "my_board.toml", "--json")
    assert len(json.loads(run("calibrate", "--suggest", "3", *more).stdout)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", space_names())
def test_a_search_for_the_described_board(name: str, folder: Path) -> None:
    words = ("search", "--space", name, "--hw", "my_board.toml", "--json", *CHEAP["search"])
    assert json.loads(run(*words).stdout)["hardware"] == "My board"


def case(page: str, words: list[str]) -> Any:
    marks = [] if words[0] in QUICK else [pytest.mark.slow]
    return pytest.param(words, id=f"{page}: {' '.join(words)}"[:90], marks=marks)


@pytest.mark.usefixtures("nb201_cache")
@pytest.mark.parametrize("words", [case(*command) for command in COMMANDS])
def test_a_documented_command(words: list[str], folder: Path) -> None:
    if "todo.csv" in words or (words[0] == "search" and "mine" in words):
        archs = run("calibrate", "--suggest", "10").stdout.splitlines()
        measured(archs, "my_board.toml").to_csv("todo.csv", index=False)
    if words[0] == "search" and "mine" in words:
        own = ("--measurements", "todo.csv", "--name", "mine")
        run("calibrate", "--hw", "my_board.toml", *own)
    if "mine.csv" in words or (words[0] == "predict" and "mine" in words):
        calibrate_by_files()
    cheap = [w.replace("python train.py", f"{sys.executable} train.py") for w in words]
    cheap = [w.replace("$PROGRAM", f"{sys.executable} train.py {{arch}}") for w in cheap]
    # The last of an option given twice counts.
    run(*cheap, *CHEAP[words[0]])
