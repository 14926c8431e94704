"""Checks of arguments: each value passes, or is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nasplug import arguments
from nasplug.search_spaces import InputError, space
from nasplug.search_spaces.nb201 import NB201


@pytest.mark.parametrize(
    ("check", "good", "bad", "words"),
    [
        (
            lambda n: arguments.checked_count(n, "batch size"),
            [1, 10**9],
            [0, -1, True, 1.0, "1"],
            "batch size .* is not a whole number of at least 1",
        ),
        (
            lambda n: arguments.checked_count(n, "batch size"),
            [10**12],
            [10**12 + 1, 10**20],
            "batch size .* is too large; the most is 1,000,000,000,000",
        ),
        (
            arguments.checked_probability,
            [0.001, 0.9],
            [0, 1, -0.5, float("nan")],
            "is not strictly between 0 and 1",
        ),
        (
            arguments.checked_seed,
            [0, 2**32 - 1],
            [-1, 2**32, False, 1.5, None],
            "seed .* is not a whole number from 0 to 4294967295",
        ),
    ],
)
def test_numbers(check: Callable[[Any], Any], good: list[Any], bad: list[Any], words: str) -> None:
    assert [check(value) for value in good] == good
    for value in bad:
        with pytest.raises(InputError, match=words):
            check(value)


def test_spaces_are_named_or_given() -> None:
    named = arguments.checked_space("nb201")
    assert named is arguments.checked_space(named) is space("nb201")
    assert arguments.is_registered(named)
    assert not arguments.is_registered(NB201())


def test_data_sets_are_those_of_the_space() -> None:
    nb201 = space("nb201")
    assert arguments.checked_dataset(nb201, None) == nb201.tasks[0]
    assert arguments.checked_dataset(nb201, "cifar100") == "cifar100"
    with pytest.raises(InputError, match="unknown image set 'mnist'; space nb201 has cifar10, "):
        arguments.checked_dataset(nb201, "mnist")
