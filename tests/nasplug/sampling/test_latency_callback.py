"""Measured beside predicted latencies, and the device that learns from them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from networks_by_trial import EXAMPLE, build

import nasplug
from nasplug.predictors.latency.device_profile import DeviceProfile
from nasplug.search_spaces import InputError

DEVICE = "Jetson Orin Nano"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Messages of the callback, which Optuna's logger shows."""
    optuna.logging.enable_propagation()
    with caplog.at_level(logging.INFO, logger="optuna.nasplug"):
        yield caplog
    optuna.logging.disable_propagation()


def messages(log: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in log.records if r.name == "optuna.nasplug"]


def slow(model: Any) -> float:
    """A measurement on a device that takes three times as long as its data sheet says."""
    return 3 * nasplug.predict(model, EXAMPLE, hardware=DEVICE).mean


def study_of(watch: nasplug.LatencyCallback, trials: int) -> optuna.Study:
    def objective(trial: optuna.Trial) -> float:
        model = build(trial)
        nasplug.latency_constraint(trial, model, EXAMPLE, watch.hardware, "latency<=9ms")
        trial.set_user_attr("latency_ms", slow(model))
        return float(trial.params["width"])

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective, n_trials=trials, callbacks=[watch])
    return study


def test_the_device_learns_from_the_study(log: pytest.LogCaptureFixture) -> None:
    watch = nasplug.LatencyCallback(DEVICE, every=4)
    study = study_of(watch, 9)
    rows = watch.rows(study)
    assert len(rows) == 9
    factors = [row["measured"] / row["predicted_mean"] for row in rows]  # type: ignore[operator]
    assert all(2.9 < factor < 3.1 for factor in factors[:4])
    assert all(0.8 < factor < 1.3 for factor in factors[4:])
    assert isinstance(watch.hardware, DeviceProfile)
    said = messages(log)
    assert "latency measured" in said[0]
    assert "predicted" in said[0]
    (announced, _) = [text for text in said if "is calibrated by" in text]
    assert announced.startswith(f"{DEVICE} is calibrated by 4 latencies of this study")
    assert "recalibrate=False" in announced
    # Nothing is saved: the device of this name is as it was.
    assert not isinstance(nasplug.hardware(DEVICE), DeviceProfile)


def test_learning_can_be_switched_off(log: pytest.LogCaptureFixture) -> None:
    watch = nasplug.LatencyCallback(DEVICE, recalibrate=False)
    study_of(watch, 6)
    assert watch.hardware == nasplug.hardware(DEVICE)
    assert len(messages(log)) == 6


def test_the_sampler_gets_the_calibrated_device() -> None:
    space = nasplug.space(build, EXAMPLE)
    sampler = nasplug.PredictorSampler(
        space, DEVICE, "latency<=2ms", seed=0, pool_size=80, warn_independent_sampling=False
    )
    watch = nasplug.LatencyCallback(DEVICE, space, every=3)

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("latency_ms", slow(space.model(trial)))
        return float(trial.params["width"])

    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=8, callbacks=[watch])
    assert sampler.hardware is watch.hardware
    assert isinstance(sampler.hardware, DeviceProfile)
    rows = watch.rows(study)
    assert rows[0]["measured"] > 2 * rows[0]["predicted_mean"]  # type: ignore[operator]
    assert all(row["measured"] <= 2.4 for row in rows[3:])  # type: ignore[operator]


def test_values_that_are_no_latencies_are_named(log: pytest.LogCaptureFixture) -> None:
    values: list[Any] = ["fast", float("nan"), -1.0, True, 0]

    def objective(trial: optuna.Trial) -> float:
        width = trial.suggest_int("width", 1, 9)
        if trial.number < len(values):
            trial.set_user_attr("latency_ms", values[trial.number])
        return float(width)

    watch = nasplug.LatencyCallback(DEVICE, every=3)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective, n_trials=7, callbacks=[watch])
    assert not watch.rows(study)
    assert messages(log) == [
        f"Trial {k}: latency_ms is {value!r}, no latency in ms; it teaches nothing. Set it to a "
        "positive number."
        for k, value in enumerate(values)
    ]


def test_measurements_of_unknown_networks_calibrate_nothing() -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("latency_ms", 2.0)
        return 0.0

    watch = nasplug.LatencyCallback(DEVICE, every=3)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective, n_trials=5, callbacks=[watch])
    assert [row["predicted_mean"] for row in watch.rows(study)] == [None] * 5
    assert watch.hardware == nasplug.hardware(DEVICE)


def test_too_few_measurements_are_refused() -> None:
    with pytest.raises(InputError, match="at least 3 measurements"):
        nasplug.LatencyCallback(DEVICE, every=2)
