"""The experiment on signals, with two of them a command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_signals_at_random_moments_of_all_commands(mirror: Path, tmp_path: Path) -> None:
    out = tmp_path / "signals.json"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.reliability.signals",
            "--count",
            "40",
            "--out",
            str(out),
        ],
        cwd=ROOT,
        check=True,
    )
    told = json.loads(out.read_text())
    counted = ("tried", "wrong_codes", "one_sentence", "lost", "damaged", "programs_left")
    assert [told[name] for name in counted] == [40, 0, 40, 0, 0, 0]
