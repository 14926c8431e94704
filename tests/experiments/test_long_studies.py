"""Long studies, processes that start together, flipped bits: the scripts, with few of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.reliability import bit_flips, long_studies, study_starts


@pytest.mark.slow
@pytest.mark.usefixtures("nb201_cache")
@pytest.mark.parametrize("case", ["nb201", "nb201-limits"])
def test_long_studies_stay_small(case: str) -> None:
    row = long_studies.alone(case, 2000, 0)
    assert row["grown_most_mb"] <= 100
    # Two by the figures of a quiet machine.
    assert row["times"] <= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])
def test_processes_that_start_together_all_run(kind: str) -> None:
    try:
        row = study_starts.run(kind, 8, 2, 3)
    except study_starts.NoServer as error:
        pytest.skip(str(error))
    assert row["tried"] == 16
    assert (row["failed"], row["studies_not_whole"]) == (0, 0), row["said"]


@pytest.mark.slow
@pytest.mark.usefixtures("nb201_cache")
def test_no_flipped_bit_is_silently_wrong(tmp_path: Path) -> None:
    journal = bit_flips.make_journal(tmp_path, trials=12)
    row = bit_flips.flip(journal, 250, np.random.default_rng(3))
    assert (row["tried"], row["silently wrong"], row["error of another line"]) == (250, 0, 0)
    assert row["equal"] < 10
