"""The examples in docstrings of public names run, and every public name has one."""

from __future__ import annotations

import doctest
import inspect
import io
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PACKAGES = (
    "nasplug",
    "nasplug.predictors",
    "nasplug.search_spaces",
    "nasplug.datasets",
    "nasplug.plots",
    "nasplug.testing",
)


def public() -> Iterator[tuple[str, Any]]:
    """Dotted name -> object of every public class, function and module, each once."""
    seen: set[int] = set()
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            item = getattr(module, name)
            documents = callable(item) or isinstance(item, ModuleType)
            if documents and id(item) not in seen:
                seen.add(id(item))
                yield f"{package}.{name}", item


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, cache, mirror and home: nothing of the user's is read or written."""
    for name in ("NASPLUG_CACHE", "NASPLUG_MIRROR", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize(("name", "item"), [pytest.param(*pair, id=pair[0]) for pair in public()])
def test_example(name: str, item: Any, away: Path) -> None:
    text = inspect.cleandoc(item.__doc__ or "")
    found = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert "Example:" in text, f"{name} has no Example"
    assert found.examples, f"{name} has no Example"
    report = io.StringIO()
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found, out=report.write)
    assert not results.failed, report.getvalue()
