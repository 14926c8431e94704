"""Values of a parameter: draws, steps to other values, narrower sets, and their text.

A domain is an Optuna distribution. A number with many values moves by steps of several lengths, so
that a network has a few dozen neighbors and not thousands.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nasplug.search_spaces.errors import InputError

__all__ = [
    "contains",
    "draw",
    "literal",
    "moves",
    "narrowed",
    "nearest",
    "size",
    "spread",
    "united",
    "values_of",
]

# Numbers of more values than this move by steps.
MOST_VALUES = 24
# Lengths of steps, as parts of the range.
STEPS = (1 / 64, 1 / 16, 1 / 4)
# Significant digits of a number that was computed.
DIGITS = 6
_BARE = re.compile(r"[A-Za-z_][\w.+/-]*")
_CONSTANTS = {"true", "false", "null", "nan"}


def contains(domain: BaseDistribution, value: Any) -> bool:
    """Whether a value is in a domain."""
    if isinstance(domain, CategoricalDistribution):
        return any(_same(value, choice) for choice in domain.choices)
    if isinstance(value, (bool, str)) or value is None:
        return False
    try:
        return domain._contains(domain.to_internal_repr(value))
    except (TypeError, ValueError):
        return False


def _same(value: Any, choice: Any) -> bool:
    if isinstance(value, bool) != isinstance(choice, bool):
        return False
    # NaN is a choice like others, though it is not equal to itself.
    return bool(value == choice) or (_is_nan(value) and _is_nan(choice))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def size(domain: BaseDistribution) -> float:
    """Number of values of a domain; infinite for a number without steps."""
    if isinstance(domain, CategoricalDistribution):
        return len(domain.choices)
    if domain.single():
        return 1
    if isinstance(domain, IntDistribution):
        return (domain.high - domain.low) // domain.step + 1
    assert isinstance(domain, FloatDistribution)
    if domain.step is None:
        return math.inf
    return math.floor((domain.high - domain.low) / domain.step + 1e-8) + 1


def _at(domain: BaseDistribution, index: int) -> Any:
    """Value at a position of a domain of finitely many."""
    if isinstance(domain, CategoricalDistribution):
        return domain.choices[index]
    if isinstance(domain, IntDistribution):
        return domain.low + index * domain.step
    assert isinstance(domain, FloatDistribution)
    return domain.low if domain.step is None else _stepped(domain, index)


def _stepped(domain: FloatDistribution, index: int) -> float:
    assert domain.step is not None
    return float(min(round(domain.low + index * domain.step, 12), domain.high))


def values_of(domain: BaseDistribution) -> list[Any]:
    """All values of a domain of at most `MOST_VALUES`; none of a larger one."""
    return _values(domain) if size(domain) <= MOST_VALUES else []


def _values(domain: BaseDistribution) -> list[Any]:
    return [_at(domain, k) for k in range(int(size(domain)))]


def _share(domain: BaseDistribution, value: float) -> float:
    """Place of a number in its range, from 0 to 1; on a logarithmic scale if it has one."""
    low, high = domain.low, domain.high  # type: ignore[attr-defined]
    if domain.log:  # type: ignore[attr-defined]
        return math.log(value / low) / (math.log(high / low) or 1.0)
    return float((value - low) / ((high - low) or 1.0))


def _value(domain: BaseDistribution, share: float) -> Any:
    """The number nearest to a place in its range."""
    low, high = domain.low, domain.high  # type: ignore[attr-defined]
    share = min(max(share, 0.0), 1.0)
    is_log = domain.log  # type: ignore[attr-defined]
    number = low * (high / low) ** share if is_log else low + share * (high - low)
    if math.isinf(size(domain)):
        return min(max(float(f"{number:.{DIGITS}g}"), low), high)
    step = domain.step  # type: ignore[attr-defined]
    return _at(domain, min(round((number - low) / step), int(size(domain)) - 1))


def draw(domain: BaseDistribution, rng: np.random.Generator) -> Any:
    """Draw a value uniformly, on the scale of the domain."""
    count = size(domain)
    if math.isinf(count) or (count > 1 and getattr(domain, "log", False)):
        return _value(domain, float(rng.random()))
    return _at(domain, int(rng.integers(int(count))))


def moves(domain: BaseDistribution, value: Any) -> list[Any]:
    """The values that one decision leads to: all others, or steps of several lengths."""
    if size(domain) <= MOST_VALUES or isinstance(domain, CategoricalDistribution):
        others = _values(domain)
    else:
        place = _share(domain, value)
        others = [_value(domain, place + sign * step) for step in STEPS for sign in (-1, 1)]
        if isinstance(domain, IntDistribution):
            near = (value - domain.step, value + domain.step)
            others = [*(v for v in near if domain.low <= v <= domain.high), *others]
    texts = {literal(other): other for other in others if literal(other) != literal(value)}
    return list(texts.values())


def spread(domain: BaseDistribution, count: int) -> list[Any]:
    """At most `count` values over the whole domain, the ends among them."""
    if size(domain) <= count or isinstance(domain, CategoricalDistribution):
        return _values(domain)
    values = [_value(domain, k / (count - 1)) for k in range(count)]
    return list(dict.fromkeys(values))


def nearest(domain: BaseDistribution, value: Any) -> Any:
    """The value of a domain that stands for `value`, which may be of a wider domain."""
    if contains(domain, value):
        return domain.to_external_repr(domain.to_internal_repr(value))
    if isinstance(domain, CategoricalDistribution):
        if not all(isinstance(choice, (int, float)) for choice in domain.choices):
            return domain.choices[0]
        return min(domain.choices, key=lambda choice: abs(float(choice) - float(value)))  # type: ignore[arg-type]
    low, high = domain.low, domain.high  # type: ignore[attr-defined]
    number = min(max(value, low), high)
    return number if math.isinf(size(domain)) else _value(domain, _share(domain, number))


def united(first: BaseDistribution, second: BaseDistribution) -> BaseDistribution | None:
    """The domain of a parameter that has two; None if there is none, as for other choices."""
    if first == second:
        return first
    if isinstance(first, IntDistribution) and isinstance(second, IntDistribution):
        low, high = min(first.low, second.low), max(first.high, second.high)
        if first.log or second.log:
            return IntDistribution(low, high, log=first.log and second.log)
        step = math.gcd(first.step, second.step, first.low - second.low)
        return IntDistribution(low, high, step=step)
    if isinstance(first, FloatDistribution) and isinstance(second, FloatDistribution):
        is_alike = (first.step, first.low) == (second.step, second.low)
        return FloatDistribution(
            min(first.low, second.low),
            max(first.high, second.high),
            log=first.log and second.log,
            step=first.step if is_alike else None,
        )
    return None


def narrowed(domain: BaseDistribution, values: Sequence[Any]) -> BaseDistribution | None:
    """The part of a domain that has some values; None if it has none of them.

    It is of the same kind where that is possible, so that a study may go on with it: a choice among
    fewer, or a range of numbers in equal steps.
    """
    inside = [v for v in values if contains(domain, v)]
    if not inside:
        return None
    if isinstance(domain, CategoricalDistribution):
        return CategoricalDistribution(
            tuple(c for c in domain.choices if any(_same(v, c) for v in inside))
        )
    numbers = sorted({nearest(domain, value) for value in inside})
    low, high = numbers[0], numbers[-1]
    if isinstance(domain, FloatDistribution):
        return FloatDistribution(low, high) if low == high else CategoricalDistribution(numbers)
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    is_even = len(steps) <= 1
    if is_even and (not domain.log or steps <= {1}):  # type: ignore[attr-defined]
        return IntDistribution(low, high, step=steps.pop() if steps else 1)
    return CategoricalDistribution(numbers)


def literal(value: Any) -> str:
    """Text of a value: a word as it stands if it can be no other value, else as JSON."""
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        is_bare = _BARE.fullmatch(value) and value.lower() not in _CONSTANTS | {"infinity"}
        return value if is_bare else json.dumps(value)
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise InputError(
        f"the choice {value!r} is a {type(value).__name__}; Optuna keeps choices that are None, a "
        "bool, a number or a text"
    )
