"""The candidates of a study that learns keep the constraints of its search."""

from __future__ import annotations

import numpy as np
import pytest

from nasplug.candidates.candidates import Candidates
from nasplug.candidates.constraints import parse_constraints
from nasplug.candidates.scoring import Scoring
from nasplug.sampling.learned_candidates import learned_candidates
from nasplug.search_spaces import space


@pytest.mark.parametrize("name", ["nb201", "nb101", "fbnet"])
def test_a_constraint_on_a_count_is_kept(name: str) -> None:
    def candidates(bound: float) -> Candidates:
        constraints = parse_constraints([f"params<={bound:.0f}"])
        nets = space(name)
        scoring = Scoring(nets, (), None, constraints, 1, nets.tasks[0], {})
        return learned_candidates(scoring, np.random.default_rng, 40)

    params = candidates(1e15).quantities["params"].mean
    bound = float(np.median(params))
    made = candidates(bound)
    assert [str(c) for c in made.constraints] == [f"params<={bound:.0f}"]
    assert np.array_equal(made.feasible, made.scores.connected & (params <= bound))
    assert made.violations().shape == (1, len(params))
