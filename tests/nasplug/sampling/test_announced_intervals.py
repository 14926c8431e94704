from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug import space
from nasplug.sampling.announced_intervals import (
    NARROWEST,
    RATE,
    WIDEST,
    announced_values,
    is_outside,
    widths,
)
from nasplug.sampling.trial_model import Observations, Posterior, value_scores
from nasplug.sampling.tried import Tried
from nasplug.studies.values import INTERVAL

ARCH = space("nb201").sample(np.random.default_rng(0))
LOSSES = np.array([5.0, 1.0, 3.0, 2.0, 4.0, 8.0, 7.0, 6.0, 9.0, 10.0])


def trials(outside: list[Any]) -> list[Tried]:
    return [Tried(ARCH, (0.0,), {}, False, one) for one in outside]


def observations(*columns: Any, **violations: Any) -> Observations:
    losses = np.stack([np.array(column, np.float64) for column in columns], axis=1)
    rows = np.arange(len(losses))
    told = {name: np.array(values, np.float64) for name, values in violations.items()}
    return Observations(rows, losses, told, np.empty(0, np.intp))


def posterior(mean: list[float], std: list[float]) -> Posterior:
    return Posterior(np.array([mean]), np.array([std]), np.array([0.25]))


def test_a_mean_is_read_off_the_losses_so_far() -> None:
    known = observations(LOSSES)
    for loss, score in zip(LOSSES, value_scores(LOSSES), strict=True):
        said = announced_values(posterior([score], [0.0]), 0, known, [])
        assert said == {"losses": [pytest.approx([loss] * 3)]}


def test_intervals_reach_beyond_the_best_and_the_worst() -> None:
    scores = value_scores(LOSSES)
    (best,) = announced_values(posterior([scores.min()], [0.5]), 0, observations(LOSSES), [])[
        "losses"
    ]
    (worst,) = announced_values(posterior([scores.max()], [0.5]), 0, observations(LOSSES), [])[
        "losses"
    ]
    assert best[1] < 1.0 == best[0] < best[2]
    assert worst[1] < 10.0 == worst[0] < worst[2]


def test_probability_of_feasibility_is_told_where_there_are_constraints() -> None:
    known = observations(LOSSES, latency=LOSSES - 5)
    assert announced_values(posterior([0.0], [1.0]), 0, known, [])["feasible"] == 0.25


def test_infinite_losses_are_left_out_and_nothing_is_said_of_them_alone() -> None:
    some = np.array([np.inf, *LOSSES])
    (said,) = announced_values(posterior([0.0], [1.0]), 0, observations(some), [])["losses"]
    assert np.isfinite(said).all()
    alone = observations(np.full(3, np.inf))
    assert announced_values(posterior([0.0], [1.0]), 0, alone, []) == {"losses": []}


def test_misses_widen_and_hits_narrow() -> None:
    assert widths([], 2).tolist() == [1.0, 1.0]
    missed, hit = widths(trials([(True, False)]), 2)
    assert missed == pytest.approx(np.exp(RATE * INTERVAL))
    assert hit == pytest.approx(np.exp(-RATE * (1 - INTERVAL)))
    # Trials that nothing was said of, or as of another number of values, teach nothing.
    assert widths(trials([None, (True,), (True, False, True)]), 2).tolist() == [1.0, 1.0]


def test_width_has_bounds_and_leaves_them_at_once() -> None:
    always = widths(trials([(True,)] * 100), 1)
    never = widths(trials([(False,)] * 1_000), 1)
    assert always == pytest.approx([WIDEST])
    assert never == pytest.approx([NARROWEST])
    assert widths(trials([(False,)] * 1_000 + [(True,)]), 1) > never


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.7, 3.0))
def test_intervals_of_a_model_that_is_wrong_hold_as_often_as_announced(
    seed: int, wrong: float
) -> None:
    """A model whose standard deviations are too small or too large by a factor."""
    errors = np.abs(np.random.default_rng(seed).normal(size=400)) * wrong
    seen: list[Tried] = []
    for error in errors:
        width = float(widths(seen, 1)[0])
        seen += trials([(bool(error > 1.645 * width),)])
    held = np.mean([one.outside == (False,) for one in seen])
    assert held == pytest.approx(INTERVAL, abs=0.035)


@pytest.mark.parametrize("said", [None, "text", [], [[1, 2]], [[0, "a", 1]], [3]])
def test_what_another_program_wrote_is_no_announcement(said: Any) -> None:
    assert is_outside(said, [1.0]) is None


def test_ends_belong_to_an_interval() -> None:
    said = [[0, -1, 1]] * 3
    assert is_outside(said, [1.0, -1.0, 1.1]) == (False, False, True)
