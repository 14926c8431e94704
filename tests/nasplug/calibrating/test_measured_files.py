"""Calibrating a device by the user's own ONNX files, as `nasplug measure` timed them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from roofline_predictor import Roofline
from typer.testing import CliRunner

from nasplug import InputError, hardware, load_predictor, measure
from nasplug.calibrating.calibrate import CalibratedDevice, calibrate
from nasplug.calibrating.measurements import read_latencies
from nasplug.cli import app
from nasplug.devices import profiles
from nasplug.measuring import campaign
from nasplug.measuring.onnx_files import content_id
from nasplug.predicting.few_shot import familiar
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import space
from nasplug.search_spaces.importers.onnx_graph import onnx_graph

CELLS, NB, FBNET = space("nnlqp:nasbench201"), space("nb201"), space("fbnet")
# Networks of different operators and costs.
TEXTS = [
    f"|{first}~0|+|{second}~0|skip_connect~1|+|nor_conv_1x1~0|none~1|{first}~2|"
    for first, second in (
        ("nor_conv_3x3", "nor_conv_3x3"),
        ("nor_conv_1x1", "avg_pool_3x3"),
        ("avg_pool_3x3", "nor_conv_3x3"),
        ("nor_conv_3x3", "nor_conv_1x1"),
    )
]
CPU = "Xeon Gold 6226"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Four files in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    for name, text in zip("abcd", TEXTS, strict=True):
        onnx.save(CELLS.to_onnx(CELLS.parse(text)), f"{name}.onnx")
    return [Path(f"{name}.onnx") for name in "abcd"]


@pytest.fixture
def predictor() -> ArchitecturePredictor:
    return ArchitecturePredictor("roofline", FBNET, Roofline())


def times(files: list[Path]) -> np.ndarray:
    """Latencies in ms on a device that is twice as slow as the roofline of its data sheet."""
    graphs = [onnx_graph(file) for file in files]
    return 2 * np.exp(Roofline().log_latency(graphs, [Setting(hardware(CPU), 1)])[:, 0])


def table(files: list[Path], path: str = "latency.csv", **columns: Any) -> Path:
    """Write a table with the columns of `nasplug measure` that count."""
    frame = pd.DataFrame({"arch": map(str, files)})
    frame["arch_id"] = [f"{file.name}-{content_id(file)}" for file in files]
    frame["batch_size"] = 1
    frame["latency_ms"] = times(files)
    frame.assign(**columns).to_csv(path, index=False)
    return Path(path)


def mine(measured: Any, predictor: ArchitecturePredictor, **options: Any) -> CalibratedDevice:
    return calibrate(CPU, measured, name="mine", predictor=predictor, out="m.json", **options)


def test_three_files_calibrate_for_a_fourth(
    files: list[Path], predictor: ArchitecturePredictor
) -> None:
    done = mine(table(files[:3]), predictor)
    assert done.profile.space == "ONNX files"
    assert (done.used, done.rows, done.left_out) == (3, 3, {})
    assert done.profile.measured.archs[0] == f"a.onnx-{content_id(files[0])}"
    assert done.data_sheet_ratio == pytest.approx(2)
    assert any("ten files or more" in note for note in done.notes())
    graph = onnx_graph(files[3])
    said = predictor.predict([graph], "m.json")
    assert said.evidence == "few-shot"
    assert said.mean[0, 0] == pytest.approx(times(files[3:])[0], rel=0.2)
    assert said.lower[0, 0] < times(files[3:])[0] < said.upper[0, 0]
    # Networks of a space are predicted on the device, too; these are far larger than the files.
    assert familiar(predictor, done.profile, [graph], 1).all()
    archs = [FBNET.sample(np.random.default_rng(k)) for k in range(3)]
    assert predictor.predict(archs, "m.json").evidence == "few-shot"
    assert not familiar(predictor, done.profile, FBNET.to_graphs(archs), 1).any()
    with pytest.raises(InputError, match="with ONNX files, which say too little about nb201"):
        load_predictor("nb201-latency").predict([TEXTS[0]], "m.json")


def test_equal_files_are_like_each_other(
    files: list[Path], predictor: ArchitecturePredictor
) -> None:
    for file in files[1:]:
        file.write_bytes(files[0].read_bytes())
    done = mine(table(files[:3]), predictor)
    graphs = [onnx_graph(file) for file in files]
    assert familiar(predictor, done.profile, graphs, 1).all()


def test_the_commands_measure_calibrate_and_predict(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "REFERENCE", ("nnlqp:nasbench201", TEXTS[1]))
    quick = ["--threads", "1", "--runs", "3", "--warmup", "1", "--min-seconds", "0"]
    quick += ["--no-retry-disturbed", "--keep-disturbed", "--out", "latency.csv"]
    run = CliRunner().invoke
    result = run(app, ["measure", "a.onnx", "b.onnx", "c.onnx", *quick])
    assert result.exit_code == 0, result.stderr
    assert " with 1 thread\n" in result.stderr
    words = ["--hw", CPU, "--measurements", "latency.csv", "--name", "mine", "--out", "mine.json"]
    # What is measured here is of a busy machine.
    result = run(app, ["calibrate", *words, "--unit", "ms", "--force", "--json"])
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert (said["space"], said["used"]) == ("ONNX files", 3)
    result = run(app, ["predict", "d.onnx", "--hw", "mine.json", "--json"])
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["evidence"] == "few-shot"
    # What is not asked is as it was measured.
    assert said["setting"] == "onnxruntime fp32 1 threads"
    result = run(app, ["predict", "d.onnx", "--hw", "mine.json", "--precision", "int8", "--json"])
    assert json.loads(result.stdout)["setting"] == "onnxruntime int8 1 threads"
    result = run(app, ["predict", "d.onnx", "--hw", "mine.json", "--batch-size", "4"])
    assert "on mine; it predicts at batch 4 (ONNX Runtime, fp32, 1 thread)" in result.stdout
    monkeypatch.setenv("XDG_DATA_HOME", str(Path("data").absolute()))
    profiles.folder().mkdir(parents=True)
    shutil.copy("mine.json", profiles.folder() / "mine.json")
    assert "3 networks at batch 1" in run(app, ["hardware", "calibrated", "--json"]).stdout
    assert 0 < said["latency_ms"]["lower"] < said["latency_ms"]["upper"]


def test_files_are_found_beside_the_table(files: list[Path]) -> None:
    folder = Path("elsewhere")
    folder.mkdir()
    path = table(files, str(folder / "latency.csv"), arch=[f"/gone/{file}" for file in files])
    with pytest.raises(
        InputError, match=r"latency\.csv, line 2: there is no file /gone/a\.onnx, nor one beside"
    ):
        read_latencies(path, NB)
    for file in files:
        file.rename(folder / file)
    found = read_latencies(path, NB)
    assert [len(found.graphs[arch.text]) for arch in found.archs] == [
        len(onnx_graph(folder / file)) for file in files
    ]


def test_a_changed_file_is_refused_until_it_is_measured_again(files: list[Path]) -> None:
    table(files)
    before = pd.read_csv("latency.csv")
    onnx.save(CELLS.to_onnx(CELLS.parse(TEXTS[3])), "a.onnx")
    with pytest.raises(InputError, match=r"line 2: a\.onnx has changed since it was measured; "):
        read_latencies("latency.csv", NB)
    table(files[:1])
    pd.concat([before, pd.read_csv("latency.csv")]).to_csv("latency.csv", index=False)
    found = read_latencies("latency.csv", NB)
    assert found.left_out == {"of a file that has changed since": 1}
    assert [arch.text[:6] for arch in found.archs] == ["b.onnx", "c.onnx", "d.onnx", "a.onnx"]
    # A table of other programs has no ids, and its files count as they are.
    pd.read_csv("latency.csv").drop(columns="arch_id").iloc[1:].to_csv("l.csv", index=False)
    assert len(read_latencies("l.csv", NB).archs) == 4


def test_rows_that_do_not_count_need_no_file(files: list[Path]) -> None:
    path = table(files, disturbed=[True, False, False, False], error=["", "too large", "", ""])
    files[0].unlink()
    files[1].unlink()
    found = read_latencies(path, NB)
    assert (len(found.archs), found.left_out) == (2, {"disturbed": 1, "failed": 1})


def test_files_networks_and_known_names_go_together(
    files: list[Path], predictor: ArchitecturePredictor
) -> None:
    rows = [
        f"{file},{ms},1,onnxruntime,fp32," for file, ms in zip(files, times(files), strict=True)
    ]
    network = FBNET.sample(np.random.default_rng(0)).text
    rows += [f'"{network}",2.5,1,onnxruntime,fp32,', "torchvision:resnet18,9.5,8,eager,,4"]
    Path("mixed.csv").write_text(
        "\n".join(["arch,latency_ms,batch_size,runtime,precision,threads", *rows])
    )
    profile = mine("mixed.csv", predictor, space="fbnet", force=True).profile
    assert profile.space == "networks"
    assert profile.measured.archs[-1] == "torchvision:resnet18"
    assert [run.way.text for run in profile.measured.runs[-2:]] == [
        "onnxruntime fp32",
        "eager 4 threads",
    ]
    assert profile.usual_way.text == "onnxruntime fp32"
    Path("mixed.csv").write_text(
        "\n".join(["arch,latency_ms,runtime", f"a.onnx,{times(files)[0]},core ml"])
    )
    with pytest.raises(InputError, match="Core ML runs on Apple devices alone"):
        mine("mixed.csv", predictor)
    # A cell is no network.
    Path("mixed.csv").write_text(
        "\n".join(["arch,latency_ms", f"a.onnx,{times(files)[0]}", f'"{TEXTS[0]}",2.5'])
    )
    with pytest.raises(InputError, match="cells of space nb201 beside whole networks"):
        mine("mixed.csv", predictor, space="nb201")
    # It is kept in the file.
    assert hardware("m.json").settings[-1].batch_size == 8  # type: ignore[attr-defined]
    graphs = profile.measured.graphs
    assert familiar(predictor, profile, graphs[:5], 1).all()
    assert familiar(predictor, profile, graphs[5:], 8, "eager 4 threads").all()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("torchvision:resnet51,1,,", "arch: no network 'torchvision:resnet51' is known; known is"),
        ("torchvision:resnet50,1,warp,", "line 2: unknown runtime 'warp'; known: eager"),
        ("torchvision:resnet50,1,,two", "line 2: threads is 'two'"),
    ],
)
def test_a_wrong_name_or_way_is_one_sentence(
    row: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latency.csv").write_text(f"arch,latency_ms,runtime,threads\n{row}\n")
    with pytest.raises(InputError, match=said):
        read_latencies("latency.csv", NB)


def test_a_file_that_is_no_network_is_named(files: list[Path]) -> None:
    path = table(files)
    pd.read_csv(path).drop(columns="arch_id").to_csv(path, index=False)
    files[2].write_bytes(b"no network")
    with pytest.raises(InputError, match=r"line 4: c\.onnx is no ONNX model"):
        read_latencies(path, NB)


def test_shapes_are_those_of_the_measurement(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "REFERENCE", ("nnlqp:nasbench201", TEXTS[1]))
    model = onnx.load("a.onnx")
    (shape,) = (value.type.tensor_type.shape for value in model.graph.input)
    shape.dim[2].dim_param, shape.dim[3].dim_param = "h", "w"
    del model.graph.value_info[:]
    onnx.save(model, "a.onnx")
    options = {"threads": 1, "runs": 3, "warmup": 1, "min_seconds": 0.0, "keep_disturbed": True}
    (name,) = (value.name for value in model.graph.input)
    measured = measure(
        files=files[:2], out="latency.csv", input_shapes={name: (1, 3, 32, 32)}, **options
    )
    for source in (measured, "latency.csv"):
        found = read_latencies(source, NB)
        assert found.runs[0].way.text == "onnxruntime 1 threads"
        assert found.graphs[found.archs[0].text].total("flops") == onnx_graph(
            "a.onnx", input_shapes={name: [1, 3, 32, 32]}
        ).total("flops")
    Path("latency.json").unlink()
    with pytest.raises(
        InputError, match=r"line 2: a\.onnx: input 'x0' leaves axis 2 .* the \.json that"
    ):
        read_latencies("latency.csv", NB)
