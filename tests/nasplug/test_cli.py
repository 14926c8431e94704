from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from table_predictors import TablePredictor
from typer.testing import CliRunner

from nasplug.cli import app
from nasplug.commands import common
from nasplug.predicting import zoo as shipped
from nasplug.search_spaces import space
from nasplug.searching import outcome as outcome_module

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
runner = CliRunner()
Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "150")
    return lambda *words: runner.invoke(app, list(words))


@pytest.fixture
def tabled(run: Run, nb201_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line with measured tables for predictors."""
    tables = {q: TablePredictor(q) for q in ("accuracy", "latency")}
    monkeypatch.setattr(shipped, "load_predictor", lambda name: tables[name.partition("-")[2]])
    return run


def assert_refused(result: Any, said: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    # What was being done comes first, if the cause showed late.
    (line,) = [line for line in lines if line != "nasplug: loading predictors"]
    assert line.startswith("nasplug: ")
    assert said in line


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"nasplug {version('nasplug')}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serach"], "No such command"),
        (["search", "--hardware", "x"], "No such option"),
        (["search", "--n-trials", "many"], "'--n-trials'"),
        (["predict"], "Missing argument"),
        (["hardware", "show"], "Missing argument"),
    ],
)
def test_wrong_usage(run: Run, words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "--space", "nb202"], "unknown search space 'nb202'"),
        (["search", "--hw", "RTX 9999"], "'RTX 9999' is not in the catalogue"),
        (["search", "--constraint", "latency<=5"], "has no unit; use ms"),
        (["search", "--constraint", "quick"], "has no <= or >="),
        (["search", "--hw", "3090", "--constraint", "latency<5ms"], "use <= or >="),
        (["search", "--constraint", "latency<=5ms"], "needs a device"),
        (["search", "--n-trials", "0"], "number of trials 0"),
        (["search", "--evaluate", "tabel"], "known: predicted, table, command"),
        (["search", "--evaluate", "command"], 'command line --evaluate command "python train.py'),
        (["search", "--evaluate", "command", "no-such {arch}"], "program 'no-such'"),
        (
            ["search", "python train.py"],
            "a program without --evaluate command; add that option, or leave the program out",
        ),
        (["search", "--evaluate", "table", "--timeout", "3"], "--timeout needs"),
        (["search", "--objective", "memori:min"], "unknown objective 'memori:min'; known: memory"),
        (["search", "--objective", "fps"], "the objective throughput needs a device"),
        (["search", "--evaluate", "table", "--objective", "loss"], "has no direction"),
        (["worker", "--storage", "no.journal"], "the storage 'no.journal'"),
        (["worker", "--storage", "memory"], "memory belongs to one process"),
        (["predict", "conv"], "is not a NAS-Bench-201 architecture string"),
        (["predict", CELL, "--space", "nb202"], "unknown search space"),
        (["hardware", "show", "nothing like it"], "is not in the catalogue"),
        (["hardware", "nothing like it"], "no device in the catalogue contains"),
        (["hardware", "show", "Orin"], "'Orin' may be Jetson AGX Orin,"),
        (["hardware", "SM-G930U"], "is a Galaxy S7 with a Snapdragon 820"),
        (["hardware", "orin", "--here"], "--here names this machine and takes no words"),
        (["data", "fetch", "nope"], "'nope'"),
        (["data", "verify", "nope"], "'nope'"),
    ],
)
def test_bad_input_is_one_sentence(run: Run, words: list[str], said: str) -> None:
    assert_refused(run(*words), said)


def test_storage_that_cannot_be_used(tabled: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("plain\ntext\n")
    search = ("search", "--hw", "GTX 1080 Ti", "--n-trials", "1", "--storage")
    assert_refused(tabled(*search, str(tmp_path)), "is a folder")
    assert_refused(tabled(*search, str(tmp_path / "file" / "x")), "cannot write storage")
    assert_refused(tabled(*search, str(tmp_path / "file")), "is not the journal")


def test_impossible_bound(tabled: Run) -> None:
    result = tabled("search", "--hw", "GTX 1080 Ti", "--constraint", "latency<=1us")
    assert_refused(result, "the smallest reachable bound is latency<=3.8")


def test_debug_shows_the_traceback(run: Run) -> None:
    result = run("search", "--space", "nb202", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("nasplug: unknown search space")


def test_other_errors_exit_1(tabled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(outcome_module, "_predicted_front", broken)
    result = tabled("search", "--hw", "GTX 1080 Ti", "--n-trials", "1", "--storage", "memory")
    assert result.exit_code == 1
    message = "nasplug: RuntimeError: two lines; --debug shows the traceback"
    assert result.stderr.splitlines()[-1] == message


def test_interrupt_exits_130(tabled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nasplug.searching.objectives.PredictedObjective.__call__", stop)
    result = tabled("search", "--hw", "GTX 1080 Ti", "--n-trials", "5")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        "nasplug: stopped after 0 of 5 trials; the study is stored, "
        "and the same command continues it"
    )
    result = tabled("search", "--hw", "GTX 1080 Ti", "--storage", "memory")
    assert "is lost" in result.stderr


def test_search_prints_json_alone(tabled: Run, tmp_path: Path) -> None:
    words = ("search", "--space", "nb201", "--hw", "gtx1080ti", "--constraint", "latency<=8ms")
    result = tabled(*words, "--n-trials", "5", "--json", "--report", str(tmp_path / "r"))
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["hardware"] == "GTX 1080 Ti"
    assert told == json.loads((tmp_path / "r" / "result.json").read_text())
    assert "the study is stored in" in result.stderr
    assert str(tmp_path / "r" / "pareto.png") in result.stderr


def test_search_prints_a_table(tabled: Run) -> None:
    words = ("search", "--hw", "GTX 1080 Ti", "--constraint", "latency<=8ms", "--n-trials", "3")
    result = tabled(*words, "--storage", "memory")
    assert result.exit_code == 0
    assert "nb201, cifar10 on GTX 1080 Ti, batch 1, latency<=8ms (probability 0.9)" in result.stdout
    assert "\x1b[" not in result.stdout
    assert result.stderr == "nasplug: loading predictors\n"


def test_macs_stand_for_flops_and_the_table_says_what_it_counts(tabled: Run) -> None:
    words = ("search", "--constraint", "macs<=100M", "--n-trials", "2", "--storage", "memory")
    text = tabled(*words).stdout
    assert "flops<=100M" in text
    assert "MFLOPs: millions of multiply-accumulates per image" in text.splitlines()
    graph = space("nb201").to_graph(space("nb201").parse(CELL))
    assert graph.total("macs") == graph.total("flops")


def test_predict(tabled: Run) -> None:
    result = tabled("predict", CELL, CELL, "--hw", "GTX 1080 Ti", "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    assert len(rows) == 2
    assert rows[0]["arch"] == CELL
    assert set(rows[0]["accuracy"]) == {"cifar10", "cifar100", "imagenet16-120"}
    interval = rows[0]["latency_ms"]
    assert interval["lower"] < interval["mean"] < interval["upper"]
    bare = json.loads(tabled("predict", CELL, "--json").stdout)
    assert bare[0]["latency_ms"] is None
    table = tabled("predict", CELL, "--hw", "GTX 1080 Ti").stdout
    assert CELL in table.splitlines()
    assert "cifar100 accuracy, %" in table
    assert "latency, ms" in table


def test_a_pass_of_a_language_model_is_predicted(run: Run) -> None:
    words = ("predict", "largest", "--space", "gpt:s", "--hw", "H100", "--precision", "bf16")
    words = (*words, "--batch-size", "8")
    (prefill,) = json.loads(run(*words, "--json").stdout)
    (step,) = json.loads(run(*words, "--dataset", "decode", "--json").stdout)
    assert step["perplexity"] == prefill["perplexity"]
    for name in ("latency_ms", "energy_j"):
        assert step[name]["mean"] < prefill[name]["mean"] / 1.5
    # Keys and values of a thousand tokens beside the weights.
    assert step["memory_mb"] > 600
    (cell,) = json.loads(run("predict", CELL, "--dataset", "cifar100", "--json").stdout)
    assert list(cell["accuracy"]) == ["cifar100"]
    assert cell["memory_mb"] is None


def test_spaces(run: Run) -> None:
    rows = {row["name"]: row for row in json.loads(run("spaces", "--json").stdout)}
    assert rows["nb201"]["architectures"] == 15625
    assert (rows["nb201"]["search"], rows["nb201"]["quality"]) == ("all of it", "accuracy")
    assert (rows["accel"]["search"], rows["accel"]["quality"]) == ("a pool", "accuracy")
    family = rows["nnlqp:resnet"]
    assert (family["search"], family["quality"]) == ("a pool", "accuracy, from other networks")
    assert "nb201" in run("spaces").stdout


def test_hardware(run: Run) -> None:
    everything = json.loads(run("hardware", "--json").stdout)
    assert everything == json.loads(run("hardware", "list", "--json").stdout)
    some = json.loads(run("hardware", "rtx3090", "--json").stdout)
    assert "RTX 3090" in [row["name"] for row in some]
    assert 0 < len(some) < len(everything)
    shown = json.loads(run("hardware", "show", "rtx3090", "--json").stdout)
    assert shown["name"] == "RTX 3090"
    assert shown["peak_tflops"]["fp32"] > 0
    assert "RTX 3090" in run("hardware", "show", "3090").stdout
    parts = json.loads(run("hardware", "show", "Pixel 4", "--json").stdout)["processors"]
    assert [part["kind"] for part in parts] == ["cpu", "cpu", "cpu", "gpu", "npu"]
    assert "Adreno 640" in run("hardware", "show", "Pixel 4").stdout
    assert "RTX 3090" in run("hardware").stdout


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["orin"], "Jetson AGX Orin"),
        (["jetson", "orin"], "Jetson AGX Orin"),
        (["jetson orin"], "Jetson Orin Nano"),
        (["Oryon"], "Snapdragon X Elite"),
        (["BCM2711"], "Raspberry Pi 4"),
        (["raspberry-pi"], "Raspberry Pi 5"),
        (["nvidia", "edge"], "Jetson Nano"),
        (["list", "rtx", "laptop"], "RTX 4090 Laptop"),
    ],
)
def test_hardware_is_found_by_words_anywhere(run: Run, words: list[str], name: str) -> None:
    rows = json.loads(run("hardware", *words, "--json").stdout)
    assert name in [row["name"] for row in rows]
    assert len(rows) < 60


def test_data(run: Run, cache: Path) -> None:
    rows = json.loads(run("data", "list", "--json").stdout)
    assert "nb201-latency" in [row["name"] for row in rows]
    assert run("data", "verify", "nb201-latency").exit_code == 1
    fetched = run("data", "fetch", "nb201-latency", "--json")
    assert fetched.exit_code == 0, fetched.stderr
    assert all(Path(row["file"]).is_file() for row in json.loads(fetched.stdout))
    verified = run("data", "verify", "nb201-latency", "--json")
    assert verified.exit_code == 0
    assert {row["status"] for row in json.loads(verified.stdout)} == {"ok"}


def test_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m nasplug.cli_main hardware | head -1"
    command = command.replace("-m nasplug.cli_main", '-c "from nasplug.cli import main; main()"')
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert "Traceback" not in done.stderr


def test_a_checkpoint_that_is_not_ours(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"format": "pt"}')
    (tmp_path / "mine.safetensors").write_bytes(b"PK")
    for command in (["search"], ["predict", CELL]):
        result = run(*command, "--predictor", str(tmp_path / "mine.json"))
        assert_refused(result, "has format 'pt'; this version reads 'nasplug-predictor-1'")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.json", "mine.safetensors"]


def test_json_of_an_unmeasured_device_says_so_on_stderr(run: Run) -> None:
    words = ("search", "--hw", "RTX 3090", "--n-trials", "2", "--storage", "memory", "--json")
    result = run(*words)
    assert json.loads(result.stdout)["hardware"] == "RTX 3090"
    assert "zero-shot: RTX 3090" in result.stderr


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 4"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB PCIe"),
        ("p3.2xlarge", "V100"),
    ],
)
def test_hardware_is_found_by_the_names_that_hw_takes(run: Run, printed: str, name: str) -> None:
    rows = json.loads(run("hardware", printed, "--json").stdout)
    assert [row["name"] for row in rows] == [name]


def test_hardware_here_names_this_machine(run: Run) -> None:
    rows = json.loads(run("hardware", "--here", "--json").stdout)
    assert rows == json.loads(run("hardware", "list", "--here", "--json").stdout)
    assert [set(row) for row in rows] == [{"source", "prints", "device", "advice"}] * len(rows)
    assert all(row["advice"] for row in rows)
    assert rows[0]["source"] in run("hardware", "--here").stdout


def test_a_warning_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    @common.command
    def old(debug: bool = False) -> None:
        warnings.warn("the file is old", stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        old()
    assert capsys.readouterr().err == "nasplug: the file is old\n"
