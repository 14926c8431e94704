from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_signals import send_signal
from typer.testing import CliRunner

import nasplug
from nasplug import InputError, datasets, load_predictor, space
from nasplug.cli import app
from nasplug.predictors.accuracy.path_gp import PathGP
from nasplug.predictors.training import loop as fitting

NB = space("nb201")
ROWS = np.random.default_rng(11).permutation(15_625)[:120]
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
SMALL = ("dim=16", "num_layers=1", "epochs=2", "batch_size=16")
DEVICE = ("--kind", "latency", "--hw", "gtx1080ti", "--batch-size", "32")
runner = CliRunner()
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(tmp_path: Path, nb201_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    return lambda *words: runner.invoke(app, list(words))


@pytest.fixture
def table(tmp_path: Path, nb201_cache: Path) -> Path:
    """A user's own measurements, some columns of them not to be used."""
    measured = datasets.load("nb201-accuracy").iloc[ROWS]
    lines = [
        f'"{NB[int(k)]}", {value},fine'  # type: ignore[index]
        for k, value in zip(ROWS, measured["cifar10_val"], strict=True)
    ]
    file = tmp_path / "table.csv"
    file.write_text("\ufeffarch,acc,note\n" + "\n".join(lines) + "\n\n", encoding="utf-8")
    return file


def options(*words: str) -> list[str]:
    return [part for word in words for part in ("--option", word)]


def assert_refused(result: Any, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert said in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_own_measurements_to_a_search(run: Run, table: Path) -> None:
    train = ("train", "--model", "path-gp", "--data", "table.csv", "--target", "cifar10=acc")
    result = run(*train, "--train-size", "80", "--test", "--out", "deep/mine", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["targets"] == {"cifar10": "acc"}
    assert (told["rows"], told["train_size"], told["test"]["rows"]) == (120, 80, 40)
    assert told["test"]["cifar10"]["kendall_tau"] > 0.5
    assert told["test"]["cifar10"]["coverage"] > 0.6
    assert told["files"] == ["deep/mine.safetensors"]
    assert "training path-gp on 80 rows" in result.stderr
    assert load_predictor("deep/mine.json").card["training"]["sha256"] == told["sha256"]
    predicted = run("predict", CELL, "--predictor", "deep/mine.json", "--json")
    (row,) = json.loads(predicted.stdout)
    interval = row["accuracy"]["cifar10"]
    assert 80 < interval["lower"] < interval["mean"] < interval["upper"] < 95
    found = run("search", "--predictor", "deep/mine", "--n-trials", "3", "--json")
    assert json.loads(found.stdout)["predictor"]["name"] == "mine"


def test_a_published_network_on_one_device(run: Run) -> None:
    train = ("train", "--model", "nnlp", "--data", "nb201-latency", *DEVICE, "--out", "lat.json")
    result = run(*train, "--train-size", "60", *options("dim=16", "epochs=3"))
    assert result.exit_code == 0, result.stderr
    assert "latency GTX 1080 Ti@32" in result.stdout
    assert sorted(p.name for p in Path().glob("lat*")) == ["lat.safetensors"]
    known = ("--hw", "GTX 1080 Ti", "--batch-size", "32", "--predictor", "lat.json", "--json")
    (row,) = json.loads(run("predict", CELL, *known).stdout)
    assert row["latency_ms"]["lower"] < row["latency_ms"]["upper"]
    other = run("predict", CELL, "--hw", "T4", "--predictor", "lat")
    assert_refused(other, "T4 at batch size 1 was not learned")


def test_whole_networks_on_one_device(run: Run) -> None:
    device = ("--hw", "Titan RTX", "--batch-size", "64")
    what = ("--model", "latency-gp", "--kind", "latency", "--space", "fbnet", *device)
    said = run("train", *what, "--data", "fbnet-latency", "--train-size", "60", "--out", "mine")
    assert said.exit_code == 0, said.output
    measured = datasets.load("fbnet-latency").iloc[-1]
    # No predictor in the package knows accuracies of this space.
    asked = ("predict", "--space", "fbnet", "--predictor", "./mine", measured["arch"])
    row = json.loads(run(*asked, *device, "--json").stdout)[0]
    assert row["accuracy"] == {}
    assert row["latency_ms"]["mean"] == pytest.approx(measured["Titan RTX@64"], rel=0.1)
    assert_refused(run(*asked), "predicts latency; name a device")
    assert_refused(run(*asked, "--hw", "V100"), "V100@1 was not learned")


def test_the_packages_own_predictors(run: Run) -> None:
    train = ("train", "--data", "nb201-accuracy", "--train-size", "60", "--out", "acc", "--json")
    both = ("--target", "cifar10_val", "--target", "cifar100_test")
    told = json.loads(run(*train, *both).stdout)
    assert told["targets"] == {"cifar10": "cifar10_val", "cifar100": "cifar100_test"}
    assert load_predictor("./acc").targets == ("cifar10", "cifar100")
    train = ("train", "--data", "nb201-latency", *DEVICE, "--train-size", "60", "--out", "lat")
    result = run(*train, *options("members=1", "dim=16", "epochs=1"))
    assert result.exit_code == 0, result.stderr
    assert load_predictor("./lat").model.devices == ("GTX 1080 Ti@32",)
    assert_refused(run(*train, *options("sizes=1")), "see LatencyConfig for the fields")


def test_a_network_without_intervals_is_not_used(run: Run, table: Path) -> None:
    train = ("train", "--model", "nnlp", "--data", "table.csv", "--target", "cifar10=acc")
    plain = options("calibration_share=0", "dim=16", "epochs=1")
    told = json.loads(
        run(*train, "--train-size", "40", "--test", "--out", "x", "--json", *plain).stdout
    )
    assert told["test"]["cifar10"]["coverage"] is None
    assert_refused(
        run("predict", CELL, "--predictor", "x.json"),
        "has no intervals, because it was trained without a calibration set",
    )


def test_what_cannot_be_saved_can_be_tested(run: Run, table: Path) -> None:
    train = ("train", "--model", "random-forest", "--data", "table.csv", "--target", "acc")
    told = json.loads(run(*train, "--train-size", "90", "--test", "--json").stdout)
    assert told["files"] == []
    assert told["test"]["acc"]["kendall_tau"] > 0.2
    assert_refused(run(*train, "--out", "x"), "'random-forest' cannot be saved")


def test_ctrl_c_leaves_nothing_behind(
    run: Run, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PathGP, "fit", interrupted)
    result = run(
        "train", "--model", "path-gp", "--data", "table.csv", "--target", "acc", "--out", "x"
    )
    assert result.exit_code == 130
    assert "stopped; no predictor was written" in result.stderr
    assert not list(Path().glob("x*"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_within_lightnings_loop(
    run: Run, table: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    # Lightning ends the process itself, and after SIGTERM as if all were well.
    step = fitting._Fit.training_step
    steps: list[int] = []

    def interrupted(self: Any, item: Any, index: int) -> Any:
        steps.append(index)
        if len(steps) == 8:
            send_signal(number)
        return step(self, item, index)

    monkeypatch.setattr(fitting._Fit, "training_step", interrupted)
    before = [signal.getsignal(known) for known in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    train = ("train", "--model", "nnlp", "--data", "table.csv", "--target", "acc", "--out", "x")
    small = options("dim=16", "epochs=4", "batch_size=16")
    words = (*train, "--resume-folder", "state", "--json", *small)
    result = run(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.splitlines()[1:] == [
        "nasplug: stopped; no predictor was written; the same command continues from its last state"
    ]
    assert not list(Path().glob("x*"))
    assert len(steps) == 8
    again = [signal.getsignal(known) for known in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert again == before
    assert run(*words).exit_code == 0
    assert load_predictor("./x").targets == ("acc",)


def test_a_library_that_ends_the_program_is_no_success(
    run: Run, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(*_: Any, **__: Any) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(PathGP, "fit", ends)
    train = ("train", "--model", "path-gp", "--data", "table.csv", "--target", "acc", "--out", "x")
    result = run(*train)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "nasplug: a library tried to end the program with SystemExit 0; --debug shows the traceback"
    )


def test_a_full_disk_is_named(run: Run, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.safetensors")
        finally:
            raise RuntimeError("the clean-up failed too")

    monkeypatch.setattr(PathGP, "fit", full)
    train = ("train", "--model", "path-gp", "--data", "table.csv", "--target", "acc", "--out", "x")
    assert_refused(run(*train), "cannot read or write (No space left on device: x.safetensors)")


def test_a_state_is_for_the_same_training_only(run: Run, table: Path) -> None:
    train = ("train", "--model", "nnlp", "--data", "table.csv", "--target", "acc", "--out", "x")
    state = ("--resume-folder", "state")
    assert run(*train, *state, *options("dim=16", "epochs=2")).exit_code == 0
    first = load_predictor("x").sha256
    # What was finished is taken up at its end.
    assert run(*train, *state, *options("dim=16", "epochs=2")).exit_code == 0
    assert load_predictor("x").sha256 == first
    result = run(*train, *state, *options("dim=16", "epochs=3"))
    assert_refused(result, "state holds a training with other settings")
    result = run(*train[:2], "path-gp", *train[3:], *state)
    assert_refused(result, "'path-gp' cannot be resumed")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name the column to learn with --target"),
        (("--target", "acu"), "table.csv has no column 'acu'; it has acc"),
        (("--target", "=acc"), "the name '' of target '=acc' is empty or already used"),
        (
            ("--target", "acc", "--target", "acc"),
            "the name 'acc' of target 'acc' is empty or already used",
        ),
        (("--target", "note"), "table.csv, line 2: note is 'fine', not a number"),
        (("--target", "acc", "--model", "nnformr"), "unknown predictor 'nnformr'"),
        (("--target", "acc", "--kind", "energy"), "unknown kind of predictor 'energy'"),
        (("--target", "acc", "--hw", "T4"), "give --kind latency"),
        (("--target", "acc", "--kind", "latency"), "name it with --hw"),
        (("--target", "acc", *DEVICE), "path-gp predicts accuracy, not 'latency'"),
        (("--target", "acc", "--space", "nb202"), "unknown search space"),
        (("--target", "acc", "--train-size", "121"), "more than the 120 rows"),
        (("--target", "acc", "--train-size", "0"), "train size 0 is not a whole number"),
        (("--target", "acc", "--train-size", "9"), "9 graphs are too few"),
        (("--target", "acc", "--test"), "no row is left to test on"),
        (("--target", "acc", "--seed", "-1"), "seed -1"),
        (("--target", "acc", *options("seed=1")), "'seed' is not an option; give it as --seed"),
        (("--target", "acc", *options("trees")), "option 'trees' has no value"),
        (("--target", "acc", *options("a=1", "a=2")), "option 'a' is given twice"),
        (("--target", "acc", *options("trees=1")), "'path-gp' has no option 'trees'"),
        (("--target", "acc", "--data", "nb202"), "unknown data set 'nb202'"),
        (("--target", "acc", "--data", "none.csv"), "cannot read none.csv"),
        (("--target", "acc", "--data", "nb201-accuracy"), "has no column 'acc'; it has"),
        (("--target", "acc", "--out", "table.csv/x"), "cannot write table.csv/x"),
        (("--target", "acc", "--out", "."), "give a file in a folder that you may write"),
        (("--target", "acc", "--batch-size", "0"), "batch size 0 is not a whole number"),
        # The first wrong option in the order of the help is named.
        (("--data", "nb202", "--model", "nnformr"), "unknown data set 'nb202'"),
        (("--model", "nnformr", "--space", "nb202"), "unknown predictor 'nnformr'"),
        (("--data", "nb101-small", "--kind", "energy"), "belongs to space nb101, not to"),
        (("--space", "nb202", "--kind", "energy"), "unknown search space"),
        (("--kind", "energy", "--hw", "T9"), "unknown kind of predictor 'energy'"),
        (("--kind", "latency", "--hw", "T9", "--batch-size", "0"), "'T9' is not in the catalogue"),
        (("--target", "acc", "--train-size", "0", "--seed", "-1"), "train size 0"),
        (("--target", "acc", "--seed", "-1", *options("seed=1")), "seed -1"),
    ],
)
def test_bad_requests(run: Run, table: Path, words: tuple[str, ...], said: str) -> None:
    usual = {"--model": "path-gp", "--data": "table.csv", "--out": "x"}
    given = [part for pair in usual.items() if pair[0] not in words for part in pair]
    assert_refused(run("train", *given, *words), said)
    assert not list(Path().glob("x*"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that refuses files")
def test_a_folder_that_takes_no_files_is_refused_before_the_training(
    run: Run, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PathGP, "fit", lambda *_, **__: pytest.fail("trained in vain"))
    train = ("train", "--model", "path-gp", "--data", "table.csv", "--target", "acc")
    assert_refused(run(*train, "--out", "/proc/x"), "cannot write /proc/x (")


def test_a_string_is_one_target(run: Run, table: Path) -> None:
    record = nasplug.train("path-gp", table, targets="acc", train_size=60, out="x")
    assert record["targets"] == {"acc": "acc"}
    with pytest.raises(InputError, match="no column 'acu'; it has acc"):
        nasplug.train("path-gp", table, targets="acu", out="x")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": None}, "model must be the name of a predictor such as 'nasplug', not None"),
        (
            {"data": None},
            "data must be the name of a data set or the path of a .csv file, not None",
        ),
        ({"options": [1]}, r"options must be a dictionary such as \{'epochs': 100\}, not \[1\]"),
        ({"options": {"seed": 1}}, "'seed' is not an option; give it as --seed"),
        ({"options": {"targets": ("x",)}}, "'targets' is not an option; give it as --target"),
        ({"batch_size": 0}, "batch size 0 is not a whole number of at least 1"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str, table: Path) -> None:
    request = {"model": "path-gp", "data": str(table), "targets": ["acc"], "test": True}
    with pytest.raises(InputError, match=sentence):
        nasplug.train(**{**request, "train_size": 60, **arguments})  # type: ignore[arg-type]


def test_nothing_to_keep(run: Run, table: Path) -> None:
    result = run("train", "--data", "table.csv", "--target", "acc")
    assert_refused(result, "give --out, --test or both")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"acc\n1\n", "has no column 'arch'"),
        (b"arch,acc,acc\n", "has a column name twice"),
        (b"arch,acc\n", "has no rows below its first line"),
        (f"arch,acc\n{CELL},1\n{CELL}\n".encode(), "line 3 has 1 field; the first line has 2"),
        (
            f"arch,acc\n{CELL},1\n\nconv,2\n".encode(),
            "line 4: 'conv' is not a NAS-Bench-201 architecture string",
        ),
        (f"arch,acc\n{CELL},nan\n".encode(), "line 2: acc is nan, not a finite number"),
        (
            f"arch,acc\n{CELL},1e200\n".encode(),
            "line 2: acc: 1e+200 is not a value in % or ms; its",
        ),
        (
            f"arch,acc\n{CELL},-1e-200\n".encode(),
            "line 2: acc: 1e-200 is not a value in % or ms; its",
        ),
        (f"arch,acc\n{CELL},\n".encode(), "line 2: acc is '', not a number"),
        (f'arch,acc\n"{CELL}"x,1\n'.encode(), "line 2 is not a CSV"),
    ],
)
def test_bad_tables(run: Run, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    result = run("train", "--data", "bad.csv", "--target", "acc", "--out", "x")
    assert_refused(result, f"bad.csv{'' if said.startswith('line') else ' '}")
    assert said in result.stderr
