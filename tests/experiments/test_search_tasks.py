from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest

from experiments.search import search_quality, search_rivals
from experiments.search.measured_spaces import Measured, MeasuredCells, MeasuredModels
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


@pytest.fixture(scope="module")
def models() -> Any:
    rng, gpt = np.random.default_rng(0), space("gpt:embed=64|128,layers=2|3,heads=2|4|6")
    archs = {arch.text: arch for arch in (gpt.sample(rng) for _ in range(60))}
    return MeasuredModels(gpt, list(archs.values()))


def test_the_nearest_model_agrees_in_the_whole_network_first(models: Any) -> None:
    rng, gpt = np.random.default_rng(1), space("gpt:embed=64|128,layers=2|3,heads=2|4|6")
    for _ in range(20):
        params = gpt.to_params(gpt.sample(rng))
        near = models.to_params(models.nearest(params, set()))
        assert all(near[name] == params[name] for name in ("embed", "layers", "bias"))
        inner = [n for n in params if "_" in n and int(n.partition("_")[2]) <= params["layers"]]
        group = [models.to_params(arch) for arch in models]
        same = [p for p in group if all(p[n] == params[n] for n in ("embed", "layers", "bias"))]

        def steps(other: Any, params: Any = params, inner: Any = inner) -> int:
            return sum(
                abs(ranks.index(other[n]) - ranks.index(params[n]))
                for n in inner
                for ranks in [(2, 4, 6) if n.startswith("heads") else (2, 3, 4)]
            )

        assert steps(near) == min(map(steps, same))


@pytest.mark.parametrize("sampler", ["local-search", "nsga2", "nasplug"])
def test_models_are_searched_by_three_values_and_two_limits(models: Any, sampler: str) -> None:
    costs = np.array([models.to_graph(arch).total("params") for arch in models]) / 1e6
    values = np.stack([-np.log(costs), costs, costs**2], axis=1)
    task = search_rivals.Task("some", models, values, ("minimize",) * 3, reference=values.max(0))
    row = search_quality.run(task, sampler, 0, 30)
    assert row["duplicates"] == 0
    assert 0 < row["curve"]["10"] <= row["curve"]["30"] <= 1
    low, high = np.percentile(costs, [25, 75])
    limits = {"violation": costs - high, "other_violations": {"more": low - costs}}
    one = search_rivals.Task("one", models, values[:, :1], ("minimize",), **limits)
    assert set(one.violations) == {"latency_ms", "more"}
    assert one.goal == values[(costs >= low) & (costs <= high), 0].min()
