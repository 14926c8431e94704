from __future__ import annotations

import sys

import pytest

from nasplug.search_spaces import InputError
from nasplug.search_spaces.lazy import from_extra


def test_package_of_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    sentence = r"this needs pandas, .* pip install 'nasplug\[data\]'"
    with pytest.raises(InputError, match=sentence), from_extra("data"):
        import pandas  # noqa: F401


def test_other_errors_stay() -> None:
    with pytest.raises(ValueError, match="its own"), from_extra("data"):
        raise ValueError("its own")
