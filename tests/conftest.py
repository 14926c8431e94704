"""Fixtures for all tests: data comes from a local mirror, caches are temporary."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from nasplug import _signals
from nasplug._waiting import spin_shortly

# Before torch is loaded: tests have to end on a machine that does other work too.
spin_shortly()

# The same example takes longer on a machine that does other work too.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# Last, so that the installed package is what is tested.
sys.path.append(str(Path(__file__).resolve().parents[1]))

_MIRROR_BESIDE_REPO = Path(__file__).resolve().parents[2] / "shared" / "data" / "upstream"
# Read at import: the fixtures below change the environment.
_MIRROR_GIVEN = os.environ.get("NASPLUG_MIRROR")


def _find_mirror() -> Path | None:
    if _MIRROR_GIVEN:
        return Path(_MIRROR_GIVEN.removeprefix("file://"))
    return _MIRROR_BESIDE_REPO if _MIRROR_BESIDE_REPO.is_dir() else None


@pytest.fixture(autouse=True)
def signals_as_on_a_terminal() -> Iterator[None]:
    """Signals end a program, also under nohup; the next test does not see what a test left."""
    handlers = {signal.SIGINT: signal.default_int_handler}
    for name in ("SIGTERM", "SIGHUP", "SIGALRM"):
        if hasattr(signal, name):
            handlers[getattr(signal, name)] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    hook = sys.unraisablehook
    yield
    # First the alarm, which a test may have left running.
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)
    sys.unraisablehook = hook
    vars(_signals._state).update(vars(_signals._State()))


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One temporary cache for the whole run: no test ever touches the user's own."""
    folder = tmp_path_factory.mktemp("nasplug-cache")
    own_devices = tmp_path_factory.mktemp("nasplug-data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASPLUG_CACHE", str(folder))
        patch.setenv("XDG_DATA_HOME", str(own_devices))
        # pytest-xdist sets it, and tables would be as narrow as a terminal.
        patch.delenv("COLUMNS", raising=False)
        if not _MIRROR_GIVEN and _MIRROR_BESIDE_REPO.is_dir():
            patch.setenv("NASPLUG_MIRROR", str(_MIRROR_BESIDE_REPO))
        yield folder


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder with the upstream files; skips the test where there is none."""
    found = _find_mirror()
    if found is None:
        pytest.skip("no data: set NASPLUG_MIRROR to a folder with the upstream files")
    if not found.is_dir():
        pytest.skip(f"no data: NASPLUG_MIRROR={_MIRROR_GIVEN} is no local folder")
    return found


@pytest.fixture
def cache(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own, filled from the mirror."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NASPLUG_CACHE", str(folder))
    monkeypatch.setenv("NASPLUG_MIRROR", str(mirror))
    return folder


@pytest.fixture
def as_pair() -> Callable[[Path], Path]:
    """Makes of a checkpoint the two files that earlier versions wrote, and gives the card's."""
    from safetensors.numpy import save

    from nasplug.predictors.checkpoint import load_checkpoint

    def split(file: Path) -> Path:
        found = load_checkpoint(file)
        content = save(found.tensors)
        card = {**found.card, "format": "nasplug-predictor-1"}
        card["sha256"] = hashlib.sha256(content).hexdigest()
        del card["checksum"]
        beside = file.with_suffix(".json")
        beside.write_text(json.dumps(card, indent=1) + "\n")
        file.with_suffix(".safetensors").write_bytes(content)
        return beside

    return split


@pytest.fixture(scope="session")
def nb201_cache(session_cache: Path, mirror: Path) -> Path:
    """The session's cache with the NAS-Bench-201 tables in it, imported once."""
    from nasplug import datasets

    for name in ("nb201-accuracy", "nb201-latency"):
        datasets.fetch(name)
    return session_cache
