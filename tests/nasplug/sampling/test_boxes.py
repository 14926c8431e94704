from __future__ import annotations

import numpy as np
import pytest
from optuna._hypervolume.wfg import compute_hypervolume

from nasplug.sampling import boxes as module
from nasplug.sampling.acquisition import expected_hypervolume_improvement
from nasplug.sampling.boxes import boxes_beyond, proper_front, rounded, rows_beyond


def sphere(count: int, objectives: int) -> np.ndarray:
    """Points that do not dominate each other, between 0 and 1."""
    points = np.abs(np.random.default_rng(objectives).normal(size=(count, objectives)))
    return proper_front(
        1 - points / np.linalg.norm(points, axis=1)[:, None], np.full(objectives, 2.0)
    )


@pytest.mark.parametrize(("count", "objectives"), [(40, 2), (40, 3), (25, 4), (9, 5)])
def test_boxes_are_disjoint_and_all_that_is_not_dominated(count: int, objectives: int) -> None:
    front, reference = sphere(count, objectives), np.full(objectives, 1.5)
    boxes = boxes_beyond(front, reference)
    lower, upper = (
        np.stack([e[k] for e, k in zip(boxes.edges, side.T, strict=True)], axis=1)
        for side in boxes[1:]
    )
    # Cut off below at -1, they fill what the front leaves of the whole.
    volume = np.prod(upper - np.maximum(lower, -1.0), axis=1).sum()
    assert volume == pytest.approx(2.5**objectives - compute_hypervolume(front, reference))
    points = np.random.default_rng(0).uniform(-1, 1.5, (2_000, objectives))
    inside = ((lower <= points[:, None]) & (points[:, None] < upper)).all(axis=2).sum(axis=1)
    assert np.flatnonzero(inside == 1).tolist() == rows_beyond(points, front, reference).tolist()
    assert inside.max() == 1


@pytest.mark.parametrize("objectives", [3, 4])
def test_a_rounded_front_bounds_the_improvement(
    objectives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    front, reference = sphere(60, objectives), np.full(objectives, 1.1)
    rng = np.random.default_rng(1)
    mean, std = rng.uniform(0, 1, (200, objectives)), rng.uniform(0, 0.2, (200, objectives))
    step = module.FINEST * module.COARSER**4 * np.ptp(front, axis=0)
    exact = [
        expected_hypervolume_improvement(m, std, front, reference) for m in (mean, mean + step)
    ]
    few = len(module._corners(rounded(front, module.FINEST * module.COARSER**4), reference)[0])
    monkeypatch.setattr(module.boxes_beyond, "__defaults__", (max(few, 30),))
    found = expected_hypervolume_improvement(mean, std, front, reference)
    assert (found <= exact[0] + 1e-12).all()
    assert (found >= exact[1] - 1e-12).all()
    assert (found < exact[0] - 1e-9).any()


def test_a_front_of_any_size_has_boxes() -> None:
    assert len(boxes_beyond(np.empty((0, 3)), np.ones(3)).lower) == 1
    assert len(boxes_beyond(sphere(300, 4), np.full(4, 1.1), 50).lower) <= 150
    equal = np.column_stack([np.zeros(20), np.arange(20.0), 19 - np.arange(20.0)])
    assert len(boxes_beyond(equal, np.full(3, 30.0), 5).lower) <= 10
