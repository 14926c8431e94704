from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from nas_201_api import ArchResults, ResultsCount

from nasplug import datasets
from nasplug.datasets import import_official
from nasplug.datasets.importers.nb201 import ACCURACY_COLUMNS
from nasplug.search_spaces.errors import InputError

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
ARCHS = [f"|{op}~0|+|none~0|{op}~1|+|{op}~0|none~1|{op}~2|" for op in OPS] + [
    f"|none~0|+|{op}~0|none~1|+|none~0|{op}~1|none~2|" for op in OPS[1:]
]
SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
MISSING_CELL, MISSING_SET = 4, 6
Number = Callable[[float], Any]


def final(index: int, dataset: str, split: str, seed: int) -> float:
    """Another number for every run, so that a mix-up shows."""
    place = list(SETS).index(dataset) * 3 + SETS[dataset].index(split)
    return 10.0 + index + place * 6 + seed / 1000


def results(index: int, epochs: int, number: Number, shift: float = 0.0) -> dict[str, Any]:
    """The state of one architecture, written with the package's own classes."""
    arch = ArchResults(index, ARCHS[index])
    seeds = (777, 888, 999) if index % 2 else (777,)
    for dataset, splits in SETS.items():
        if index == MISSING_SET and dataset == "cifar100":
            continue
        for seed in seeds:
            curve = {epoch: number(1.0) for epoch in range(epochs)}
            run = ResultsCount(dataset, None, curve, curve, 0.1, 1.0, {}, seed, epochs, None)
            run.update_train_info(curve, curve, curve, curve)
            accuracies: dict[str, Any] = {}
            for split in splits:
                accuracies |= {f"{split}@{epoch}": number(1.0) for epoch in range(epochs)}
                last = final(index, dataset, split, seed) + shift
                accuracies[f"{split}@{epochs - 1}"] = number(last)
            run.update_eval(accuracies, accuracies, accuracies)
            arch.update(dataset, seed, run)
    return arch.state_dict()


def benchmark(number: Number = float, full_epochs: int = 200) -> dict[str, Any]:
    known = [index for index in range(len(ARCHS)) if index != MISSING_CELL]
    return {
        "meta_archs": ARCHS,
        "arch2infos": {
            index: {
                "less": results(index, 12, number, shift=-5.0),
                "full": results(index, full_epochs, number),
            }
            for index in known
        },
        "evaluated_indexes": known,
    }


def expected() -> pd.DataFrame:
    columns = {
        "cifar10_val": ("cifar10-valid", "x-valid"),
        "cifar10_test": ("cifar10", "ori-test"),
        "cifar100_val": ("cifar100", "x-valid"),
        "cifar100_test": ("cifar100", "x-test"),
        "imagenet16-120_val": ("ImageNet16-120", "x-valid"),
        "imagenet16-120_test": ("ImageNet16-120", "x-test"),
    }
    frame = pd.DataFrame({"arch": ARCHS}, index=pd.RangeIndex(len(ARCHS), name="index"))
    for column, (dataset, split) in columns.items():
        frame[column] = [
            np.nan
            if index == MISSING_CELL or (index == MISSING_SET and dataset == "cifar100")
            else np.mean(
                [
                    final(index, dataset, split, seed)
                    for seed in ((777, 888, 999) if index % 2 else (777,))
                ]
            )
            for index in range(len(ARCHS))
        ]
    return frame


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "plain.pth"
    torch.save(benchmark(), path)
    return path


@pytest.fixture(scope="module", params=[True, False], ids=["zip", "legacy"])
def numpy_inside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "numpy.pth"
    torch.save(benchmark(np.float64), path, _use_new_zipfile_serialization=request.param)
    return path


def test_plain_file_loads_safely(plain: Path, capfd: pytest.CaptureFixture[str]) -> None:
    frame = import_official(plain)
    pd.testing.assert_frame_equal(frame, expected())
    assert list(frame.columns) == ["arch", *ACCURACY_COLUMNS]
    assert capfd.readouterr().out == ""


def test_numpy_file_needs_consent(numpy_inside: Path) -> None:
    with pytest.raises(InputError) as error:
        import_official(numpy_inside)
    message = str(error.value)
    assert "multiarray.scalar" in message
    assert "numpy.dtype" in message
    assert "trust_sha256" in message
    assert "sha256sum" in message
    assert sha256(numpy_inside) not in message  # consent is the user's to give
    assert "\n" not in message


def test_numpy_file_loads_with_consent(numpy_inside: Path) -> None:
    frame = import_official(numpy_inside, trust_sha256=sha256(numpy_inside).upper() + "\n")
    pd.testing.assert_frame_equal(frame, expected())


def test_wrong_consent_is_refused_before_opening(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "marker"),)

    path = tmp_path / "evil.pth"
    torch.save(Evil(), path)
    with pytest.raises(InputError, match=r"evil\.pth.*not opened"):
        import_official(path, trust_sha256="0" * 64)
    with pytest.raises(InputError, match=r"evil\.pth holds more than plain data.*\.mkdir"):
        import_official(path)
    assert not (tmp_path / "marker").exists()


def test_output_can_be_read_again(plain: Path, tmp_path: Path) -> None:
    output = tmp_path / "folder" / "official.npz"
    frame = import_official(plain, output=output)
    pd.testing.assert_frame_equal(datasets.load_official(output), frame)
    output.write_bytes(output.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"official\.npz"):
        datasets.load_official(output)
    with pytest.raises(InputError, match="another output"):
        import_official(plain, output=plain / "x.npz")


def test_twelve_epochs_are_not_taken_for_two_hundred(tmp_path: Path) -> None:
    path = tmp_path / "short.pth"
    torch.save(benchmark(full_epochs=12), path)
    with pytest.raises(InputError, match="12 epochs instead of 200"):
        import_official(path)


def test_damaged_and_foreign_files(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    for content in (plain.read_bytes()[:5000], b"", b"some text", pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.pth cannot be read"):
            import_official(path)
        with pytest.raises(InputError, match=r"x\.pth (cannot be read|is not laid out)"):
            import_official(path, trust_sha256=sha256(path))
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="git-LFS"):
        import_official(path)
    with pytest.raises(InputError, match="is not a file"):
        import_official(tmp_path / "none.pth")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: [],
        lambda data: {k: v for k, v in data.items() if k != "meta_archs"},
        lambda data: {**data, "meta_archs": ["a"] * 9},
        lambda data: {**data, "meta_archs": ["a", "b"]},
        lambda data: {**data, "arch2infos": {0: {}}},
        lambda data: {**data, "arch2infos": 3},
        lambda data: {**data, "meta_archs": ARCHS[::-1]},
        lambda data: {
            **data,
            "arch2infos": {
                0: {
                    "less": {},
                    "full": {"arch_str": ARCHS[0], "dataset_seed": {"cifar10": [1]}},
                }
            },
        },
    ],
)
def test_foreign_layout(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    known = {0: {"less": results(0, 12, float), "full": results(0, 200, float)}}
    data = {"meta_archs": ARCHS, "arch2infos": known, "evaluated_indexes": [0]}
    path = tmp_path / "x.pth"
    torch.save(change(data), path)
    with pytest.raises(InputError, match=r"x\.pth is not laid out like the official"):
        import_official(path)
