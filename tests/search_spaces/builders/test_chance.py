"""Builders that make different networks of equal parameters."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nasplug
from nasplug.search_spaces import InputError

EXAMPLE = torch.zeros(1, 3, 8, 8)
generator = np.random.default_rng()


def _kernel(trial: Any) -> nn.Module:
    width = trial.suggest_int("width", 4, 6)
    kernel = random.choice((1, 3))
    return nn.Conv2d(3, width, kernel)


def _width(trial: Any) -> nn.Module:
    width = trial.suggest_int("width", 4, 6)
    return nn.Conv2d(3, width + np.random.randint(2), 1)  # noqa: NPY002


def _clock(trial: Any) -> nn.Module:
    width = trial.suggest_int("width", 4, 6)
    return nn.Sequential(nn.Conv2d(3, width, 1), nn.Dropout(time.perf_counter_ns() % 999 / 1000))


def _asked(trial: Any) -> nn.Module:
    width = trial.suggest_int("width", 4, 6)
    if torch.rand(1).item() > 0.5:
        trial.suggest_int("other", 1, 3)
    return nn.Conv2d(3, width, 1)


def _own(trial: Any) -> nn.Module:
    width = trial.suggest_int("width", 4, 6)
    return nn.Sequential(nn.Conv2d(3, width, 1), nn.Dropout(generator.random()))


@pytest.mark.parametrize(
    ("builder", "reason"),
    [
        (_kernel, r"different networks from equal parameters.*random\.choice"),
        (_width, r"different networks from equal parameters.*np\.random\.randint"),
        (_clock, r"different networks from equal parameters.*perf_counter_ns"),
        (_asked, r"suggests 'other' in one run and not in another.*torch\.rand"),
        (_own, r"different networks from equal parameters.*generator\.random"),
    ],
)
def test_chance_is_named_with_its_line(builder: Callable[[Any], Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason) as raised:
        nasplug.space(builder, EXAMPLE)
    assert "(see test_chance.py, line " in str(raised.value)


def test_random_weights_are_no_chance() -> None:
    def builder(trial: Any) -> nn.Module:
        model = nn.Conv2d(3, trial.suggest_int("width", 4, 6), 3)
        nn.init.normal_(model.weight)
        model.register_parameter("scale", nn.Parameter(torch.rand(3)))
        return model

    assert len(nasplug.space(builder, EXAMPLE)) == 3  # type: ignore[arg-type]


def test_graphs_of_a_file_that_has_changed_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASPLUG_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "kernel.json"
    path = str(source)

    def builder(trial: Any) -> nn.Module:
        with open(path, encoding="utf-8") as file:
            kernel = json.load(file)
        return nn.Conv2d(3, trial.suggest_int("width", 4, 6), kernel)

    params = []
    for kernel in (1, 3):
        source.write_text(json.dumps(kernel), encoding="utf-8")
        space = nasplug.space(builder, EXAMPLE)
        graphs = space.to_graphs(list(space))  # type: ignore[call-overload]
        params.append([graph.total("params") for graph in graphs])
    assert params == [[3 * n * k * k + n for n in (4, 5, 6)] for k in (1, 3)]
