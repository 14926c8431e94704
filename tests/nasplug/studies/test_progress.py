from __future__ import annotations

import time

import pytest

from nasplug.studies import progress as progress_module
from nasplug.studies.progress import Progress


def test_a_pipe_gets_a_line_at_once_and_then_the_phase_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "LINE_SECONDS", 0.01)
    with Progress() as progress:
        progress.phase("loading predictors")
        err = capsys.readouterr().err
        assert err.startswith("nasplug: loading predictors\n")
        progress.phase("3 of 10 trials", 3, 10)
        until = time.monotonic() + 60
        while "\nnasplug: 3 of 10 trials, " not in err and time.monotonic() < until:
            time.sleep(0.01)
            err += capsys.readouterr().err
        assert "\nnasplug: 3 of 10 trials, " in err


def test_a_short_search_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.phase("loading predictors")
        progress.phase("3 of 10 trials", 3, 10)
    assert capsys.readouterr().err == "nasplug: loading predictors\n"


def test_failures_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(False) as progress:
        progress.phase("loading predictors")
        progress.say("trial 3 failed: no memory")
    assert capsys.readouterr().err == "nasplug: trial 3 failed: no memory\n"


def test_a_terminal_shows_the_phase(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress() as progress:
        progress.phase("scoring 15,625 architectures")
        progress.say("trial [3] failed: no memory")
        progress.phase("4 of 10 trials", 4, 10)
    err = capsys.readouterr().err
    assert "scoring 15,625 architectures" in err
    assert "nasplug: trial [3] failed: no memory" in err
