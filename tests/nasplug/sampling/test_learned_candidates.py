"""The candidates of a study that learns keep the constraints of its search."""

from __future__ import annotations

import numpy as np
import pytest

from nasplug.candidates.candidates import Candidates
from nasplug.candidates.constraints import parse_constraints
from nasplug.candidates.scoring import Scoring
from nasplug.sampling.candidate_features import CandidateFeatures
from nasplug.sampling.learned_candidates import learned_candidates
from nasplug.search_spaces import SearchSpace, space


def test_candidates_are_counted_as_graphs_are(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = space("gpt:embed=64|128,layers=2|3|5,heads=2|4,kv_heads=1|2,gated=0|1,context=64")
    rng = np.random.default_rng(0)
    archs = list({arch.text: arch for arch in (nets.sample(rng) for _ in range(40))}.values())
    counted = {task: CandidateFeatures(nets, archs[:30], task) for task in nets.tasks}
    listed = learned_candidates(
        Scoring(nets, (), None, (), 1, "decode", {}), np.random.default_rng, 20
    )
    monkeypatch.setattr(type(nets), "summands", SearchSpace.summands)
    for task, features in counted.items():
        built = CandidateFeatures(nets, archs[:30], task)
        for name, rows in built.first.items():
            assert np.array_equal(rows, features.first[name])
            assert np.array_equal(built(archs)[name], features(archs)[name])
    # Without sums of few graphs all graphs are built.
    scores = Scoring(nets, (), None, (), 1, "decode", {})(listed.architectures)
    assert scores.connected.all()
    assert listed.scores.connected.all()
    for name, quantity in scores.quantities.items():
        assert np.array_equal(quantity.mean, listed.quantities[name].mean)
    assert np.array_equal(scores.cost, listed.scores.cost)


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
