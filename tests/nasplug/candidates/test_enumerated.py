"""A space of numbers is scored whole, by arrays: what matters by the predictor, the rest fast."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from coded_table import DEVICE, NB, SPREAD, Arrays, Table, candidates, shortfall, truth
from counting_predictors import LEVELS, QUANTILES

from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.candidates.pool import is_listed
from nasplug.pareto import improving_points, smallest
from nasplug.search_spaces import Architecture, InputError


@pytest.fixture(scope="module")
def scored() -> EnumeratedCandidates:
    return candidates(Table())


def test_all_are_scored_and_few_are_asked_for(scored: EnumeratedCandidates) -> None:
    assert is_listed(NB)
    assert scored.whole
    assert len(scored) == len(scored.architectures) == len(scored.ids) == 423_624
    asked = scored._scoring.predictors["latency"].asked  # type: ignore[attr-defined]
    assert len(asked) == len(set(asked)) <= 1_800
    assert sorted(asked) == scored.competing.tolist()


def test_what_was_asked_for_is_as_good_as_the_front_of_the_whole_space(
    scored: EnumeratedCandidates,
) -> None:
    short = shortfall(scored.competing, np.arange(len(scored)))
    # Three percent are unknowable without asking; the first sample alone is twice as far off.
    assert short.mean() < 0.012
    assert short.max() < 0.05
    sample = scored._scoring.predictors["latency"].asked[:800]  # type: ignore[attr-defined]
    assert shortfall(np.array(sample), np.arange(len(scored))).mean() > 2 * short.mean()


def test_what_was_asked_for_is_exact_and_the_rest_as_far_off_as_it_says(
    scored: EnumeratedCandidates,
) -> None:
    latency, asked = scored.quantities["latency"], scored.competing
    assert latency.mean[asked] == pytest.approx(truth()[asked], rel=1e-9)
    rest = np.setdiff1d(np.arange(len(scored)), asked)
    off = np.log(latency.mean[rest] / truth()[rest])
    said = scored.fast_model_errors("latency")
    assert len(said) == 200
    assert np.sqrt(np.mean(off**2)) == pytest.approx(np.sqrt(np.mean(said**2)), rel=0.25)
    # The interval of the others has the fast model's error on top.
    width = np.log(latency.upper / latency.lower)
    assert width[rest].min() > 1.01 * width[asked].max()
    inside = (latency.lower[rest] <= truth()[rest]) & (truth()[rest] <= latency.upper[rest])
    assert inside.mean() > 0.9
    (note,) = scored.notes()
    assert note.startswith("the predictor gave the latency of 1,")
    assert "a fast model of the predictor gave the others (its error is 1." in note


def test_what_is_tried_is_asked_for(scored: EnumeratedCandidates) -> None:
    made = pickle.loads(pickle.dumps(scored))
    row = int(np.setdiff1d(np.arange(len(made)), made.competing)[1234])
    before = made.quantities["latency"].mean.copy()
    assert before[row] != pytest.approx(truth()[row], rel=1e-9)
    assert made.indices([made.architectures[row]]) == [row]
    after = made.quantities["latency"]
    assert after.mean[row] == pytest.approx(truth()[row], rel=1e-9)
    assert np.array_equal(np.delete(after.mean, row), np.delete(before, row))
    # What was read before does not change under the reader.
    assert before[row] == scored.quantities["latency"].mean[row]
    assert row in made.competing


def test_a_predictor_of_arrays_is_asked_once() -> None:
    made = candidates(Arrays())
    assert made._scoring.predictors["latency"].asked == []  # type: ignore[attr-defined]
    assert made.quantities["latency"].mean == pytest.approx(truth(), rel=1e-9)
    assert len(made.competing) == len(made)
    assert made.notes() == []


def test_limits_are_those_of_the_predictor() -> None:
    bound = float(np.quantile(truth(), 0.3))
    made = candidates(Table(), [f"latency<={bound:.6f}ms"])
    asked = made.competing
    # The quantile of the constraint's probability of 0.9, as each prediction has it.
    reach = float(np.exp(SPREAD * np.interp(0.9, LEVELS, QUANTILES)))
    assert np.array_equal(made.feasible[asked], truth()[asked] * reach <= bound)
    found = asked[made.feasible[asked]]
    assert shortfall(found, np.flatnonzero(truth() * reach <= bound)).mean() < 0.02
    with pytest.raises(InputError, match=r"no nb101 architecture meets latency<=0\.01.*smallest"):
        candidates(Arrays(), ["latency<=0.01ms"]).check_reachable(DEVICE)


def test_held_ones_are_known_by_id_and_by_text(scored: EnumeratedCandidates) -> None:
    one, other = scored.architectures[5], scored.architectures[70_000]
    assert scored.indices([one]) == [5]
    held = {one.arch_id, other.text}
    rows = np.array([4, 5, 6, 70_000])
    assert scored.free(rows, held, True).tolist() == [True, False, True, False]
    assert scored.ids[5] == one.arch_id
    assert scored.find(other) == 70_000


def test_members_with_fixed_parameters(scored: EnumeratedCandidates) -> None:
    fixed = {"edge_0_6": 1, "op_1": "maxpool3x3"}

    def adapted(arch: Architecture) -> Architecture:
        return NB.from_params({**NB.to_params(arch), **fixed})

    mask = scored.having(adapted, 64)
    rows = np.flatnonzero(mask)
    assert len(rows) > 5
    for row in rows:
        arch = scored.architectures[int(row)]
        assert adapted(arch).text == arch.text
    assert set(rows.tolist()) <= set(scored.competing.tolist())


def test_points_beyond_a_front() -> None:
    known = np.array([[0.0, 4.0], [2.0, 2.0], [4.0, 0.0], [3.0, 3.0]])
    values = np.array([[1.0, 3.0], [2.5, 1.0], [2.5, 1.5], [5.0, 5.0], [-1.0, 9.0], [1.5, 3.9]])
    # One of each step first, the farthest beyond it first; what is dominated never.
    assert improving_points(known, values, 9).tolist() == [4, 0, 1, 2, 5]
    assert improving_points(known, values, 3).tolist() == [4, 0, 1]
    one = np.array([[3.0], [1.0]])
    assert improving_points(one, np.array([[0.5], [2.0], [-1.0]]), 9).tolist() == [2, 0]


def test_smallest_takes_the_first_of_equals() -> None:
    values = np.array([3.0, 1.0, 2.0, 1.0, 1.0, 0.0])
    assert smallest(values, 3).tolist() == [5, 1, 3]
    assert smallest(values, 99).tolist() == [5, 1, 3, 4, 2, 0]
    assert smallest(values[:0], 2).tolist() == []
