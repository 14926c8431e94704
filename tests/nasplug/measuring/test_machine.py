"""The machine that measures."""

from __future__ import annotations

import pytest

from nasplug.measuring import machine


def test_own_work_is_not_others():
    others = machine.OtherWork()
    others._before = tuple(value - 1.0 for value in others._before)  # type: ignore[assignment]
    # One second passed, one core was busy for it, by this process.
    assert others.cores() == pytest.approx(0, abs=0.2)
