"""Long studies, processes that start together, flipped bits: the scripts, with few of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture(scope="module")
def scripts() -> Iterator[tuple[ModuleType, ModuleType, ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXPERIMENTS))
        import journal_flips
        import long_studies
        import study_starts

        yield long_studies, study_starts, journal_flips
    for name in ("journal_flips", "long_studies", "study_starts", "search_tasks", "common"):
        sys.modules.pop(name, None)
    sys.modules.pop("postgres_server", None)


@pytest.mark.slow
@pytest.mark.usefixtures("nb201_cache")
@pytest.mark.parametrize("case", ["nb201", "nb201-limits"])
def test_long_studies_stay_small(scripts: tuple[ModuleType, ...], case: str) -> None:
    row = scripts[0].alone(case, 2000, 0)
    assert row["grown_most_mb"] <= 100
    # Two by the figures of a quiet machine.
    assert row["times"] <= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])
def test_processes_that_start_together_all_run(scripts: tuple[ModuleType, ...], kind: str) -> None:
    try:
        row = scripts[1].run(kind, 8, 2, 3)
    except scripts[1].NoServer as error:
        pytest.skip(str(error))
    assert row["tried"] == 16
    assert (row["failed"], row["studies_not_whole"]) == (0, 0), row["said"]


@pytest.mark.slow
@pytest.mark.usefixtures("nb201_cache")
def test_no_flipped_bit_is_silently_wrong(scripts: tuple[ModuleType, ...], tmp_path: Path) -> None:
    flips = scripts[2]
    row = flips.flips(flips.written(tmp_path, 12), tmp_path, 250, 3)
    assert (row["tried"], row["wrong"], row["said_of_another_line"]) == (250, 0, 0)
    assert row["equal"] < 10
