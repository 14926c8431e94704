"""Real trainings and searches on measured curves: stored once, resumed alike, counted right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from experiments.own_space import (
    cluttered_digits,
    curve_searches,
    digit_training,
    own_space_tables,
    real_trainings,
)
from experiments.own_space.digit_networks import EXAMPLE, build
from experiments.own_space.digit_training import EPOCHS, Epoch, Latencies, Trainings
from experiments.search.search_tasks import Measured
from nasplug.search_spaces import space

SETTING = {
    "width": 8,
    "growth": 1.5,
    "stem_stride": 2,
    "norm": True,
    "activation": "relu",
    "residual": True,
    "down": "max",
    "pool": "flatten",
    **{f"{name}{k}": v for k in range(3) for name, v in [("kernel", 3), ("depth", 1)]},
    **{f"separable{k}": k == 1 for k in range(3)},
}


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    counts = {"train": 128, "validation": 50, "test": 50}
    monkeypatch.setattr(cluttered_digits, "IMAGES", counts)
    cluttered_digits.cluttered_digits.cache_clear()
    yield
    cluttered_digits.cluttered_digits.cache_clear()


def test_images_and_trainings_are_the_same_every_time() -> None:
    first = cluttered_digits.cluttered_digits()
    cluttered_digits.cluttered_digits.cache_clear()
    again = cluttered_digits.cluttered_digits()
    assert first.train.x.shape == (128, 1, 16, 16)
    assert torch.equal(first.test.x, again.test.x)
    curves = [
        [(e.validation, e.test) for e in digit_training.trained(_net(), 1e-2, 0.1, 0.2, 3, 2)]
        for _ in range(2)
    ]
    assert curves[0] == curves[1]
    assert [test is None for _, test in curves[0]] == [True, False]


def _net() -> Any:
    return build(optuna.trial.FixedTrial(SETTING))


@pytest.mark.parametrize("pool", ["mean", "max", "flatten"])
def test_networks_classify_the_images(pool: str) -> None:
    for change in ({}, {"down": "stride", "norm": False, "stem_stride": 1, "growth": 2.0}):
        model = build(optuna.trial.FixedTrial(SETTING | change | {"pool": pool}))
        assert model(EXAMPLE).shape == (1, cluttered_digits.CLASSES)


def test_a_training_is_done_once_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    asked = []

    def train() -> Iterator[Epoch]:
        asked.append(1)
        for k in range(EPOCHS):
            yield Epoch(k / 10, 1.0, None)

    file = tmp_path / "trainings.jsonl"
    pruned = Trainings(file).run({"a": 1}, 0, train)
    assert [next(pruned).validation for _ in range(3)] == [0.0, 0.1, 0.2]
    pruned.close()
    with file.open("a") as written:
        written.write('{"key": "cut o')
    again = Trainings(file).run({"a": 1}, 0, train)
    assert [next(again).validation for _ in range(3)] == [0.0, 0.1, 0.2]
    again.close()
    assert len(asked) == 1
    for _ in range(2):
        assert len(list(Trainings(file).run({"a": 1}, 0, train))) == EPOCHS
    assert len(asked) == 2
    list(Trainings(file).run({"a": 1}, 1, train))
    assert len(asked) == 3


def test_the_first_latency_of_an_architecture_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([1.5, 2.5])
    monkeypatch.setattr(digit_training, "latency", lambda model: next(measured))
    both = [Latencies(tmp_path / "latencies.jsonl") for _ in range(2)]
    assert [latencies.of("a", _net()) for latencies in both] == [1.5, 1.5]
    assert both[1].of("b", _net()) == 2.5


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def trained(model: Any, lr: float, **others: Any) -> Iterator[Epoch]:
        for k in range(1, EPOCHS + 1):
            yield Epoch(0.5 - abs(np.log10(lr) + 2) / 10 + k / 100, 2.0, 0.4)

    def latency(model: Any) -> float:
        return sum(p.numel() for p in model.parameters()) / 1e4

    monkeypatch.setattr(real_trainings, "trained", trained)
    monkeypatch.setattr(digit_training, "latency", latency)

    def at(deadline: float = float("inf")) -> real_trainings.Bench:
        return real_trainings.Bench(
            SimpleNamespace(  # type: ignore[arg-type]
                from_params=lambda p: SimpleNamespace(
                    arch_id=str([v for n, v in p.items() if n in SETTING])
                )
            ),
            4.0,
            Trainings(tmp_path / "trainings.jsonl"),
            Latencies(tmp_path / "latencies.jsonl"),
            deadline,
        )

    return at


def test_a_study_that_was_stopped_makes_the_same_decisions(bench: Any, tmp_path: Path) -> None:
    name = "TPE, Hyperband"
    with pytest.raises(real_trainings.OutOfTimeError):
        real_trainings.studied(bench(deadline=0.0), name, 0, 12)
    begun = (tmp_path / "trainings.jsonl").read_text()
    whole = real_trainings.studied(bench(), name, 0, 12)
    rows = (tmp_path / "trainings.jsonl").read_text()
    again = real_trainings.studied(bench(), name, 0, 12)
    assert begun.count("\n") == 1
    assert (tmp_path / "trainings.jsonl").read_text() == rows
    assert again["trials"] == whole["trials"]
    trials = whole["trials"]
    missed = [t for t in trials if t[3] > 4.0]
    assert missed
    assert all(t[:3] == [0.1, 0.0, 0] and t[4] is None for t in missed)
    assert {t[2] for t in trials if t[3] <= 4.0} >= {EPOCHS}
    assert all(t[1] == 2.0 * t[2] for t in trials)


def test_best_values_count_only_what_a_budget_has_ended() -> None:
    result = {"chance": 0.1, "epochs": 9}
    trials = [
        {"validation": 0.5, "seconds": 10.0, "epochs": 9, "test": 0.4},
        {"validation": 0.9, "seconds": 2.0, "epochs": 3, "test": None},
        {"validation": 0.7, "seconds": 10.0, "epochs": 9, "test": 0.6},
    ]
    bests = [own_space_tables._best(trials, result, s)["validation"] for s in (9, 10, 21.9, 22)]
    assert bests == [0.1, 0.5, 0.5, 0.7]
    run = {"best": [[108, 90.0, 89.0], [324, 92.0, 91.5]]}
    seen = [own_space_tables.best_after(run, epochs) for epochs in (107, 108, 400)]
    assert seen == [None, 90.0, 92.0]
    assert own_space_tables.best_after(run, 400, 2) == 91.5


@pytest.mark.parametrize("sampler", ["TPE", "random"])
def test_curve_searches_end_with_their_epochs(sampler: str) -> None:
    rng, accel = np.random.default_rng(0), space("accel")
    cells = Measured(accel, [accel.sample(rng) for _ in range(40)])
    final = rng.uniform(80, 95, len(cells))
    curves = curve_searches.Curves(cells, final[:, None] - [40.0, 20.0, 5.0, 0.0], final - 1)
    whole = curve_searches.searched(curves, "none", sampler, 0, 10 * 108)
    assert whole["trials"] == whole["complete"] == 10
    assert all(spent % 108 == 0 for spent, _, _ in whole["best"])
    pruned = curve_searches.searched(curves, "successive halving", sampler, 0, 10 * 108)
    assert pruned["trials"] > 10 > pruned["complete"] > 0
    assert pruned["best"][0][0] == sum(curve_searches.EPOCHS)
    assert all(test == pytest.approx(value - 1) for _, value, test in pruned["best"])
