"""Builders by the path of their file."""

from __future__ import annotations

from pathlib import Path

import pytest

import nasplug
from nasplug.search_spaces import InputError
from nasplug.search_spaces.builders import load_builder

SOURCE = """
from torch import nn
import beside_it

def build(trial):
    return nn.Conv2d(3, beside_it.double(trial.suggest_int("width", 1, 4)), 3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside_it.py").write_text("def double(n):\n    return 2 * n\n", encoding="utf-8")
    return tmp_path


def test_a_file_is_imported_once(folder: Path) -> None:
    (folder / "net_to_load.py").write_text(SOURCE, encoding="utf-8")
    assert load_builder("net_to_load.py:build") is load_builder("net_to_load.py:build")
    space = nasplug.space("net_to_load.py:build", "1x3x8x8")
    assert space.name == "net_to_load.build"
    assert len(space) == 4  # type: ignore[arg-type]


def test_a_file_with_the_name_of_a_package(folder: Path) -> None:
    (folder / "numpy.py").write_text("def build(trial):\n    return 1\n", encoding="utf-8")
    assert load_builder("numpy.py:build")(None) == 1
    import numpy

    assert numpy.ones(1) == 1


@pytest.mark.parametrize(
    ("text", "content", "reason"),
    [
        ("absent.py:build", None, "there is no file 'absent.py'"),
        ("one.py:buidl", "def build(trial): ...", "has no function 'buidl'; it has build"),
        ("two.py:build", "1 / 0", r"two.py \(two.py, line 1\): ZeroDivisionError"),
        ("three.py:build", "def build(", r"three.py.*SyntaxError"),
        ("four.py:build", "build = 4", "has no function"),
        ("five.txt:build", "", "write it like my_net.py:build"),
    ],
)
def test_what_cannot_be_loaded(folder: Path, text: str, content: str | None, reason: str) -> None:
    if content is not None:
        (folder / text.partition(":")[0]).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        load_builder(text)


def test_a_file_without_its_function_is_no_space() -> None:
    with pytest.raises(InputError, match="does not say which of its functions.*'net.py:build'"):
        nasplug.space("net.py")
