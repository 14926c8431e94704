from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest

from experiments.search import search_quality, search_rivals
from experiments.search.measured_spaces import Measured, MeasuredCells
from nasplug.search_spaces import InputError, space


@pytest.fixture(scope="module")
def measured() -> Any:
    rng, accel = np.random.default_rng(0), space("accel")
    return Measured(accel, [accel.sample(rng) for _ in range(30)])


def test_a_member_is_its_own_nearest(measured: Any) -> None:
    for k, arch in enumerate(measured):
        params = measured.to_params(arch)
        assert measured.from_params(params) == arch
        assert measured.index(measured.nearest(params, {k})) != k


def test_choices_near_a_member_stand_for_it(measured: Any) -> None:
    arch = list(measured)[3]
    params = measured.to_params(arch)
    params["block0_se"] = not params["block0_se"]
    assert measured.from_params(params) == arch
    del params["block0_se"]
    with pytest.raises(InputError, match="block0_se"):
        measured.from_params(params)


def test_a_mutation_is_another_member(measured: Any) -> None:
    rng = np.random.default_rng(1)
    for arch in measured:
        assert measured.mutate(arch, rng) != arch
        assert len({near.text for near in measured.neighbors(arch)} - {arch.text}) == 10


@pytest.mark.parametrize(
    "sampler",
    [optuna.samplers.TPESampler(seed=0, n_startup_trials=3), optuna.samplers.RandomSampler(seed=0)],
)
def test_a_sampler_of_parameters_tries_no_member_twice(
    measured: Any, sampler: optuna.samplers.BaseSampler
) -> None:
    values = np.arange(30.0)[:, None]
    missed = values[:, 0] - 20
    task = search_rivals.Task("some", measured, values, ("maximize",), violation=missed, limit=20.0)
    rows = list(search_rivals.in_study(task, sampler, 30))
    assert sorted(rows) == list(range(30))


def test_cells_that_were_measured_are_searched_as_coded() -> None:
    rng, nb101 = np.random.default_rng(0), space("nb101")
    archs = {arch.text: arch for arch in (nb101.sample(rng) for _ in range(40))}
    cells = MeasuredCells(sorted(archs.values(), key=lambda arch: int(arch.key)))
    assert cells.counts().shape[0] == len(cells.totals()["flops"]) == len(cells)
    assert [cells.index(cells[k]) for k in range(len(cells))] == list(range(len(cells)))
    assert cells.from_params(cells.to_params(cells[3])) == cells[3]
    assert all(cells.mutate(arch, rng).text in archs for arch in list(cells)[:3])
    accuracy = cells.totals()["params"][:, None]
    enough = float(np.sort(accuracy[:, 0])[-2])
    task = search_rivals.Task("some", cells, accuracy, ("maximize",), enough=enough)
    row = search_quality.run(task, "nasplug", 0, 40, until_found=True)
    assert row["trials_made"] == row["trials_to_optimum"] < 30
    assert row["duplicates"] == 0
    assert row["best"] >= enough
