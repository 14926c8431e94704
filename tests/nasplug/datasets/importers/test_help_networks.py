from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from nasplug import datasets
from nasplug.datasets.importers import help_networks
from nasplug.datasets.importers.help_networks import (
    FBNET_DEVICES,
    FBNET_OPS,
    OFA_DEVICES,
    import_fbnet,
    import_ofa,
)
from nasplug.datasets.importers.nb201 import NB201_DEVICES
from nasplug.datasets.safe_pickle import NUMPY_SCALARS, load_pickle_zip
from nasplug.search_spaces.errors import InputError

FBNET_0 = [7, 8, 1, 8, 4, 8, 8, 8, 7, 4, 1, 4, 7, 3, 2, 7, 3, 2, 4, 2, 4, 5]
FBNET_4999 = [4, 4, 4, 1, 0, 2, 7, 8, 2, 3, 6, 3, 6, 1, 7, 6, 0, 6, 8, 8, 0, 7]
OFA_0 = (
    "r=204;d=2,2,2,2,3;ks=7,5,0,0,7,7,0,0,5,7,0,0,5,3,0,0,5,3,5,0;"
    "e=6,4,0,0,6,3,0,0,3,6,0,0,3,6,0,0,6,4,3,0"
)
# column, row 0, lowest, its row, median, highest, its row, distinct values
FBNET_FACTS = [
    ("GTX 1080 Ti@1", 10.6153, 8.87248, 112, 11.8992, 14.1132, 4196, 5000),
    ("GTX 1080 Ti@32", 11.3363, 10.603, 2119, 14.7625, 18.2222, 632, 5000),
    ("GTX 1080 Ti@64", 13.5636, 10.1429, 203, 15.4119, 22.0427, 2784, 5000),
    ("RTX 2080 Ti@1", 7.13159, 5.9445, 112, 7.95153, 9.24706, 26, 5000),
    ("RTX 2080 Ti@32", 7.59811, 6.25025, 112, 8.56673, 10.4383, 3082, 5000),
    ("RTX 2080 Ti@64", 8.83945, 6.75432, 2142, 9.95816, 13.721, 2245, 5000),
    ("Essential PH-1@1", 31, 17, 2514, 33, 70, 350, 48),
    ("Eyeriss@1", 5.22998, 3.84605, 203, 5.33603, 7.33616, 2681, 4857),
    ("ZC706@1", 25.3027, 9.38272, 203, 23.7653, 41.7216, 3893, 4897),
    ("Xeon Gold 6226@1", 111.672, 33.2487, 651, 104.494, 244.395, 4713, 5000),
    ("Xeon Gold 6240@1", 30.934, 19.3549, 4554, 29.7847, 40.5283, 2766, 5000),
    ("Pixel 2@1", 28, 19, 2514, 34, 65, 3755, 45),
    ("Pixel 3@1", 17.5577, 8.32163, 203, 17.7105, 30.1209, 2681, 5000),
    ("Raspberry Pi 4@1", 30.2529, 16.9571, 203, 33.5993, 53.0912, 3887, 5000),
    ("Galaxy A50@1", 56, 23, 203, 41, 118, 1507, 78),
    ("Galaxy S7@1", 100, 32, 4002, 54, 159, 1009, 108),
    ("Xeon Silver 4114@1", 42.5089, 28.5299, 4554, 43.181, 56.4175, 1045, 5000),
    ("Xeon Silver 4210R@1", 30.2022, 22.2618, 2843, 31.629, 40.2288, 2183, 5000),
    ("Titan RTX@1", 7.9913, 6.78792, 112, 9.08486, 10.7861, 3440, 5000),
    ("Titan RTX@32", 8.55937, 7.06619, 112, 9.60866, 11.798, 3931, 5000),
    ("Titan RTX@64", 9.65196, 7.71256, 2514, 10.8009, 14.1296, 2245, 5000),
    ("Titan X@1", 10.3339, 8.70915, 112, 11.6128, 18.1407, 1832, 5000),
    ("Titan X@32", 11.1433, 9.28993, 112, 12.6547, 16.026, 632, 5000),
    ("Titan X@64", 13.4787, 10.2005, 2142, 15.8727, 23.0808, 2767, 5000),
]
OFA_FACTS = [
    ("RTX 2080 Ti@1", 12.0819, 7.41403, 2136, 11.6109, 27.7806, 1945, 4992),
    ("RTX 2080 Ti@32", 15.1179, 7.82986, 4772, 15.2331, 40.3475, 584, 4997),
    ("RTX 2080 Ti@64", 28.8872, 9.43373, 4072, 26.6785, 57.8453, 4556, 4998),
    ("Titan RTX@1", 4.37345, 3.88936, 3441, 5.83875, 9.52819, 4556, 4982),
    ("Titan RTX@32", 14.1985, 4.62018, 4072, 12.7651, 28.0576, 4556, 4996),
    ("Titan RTX@64", 27.6816, 8.82116, 4072, 24.9892, 54.7971, 4556, 4997),
    ("V100@1", 7.82044, 6.76321, 4772, 10.2547, 15.4328, 460, 4992),
    ("V100@32", 11.6353, 6.78199, 4155, 11.673, 22.7197, 4556, 4995),
    ("V100@64", 21.8071, 7.83823, 4072, 20.1056, 42.6328, 4556, 4999),
]


@pytest.fixture(scope="module")
def fbnet(session_cache: Path, mirror: Path) -> pd.DataFrame:
    return datasets.load("fbnet-latency")


@pytest.fixture(scope="module")
def ofa(session_cache: Path, mirror: Path) -> pd.DataFrame:
    return datasets.load("ofa-latency")


def check_facts(table: pd.DataFrame, facts: list[tuple[Any, ...]]) -> None:
    assert {row[0] for row in facts} == set(table.columns) - {"arch"}
    for column, row0, lowest, lowest_at, median, highest, highest_at, distinct in facts:
        values = table[column]
        found = (values[0], values.min(), values.median(), values.max())
        assert found == pytest.approx((row0, lowest, median, highest), rel=1e-5)
        assert (values.idxmin(), values.idxmax()) == (lowest_at, highest_at)
        assert values.nunique() == distinct


def check_layout(table: pd.DataFrame, devices: dict[str, tuple[str, int]]) -> None:
    assert list(table.columns) == ["arch", *(f"{device}@{n}" for device, n in devices.values())]
    assert list(table.index) == list(range(5_000))
    assert table.index.name == "index"
    assert table["arch"].is_unique
    assert all(table.dtypes.iloc[1:] == np.float64)


def test_fbnet_facts(fbnet: pd.DataFrame) -> None:
    check_layout(fbnet, FBNET_DEVICES)
    check_facts(fbnet, FBNET_FACTS)
    assert fbnet["arch"][0].split("|") == [FBNET_OPS[i] for i in FBNET_0]
    assert fbnet["arch"][4999].split("|") == [FBNET_OPS[i] for i in FBNET_4999]
    layers = fbnet["arch"].str.split("|", expand=True)
    assert layers.shape == (5_000, 22)
    assert all(set(layers[i]) == set(FBNET_OPS) for i in layers)


@pytest.mark.parametrize(
    ("one", "other", "rho"),
    [
        ("Titan RTX@1", "RTX 2080 Ti@1", 0.9914),
        ("Titan RTX@1", "GTX 1080 Ti@1", 0.9482),
        ("ZC706@1", "Pixel 3@1", 0.9058),
        ("Raspberry Pi 4@1", "Pixel 3@1", 0.9568),
        ("Eyeriss@1", "Pixel 3@1", 0.9758),
        ("ZC706@1", "GTX 1080 Ti@1", 0.2257),
        ("ZC706@1", "GTX 1080 Ti@64", 0.6051),
        ("Raspberry Pi 4@1", "Xeon Silver 4114@1", 0.6409),
    ],
)
def test_fbnet_devices_agree_as_documented(
    fbnet: pd.DataFrame, one: str, other: str, rho: float
) -> None:
    # A device under another's name, or rows in another order, would change these.
    assert fbnet[one].corr(fbnet[other], method="spearman") == pytest.approx(rho, abs=1e-4)


def test_fbnet_archs_are_those_of_the_other_file(fbnet: pd.DataFrame, mirror: Path) -> None:
    key = next(f.key for f in datasets.info("fbnet-latency").files if f.name == "metainfo.pt")
    indices = load_pickle_zip((mirror / key).with_name("arch.pt"))
    assert fbnet["arch"].tolist() == ["|".join(FBNET_OPS[i] for i in row) for row in indices]


def test_ofa_facts(ofa: pd.DataFrame) -> None:
    check_layout(ofa, OFA_DEVICES)
    check_facts(ofa, OFA_FACTS)
    assert ofa["arch"][0] == OFA_0
    rho = {"RTX 2080 Ti@64": 0.9814, "V100@64": 0.9982, "RTX 2080 Ti@1": 0.2089}
    for column, value in rho.items():
        found = ofa["Titan RTX@64"].corr(ofa[column], method="spearman")
        assert found == pytest.approx(value, abs=1e-4)


def test_ofa_blocks_exist_as_deep_as_their_stage(ofa: pd.DataFrame) -> None:
    resolutions: Counter[int] = Counter()
    for arch in ofa["arch"]:
        fields = dict(part.split("=") for part in arch.split(";"))
        assert list(fields) == ["r", "d", "ks", "e"]
        depths = [int(d) for d in fields["d"].split(",")]
        expected = [block < d for d in depths for block in range(4)]
        for key, choices in (("ks", set("357")), ("e", set("346"))):
            values = fields[key].split(",")
            assert [value != "0" for value in values] == expected
            assert set(values) <= choices | {"0"}
        resolutions[int(fields["r"])] += 1
    assert sorted(resolutions) == list(range(128, 225, 4))


def test_devices_are_the_files() -> None:
    for name, devices, also in (
        ("fbnet-latency", FBNET_DEVICES, "metainfo.pt"),
        ("ofa-latency", OFA_DEVICES, "ofa_archs.pt"),
    ):
        files = {file.name for file in datasets.info(name).files}
        assert files == {f"{stem}.pt" for stem in devices} | {also}
    assert (len(FBNET_DEVICES), len(OFA_DEVICES)) == (24, 9)
    assert {d for d, _ in FBNET_DEVICES.values()} == {d for d, _ in NB201_DEVICES.values()}
    assert FBNET_DEVICES["gold_6226"] == ("Xeon Gold 6226", 1)
    assert FBNET_DEVICES["1080ti_64"] == ("GTX 1080 Ti", 64)


# --- foreign layouts ----------------------------------------------------------------------------


def files_of(name: str, mirror: Path) -> dict[str, Path]:
    return {file.name: mirror / file.key for file in datasets.info(name).files}


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def fbnet_entry(**changes: object) -> dict[str, object]:
    names = [FBNET_OPS[i] for i in FBNET_0]
    return {"op_idx_list": FBNET_0, "arch_str": names, **changes}


@pytest.mark.parametrize(
    "entry",
    [
        "text",
        {},
        fbnet_entry(op_idx_list=FBNET_0[1:]),
        fbnet_entry(op_idx_list=[9, *FBNET_0[1:]]),
        fbnet_entry(op_idx_list=[-1, *FBNET_0[1:]]),
        fbnet_entry(op_idx_list=[True, *FBNET_0[1:]]),
        fbnet_entry(op_idx_list=FBNET_4999),
        fbnet_entry(arch_str=["skip"] * 22),
        fbnet_entry(arch_str=None),
    ],
)
def test_foreign_fbnet_arch(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: object
) -> None:
    monkeypatch.setattr(help_networks, "N_ARCHS", 2)
    content = {"dataset": "cifar100", "arch": [fbnet_entry(), entry]}
    path = save(tmp_path / "metainfo.pt", content)
    with pytest.raises(InputError, match=r"metainfo\.pt.*architecture 1"):
        import_fbnet({**files_of("fbnet-latency", mirror), path.name: path})


def ofa_entry(**changes: object) -> dict[str, object]:
    plain = {"ks": [3] * 20, "e": [4] * 20, "d": [2, 3, 4, 2, 3], "r": np.int64(128)}
    return {**plain, **changes}


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        ofa_entry(ks=[3] * 19),
        ofa_entry(ks=[4] * 20),
        ofa_entry(e=[5] * 20),
        ofa_entry(e=(4,) * 20),
        ofa_entry(d=[2, 3, 4, 2, 5]),
        ofa_entry(d=[2, 3, 4, 2]),
        ofa_entry(d=[2, 3, 4, 2, True]),
        ofa_entry(r=np.int64(130)),
        ofa_entry(r=128.0),
        ofa_entry(r=np.float64(128)),
        ofa_entry(r="128"),
    ],
)
def test_foreign_ofa_arch(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: object
) -> None:
    monkeypatch.setattr(help_networks, "N_ARCHS", 2)
    content = {"dataset": "imagenet", "arch": [ofa_entry(), entry]}
    path = save(tmp_path / "ofa_archs.pt", content)
    with pytest.raises(InputError, match=r"ofa_archs\.pt.*architecture 1"):
        import_ofa({**files_of("ofa-latency", mirror), path.name: path})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "dictionary of the data set imagenet"),
        ({"dataset": "cifar100", "arch": []}, "dictionary of the data set imagenet"),
        ({"dataset": "imagenet"}, "5,000 architectures"),
        ({"dataset": "imagenet", "arch": [ofa_entry()]}, "5,000 architectures"),
    ],
)
def test_foreign_file(mirror: Path, tmp_path: Path, content: object, why: str) -> None:
    path = save(tmp_path / "ofa_archs.pt", content)
    with pytest.raises(InputError, match="ofa_archs.pt does not have the layout.*"):
        import_ofa({**files_of("ofa-latency", mirror), path.name: path})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "expected a list"),
        ([1.0] * 15_625, "15,625 values instead of 5,000"),
        ([1.0] * 4_999 + [0], "value 4999"),
    ],
)
def test_foreign_latency(mirror: Path, tmp_path: Path, wrong: object, why: str) -> None:
    path = save(tmp_path / "v100_64.pt", wrong)
    with pytest.raises(InputError, match="v100_64.pt does not have the layout.*"):
        import_ofa({**files_of("ofa-latency", mirror), path.name: path})


def test_ofa_file_names_nothing_but_numpy_numbers(mirror: Path, tmp_path: Path) -> None:
    path = files_of("ofa-latency", mirror)["ofa_archs.pt"]
    with pytest.raises(InputError, match=r"numpy\.core\.multiarray\.scalar"):
        load_pickle_zip(path)
    assert isinstance(load_pickle_zip(path, NUMPY_SCALARS)["arch"][0]["r"], np.int64)
