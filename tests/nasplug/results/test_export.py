"""Networks as ONNX files, run in ONNX Runtime, and as code."""

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
from nasplug.results.export import export
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
    words += ["--proxy", "flops", "--code"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    count = len(told["pareto"])
    assert len(list((tmp_path / "nets").glob("*.onnx"))) == count
    assert f"wrote {count} networks with random weights" in result.stderr
    assert f"wrote the code of {count} networks and train.py to" in result.stderr
    assert len(list((tmp_path / "nets").glob("mobilenetv2_*.py"))) == count
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


def test_a_front_is_exported_as_code_beside_its_files(tmp_path: Path) -> None:
    chains = space("macro")
    archs = [chains.parse("02012100"), chains.parse("00000000")]
    rows = [{"arch": a.text, "arch_id": a.arch_id, "params": 1} for a in archs]
    about = {"space": "macro", "dataset": "cifar10", "hardware": None, "batch_size": 1}
    plain = export(chains, archs, rows, about, tmp_path)
    paths = export(chains, archs, rows, about, tmp_path, code=True)
    assert paths[:3] == plain
    first, second, program = paths[3:]
    names = [f"{arch.arch_id.replace('-', '_')}.py" for arch in archs]
    assert [first.name, second.name, program.name] == [*names, "train.py"]
    listed = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))["networks"]
    assert [row["code"] for row in listed] == names
    text = program.read_text(encoding="utf-8")
    assert f'NETWORK = "{names[0]}"\nSPACE = "macro"\nIMAGE_SET = "cifar10"\n' in text
    # By now the user's own data are in the program.
    program.write_text("mine", encoding="utf-8")
    assert export(chains, archs, rows, about, tmp_path, code=True) == paths[:-1]
    assert program.read_text(encoding="utf-8") == "mine"
    second.write_text("mine too", encoding="utf-8")
    with pytest.raises(InputError, match="is there and differs from what would be written"):
        export(chains, archs, rows, about, tmp_path, code=True)
    assert second.read_text(encoding="utf-8") == "mine too"


def exported(*words: str) -> tuple[int, str, list[str]]:
    """Exit code, error output and output lines of the command export."""
    result = CliRunner().invoke(app, ["export", *words])
    return result.exit_code, result.stderr, result.stdout.splitlines()


def test_the_command_writes_code_of_texts_names_and_indices(tmp_path: Path) -> None:
    folder, cells = tmp_path / "new" / "nets", space("nb201")
    texts = [cells[7].text, "7", "8"]
    code, said, lines = exported(*texts, "--code", "--out", str(folder), "--dataset", "cifar100")
    assert (code, said) == (0, f"nasplug: wrote the code of 2 networks and train.py to {folder}\n")
    stems = [cells[k].arch_id.replace("-", "_") for k in (7, 8)]
    assert lines == [str(folder / f"{stem}.py") for stem in stems] + [str(folder / "train.py")]
    assert "CLASSES = 100\n" in Path(lines[0]).read_text(encoding="utf-8")
    words = ("resnet18", "--space", "nnlqp", "--code", "--out", str(folder))
    assert exported(*words)[1].endswith(f"to {folder}, beside the train.py that was there\n")
    trained = ("timm:resnet50.a1_in1k", "--code", "--out", str(tmp_path / "timm"))
    code, said, lines = exported(*trained)
    assert code == 0
    text = Path(lines[0]).read_text(encoding="utf-8")
    assert 'partial(timm.create_model, "resnet50.a1_in1k", pretrained=True)' in text
    # Another image set is another network, whose file would replace the first one.
    code, said, _ = exported("7", "--code", "--out", str(folder))
    assert (code, "is there and differs" in said) == (2, True)
    assert "CLASSES = 100\n" in (folder / f"{stems[0]}.py").read_text(encoding="utf-8")


def test_the_command_writes_onnx_files(tmp_path: Path) -> None:
    words = ("02012100", "--space", "macro", "--out", str(tmp_path))
    code, said, lines = exported(*words)
    assert (code, said) == (0, f"nasplug: wrote 1 network with random weights to {tmp_path}\n")
    content = Path(lines[0]).read_bytes()
    assert exported(*words)[0] == 0
    assert Path(lines[0]).read_bytes() == content
    Path(lines[0]).write_text("mine")
    assert exported(*words)[0] == 2
    assert Path(lines[0]).read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["|none~0|", "--code"], "is not a NAS-Bench-201 architecture string"),
        (["15625", "--code"], "neither an architecture of nb201 nor an index; the last index is"),
        (["resnet50", "--code"], "a network of timm; write timm:resnet50"),
        (["7", "--dataset", "mnist"], "unknown image set 'mnist'; space nb201 has cifar10"),
        (["7", "--code", "--space", "nb202"], "unknown search space 'nb202'"),
        (["torchvision:resnet50", "--code"], "torchvision, which is itself the code that trains"),
        (["timm:resnet50", "--code"], "resnet50 was trained in several ways; name one"),
        (["timm:resnet50.a1_in1k", "7", "--code"], "cannot be written together"),
        (["width=8", "--code", "--space", "net.py:build"], "'net.build' writes no code of its net"),
    ],
)
def test_what_cannot_be_written_is_said_in_a_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build = (
        "from torch import nn\ndef build(t): return nn.Linear(8, t.suggest_int('width', 1, 9))\n"
    )
    Path("net.py").write_text(build, encoding="utf-8")
    example = ["--example", "1x8"] if "net.py:build" in words else []
    code, said, _ = exported(*words, *example)
    assert code == 2
    assert sentence in said
    assert said.count("\n") == 1
    assert not Path("networks").exists()


def test_code_needs_a_folder() -> None:
    result = CliRunner().invoke(app, ["search", "--code"])
    assert result.exit_code == 2
    assert "--code needs --export" in result.stderr
