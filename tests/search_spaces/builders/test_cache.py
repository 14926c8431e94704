"""Graphs on disk: what names them, and what becomes of damaged files."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasplug
from nasplug.search_spaces.builders import cache as cache_file
from nasplug.search_spaces.builders.cache import identity_of

SOURCE = """
from torch import nn
import blocks

WIDTHS = (8, 16)

def build(trial):
    width = trial.suggest_categorical("width", WIDTHS)
    layers = [blocks.block(width) for _ in range(trial.suggest_int("depth", 1, 4))]
    return nn.Sequential(nn.Conv2d(3, width, 3), *layers)

def of_width(width):
    def build(trial):
        return nn.Sequential(nn.Conv2d(3, width, trial.suggest_categorical("kernel", (1, 3))))
    return build
"""
BLOCKS = """
from torch import nn

def block(width):
    return nn.Conv2d(width, width, 3)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A user's module that imports another one of hers."""
    monkeypatch.setenv("NASPLUG_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_net.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "blocks.py").write_text(BLOCKS, encoding="utf-8")
    for name in ("own_net", "blocks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    yield importlib.import_module("own_net")
    for name in ("own_net", "blocks"):
        sys.modules.pop(name, None)


def read(module: Any) -> tuple[list[Any], list[Any], int]:
    """Members of the space, their graphs, and the networks that were read."""
    space = nasplug.space(module.build, "1x3x16x16")
    made = []
    networks = space._networks
    make = networks._make
    networks._make = lambda *args: made.append(args) or make(*args)  # type: ignore[method-assign,func-returns-value]
    archs = list(space)  # type: ignore[call-overload]
    return archs, space.to_graphs(archs), len(made)


def test_graphs_are_read_once(module: Any, tmp_path: Path) -> None:
    archs, graphs, made = read(module)
    assert made >= 6
    again, from_disk, none = read(module)
    assert none == 0
    assert again == archs
    for one, other in zip(graphs, from_disk, strict=True):
        assert (one.ops, one.edges, one.types) == (other.ops, other.edges, other.types)
        assert np.array_equal(one.attributes, other.attributes)
        assert one.digest == other.digest
    assert list((tmp_path / "cache" / "builders").iterdir())


def test_damaged_and_foreign_files_are_passed_over(module: Any, tmp_path: Path) -> None:
    archs, _, _ = read(module)
    (folder,) = (tmp_path / "cache" / "builders").iterdir()
    files = list(folder.iterdir())
    content = bytearray(files[0].read_bytes())
    content[len(content) // 2] ^= 255
    files[0].write_bytes(bytes(content))
    (folder / "other.npz").write_bytes(b"no archive")
    np.savez(folder / "pickle.npz", json=np.array([{"a": 1}], dtype=object))
    again, _, _ = read(module)
    assert again == archs


def test_many_files_are_joined(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_file, "MOST_FILES", 3)
    space = nasplug.space(module.build, "1x3x16x16")
    for arch in space:  # type: ignore[attr-defined]
        space._networks.save()
        space.to_graphs([arch])
    (folder,) = (tmp_path / "cache" / "builders").iterdir()
    assert len(list(folder.glob("*.npz"))) <= 3
    assert read(module)[2] == 0


def test_a_disk_that_cannot_be_written_is_passed_over(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("NASPLUG_CACHE", str(tmp_path / "file"))
    assert read(module)[2] >= 6


def test_all_that_decides_the_networks_is_in_the_name(module: Any, tmp_path: Path) -> None:
    first = identity_of(module.build, "1x3x16x16")
    assert first is not None
    assert first == identity_of(module.build, "1x3x16x16")
    assert first != identity_of(module.build, "1x3x32x32")
    module.WIDTHS = (8, 32)
    assert first != identity_of(module.build, "1x3x16x16")
    module.WIDTHS = (8, 16)
    (tmp_path / "blocks.py").write_text(BLOCKS + "# changed", encoding="utf-8")
    assert first != identity_of(module.build, "1x3x16x16")
    assert identity_of(module.of_width(8), "") != identity_of(module.of_width(16), "")
    one, other = functools.partial(module.build, 1), functools.partial(module.build, 2)
    assert identity_of(one, "") != identity_of(other, "")


def test_builders_with_a_state_are_not_kept(module: Any) -> None:
    class Builder:
        def __call__(self, trial: Any) -> None: ...

    assert identity_of(Builder(), "") is None
    assert identity_of(module.of_width(object()), "") is None
    names: dict[str, Any] = {}
    exec("def build(trial): ...", names)
    assert identity_of(names["build"], "") is None


def test_a_function_that_reads_what_is_not_there_yet() -> None:
    def outer() -> Any:
        def build(trial: Any) -> Any:
            return later

        if not build:
            later = 1
        return build

    assert identity_of(outer(), "") is None
