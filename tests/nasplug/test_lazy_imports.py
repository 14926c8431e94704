from __future__ import annotations

import subprocess
import sys

import pytest

import nasplug

HEAVY = ("torch", "dgl", "pandas", "optuna", "matplotlib", "lightning", "scipy")


def loaded_after(code: str) -> list[str]:
    report = f"import sys; print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    script = f"import atexit\natexit.register(lambda: exec({report!r}, {{}}))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    found = eval(done.stderr.strip().splitlines()[-1])
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    "code",
    [
        "import nasplug",
        "import nasplug; nasplug.__version__; nasplug.Hardware; nasplug.InputError",
        "import nasplug; nasplug.space('nb201'); nasplug.hardware('RTX 3090')",
        *(
            f"import sys; sys.argv = ['nasplug', *{words!r}.split()]\nfrom nasplug.cli import main"
            "\ntry: main()\nexcept SystemExit as end: assert not end.code"
            for words in ("--help", "--version", "search --help", "hardware --json")
        ),
    ],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    assert loaded_after(code) == []


@pytest.mark.parametrize("name", nasplug.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(nasplug, name) is not None
    assert name in dir(nasplug)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        nasplug.serach  # type: ignore[attr-defined]  # noqa: B018
