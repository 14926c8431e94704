"""Objectives by name."""

from __future__ import annotations

import pytest

from nasplug.objectives import OBJECTIVES, PROXIES, checked_objectives
from nasplug.search_spaces import InputError


def test_one_or_two_names() -> None:
    assert checked_objectives("accuracy") == (OBJECTIVES["accuracy"],)
    assert checked_objectives(["more flops", "latency"]) == (
        PROXIES["flops"],
        OBJECTIVES["latency"],
    )


def test_signs_turn_values_into_losses() -> None:
    assert {name: objective.sign for name, objective in OBJECTIVES.items()} == {
        "accuracy": -1.0,
        "latency": 1.0,
        "flops": 1.0,
        "params": 1.0,
    }
    assert {proxy.sign for proxy in PROXIES.values()} == {-1.0}


def test_macs_are_flops() -> None:
    assert checked_objectives(["accuracy", "macs"]) == checked_objectives(["accuracy", "flops"])
    assert checked_objectives("more macs") == (PROXIES["flops"],)
    with pytest.raises(InputError, match="choose one, or two different ones"):
        checked_objectives(["macs", "flops"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("acuracy", "unknown objective 'acuracy'; known: accuracy"),
        ([], "choose one, or two different ones"),
        (["latency", "latency"], "choose one, or two different ones"),
        (["flops", "more flops"], "choose one, or two different ones"),
        (["accuracy", "latency", "flops"], "choose one, or two different ones"),
    ],
)
def test_bad_objectives(words: str | list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_objectives(words)
