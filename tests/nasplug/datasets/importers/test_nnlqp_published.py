from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug import datasets
from nasplug.datasets.importers.nb201 import is_arch
from nasplug.datasets.importers.nnlqp_published import (
    CODE_OPS,
    cell_of_code,
    import_labels,
    import_nasbench201,
)
from nasplug.search_spaces.errors import InputError

NAME = "gt_stage.txt"


@pytest.fixture(scope="module")
def labels(session_cache: Path, mirror: Path) -> pd.DataFrame:
    return datasets.load("nnlqp-labels")


@pytest.fixture(scope="module")
def cells(session_cache: Path, mirror: Path) -> pd.DataFrame:
    return datasets.load("nnlqp-nasbench201")


def test_labels_layout(labels: pd.DataFrame) -> None:
    assert list(labels.columns) == [
        *("onnx_path", "model_type", "stage", "platform", "device"),
        *("graph_id", "batch_size", "latency_ms", "platform_id"),
    ]
    assert labels["graph_id"].tolist() == list(range(1, 20_001))
    assert labels["onnx_path"].is_unique
    assert set(labels["batch_size"]) == set(labels["platform_id"]) == {1}
    assert set(labels["device"]) == {"GTX 1660"}
    assert labels["stage"].value_counts().to_dict() == {"train": 18_000, "test": 2_000}
    first = labels.iloc[0]
    assert first["onnx_path"] == "onnx/nnmeter_alexnet/nnmeter_alexnet_transform_0000.onnx"
    assert (first["latency_ms"], first["stage"]) == (2.06137, "train")


@pytest.mark.parametrize(
    ("family", "lowest", "median", "highest"),
    [
        ("alexnet", 0.409599, 2.45126, 10.3882),
        ("efficientb0", 2.28707, 16.6848, 48.6056),
        ("googlenet", 1.34685, 9.38474, 25.3528),
        ("mnasnet", 1.14203, 9.48523, 34.9694),
        ("mobilenetv2", 1.08165, 8.631195, 29.2136),
        ("mobilenetv3", 0.688995, 4.237995, 28.6079),
        ("nasbench201", 0.231812, 0.696564, 1.09619),
        ("resnet18", 0.733596, 3.16127, 18.2287),
        ("squeezenet", 0.86905, 2.856165, 21.1625),
        ("vgg16", 2.52847, 13.9326, 61.5335),
    ],
)
def test_families(
    labels: pd.DataFrame, family: str, lowest: float, median: float, highest: float
) -> None:
    found = labels[labels["model_type"] == family]
    assert found["stage"].value_counts().to_dict() == {"train": 1_800, "test": 200}
    values = found["latency_ms"]
    assert (values.min(), values.max()) == (lowest, highest)
    assert values.median() == pytest.approx(median)


def test_median_of_all(labels: pd.DataFrame) -> None:
    assert labels["latency_ms"].median() == pytest.approx(5.84924)
    assert labels["model_type"].nunique() == 10


def test_cells_match_the_derived_table(cells: pd.DataFrame, mirror: Path) -> None:
    path = mirror.parent / "derived" / "nnlqp_nasbench201_2000.csv.gz"
    if not path.is_file():
        pytest.skip("no derived table beside the mirror")
    derived = pd.read_csv(path)
    assert cells["arch"].tolist() == derived["arch_str"].tolist()
    assert cells["stage"].tolist() == derived["stage"].tolist()
    assert cells["GTX 1660@1"].tolist() == derived["latency_ms"].tolist()
    for column in ("nb201_index", "graph_id", "file_code"):
        assert cells[column].tolist() == derived[column].tolist()


def test_cells_layout(cells: pd.DataFrame, labels: pd.DataFrame, nb201_cache: Path) -> None:
    assert list(cells.columns) == [
        *("arch", "stage", "GTX 1660@1", "nb201_index", "graph_id", "file_code")
    ]
    assert len(cells) == 2_000
    assert cells.index.tolist() == cells["nb201_index"].tolist()
    assert cells["stage"].value_counts().to_dict() == {"train": 1_800, "test": 200}
    # The index is the official one: both tables join on it.
    accuracy = datasets.load("nb201-accuracy").loc[cells.index]
    assert accuracy["arch"].tolist() == cells["arch"].tolist()
    # The rule was found by this: only good cells were measured.
    assert accuracy["cifar10_test"].min() > 92
    same = labels.set_index("graph_id").loc[cells["graph_id"]]
    assert same["latency_ms"].tolist() == cells["GTX 1660@1"].tolist()


def test_latency_follows_the_operations(cells: pd.DataFrame, nb201_cache: Path) -> None:
    # An independent check of the rule: a wrong one gives a rank correlation of about 0.
    other = datasets.load("nb201-latency").loc[cells.index]
    rho = cells["GTX 1660@1"].corr(other["Xeon Gold 6226@1"], method="spearman")
    assert rho == pytest.approx(0.912, abs=5e-4)


def test_codes() -> None:
    assert cell_of_code(0) == "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert cell_of_code(1) == "|none~0|+|none~0|none~1|+|none~0|none~1|avg_pool_3x3~2|"
    assert cell_of_code(5**5 * 4 + 2 * 5**4) == (
        "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|none~2|"
    )
    assert cell_of_code(10062) == (
        "|nor_conv_1x1~0|+|avg_pool_3x3~0|none~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    )
    assert cell_of_code(-1) is None
    assert cell_of_code(5**6) is None


@given(st.lists(st.integers(0, 4), min_size=6, max_size=6))
def test_every_code_is_a_cell(digits: list[int]) -> None:
    cell = cell_of_code(int("".join(map(str, digits)), 5))
    assert is_arch(cell)
    assert cell is not None
    found = [word.split("~")[0] for word in cell.replace("+", "").split("|") if word]
    assert found == [CODE_OPS[d] for d in digits]


# --- foreign layouts ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(mirror: Path) -> dict[str, Path]:
    return {file.name: mirror / file.key for file in datasets.info("nnlqp-nasbench201").files}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("00001 onnx", "00002 onnx", "not numbered from 1 to 20,000"),
        ("\n20000 onnx/nasbench201/9997.onnx 1 0.387939 nasbench201 1 test", "", "not numbered"),
        ("0000.onnx 1 2.06137 alexnet 1 train", "0000.onnx 8 2.06137 alexnet 1 train", "line 1 "),
        ("2.06137 alexnet 1 train", "2.06137 alexnet 2 train", "line 1 "),
        ("2.06137 alexnet 1 train", "2.06137 alexnet 1 val", "line 1 "),
    ],
)
def test_foreign_labels(
    published: dict[str, Path], tmp_path: Path, old: str, new: str, why: str
) -> None:
    text = published[NAME].read_text()
    assert text.count(old) == 1
    path = tmp_path / NAME
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=" does not have the layout.*"):
        import_labels({NAME: path})


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("nasbench201/10062.onnx", "nasbench201/15625.onnx", "line 18001 does not name a cell"),
        ("nasbench201/10062.onnx", "nasbench201/x10062.onnx", "line 18001 does not name a cell"),
        ("nasbench201/10062.onnx", "nasbench201/010062.onnx", "line 18001 does not name a cell"),
        ("nasbench201/10062.onnx", "nasbench201/10067.onnx", "2,000 cells"),
        ("0.714539 nasbench201 1 train", "0.714539 nb201 1 train", "2,000 cells"),
        ("0.714539 nasbench201 1 train", "0.714539 nasbench201 1 test", "200 for testing"),
    ],
)
def test_foreign_cells(
    published: dict[str, Path], tmp_path: Path, old: str, new: str, why: str
) -> None:
    text = published[NAME].read_text()
    assert text.count(old) == 1
    path = tmp_path / NAME
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=" does not have the layout.*"):
        import_nasbench201({**published, NAME: path})
