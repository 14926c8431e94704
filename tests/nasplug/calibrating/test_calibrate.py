"""A device of one's own, from a table of measurements to a search, as a user does it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from table_predictors import TablePredictor
from typer.testing import CliRunner

import nasplug
from nasplug import InputError, datasets
from nasplug.calibrating import latency_predictor
from nasplug.calibrating.calibrate import calibrate
from nasplug.cli import app
from nasplug.predicting import few_shot
from nasplug.predicting import zoo as shipped
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors.latency.device_profile import DeviceProfile
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.predictors.latency.known_devices import KnownDevices
from nasplug.predictors.latency.measured_device import MeasuredDevice
from nasplug.search_spaces import space
from nasplug.searching.prepare import _content

NB = space("nb201")
CELLS = [int(k) for k in np.random.default_rng(3).permutation(15_625)[:12]]
OWN = """
[device]
name = "My Board"
vendor = "Broadcom"
kind = "edge"
microarchitecture = "Cortex-A72"
peak_tflops = { fp32 = 0.048 }
memory_bandwidth_gbs = 12.8
on_chip_memory_mb = 1
power_w = 7.5
clock_ghz = 1.5
units = 4
year = 2019
"""
Run = Callable[..., Any]
runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(OWN)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    return lambda *words: runner.invoke(app, list(words))


@pytest.fixture(scope="module")
def truth(nb201_cache: Path) -> pd.Series:
    """Latencies of a real board, in ms, of all cells."""
    return datasets.load("nb201-latency")["Raspberry Pi 4@1"]


@pytest.fixture
def ten(folder: Path, truth: pd.Series) -> Path:
    frame = pd.DataFrame({"arch": [NB[k].text for k in CELLS[:10]]})  # type: ignore[index]
    frame["latency_ms"] = truth.iloc[CELLS[:10]].to_numpy()
    frame.to_csv(folder / "latency.csv", index=False)
    return folder / "latency.csv"


def refused(result: Any) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    (line,) = [line for line in lines if line != "nasplug: loading predictors"]
    assert line.startswith("nasplug: ")
    assert len(line) < 500
    return str(line)


WORDS = ("calibrate", "--hw", "mine.toml", "--measurements", "latency.csv")


@pytest.fixture
def fast_accuracy(nb201_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in place of the accuracy predictor, which is not what these tests are about."""
    table, zoo = TablePredictor("accuracy"), shipped.load_predictor
    monkeypatch.setattr(
        shipped, "load_predictor", lambda name: table if "accuracy" in name else zoo(name)
    )


@pytest.mark.usefixtures("fast_accuracy")
def test_from_ten_measurements_to_a_search(run: Run, ten: Path, truth: pd.Series) -> None:
    done = run(*WORDS, "--name", "mine", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["device"], told["used"], told["rows"]) == ("mine", 10, 10)
    assert told["left_out"] == {}
    assert not told["replaced"]
    assert Path(told["file"]) == ten.parent / "data" / "nasplug" / "devices" / "mine.json"

    others = [k for k in range(0, 15_625, 25) if k not in CELLS]
    cells = [NB[k].text for k in others]  # type: ignore[index]
    predicted = run("predict", *cells, "--hw", "mine", "--json")
    assert predicted.exit_code == 0, predicted.stderr
    rows = json.loads(predicted.stdout)
    assert {row["evidence"] for row in rows} == {"few-shot"}
    assert not any(row["zero_shot"] for row in rows)
    ends = {e: np.array([r["latency_ms"][e] for r in rows]) for e in ("mean", "lower", "upper")}
    usual = truth.iloc[others].to_numpy()
    assert spearmanr(ends["mean"], usual)[0] > 0.95
    assert ((ends["lower"] <= usual) & (usual <= ends["upper"])).mean() > 0.85

    search = ("search", "--hw", "mine", "--n-trials", "3", "--constraint", "latency<=200ms")
    found = run(*search, "--json", "--storage", "memory")
    assert found.exit_code == 0, found.stderr
    result = json.loads(found.stdout)
    assert result["hardware"] == "mine"
    assert result["pareto"][0]["measured"]["latency_ms"] is None
    assert "zero-shot" not in found.stderr


@pytest.mark.usefixtures("fast_accuracy")
def test_what_is_printed(run: Run, ten: Path) -> None:
    done = run(*WORDS)
    assert done.exit_code == 0, done.stderr
    for word in ("My Board, batch size 1", "10 networks of 10 rows", "each alone left out"):
        assert word in done.stdout
    assert "typically ÷" in done.stdout
    assert "--hw 'My Board' " in done.stdout
    again = run(*WORDS)
    assert "which replaces an older profile" in re.sub(r"[│\s]+", " ", again.stdout)
    listed = run("hardware", "calibrated")
    assert "10 networks of nb201 at batch 1" in listed.stdout
    shown = json.loads(run("hardware", "show", "my board", "--json").stdout)
    assert (shown["name"], shown["space"], shown["batch_size"]) == ("My Board", "nb201", 1)
    everything = json.loads(run("hardware", "--json").stdout)
    assert [row["calibrated"] is not None for row in everything][:2] == [True, False]
    predicted = run("predict", NB[0].text, "--hw", "my board")  # type: ignore[index]
    assert "few-shot" in predicted.stdout


def test_a_damaged_profile_does_not_hide_the_others(run: Run, ten: Path) -> None:
    run(*WORDS)
    (ten.parent / "data" / "nasplug" / "devices" / "other.json").write_text("{")
    listed = run("hardware", "list", "my board")
    assert listed.exit_code == 0
    assert "My Board" in listed.stdout
    assert "other.json is not a device profile, as" in listed.stderr
    assert "other.json" in refused(run("predict", NB[0].text, "--hw", "other"))  # type: ignore[index]


@pytest.mark.usefixtures("fast_accuracy")
def test_a_file_of_ones_own_choice(run: Run, ten: Path) -> None:
    done = run(*WORDS, "--out", "board.json", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["file"] == "board.json"
    assert not (ten.parent / "data").exists()
    said = run("predict", NB[0].text, "--hw", "board.json", "--json")  # type: ignore[index]
    assert json.loads(said.stdout)[0]["evidence"] == "few-shot"
    again = run(*WORDS, "--out", "board.json", "--batch-size", "2")
    assert again.exit_code == 0
    assert "--hw board.json --batch-size 2" in again.stdout
    for file, words in (
        ("latency.csv", "give a name that ends in .json"),
        ("data.json", "exists and is not a device profile"),
    ):
        (ten.parent / "data.json").write_text("precious")
        assert words in refused(run(*WORDS, "--out", file))
    assert (ten.parent / "data.json").read_text() == "precious"


def test_the_same_numbers_as_without_files(
    ten: Path, truth: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known devices without this one, as in few_shot.py: saved, loaded, predicted."""
    columns = ["GTX 1080 Ti@1", "GTX 1080 Ti@256", "Xeon Silver 4114@1", "Galaxy A50@1"]
    some = np.random.default_rng(6).permutation(15_625)[:300]
    known = KnownDevices()
    graphs = NB.to_graphs([NB[int(k)] for k in some])  # type: ignore[index]
    known.fit(graphs, datasets.load("nb201-latency")[columns].to_numpy()[some])
    monkeypatch.setattr(few_shot, "known_devices", lambda *_: known)
    # Few devices are known, and so little that the data sheet says more of some cells.
    calibrate("mine.toml", ten, name="known otherwise", force=True)
    rest = np.random.default_rng(8).permutation(15_625)[:800]
    cells = [NB[int(k)] for k in rest]  # type: ignore[index]
    zoo = nasplug.load_predictor("nb201-latency")
    said = zoo.predict(cells, "known otherwise")
    board = nasplug.hardware("mine.toml")
    direct = MeasuredDevice(
        DeviceTransfer(known), lambda asked: few_shot.promise(zoo.model, board, 1, asked)
    )
    learned = [NB[k] for k in CELLS[:10]]  # type: ignore[index]
    direct.fit(NB.to_graphs(learned), truth.iloc[CELLS[:10]].to_numpy())
    expected = direct.predict(NB.to_graphs(cells))
    np.testing.assert_allclose(said.mean, expected.mean, rtol=1e-9)
    np.testing.assert_allclose(said.spread, expected.spread, rtol=1e-9)
    actual = truth.iloc[rest].to_numpy()
    # An interval is no wider than that of the data sheet, which is narrow here.
    assert ((said.lower[:, 0] <= actual) & (actual <= said.upper[:, 0])).mean() >= 0.8


def test_python_takes_frames_and_gives_hardware(ten: Path) -> None:
    done = nasplug.calibrate("mine.toml", pd.read_csv(ten), name="mine")
    assert isinstance(done, nasplug.CalibratedDevice)
    assert done.used == 10
    assert done.spearman is not None
    assert done.mape_percent < 30
    assert 1 < done.interval_factor < 3
    predictor = nasplug.load_predictor("nb201-latency")
    by_object = predictor.predict([NB[0]], done.profile)  # type: ignore[index]
    by_name = predictor.predict([NB[0]], "MINE")  # type: ignore[index]
    assert by_object.mean == by_name.mean
    # What is a description is not the calibrated device.
    assert predictor.predict([NB[0]], "mine.toml").zero_shot  # type: ignore[index]
    # A profile can be calibrated again, with its own description.
    assert nasplug.calibrate("mine", pd.read_csv(ten)).replaced
    about = json.loads(done.path.read_text())["about"]
    assert about["predictor"]["name"] == "nb201-latency"


def test_a_search_of_another_calibration_is_another_study(ten: Path) -> None:
    frame = pd.read_csv(ten)
    tables = (frame, frame, frame.assign(latency_ms=frame.latency_ms * 1.5))
    first, again, other = (
        json.dumps(_content(calibrate("mine.toml", table, name="mine").profile)) for table in tables
    )
    assert first == again != other


@pytest.mark.usefixtures("fast_accuracy")
def test_another_batch_size_is_refused(run: Run, ten: Path) -> None:
    assert run(*WORDS, "--batch-size", "8", "--name", "mine").exit_code == 0
    line = refused(run("predict", NB[0].text, "--hw", "mine"))  # type: ignore[index]
    assert "mine was calibrated at batch size 8, not 1" in line
    assert "batch size 8" in refused(run("search", "--hw", "mine"))
    said = run("predict", NB[0].text, "--hw", "mine", "--batch-size", "8")  # type: ignore[index]
    assert said.exit_code == 0, said.stderr


def test_another_space_is_refused(ten: Path) -> None:
    profile = calibrate("mine.toml", ten, name="mine").profile
    cells = profile.measured
    foreign = DeviceProfile(profile, "fbnet", 1, cells)
    predictor = nasplug.load_predictor("nb201-latency")
    with pytest.raises(InputError, match="calibrated with networks of space fbnet, which say too"):
        predictor.predict([NB[0]], foreign)  # type: ignore[index]


def test_accuracy_does_not_mind_a_profile(ten: Path) -> None:
    class Model:
        kind, targets = "accuracy", ("cifar10",)

        def predict(self, graphs: Any, hardware: Any, batch_size: int) -> Any:
            return hardware

    profile = calibrate("mine.toml", ten, name="mine").profile
    predictor = ArchitecturePredictor("own", NB, Model())
    with pytest.raises(InputError, match="of several devices"):
        calibrate("mine.toml", ten, predictor=predictor)
    assert predictor.predict([NB[0]], profile) is profile  # type: ignore[index,comparison-overlap]


def edited(file: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    frame = pd.read_csv(file)
    changed = change(frame)
    (frame if changed is None else changed).to_csv(file, index=False)


def test_rows_are_left_out_for_reasons(run: Run, ten: Path, truth: pd.Series) -> None:
    dead = NB.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|").text
    more = pd.DataFrame(
        {
            "arch": [dead, *(NB[k].text for k in (*CELLS[10:], CELLS[0]))],  # type: ignore[index]
            "latency_ms": [3.0, np.nan, 20.0, truth.iloc[CELLS[0]] * 1.02],
            "disturbed": [False, False, True, False],
            "error": ["", "broken", "", ""],
        }
    )
    edited(ten, lambda frame: pd.concat([frame, more]))
    told = json.loads(run(*WORDS, "--json").stdout)
    assert told["left_out"] == {"failed": 1, "disturbed": 1, "degenerate": 1}
    assert (told["rows"], told["used"], told["repeated"]) == (14, 10, 1)
    printed = run(*WORDS).stdout
    assert "1 failed, 1 disturbed, 1 degenerate" in printed
    assert "1 row; their median counts" in printed


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (lambda f: f.assign(latency_ms=["fast", *["3"] * 9]), (), "line 2: latency_ms is 'fast'"),
        (lambda f: f.assign(latency_ms=-f.latency_ms), (), "a latency is a positive number"),
        (lambda f: f.rename(columns={"latency_ms": "ms"}), (), "has no column latency_ms"),
        (lambda f: f.iloc[:0], (), "has no rows below"),
        (lambda f: f.iloc[:2], (), "has 2 usable networks in 2 rows; measure at least"),
        (lambda f: f.assign(disturbed=True), (), "has 0 usable networks in 10 rows (10 disturbed)"),
        (
            lambda f: f.assign(arch="conv"),
            (),
            "line 2: arch: 'conv' is not a NAS-Bench-201 architecture string",
        ),
        (
            lambda f: f.assign(latency_ms=f.latency_ms / 1e3),
            (),
            "look like seconds: their median is",
        ),
        (lambda f: f.assign(latency_ms=f.latency_ms * 1e3), (), "look like microseconds"),
        (lambda f: f.assign(batch_size=[1, 8] * 5), (), "rows of batch sizes 1, 8"),
        (lambda f: f, ("--batch-size", "0"), "batch size 0 is not a whole number"),
        (lambda f: f, ("--batch-size", "70000"), "batch size 70000 is not between 1 and 65536"),
        (lambda f: f, ("--unit", "min"), "unknown unit 'min'; known: ms, s, us"),
        (lambda f: f, ("--space", "nb202"), "unknown search space 'nb202'"),
        (
            lambda f: f,
            ("--name", "RTX 3090"),
            "'RTX 3090' is already the name of the catalogue's RTX 3090",
        ),
        (lambda f: f, ("--name", "x.toml"), "looks like a path"),
        (
            lambda f: f,
            ("--hw", "T4"),
            "'T4' is already the name of the catalogue's T4; give your device another name",
        ),
        (lambda f: f, ("--hw", "absent.toml"), "absent.toml: cannot be read"),
        (lambda f: f, ("--measurements", "absent.csv"), "absent.csv: cannot be read"),
        (lambda f: f, ("--measurements", "."), "not a file; give a CSV file"),
        (lambda f: f, ("--suggest", "3"), "--suggest lists networks to"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_saved(
    run: Run, ten: Path, change: Any, words: tuple[str, ...], said: str
) -> None:
    edited(ten, change)
    usual = [w for option in (WORDS[1:3], WORDS[3:]) if option[0] not in words for w in option]
    assert said in refused(run("calibrate", *usual, *words))
    assert not (ten.parent / "data").exists()


def test_a_space_without_a_predictor_is_named(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_predictor, "names", lambda: ["nb201-accuracy", "nb201-latency"])
    fbnet = space("fbnet")
    arch = fbnet.sample(np.random.default_rng(0))
    ten.write_text(f"arch,latency_ms\n{arch.text},1.0\n")
    with pytest.raises(InputError, match="none for space fbnet.*one for nb201"):
        calibrate("mine.toml", ten, fbnet)


def test_both_are_needed(run: Run, ten: Path) -> None:
    for words in (("--hw", "mine.toml"), ("--measurements", "latency.csv"), ()):
        assert "give your device with --hw" in refused(run("calibrate", *words))


@pytest.mark.parametrize("factor", [1 / 30, 1 / 80, 30, 80])
def test_an_honest_fast_or_slow_device_passes(run: Run, ten: Path, factor: float) -> None:
    edited(ten, lambda frame: frame.assign(latency_ms=frame.latency_ms * factor))
    done = run(*WORDS)
    assert done.exit_code == 0, done.stderr
    assert "check that the column is in ms" in done.stderr


def test_a_unit_can_be_said(run: Run, ten: Path, truth: pd.Series) -> None:
    edited(ten, lambda frame: frame.assign(latency_ms=frame.latency_ms * 1000))
    for unit, factor in (("us", 1), ("ms", 1000), ("s", 1e6)):
        assert run(*WORDS, "--unit", unit, "--name", "mine").exit_code == 0
        profile = nasplug.hardware("mine")
        assert isinstance(profile, DeviceProfile)
        np.testing.assert_allclose(profile.measured.latencies, factor * truth.iloc[CELLS[:10]])


def test_more_measurements_than_a_profile_holds(ten: Path, truth: pd.Series) -> None:
    rows = np.random.default_rng(1).permutation(15_625)[:160]
    frame = pd.DataFrame({"arch": [NB[int(k)].text for k in rows]})  # type: ignore[index]
    done = calibrate("mine.toml", frame.assign(latency_ms=truth.iloc[rows].to_numpy()))
    degenerate = done.left_out.get("degenerate", 0)
    assert done.used == 100
    assert done.left_out["beyond the 100 that a profile holds"] == 60 - degenerate
    assert done.folds == "a tenth at a time"
    assert "latency-gp" in done.notes()[-1]


def test_suggestions(run: Run, folder: Path) -> None:
    printed = run("calibrate", "--suggest", "10")
    assert printed.exit_code == 0, printed.stderr
    archs = printed.stdout.splitlines()
    assert len({NB.parse(text).text for text in archs}) == 10
    assert "nasplug measure --space nb201 --archs FILE" in printed.stderr
    assert json.loads(run("calibrate", "--suggest", "10", "--json").stdout) == archs
    described = run("calibrate", "--suggest", "4", "--hw", "mine.toml", "--out", "todo.csv")
    assert described.exit_code == 0, described.stderr
    assert described.stdout == ""
    todo = pd.read_csv(folder / "todo.csv")
    assert list(todo.columns) == ["arch", "latency_ms"]
    assert todo.latency_ms.isna().all()
    run("calibrate", "--suggest", "4", "--out", "todo.txt")
    from nasplug.measuring.choice import read_archs

    assert read_archs(folder / "todo.txt") == archs[:4]
    assert read_archs(folder / "todo.csv") == list(todo.arch)
    line = refused(run("calibrate", "--suggest", "4", "--out", "todo.csv"))
    assert "todo.csv exists; give a new file" in line
    assert "number of networks 0" in refused(run("calibrate", "--suggest", "0"))
    assert "700 of 600 graphs" in refused(run("calibrate", "--suggest", "700"))
    empty = ("calibrate", "--hw", "mine.toml", "--measurements", "todo.csv")
    assert "line 2: latency_ms is empty" in refused(run(*empty))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("name", "the field name is missing"),
        ("peak_tflops", "the field peak_tflops is missing"),
        ("power_w", "the field power_w is missing"),
        ("units", "the field units is missing"),
        ("power_w = -5", "power_w must be a number from 1e-06 to 1e+09 in W, not -5"),
        ("memory_bandwidth_gbs = 0", "memory_bandwidth_gbs must be a number from 1e-06 to 1e+09"),
        ('clock_ghz = "1.5"', "clock_ghz must be a number from 1e-06 to 1e+09 in GHz, not '1.5'"),
        ("peak_tflops = { fp32 = -1 }", "peak_tflops.fp32 must be a number from 1e-06 to 1e+09"),
        ("peak_tflops = { fp16 = 1 }", "peak_tflops.fp32 is missing"),
        ('kind = "toaster"', "kind must be one of gpu, cpu"),
        ("year = 3000", "year must be a whole number"),
        ("surprise = 1", "unknown field 'surprise'"),
    ],
)
def test_a_bad_description_is_one_sentence(run: Run, ten: Path, line: str, said: str) -> None:
    field, equals, _ = line.partition(" = ")
    kept = [row for row in OWN.splitlines() if not row.startswith(f"{field} = ")]
    (ten.parent / "mine.toml").write_text("\n".join([*kept, line if equals else ""]))
    for words in (WORDS, ("search", "--hw", "mine.toml")):
        assert f"mine.toml: {said}" in refused(run(*words))


@pytest.mark.parametrize("content", [b"\x00\xff\x80garbage", b"name = ", b"{}", b"", b"\x89PNG"])
def test_a_garbage_description_is_one_sentence(run: Run, ten: Path, content: bytes) -> None:
    (ten.parent / "mine.toml").write_bytes(content)
    assert "mine.toml: " in refused(run(*WORDS))
    (ten.parent / "mine.json").write_bytes(content)
    assert "mine.json is not a device profile, as" in refused(run("search", "--hw", "mine.json"))
