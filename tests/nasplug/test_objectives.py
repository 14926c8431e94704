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
        "size": 1.0,
        "memory": 1.0,
        "energy": 1.0,
        "throughput": -1.0,
        "perplexity": 1.0,
    }
    assert {proxy.sign for proxy in PROXIES.values()} == {-1.0}


def test_objectives_may_say_their_direction() -> None:
    assert checked_objectives("memory:min") == (OBJECTIVES["memory"],)
    assert checked_objectives("flops:maximize") == (PROXIES["flops"],)
    assert checked_objectives(["accuracy:max", "fps", "memory_mb", "latency:min"]) == (
        *(OBJECTIVES[name] for name in ("accuracy", "throughput", "memory", "latency")),
    )


def test_macs_are_flops() -> None:
    assert checked_objectives(["accuracy", "macs"]) == checked_objectives(["accuracy", "flops"])
    assert checked_objectives("more macs") == (PROXIES["flops"],)
    with pytest.raises(InputError, match="choose one, or up to 4 different ones"):
        checked_objectives(["macs", "flops"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("acuracy", "unknown objective 'acuracy'; known: accuracy"),
        ([], "choose one, or up to 4 different ones"),
        (["latency", "latency"], "choose one, or up to 4 different ones"),
        (["flops", "more flops"], "choose one, or up to 4 different ones"),
        (["accuracy", "latency", "flops", "params", "size"], "choose one, or up to 4"),
        ("memry:min", "unknown objective 'memry:min'; known: memory"),
        ("memory:less", "direction 'less'; write max or min"),
        ("more memory", "unknown objective 'more memory'"),
        ("more flops:min", "unknown objective"),
    ],
)
def test_bad_objectives(words: str | list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_objectives(words)
