from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug import datasets
from nasplug.datasets.importers.nnlqp import STAGES, nnlqp_graphs, parse_labels, read_nnlqp
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph

# As in the README of NNLQP: one network on several platforms, batch 8.
MULTI_PLATFORM = """\
553312 onnx/nnmeter_alexnet/nnmeter_alexnet_transform_0130.onnx 8 90.88183 alexnet 2 train
559608 onnx/nnmeter_alexnet/nnmeter_alexnet_transform_0130.onnx 8 11.1463 alexnet 23 train
549409 onnx/nnmeter_alexnet/nnmeter_alexnet_transform_0197.onnx 8 64.11547 alexnet 16 test
"""
NETWORKS = [line.split()[1] for line in MULTI_PLATFORM.splitlines()]
GOOD = "00001 onnx/a/b_0000.onnx 1 2.06137 alexnet 1 train"


def write(folder: Path, text: str, name: str = "gt.txt", networks: list[str] | None = None) -> Path:
    (folder / name).write_text(text)
    for network in NETWORKS if networks is None else networks:
        path = folder / network
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no ONNX at all")
    return folder


def test_reads_a_folder(tmp_path: Path) -> None:
    table = datasets.read_nnlqp(write(tmp_path, MULTI_PLATFORM))
    assert table.index.name == "index"
    assert table["onnx_path"].tolist() == NETWORKS
    assert table["latency_ms"].tolist() == [90.88183, 11.1463, 64.11547]
    assert table["graph_id"].tolist() == [553312, 559608, 549409]
    assert table["batch_size"].tolist() == [8, 8, 8]
    assert table["platform_id"].tolist() == [2, 23, 16]
    assert table["platform"].tolist() == [
        *("cpu-openppl-fp32", "mul270-neuware-int8", "hi3519A-nnie12-int8")
    ]
    assert table["device"].tolist() == ["Xeon Gold 6246", "MLU270", "Hi3519A"]
    assert table["stage"].tolist() == ["train", "train", "test"]
    assert table["model_type"].tolist() == ["alexnet"] * 3
    assert table["has_onnx"].tolist() == [True] * 3


def test_stage_is_optional_and_platforms_are_open(tmp_path: Path) -> None:
    write(tmp_path, "1 a.onnx 8 1 x 99\r\n02  a.onnx\t8 .5 x 1 \r\n\r\n", networks=["a.onnx"])
    table = read_nnlqp(tmp_path)
    assert table["stage"].tolist() == ["", ""]
    assert table["platform"].tolist() == ["", "gpu-gtx1660-trt7.1-fp32"]
    assert table["device"].tolist() == ["", "GTX 1660"]
    assert table["graph_id"].tolist() == [1, 2]


def test_file_with_stages_comes_first(tmp_path: Path) -> None:
    write(tmp_path, MULTI_PLATFORM)
    write(tmp_path, GOOD, "gt_stage.txt", ["onnx/a/b_0000.onnx"])
    assert len(read_nnlqp(tmp_path)) == 1
    assert len(read_nnlqp(tmp_path, "gt.txt")) == 3


def test_missing_networks_are_reported(tmp_path: Path) -> None:
    write(tmp_path, MULTI_PLATFORM, networks=NETWORKS[2:])
    said = r"gt\.txt: the ONNX files of 2 of 3 lines are missing, the first on line 1: .*_0130"
    with pytest.warns(UserWarning, match=said):
        table = read_nnlqp(tmp_path)
    assert table["has_onnx"].tolist() == [False, False, True]


def test_folder_without_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gt_stage\.txt or gt\.txt"):
        read_nnlqp(tmp_path)
    with pytest.raises(InputError, match="no file labels"):
        read_nnlqp(tmp_path, "labels")
    with pytest.raises(InputError, match="none is not a folder"):
        read_nnlqp(tmp_path / "none")
    (tmp_path / "gt.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="gt.txt is not UTF-8"):
        read_nnlqp(tmp_path)


def replaced(field: int, text: str) -> str:
    fields = GOOD.split()
    fields[field] = text
    return " ".join(fields)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "has 0 fields"),
        ("one two", "has 2 fields"),
        (GOOD + " more", "has 8 fields"),
        (GOOD.removesuffix(" train"), "has 6 fields instead of 7 as on the first line"),
        (replaced(0, "x1"), "'x1' for GraphID"),
        (replaced(0, "-1"), "'-1' for GraphID"),
        (replaced(0, "٣"), "for GraphID"),
        (replaced(0, "9" * 5000), "for GraphID"),
        (replaced(1, "onnx/a.pb"), "'onnx/a.pb' for OnnxPath"),
        (replaced(1, "/etc/a.onnx"), "for OnnxPath"),
        (replaced(1, "../a.onnx"), "for OnnxPath"),
        (replaced(1, "onnx/../../a.onnx"), "for OnnxPath"),
        (replaced(1, "..\\a.onnx"), "for OnnxPath"),
        (replaced(1, "C:/a.onnx"), "for OnnxPath"),
        (replaced(1, "file:///a.onnx"), "for OnnxPath"),
        (replaced(1, ".onnx"), "for OnnxPath"),
        (replaced(1, "a\0.onnx"), "for OnnxPath"),
        (replaced(2, "0"), "'0' for BatchSize"),
        (replaced(2, "1.5"), "'1.5' for BatchSize"),
        (replaced(3, "nan"), "'nan' for Latency"),
        (replaced(3, "inf"), "'inf' for Latency"),
        (replaced(3, "0"), "'0' for Latency"),
        (replaced(3, "-2"), "'-2' for Latency"),
        (replaced(3, "1e999"), "'1e999' for Latency"),
        (replaced(3, "1_0"), "'1_0' for Latency"),
        (replaced(3, "2,5"), "'2,5' for Latency"),
        (replaced(4, "al\x1b[31m"), "for ModelType"),
        (replaced(5, "gpu"), "'gpu' for PlatformId"),
        (replaced(6, "training"), "'training' for Stage"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    # Bytes, since text mode would turn other line ends; the bad line is the second of three.
    (tmp_path / "gt.txt").write_bytes(f"{GOOD}\n{line}\n{GOOD}\n".encode())
    with pytest.raises(InputError) as error:
        read_nnlqp(tmp_path)
    said = str(error.value)
    assert said.startswith(f"{tmp_path / 'gt.txt'}, line 2 has ")
    assert why in said
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize("text", ["", "\n\n", "   \n"])
def test_empty_file(text: str) -> None:
    with pytest.raises(InputError, match="gt is empty; each of its lines must be GraphID"):
        parse_labels(text, "gt")


BAD = ["0", "-1", "nan", "1e5", "../x.onnx", "..", "a.onnx"]
WORD = st.text(st.characters(exclude_categories=["Cs", "Z", "C"]), min_size=1, max_size=8)
FIELD = WORD | st.sampled_from(
    [*GOOD.split(), "0", "-1", "nan", "1e5", "../x.onnx", "..", "a.onnx"]
)


@given(st.text() | st.lists(st.lists(FIELD, max_size=8).map(" ".join), max_size=4).map("\n".join))
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        labels = parse_labels(text, "gt")
    except InputError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 300
        return
    for label in labels:
        assert label.latency_ms > 0
        assert np.isfinite(label.latency_ms)
        assert label.batch_size >= 1
        assert label.stage in ("", *STAGES)
        inside = os.path.normpath(os.path.join("/folder", label.onnx_path))
        assert inside.startswith("/folder/")


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**9 - 1),
            st.lists(st.text("abc_01", min_size=1, max_size=5), min_size=1, max_size=3),
            st.integers(1, 1024),
            st.floats(1e-6, 1e6),
            st.text("abc", min_size=1),
            st.integers(0, 99),
            st.sampled_from(STAGES),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_is_read(
    rows: list[tuple[int, list[str], int, float, str, int, str]],
) -> None:
    text = "".join(
        f"{g:05} {'/'.join(parts)}.onnx {n} {ms!r} {kind} {p} {stage}\n"
        for g, parts, n, ms, kind, p, stage in rows
    )
    found = parse_labels(text, "gt")
    assert [
        (f.graph_id, f.batch_size, f.latency_ms, f.model_type, f.platform_id, f.stage)
        for f in found
    ] == [(g, n, ms, kind, p, stage) for g, _, n, ms, kind, p, stage in rows]


# --- links and graphs ---------------------------------------------------------------------------


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(b"secret")
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder, f"{GOOD}\n1 link.onnx 1 2 x 1 test\n", networks=["onnx/a/b_0000.onnx"])
    (folder / "link.onnx").symlink_to(outside)
    with pytest.raises(InputError, match="gt.txt, line 2: 'link.onnx' is a link that leads out of"):
        read_nnlqp(folder)
    with pytest.raises(InputError, match="leads out of"):
        nnlqp_graphs(folder, ["link.onnx"], convert=pytest.fail)
    (folder / "link.onnx").unlink()
    (folder / "link.onnx").symlink_to(folder / "onnx/a/b_0000.onnx")
    assert read_nnlqp(folder)["has_onnx"].all()


def test_linked_folder_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.onnx").write_bytes(b"secret")
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", "1 onnx/b.onnx 1 2 x 1", networks=[])
    (tmp_path / "data/onnx").symlink_to(tmp_path / "out")
    with pytest.raises(InputError, match="line 1: 'onnx/b.onnx' is a link that leads out of"):
        read_nnlqp(tmp_path / "data")


def test_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path / "real", MULTI_PLATFORM)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_nnlqp(tmp_path / "link")["has_onnx"].all()


def test_networks_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path, GOOD, networks=[])
    (tmp_path / "onnx/a").mkdir(parents=True)
    os.mkfifo(tmp_path / "onnx/a/b_0000.onnx")  # opening it would block, and it is no file
    with pytest.warns(UserWarning, match="1 of 1 lines"):
        assert not read_nnlqp(tmp_path)["has_onnx"].any()


def graph(name: str) -> Graph:
    return Graph(("Input", name, "Output"), ((0, 1), (1, 2)))


def test_graphs_of_the_rows(tmp_path: Path) -> None:
    table = read_nnlqp(write(tmp_path, MULTI_PLATFORM))
    opened: list[Path] = []

    def convert(path: Path) -> Graph:
        opened.append(path)
        return graph(path.stem)

    graphs = datasets.nnlqp_graphs(tmp_path, table["onnx_path"], convert)
    assert [g.ops[1] for g in graphs] == [Path(p).stem for p in NETWORKS]
    assert graphs[0] is graphs[1]
    assert opened == [tmp_path / NETWORKS[0], tmp_path / NETWORKS[2]]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../a.onnx", "not the path of an .onnx"),
        ("b.onnx", "b.onnx is missing"),
        ("a.txt", "not the path"),
    ],
)
def test_graph_of_a_bad_path(tmp_path: Path, path: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        nnlqp_graphs(tmp_path, [path], convert=pytest.fail)


def test_read_frame_matches_the_published_table(session_cache: Path, mirror: Path) -> None:
    [file] = datasets.info("nnlqp-labels").files
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the networks are not beside the labels there
        table = read_nnlqp((mirror / file.key).parent)
    pd.testing.assert_frame_equal(table.drop(columns="has_onnx"), datasets.load("nnlqp-labels"))


def test_graphs_by_default_come_from_onnx(tmp_path: Path) -> None:
    pytest.importorskip("nasplug.search_spaces.importers.onnx_graph")
    onnx = pytest.importorskip("onnx")
    shape = (1, 3, 8, 8)
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "xy"]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:]))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    [found] = nnlqp_graphs(tmp_path, ["a.onnx"])
    assert found.ops == ("Input", "Relu", "Output")
