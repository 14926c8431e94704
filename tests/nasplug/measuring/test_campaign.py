from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import nasplug
from nasplug import InputError, measure, space
from nasplug.arguments import onnx_writer
from nasplug.calibrating.measurements import read_latencies
from nasplug.cli import app
from nasplug.measuring import campaign, choice, machine, record, runtimes
from nasplug.measuring.choice import read_archs
from nasplug.measuring.record import COLUMNS, Measurement, Record
from nasplug.text import checksum_of, row_checksum
from nasplug.training.labels import read_labels

# The smallest networks there are: cells without convolutions.
CELLS = "nnlqp:nasbench201"
TINY = [
    "|avg_pool_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
    "|avg_pool_3x3~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|",
    "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
    "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|",
]
REFERENCE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
EFFORT: dict[str, Any] = {"runs": 3, "warmup": 1, "min_seconds": 0.0, "max_seconds": 0.5}
# The machine of the tests may be busy.
QUICK: dict[str, Any] = {**EFFORT, "retry_disturbed": False}
QUICK_WORDS = ("--runs", "3", "--warmup", "1", "--min-seconds", "0", "--max-seconds", "0.5")
QUICK_WORDS = (*QUICK_WORDS, "--no-retry-disturbed")


@pytest.fixture(autouse=True)
def tiny_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "REFERENCE", (CELLS, REFERENCE))


def tiny(out: Path | None = None, archs: list[str] = TINY, **given: Any) -> nasplug.MeasurementSet:
    return measure(CELLS, archs=archs, out=out, threads=1, **{**QUICK, **given})


def ids(texts: list[str]) -> list[str]:
    return [space(CELLS).parse(text).arch_id for text in texts]


class Scripted:
    """A runtime whose times are written down: a function of the network's id and of the load."""

    def __init__(self, ms: Callable[[str], float]) -> None:
        self.settings = {"backend": "scripted", "version": "1", "threads": 1}
        self.ms = ms
        self.loaded: list[str] = []
        self.models: dict[str, Any] = {}

    def free_memory(self) -> int:
        return 2**60

    def session(self) -> Any:
        return nullcontext()

    def load(self, model: Any) -> Callable[[], float]:
        self.loaded.append(model.graph.name)
        self.models[model.graph.name] = model
        ms = self.ms(model.graph.name)
        return lambda: ms


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    """Put a scripted runtime in the place of the real ones."""

    def use(ms: Callable[[str], float], every: int = 1) -> Scripted:
        runtime = Scripted(ms)
        monkeypatch.setattr(campaign, "open_runtime", lambda *_: runtime)
        monkeypatch.setattr(campaign, "REFERENCE_EVERY", (every, 1e9))
        return runtime

    return use


def references(*times: float, other: float = 1.0) -> Callable[[str], float]:
    """These times for the reference one after another, then the last of them; `other` for all."""
    (reference,) = ids([REFERENCE])
    left: Iterator[float] = iter(times)
    return lambda arch_id: next(left, times[-1]) if arch_id == reference else other


# Timing


# A campaign with ONNX Runtime


def test_measures_networks(tmp_path, capsys):
    out = tmp_path / "new" / "latency.csv"
    measured = tiny(out, batch_size=2)
    table, read = measured.table, pd.read_csv(out)
    assert tuple(table.columns) == COLUMNS
    assert tuple(read.columns) == (*COLUMNS, "checksum")
    assert table["arch_id"].tolist() == ids(TINY)
    assert read["arch"].tolist() == TINY
    numbers = list(COLUMNS[3:14])
    np.testing.assert_array_equal(read[numbers], table[numbers])
    assert (table["p10_ms"] > 0).all()
    assert (table["p10_ms"] <= table["latency_ms"]).all()
    assert (table["latency_ms"] <= table["p90_ms"]).all()
    assert set(table["runs"]) <= {3}
    assert set(table["family"]) == {"nasbench201"}
    assert set(table["batch_size"]) == {2}
    graph = space(CELLS).to_graph(space(CELLS).parse(TINY[1]))
    assert table["params"][1] == graph.attributes[:, 8].sum()
    assert table["flops"][1] == graph.attributes[:, 7].sum()
    told = json.loads(out.with_suffix(".json").read_text())
    assert told.pop("checksum") == checksum_of(told)
    assert told == measured.description
    assert told["runtime"]["version"] == onnxruntime.__version__
    assert told["runtime"]["threads"] == 1
    assert told["machine"]["logical_cores"] >= 1
    assert told["settings"]["space"] == CELLS
    assert told["networks"]["measured"] == len(TINY)
    assert len(told["reference"]["timings"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert f"4 networks in {out}" in streams.err


def test_nothing_is_written_without_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measured = tiny(archs=TINY[:1])
    assert measured.path is None
    assert len(measured.table) == 1
    assert list(tmp_path.iterdir()) == []


def test_larger_n_adds_networks(tmp_path, scripted):
    out = tmp_path / "latency.csv"
    runtime = scripted(references(5.0))
    measure("nnlqp:squeezenet", 2, out=out, seed=3, **QUICK)
    first = out.read_text()
    runtime.loaded.clear()
    measured = measure("nnlqp:squeezenet", 4, out=out, seed=3, **QUICK)
    assert out.read_text().startswith(first)
    assert measured.table["arch_id"].is_unique
    rng = np.random.default_rng(3)
    drawn = [space("nnlqp:squeezenet").sample(rng).arch_id for _ in range(4)]
    assert measured.table["arch_id"].tolist() == drawn
    # Those that were there were not run again.
    assert [name for name in runtime.loaded if name in drawn] == drawn[2:]


@pytest.mark.parametrize("cut", [1, 30, -1])
def test_broken_off_line_is_repaired(tmp_path, capsys, scripted, cut):
    out = tmp_path / "latency.csv"
    scripted(references(5.0))
    tiny(out)
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:3]) + lines[3][:cut])
    measured = tiny(out)
    assert "the last line of the file is incomplete" in capsys.readouterr().err
    assert measured.table["arch_id"].tolist() == ids(TINY)
    again = out.read_text().splitlines(keepends=True)
    assert again[:3] == lines[:3]
    assert len(again) == len(lines)
    assert tiny(out).table.equals(measured.table)


def test_broken_off_header_starts_anew(tmp_path):
    out = tmp_path / "latency.csv"
    out.write_text("arch,arc")
    assert len(tiny(out, TINY[:1]).table) == 1


def test_batch_size_and_seed_reach_the_network(scripted):
    runtime = scripted(references(5.0))
    tiny(archs=TINY[:1], batch_size=3, seed=7)
    (arch_id,) = ids(TINY[:1])
    cells: Any = space(CELLS)
    assert runtime.models[arch_id] == cells.to_onnx(cells.parse(TINY[0]), 7, 3)


@pytest.mark.parametrize("name", ["nb201", "nb101"])
def test_cells_are_timed_as_the_networks_that_a_search_exports(scripted, name):
    runtime, cells = scripted(references(5.0)), space(name)
    arch = cells.sample(np.random.default_rng(0))
    (row,) = measure(name, archs=[arch.text], batch_size=2, threads=1, **QUICK).rows
    model = onnx_writer(cells)(arch, 0, 2, cells.tasks[0])
    assert runtime.models[model.graph.name] == model
    assert (row.arch, row.arch_id, row.family) == (arch.text, arch.arch_id, name)
    assert row.params == cells.to_graph(arch).total("params")


def test_a_space_without_networks_is_refused(monkeypatch):
    monkeypatch.setattr(type(space(CELLS)), "writes_onnx", False)
    with pytest.raises(InputError, match="cannot write its networks as ONNX.*nnlqp"):
        measure(CELLS, 1)


def test_same_networks_once():
    written_otherwise = f"nasbench201:{TINY[0]}"
    assert len(tiny(archs=[TINY[0], written_otherwise, TINY[0]]).table) == 1


def test_other_machine_or_settings_are_refused(tmp_path, monkeypatch):
    out = tmp_path / "latency.csv"
    tiny(out, TINY[:1])
    before = out.read_bytes()
    for other, said in [
        ({"batch_size": 4}, "batch size 1, not 4"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"backend": "torch"}, "backend onnxruntime, not torch"),
        ({"runs": 4}, "runs 3, not 4"),
    ]:
        with pytest.raises(InputError, match=said):
            tiny(out, TINY[:1], **other)
    monkeypatch.setattr(onnxruntime, "__version__", "1.0")
    with pytest.raises(InputError, match=r"version [\d.]+, not 1\.0;"):
        tiny(out, TINY[:1])
    monkeypatch.undo()
    here = machine.machine()
    monkeypatch.setattr(campaign, "machine", lambda: {**here, "processor": "Z80", "ram_gb": 1})
    with pytest.raises(InputError, match=r"processor .*, not Z80; ram gb \d+, not 1; give another"):
        tiny(out, TINY[:1])
    monkeypatch.setattr(campaign, "machine", lambda: {**here, "kernel": "newer"})
    tiny(out, TINY[:1])
    assert out.read_bytes() == before


def test_every_flipped_bit_of_a_record_is_said(tmp_path, scripted):
    scripted(references(5.0))
    out = tmp_path / "latency.csv"
    tiny(out, TINY[:2])
    rng = np.random.default_rng(0)
    whole = {path: path.read_bytes() for path in (out, out.with_suffix(".json"))}
    before = tiny(out, TINY[:2])
    for path, content in whole.items():
        for place in rng.choice(8 * len(content), 100, replace=False).tolist():
            damaged = bytearray(content)
            damaged[place // 8] ^= 1 << place % 8
            path.write_bytes(damaged)
            with warnings.catch_warnings():
                # The key of the checksum is hit, and nothing else.
                warnings.simplefilter("ignore", UserWarning)
                try:
                    record = Record(out, json.loads(json.dumps(before.description)))
                except InputError:
                    pass
                else:
                    kept = [row for row in before.rows if row.arch_id in record.rows]
                    assert list(record.rows.values()) == kept
                    assert record.repaired or kept == list(before.rows)
                    assert record.timings == before.description["reference"]["timings"]
            for again, first in whole.items():
                again.write_bytes(first)


def test_a_record_without_checksums_gets_them(tmp_path, scripted):
    scripted(references(5.0))
    out = tmp_path / "latency.csv"
    before = tiny(out, TINY[:2])
    pd.read_csv(out, dtype=str, keep_default_na=False).drop(columns="checksum").to_csv(
        out, index=False
    )
    beside = out.with_suffix(".json")
    told = json.loads(beside.read_text())
    del told["checksum"]
    beside.write_text(json.dumps(told))
    with pytest.warns(UserWarning, match="without checksums"):
        assert tiny(out, TINY[:2]).table.equals(before.table)
    assert tiny(out, TINY[:2]).table.equals(before.table)


def test_whoever_reads_an_altered_measurement_is_told(tmp_path, scripted):
    scripted(references(5.0))
    out = tmp_path / "latency.csv"
    row = tiny(out, TINY[:1]).rows[0]
    cells = space(CELLS)
    assert read_latencies(out, cells).batch_size == 1
    content = out.read_text()
    for then, now in ((f",{row.latency_ms:.6g},", ",0.43,"), ("batch_size", "batch_sjze")):
        out.write_text(content.replace(then, now, 1))
        with pytest.raises(InputError, match="line 2 was changed after nasplug measure wrote it"):
            read_latencies(out, cells)
        with pytest.raises(InputError, match="line 2 was changed after nasplug measure wrote it"):
            read_labels(str(out), ["p10_ms"], cells)
    out.write_text(content.replace("avg_pool_3x3", "nor_conv_1x1", 1))
    with pytest.raises(InputError, match="row 2 was changed"):
        read_archs(out)


def test_files_that_are_no_measurements(tmp_path, scripted):
    out = tmp_path / "latency.csv"
    scripted(references(5.0))
    tiny(out, TINY[:1])
    content, beside = out.read_text(), out.with_suffix(".json")
    for text, said in [
        (content + "a,b\n", "line 3 is not a measurement"),
        (content.replace("False", "perhaps"), "line 2 is not a measurement"),
        (content.replace("arch,", "cell,", 1), "is not a"),
    ]:
        out.write_text(text)
        with pytest.raises(InputError, match=said):
            tiny(out, TINY[:1])
    out.write_bytes(b"\xff\xfe\n")
    with pytest.raises(InputError, match="UTF-8"):
        tiny(out, TINY[:1])
    out.write_text(content)
    for broken in ("{", "[]", "{}", '{"format": "other"}'):
        beside.write_text(broken)
        with pytest.raises(InputError, match="does not describe measurements"):
            tiny(out, TINY[:1])
    beside.unlink()
    with pytest.raises(InputError, match="needs latency.json beside it"):
        tiny(out, TINY[:1])


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"ends in \.csv"):
        tiny(tmp_path / "latency.json")
    with pytest.raises(InputError, match="cannot write"):
        tiny(tmp_path / "file" / "latency.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        tiny(tmp_path / "folder.csv")


# What goes wrong with single networks


def test_a_failing_network_is_a_row(tmp_path, scripted):
    broken = ids(TINY)[1]

    def ms(arch_id: str) -> float:
        if arch_id == broken:
            raise RuntimeError("no such\nkernel")
        return 2.0

    out = tmp_path / "latency.csv"
    runtime = scripted(ms)
    measured = tiny(out)
    row = measured.table.iloc[1]
    assert row["error"] == "RuntimeError: no such kernel"
    assert math.isnan(row["latency_ms"])
    assert not row["disturbed"]
    assert measured.table["latency_ms"].notna().sum() == 3
    assert measured.to_json()["rows"][1]["latency_ms"] is None
    (family,) = measured.summary()
    assert (family["networks"], family["failed"], family["median_ms"]) == (4, 1, 2.0)
    runtime.loaded.clear()
    assert tiny(out).table.equals(measured.table)
    assert runtime.loaded == []


def test_networks_that_do_not_fit_are_left_out(monkeypatch):
    monkeypatch.setattr(runtimes, "free_memory", lambda: 10**6)
    table = tiny(archs=TINY[:2]).table
    assert table["error"].str.contains("GB are free").all()
    assert table["latency_ms"].isna().all()


# Disturbances


def test_rows_around_a_disturbed_reference_are_marked(scripted):
    scripted(references(10.0, 10.1, 12.0, 10.0, 9.9))
    table = tiny().table
    # Networks 1 to 4 lie between the timings; the third of the five is off.
    assert table["disturbed"].tolist() == [False, True, True, False]
    assert table["reference"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(table["deviation"], [0.01, 0.2, 0.2, 0.01])


def test_later_timings_of_the_reference_count(scripted):
    scripted(references(20.0, 20.0, 10.0, 10.0, 10.0))
    # At first 20 ms looked right.
    assert tiny().table["disturbed"].tolist() == [True, True, False, False]


def test_disturbed_networks_are_timed_again(tmp_path, scripted):
    out = tmp_path / "latency.csv"
    runtime = scripted(references(10.0, 10.0, 15.0, 10.0, 10.0))
    assert tiny(out).table["disturbed"].sum() == 2
    runtime.loaded.clear()
    # As it is by default.
    again = measure(CELLS, archs=TINY, out=out, threads=1, **EFFORT).table
    assert not again["disturbed"].any()
    assert again["arch_id"].tolist() == ids(TINY)
    timed = [name for name in runtime.loaded if name in ids(TINY)]
    assert timed == ids(TINY)[1:3]
    assert again["runs"].tolist() == [3, 6, 6, 3]
    assert pd.read_csv(out)["arch_id"].tolist() == ids(TINY)


def test_retrying_ends_on_a_machine_that_stays_busy(scripted):
    (reference,) = ids([REFERENCE])
    times = iter([10.0, 20.0] * 100)
    runtime = scripted(lambda arch_id: next(times) if arch_id == reference else 1.0)
    assert tiny(archs=TINY[:1], retry_disturbed=True).table["disturbed"].all()
    assert len(runtime.loaded) == 4 * 3


def test_disturbed_networks_are_kept_if_asked_for(tmp_path, scripted, capsys):
    out = tmp_path / "latency.csv"
    # All timings of the reference but one are 10 ms; that one is beside the second network.
    scripted(references(10.0, 10.0, 15.0, 10.0))
    measured = tiny(out, TINY[:2])
    assert measured.table["disturbed"].tolist() == [False, True]
    assert not measured.table["kept"].any()
    said = capsys.readouterr().err
    assert "1 network disturbed: around them the reference network was up to 50% off" in said
    assert "calibrate leaves them out" in said
    kept = tiny(out, TINY[:2], keep_disturbed=True)
    assert kept.table["kept"].tolist() == pd.read_csv(out)["kept"].tolist() == [False, True]
    assert "calibrate uses them, as the column kept" in capsys.readouterr().err
    cells = space(CELLS)
    assert read_latencies(out, cells).left_out == {}
    assert read_latencies(measured, cells).left_out == {"disturbed": 1}
    assert not tiny(out, TINY[:2]).table["kept"].any()
    kept = tiny(out, TINY[:2], retry_disturbed=True, keep_disturbed=True)
    assert not kept.table[["disturbed", "kept"]].any(axis=None)


def test_a_record_of_an_earlier_version_is_read(tmp_path, scripted):
    scripted(references(10.0, 15.0, 10.0, 10.0, 10.0))
    out = tmp_path / "latency.csv"
    before = tiny(out)
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    earlier = table[[*COLUMNS[: COLUMNS.index("deviation")]]]
    rows = [row_checksum(list(earlier.columns), row) for row in earlier.values.tolist()]
    earlier.assign(checksum=rows).to_csv(out, index=False)
    assert tiny(out).table.equals(before.table)
    assert pd.read_csv(out, dtype=str, keep_default_na=False).equals(table)


def test_rows_of_a_broken_off_session_are_not_trusted(tmp_path, scripted):
    out = tmp_path / "latency.csv"
    (reference,) = ids([REFERENCE])
    third = ids(TINY)[2]
    calls: list[str] = []

    def ms(arch_id: str) -> float:
        calls.append(arch_id)
        if calls.count(third) == 1 and arch_id == third:
            raise KeyboardInterrupt
        return 10.0 if arch_id == reference else 1.0

    scripted(ms, every=10)
    with pytest.raises(
        KeyboardInterrupt, match="has 2 of 4 networks, and the same command continues"
    ):
        tiny(out)
    assert pd.read_csv(out)["disturbed"].tolist() == [True, True]
    table = tiny(out).table
    assert table["arch_id"].tolist() == ids(TINY)
    assert table["disturbed"].tolist() == [True, True, False, False]
    assert not tiny(out, retry_disturbed=True).table["disturbed"].any()


def test_other_work_is_told(scripted, monkeypatch, capsys):
    scripted(references(10.0))
    monkeypatch.setattr(machine.OtherWork, "cores", lambda _: 1.5)
    tiny(archs=TINY[:1])
    assert "other processes used 1.5 cores" in capsys.readouterr().err
    monkeypatch.setattr(machine.OtherWork, "cores", lambda _: 0.1)
    tiny(archs=TINY[:1])
    assert "other processes" not in capsys.readouterr().err


# What is asked for


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"space": "nnlpq"}, "unknown search space 'nnlpq'"),
        ({"n": 0}, "number of networks 0"),
        ({"n": None}, "no networks to time"),
        ({"archs": [TINY[0]]}, "no networks to time"),
        ({"n": None, "archs": []}, "list of architectures is empty"),
        ({"n": None, "archs": ["conv"]}, "NAS-Bench-201|'conv'"),
        ({"hardware": "RTX 3090"}, "'RTX 3090' is not a processor of this machine"),
        ({"hardware": "cuda"}, "times the CPU only; use the backend torch"),
        ({"backend": "tflite"}, "unknown backend 'tflite'"),
        ({"threads": 0}, "number of threads 0"),
        ({"threads": 4096}, "4096 threads are more than"),
        ({"batch_size": 0}, "batch size 0"),
        ({"runs": 0}, "number of runs 0"),
        ({"warmup": -1}, "number of warm-up runs -1"),
        ({"min_seconds": 2.0, "max_seconds": 1.0}, "no valid time per network"),
        ({"min_seconds": math.nan}, "no valid time per network"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_bad_input(given, said):
    with pytest.raises(InputError, match=said):
        measure(**{"space": CELLS, "n": 1, **given})


def test_no_cuda_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA device"):
        measure(CELLS, 1, "cuda", backend="torch")


def test_more_networks_than_there_are(monkeypatch):
    monkeypatch.setattr(choice, "_MOST_REPEATS", 5)
    whole = space(CELLS)

    class Small(type(whole)):  # type: ignore[misc]
        def sample(self, rng: np.random.Generator) -> Any:
            return self.parse(TINY[int(rng.integers(2))])

    with pytest.raises(InputError, match="yielded only 2 different networks.* instead of 3"):
        measure(Small(whole.family, CELLS), 3)  # type: ignore[attr-defined]


def test_lists_of_architectures(tmp_path):
    lines, table, none = (tmp_path / name for name in ("archs.txt", "archs.csv", "none.txt"))
    lines.write_text(f"{TINY[0]}\n\n  {TINY[1]}\n")
    table.write_text('x,arch\n1,"vgg:d=1,k=3"\n2,b\n')
    none.write_text("\n")
    assert read_archs(lines) == TINY[:2]
    assert read_archs(table) == ["vgg:d=1,k=3", "b"]
    with pytest.raises(InputError, match="has no architectures"):
        read_archs(none)
    with pytest.raises(InputError, match="cannot read"):
        read_archs(tmp_path / "nowhere")
    table.write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="no column arch"):
        read_archs(table)


def test_families_of_a_union():
    measured = measure("nnlqp", archs=[f"nasbench201:{TINY[0]}"], threads=1, **QUICK)
    assert measured.table["family"].tolist() == ["nasbench201"]


# PyTorch


def test_torch_backend(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    measured = tiny(tmp_path / "t.csv", TINY[:2], backend="torch", hardware="cpu")
    assert (measured.table["latency_ms"] > 0).all()
    assert measured.description["runtime"]["device"] == "cpu"
    assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)


# The command line


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")

    def measured(*words: str) -> Any:
        of_space = () if "--space" in words else ("--space", CELLS)
        return CliRunner().invoke(
            app, ["measure", *of_space, "--threads", "1", *QUICK_WORDS, *words]
        )

    return measured


def test_command(run, tmp_path):
    result = run("--arch", TINY[0], "--arch", TINY[1])
    assert result.exit_code == 0
    assert "nasbench201" in result.stdout
    assert "timing 2 networks" in result.stderr
    assert len(pd.read_csv(tmp_path / "latency.csv")) == 2
    (tmp_path / "archs.txt").write_text("\n".join(TINY[:3]))
    result = run("--archs", "archs.txt", "--json")
    assert "2 of them are measured already" in result.stderr
    told = json.loads(result.stdout)
    assert [row["arch"] for row in told["rows"]] == TINY[:3]
    assert told["files"] == ["latency.csv", "latency.json"]
    assert told["settings"]["space"] == CELLS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--n", "0"], "number of networks 0"),
        ([], "no networks to time"),
        (["--n", "1", "--out", "latency"], "ends in .csv"),
        (["--n", "1", "--hw", "A100"], "'A100' is not a processor of this machine"),
        (["--archs", "nowhere.txt"], "cannot read nowhere.txt"),
    ],
)
def test_command_with_bad_input(run, tmp_path, words, said):
    result = run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_command_stopped_by_ctrl_c(run, tmp_path, monkeypatch):
    add = record.Record.add

    def stop(kept: Record, row: Measurement) -> None:
        if kept.rows:
            raise KeyboardInterrupt
        add(kept, row)

    monkeypatch.setattr(record.Record, "add", stop)
    result = run("--arch", TINY[0], "--arch", TINY[1])
    assert result.exit_code == 130
    assert "latency.csv has 1 of 2 networks, and the same command continues" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(campaign, "REFERENCE", (CELLS, REFERENCE))
    assert run("--arch", TINY[0], "--arch", TINY[1]).exit_code == 0
    assert len(pd.read_csv(tmp_path / "latency.csv")) == 2
