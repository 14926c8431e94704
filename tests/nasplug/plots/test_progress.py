"""Progress of studies, counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from counted_studies import told

from nasplug.plots.progress import best_so_far, hypervolume_so_far, reference_of
from nasplug.studies.values import StudyValues, study_values


def staircase(
    rows: list[tuple[float, float]], **more: Any
) -> tuple[StudyValues, Callable[..., list[float]]]:
    values = study_values(told(rows, **more))
    return values, lambda *ends: hypervolume_so_far(values, np.array(ends)).tolist()


def test_hypervolume_after_each_trial() -> None:
    # Maximise the first, minimise the second; by hand, to (0, 10).
    _, to = staircase([(2, 8), (1, 9), (4, 9), (5, 1)], missed=[0.0, -1.0, 0.0, 0.1])
    assert to(0, 10) == [4, 4, 6, 6]
    _, to = staircase([(2, 8), (1, 9), (4, 9), (5, 1)])
    assert to(0, 10) == [4, 4, 6, 45]


def test_best_so_far_is_of_feasible_trials() -> None:
    missed = [1.0, 0.0, 0.0, 2.0]
    values = study_values(told([(9.0,), (3.0,), (5.0,), (8.0,)], ("maximize",), missed=missed))
    assert np.isnan(best_so_far(values)[0])
    assert best_so_far(values)[1:].tolist() == [3, 5, 5]


def test_reference_lies_beyond_the_front_and_not_beyond_outliers() -> None:
    values = study_values(told([(10, 5), (20, 9), (0, 100)]))
    assert reference_of([values], values.sign).tolist() == pytest.approx([9.0, 9.4])
    only = study_values(told([(10, 5)]))
    assert reference_of([only], only.sign).tolist() == pytest.approx([9.0, 5.5])
