"""A user's CSV of latencies: what is read, what is left out, what is refused and how it is said."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nasplug.calibrating.measurements import MAX_FILE_BYTES, read_latencies
from nasplug.search_spaces import InputError, space

NB = space("nb201")
A, B, C, D = (NB[k].text for k in (0, 1, 6111, 9930))  # type: ignore[index]


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "mine.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_two_columns_are_enough(tmp_path: Path) -> None:
    found = read_latencies(write(tmp_path, f"arch,latency_ms\n{A},1.5\n{B},2e1\n"), NB)
    assert [arch.text for arch in found.archs] == [A, B]
    assert found.latencies.tolist() == [1.5, 20.0]
    assert (found.rows, found.batch_size, found.left_out, found.repeated) == (2, 1, {}, 0)
    assert len(found.sha256) == 64


@pytest.mark.parametrize("form", ["\ufeffarch,latency_ms\r\n{A},1.5\r\n\r\n{B}, 20\r\n", "{q}"])
def test_other_programs_write_it_too(tmp_path: Path, form: str) -> None:
    quoted = f'"latency_ms","note","arch"\n"1.5","a\nb","{A}"\n20,,{B}'
    text = quoted if form == "{q}" else form.format(A=A, B=B)
    assert read_latencies(write(tmp_path, text), NB).latencies.tolist() == [1.5, 20.0]


def test_what_measure_writes_is_read_without_its_failures(tmp_path: Path) -> None:
    rows = [
        f"{A},x,1,5.0,False,",
        f"{B},x,1,nan,False,out of memory",
        f"{C},x,1,6.0,True,",
        f"{D},x,1,7.0,False,",
    ]
    text = "\n".join(["arch,arch_id,batch_size,latency_ms,disturbed,error", *rows])
    found = read_latencies(write(tmp_path, text), NB)
    assert [arch.text for arch in found.archs] == [A, D]
    assert (found.rows, found.left_out) == (4, {"failed": 1, "disturbed": 1})


def test_a_real_file_of_measure_is_read() -> None:
    file = Path(__file__).parents[3] / "experiments" / "results" / "cpu_latency.csv"
    if not file.is_file():
        pytest.skip("no networks were timed here yet")
    found = read_latencies(file, space("nnlqp"))
    assert len(found.archs) > 10
    assert found.batch_size == 1


def test_a_frame_is_read_like_its_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"arch": [A, B], "latency_ms": [1.5, np.nan], "error": ["", "broke"]})
    found = read_latencies(frame, NB)
    assert found.latencies.tolist() == [1.5]
    assert found.source == "the table"

    class Measured:
        table = frame

    assert read_latencies(Measured(), NB).latencies.tolist() == [1.5]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not int"):
        read_latencies(3, NB)  # type: ignore[arg-type]


def test_the_median_of_repeated_networks_counts(tmp_path: Path) -> None:
    text = f"arch,latency_ms\n{A},1\n{B},5\n{A},9\n{A},2\n"
    found = read_latencies(write(tmp_path, text), NB)
    assert found.latencies.tolist() == [2.0, 5.0]
    assert found.repeated == 2


def test_one_batch_size_is_taken(tmp_path: Path) -> None:
    file = write(tmp_path, f"arch,latency_ms,batch_size\n{A},1,32\n{B},2,1\n{C},3,32\n")
    both = read_latencies(file, NB)
    assert [run.batch_size for run in both.runs] == [32, 1, 32]
    assert both.batch_size == 32
    found = read_latencies(file, NB, 32)
    assert (found.batch_size, found.latencies.tolist()) == (32, [1.0, 3.0])
    assert found.left_out == {"of another batch size": 1}
    with pytest.raises(InputError, match="no row of batch size 8, only rows of 1, 32"):
        read_latencies(file, NB, 8)
    alone = write(tmp_path, f"arch,latency_ms,batch_size\n{A},1,32\n")
    assert read_latencies(alone, NB).batch_size == 32
    assert read_latencies(write(tmp_path, f"arch,latency_ms\n{A},1"), NB, 16).batch_size == 16


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty; its first line must be arch,latency_ms"),
        (" \n \n", "is empty"),
        ("arch,latency_ms\n", "has no rows below"),
        (f"arch,ms\n{A},1\n", "no column latency_ms; its first line must name"),
        (f"{A},1\n", "no column arch"),
        (f"arch;latency_ms\n{A};1\n", "separate the cells"),
        (f"arch,latency_ms,latency_ms\n{A},1,2\n", "two columns latency_ms"),
        (f"arch,latency_ms\n{A},1\n{B},fast\n", "line 3: latency_ms is 'fast', not a number"),
        (f"arch,latency_ms\n{A},1_000\n", "'1_000', not a number"),
        (f"arch,latency_ms\n{A},١٢\n", "not a number"),
        (f'arch,latency_ms\n{A},"1,5"\n', "'1,5', not a number"),
        (f"arch,latency_ms\n{A},-1\n", "is '-1'; a latency is a positive number of ms, from"),
        (f"arch,latency_ms\n{A},0\n", "is '0'; a latency is a positive number of ms, from"),
        (
            f"arch,latency_ms\n{A},1e-200\n",
            "is '1e-200'; a latency is a positive number of ms, from 1e-09",
        ),
        (
            f"arch,latency_ms\n{A},1e999\n",
            "is '1e999'; a latency is a positive number of ms, from",
        ),
        (f"arch,latency_ms\n{A},inf\n", "is inf; remove such lines"),
        (f"arch,latency_ms\n{A},NaN\n", "is NaN; remove such lines"),
        (f"arch,latency_ms\n{A},\n", "line 2: latency_ms is empty"),
        (f"arch,latency_ms\n{A}\n", "line 2 has 1 cells; the first line has 2"),
        (f"arch,latency_ms\n{A},1\nconv,2\n", "line 3: arch: 'conv' is not a NAS-Bench-201"),
        (f"arch,latency_ms,batch_size\n{A},1,many\n", "batch_size is 'many', not a whole"),
        (f"arch,latency_ms,batch_size\n{A},1,0\n", "batch_size is '0'"),
        (f"arch,latency_ms,disturbed\n{A},1,maybe\n", "disturbed is 'maybe'; write True"),
        (f'arch,latency_ms\n"{A},1\n', "is not a CSV row"),
        (b"\xff\xfe\x00arch", "is not UTF-8 text"),
        (b"\x00\x01\x02" * 40, "mine.csv"),
        ("x" * (MAX_FILE_BYTES + 1), "larger than 20 MB"),
    ],
    ids=lambda value: str(value)[:20] if len(str(value)) > 20 else None,
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(InputError) as error:
        read_latencies(write(tmp_path, content), NB)
    text = str(error.value)
    assert said in text
    assert "mine.csv" in text
    assert text.isprintable()
    assert len(text) < 500


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.csv: cannot be read \(No such file"):
        read_latencies(tmp_path / "absent.csv", NB)
    with pytest.raises(InputError, match="not a file; give a CSV file"):
        read_latencies(tmp_path, NB)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="not a file"):
        read_latencies(str(tmp_path / "pipe.csv"), NB)


cells = st.one_of(
    st.sampled_from([A, B, C, "1.5", "2e3", "-1", "nan", "", "True", "1", "32", "arch", '"', "\n"]),
    st.text(max_size=8),
)
tables = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.lists(cells, min_size=1, max_size=5), max_size=5).map(
        lambda rows: "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")
    ),
    st.lists(st.tuples(cells, cells, cells), max_size=5).map(
        lambda rows: "\n".join(
            ["arch,latency_ms,disturbed", *(",".join(row) for row in rows)]
        ).encode("utf-8", "replace")
    ),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=tables)
@example(content=b'arch,latency_ms\n"' + b"x" * 200_000)
def test_any_content_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    with suppress(InputError):
        found = read_latencies(write(tmp_path, content), NB)
        assert len(found.archs) == len(found.latencies) == len({a.text for a in found.archs})
        assert (np.isfinite(found.latencies) & (found.latencies > 0)).all()
        assert found.rows >= len(found.archs) + found.repeated + sum(found.left_out.values())


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chosen=st.lists(st.integers(0, 15_624), min_size=1, max_size=8, unique=True),
    data=st.data(),
)
def test_what_is_written_is_read(tmp_path: Path, chosen: list[int], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.floats(1e-6, 1e9), min_size=len(chosen), max_size=len(chosen)))
    archs = [NB[k].text for k in chosen]  # type: ignore[index]
    lines = [f"{arch},{time!r}" for arch, time in zip(archs, times, strict=True)]
    found = read_latencies(write(tmp_path, "\n".join(["arch,latency_ms", *lines])), NB)
    assert [arch.text for arch in found.archs] == archs
    assert found.latencies.tolist() == times
