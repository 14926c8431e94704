from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import nasplug
from nasplug.objectives import checked_objectives
from nasplug.searching.predicted_front import PredictedFront

OBJECTIVES = checked_objectives(("accuracy", "latency"))


class Scored(SimpleNamespace):
    """Candidates of which no two have one function."""

    def __len__(self) -> int:
        return len(self.feasible)

    def cheapest(self, mask: np.ndarray) -> np.ndarray:
        return np.flatnonzero(mask)


def candidates(means: list[list[float]], feasible: list[bool], competing: list[int]) -> object:
    return Scored(
        means=lambda names: np.array(means),
        feasible=np.array(feasible),
        competing=np.array(competing),
    )


def test_feasible_points_that_compete_make_the_front() -> None:
    means = [[90.0, 5.0], [95.0, 9.0], [91.0, 4.0], [99.0, 1.0], [98.0, 2.0]]
    front = PredictedFront(
        candidates(means, [True, True, True, False, True], [0, 1, 2, 3]), OBJECTIVES
    )
    assert len(front) == 2
    assert front.missing([]) == 2
    assert front.missing([[95.0, 9.0], [90.0, 5.0]]) == 1
    assert front.missing([[95.0, 9.0], [91.0, 4.0]]) == 0


def test_digits_that_are_not_shown_do_not_count() -> None:
    means = [[90.0, 5.0], [90.0 + 1e-9, 5.0 + 1e-9], [90.0, 5.0]]
    front = PredictedFront(candidates(means, [True] * 3, [0, 1, 2]), OBJECTIVES)
    assert len(front) == 1
    assert front.missing([[90.0 - 1e-9, 5.0]]) == 0


@pytest.mark.parametrize("hardware", [None, "RTX 3090"])
def test_search_ends_with_the_front(hardware: str | None) -> None:
    constraints = ("params<=0.6M",)
    found = nasplug.search("nb201", hardware, constraints, n_trials=400, storage="memory")
    names = [objective.name for objective in found.objectives]
    kept = found.candidates.feasible
    means = np.round(found.candidates.means(names)[kept], 6)
    best = {tuple(point) for point in means.tolist()}
    by_cost = sorted(best, key=lambda point: (point[1], -point[0]))
    front, highest = set(), -np.inf
    for quality, cost in by_cost:
        if quality > highest:
            front.add((quality, cost))
            highest = quality
    shown = np.round(found.candidates.means(names)[list(found.front)], 6)
    assert {tuple(point) for point in shown.tolist()} == front
    assert found.n_trials == len(found.trials) < 60


def test_cells_of_one_function_are_proposed_once() -> None:
    """One of two cells with equal accuracy may be faster on one device, and the other elsewhere."""
    found = nasplug.search(
        "nb201",
        ["RTX 3090", "Jetson Orin Nano"],
        ["latency@RTX 3090<=6ms"],
        n_trials=40,
        storage="memory",
    )
    assert found.missing == 0
    assert found.n_trials == len(found.pareto) < 40
    assert len({row["arch_id"] for row in found.pareto}) == found.n_trials


def test_fewer_trials_look_back_on_what_they_lack(tmp_path: Path) -> None:
    storage = tmp_path / "s.journal"
    whole = nasplug.search("nb201", n_trials=400, storage=storage, study_name="one")
    short = nasplug.search("nb201", n_trials=5, storage=storage, study_name="one")
    assert (whole.missing, short.missing) == (0, whole.n_trials - 5)
    assert (
        f"5 trials; --n-trials {whole.n_trials} gives the whole predicted front" in short.heading()
    )
