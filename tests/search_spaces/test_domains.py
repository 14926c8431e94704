"""Values of parameters: draws, moves, nearest values and text."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nasplug.search_spaces import InputError
from nasplug.search_spaces.domains import (
    contains,
    draw,
    literal,
    moves,
    narrowed,
    nearest,
    size,
    spread,
    united,
)

DOMAINS: list[BaseDistribution] = [
    CategoricalDistribution((3, 5, 7)),
    CategoricalDistribution((None, True, 1.5, "a b")),
    IntDistribution(2, 6),
    IntDistribution(16, 96, step=8),
    IntDistribution(1, 4096, log=True),
    IntDistribution(0, 999_999, step=3),
    FloatDistribution(0.0, 1.0),
    FloatDistribution(1e-5, 1e-1, log=True),
    FloatDistribution(0.0, 0.7, step=0.1),
    FloatDistribution(-3.0, 3.0, step=0.001),
    IntDistribution(4, 4),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_values_are_of_the_domain(domain: BaseDistribution) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        value = draw(domain, rng)
        others = moves(domain, value)
        assert all(contains(domain, v) for v in [value, *others, *spread(domain, 7)])
        assert value not in others
        assert len(others) == min(size(domain) - 1, len(others))
        assert nearest(domain, value) == value
        assert nearest(domain, others[0]) == others[0] if others else size(domain) == 1


def test_small_domains_move_to_every_other_value() -> None:
    assert moves(DOMAINS[3], 32) == [n for n in range(16, 97, 8) if n != 32]
    assert {*moves(IntDistribution(0, 1000), 500)} >= {499, 501, 250, 750}


def test_draws_are_even_on_the_scale_of_the_domain() -> None:
    rng = np.random.default_rng(0)
    values = [draw(DOMAINS[7], rng) for _ in range(400)]
    assert 0.4 < np.mean([value < 1e-3 for value in values]) < 0.6


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()))
def test_literals_are_read_back(value: Any) -> None:
    text = literal(value)
    read: Any
    try:
        read = json.loads(text)
    except ValueError:
        read = text
    assert read == value
    assert isinstance(read, bool) == isinstance(value, bool)


def test_other_values_have_no_text() -> None:
    with pytest.raises(InputError, match="is a tuple"):
        literal((1, 2))


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (IntDistribution(1, 4), IntDistribution(1, 8), IntDistribution(1, 8)),
        (
            IntDistribution(8, 32, step=8),
            IntDistribution(12, 24, step=12),
            IntDistribution(8, 32, step=4),
        ),
        (FloatDistribution(0, 1), FloatDistribution(-1, 0.5), FloatDistribution(-1, 1)),
        (CategoricalDistribution((1, 2)), CategoricalDistribution((1, 3)), None),
        (IntDistribution(1, 4), FloatDistribution(1, 4), None),
    ],
)
def test_united(first: BaseDistribution, second: BaseDistribution, both: Any) -> None:
    assert united(first, second) == both


@pytest.mark.parametrize(
    ("domain", "values", "part"),
    [
        (IntDistribution(16, 96, step=8), (32, 64), IntDistribution(32, 64, step=32)),
        (IntDistribution(16, 96, step=8), (40,), IntDistribution(40, 40)),
        (IntDistribution(1, 64, log=True), (2, 4, 8), CategoricalDistribution((2, 4, 8))),
        (CategoricalDistribution(("a", "b", "c")), ("c", "a"), CategoricalDistribution(("a", "c"))),
        (FloatDistribution(0, 1), (0.5,), FloatDistribution(0.5, 0.5)),
        (FloatDistribution(0, 1), (0.5, 0.25), CategoricalDistribution((0.25, 0.5))),
        (IntDistribution(1, 4), (9,), None),
        (CategoricalDistribution((True, False)), (1,), None),
    ],
)
def test_narrowed(domain: BaseDistribution, values: tuple[Any, ...], part: Any) -> None:
    assert narrowed(domain, values) == part


def test_nearest_values() -> None:
    assert nearest(IntDistribution(8, 32, step=8), 100) == 32
    assert nearest(FloatDistribution(0.0, 1.0), -3) == 0.0
    assert nearest(CategoricalDistribution((1, 4)), 3) == 4
    assert nearest(CategoricalDistribution(("a", "b")), "c") == "a"
    assert math.isinf(size(FloatDistribution(0.0, 1.0)))
