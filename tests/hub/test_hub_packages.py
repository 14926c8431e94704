"""The packages of hub/, loaded by OptunaHub itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from optuna.study import StudyDirection

import nasplug
from nasplug import datasets

# OptunaHub's loader needs the program git.
optunahub = pytest.importorskip("optunahub", exc_type=ImportError)

ROOT = Path(__file__).resolve().parents[2] / "hub"
PACKAGES = ("samplers/nasplug", "benchmarks/nb201_hw")


def load(name: str) -> ModuleType:
    return optunahub.load_local_module(name, registry_root=str(ROOT))


@pytest.fixture(scope="module")
def bench(nb201_cache: Path) -> ModuleType:
    return load("benchmarks/nb201_hw")


@pytest.mark.parametrize("name", PACKAGES)
def test_layout_is_the_registrys(name: str) -> None:
    folder = ROOT / name
    assert {"LICENSE", "README.md", "__init__.py", "example.py"} <= set(os.listdir(folder))
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    said = yaml.safe_load(front)
    fields = {"author", "title", "description", "tags", "optuna_versions", "license"}
    assert set(said) == fields
    assert said["tags"][0] == name.split("/", maxsplit=1)[0].removesuffix("s")
    assert said["license"] == "MIT License"
    assert "## Abstract" in text
    assert f'load_module("{name}")' in text


@pytest.mark.parametrize("name", PACKAGES)
def test_examples_run(name: str, nb201_cache: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / name / "example.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert "hypervolume of the true front" in last
    assert float(last.split("%")[0]) > 75


def test_nothing_is_asked_of_a_network(nb201_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in PACKAGES:
        load(name)
    problem = load("benchmarks/nb201_hw").Problem()
    assert len(problem.front()) > 5


def test_the_sampler_is_nasplugs_own() -> None:
    assert load("samplers/nasplug").PredictorSampler is nasplug.PredictorSampler


def test_values_are_the_tables(bench: ModuleType) -> None:
    problem = bench.Problem("cifar100", "raspberry pi 4", split="test")
    assert problem.hardware == "Raspberry Pi 4"
    assert problem.metric_names == ["accuracy", "latency_ms"]
    assert problem.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    space: Any = nasplug.space("nb201")
    assert problem.search_space == space.distributions()
    accuracy, latency = datasets.load("nb201-accuracy"), datasets.load("nb201-latency")
    for row in (0, 4_711, 15_624):
        params = space.to_params(space[row])
        assert problem.architecture(params) == accuracy["arch"][row]
        assert problem.evaluate(params) == [
            accuracy["cifar100_test"][row],
            latency["Raspberry Pi 4@1"][row],
        ]
        assert problem.evaluate_constraints(params) == {}


def test_front_and_share_of_it(bench: ModuleType) -> None:
    problem = bench.Problem()
    accuracy = datasets.load("nb201-accuracy")["cifar10_val"].to_numpy()
    latency = datasets.load("nb201-latency")["GTX 1080 Ti@1"].to_numpy()
    front = problem.front()
    # By definition, over all cells: nothing is as fast and more accurate.
    best = np.maximum.accumulate(accuracy[np.argsort(latency, kind="stable")])
    assert front[:, 0].tolist() == np.unique(best).tolist()
    assert (np.diff(front[:, 1]) > 0).all()
    assert (np.diff(front[:, 0]) > 0).all()
    assert problem.reference_point == [80.0, latency.max()]
    assert problem.hypervolume(front) == pytest.approx(1.0)
    assert problem.hypervolume([*front, [81.0, 30.0], None]) == pytest.approx(1.0)
    assert 0 < problem.hypervolume(front[:-1]) < 1
    assert problem.hypervolume([]) == 0
    turned = bench.Problem(metric_names=["latency_ms", "accuracy"])
    assert turned.front()[:, ::-1].tolist() == front.tolist()
    assert turned.hypervolume(front[3:, ::-1]) == pytest.approx(problem.hypervolume(front[3:]))


def test_a_limit_is_a_constraint_of_the_trial(bench: ModuleType) -> None:
    problem = bench.Problem(metric_names="accuracy", max_latency_ms=6.0)
    study = optuna.create_study(
        directions=problem.directions, sampler=optuna.samplers.RandomSampler(0)
    )
    study.optimize(problem, n_trials=12)
    latency = datasets.load("nb201-latency")["GTX 1080 Ti@1"]
    space: Any = nasplug.space("nb201")
    over = [latency[space.index(space.from_params(t.params))] - 6.0 for t in study.trials]
    assert [trial.constraints["latency_ms"] for trial in study.trials] == pytest.approx(over)
    assert min(over) <= 0 < max(over)
    (optimum,) = problem.front()
    accuracy = datasets.load("nb201-accuracy")["cifar10_val"].to_numpy()
    assert optimum.tolist() == [accuracy[latency.to_numpy() <= 6.0].max()]
    assert study.best_value <= optimum[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dataset": "mnist"}, "unknown dataset 'mnist'; there are cifar10, cifar100"),
        ({"hardware": "RTX 3090"}, "'RTX 3090@1' was not measured; there are"),
        ({"hardware": "Raspberry Pi 4", "batch_size": 32}, "'Raspberry Pi 4@32' was not measured"),
        ({"split": "train"}, "unknown split 'train'; there are val and test"),
        ({"metric_names": []}, "give one or both of accuracy, latency_ms"),
        ({"metric_names": ["accuracy", "accuracy"]}, "give one or both"),
        ({"metric_names": ["flops"]}, "give one or both"),
        ({"max_latency_ms": 1.0}, "no cell meets max_latency_ms=1.0 on GTX 1080 Ti; the fastest"),
    ],
)
def test_bad_input_is_told_in_a_sentence(
    bench: ModuleType, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(nasplug.InputError) as error:
        bench.Problem(**given)
    assert said in str(error.value)


def test_one_metric_has_no_hypervolume(bench: ModuleType) -> None:
    with pytest.raises(nasplug.InputError, match="compare with front"):
        bench.Problem(metric_names=["accuracy"]).hypervolume([[90.0]])


def test_devices_are_those_of_the_table(bench: ModuleType) -> None:
    assert len(bench.Problem.available_hardware()) == 16
    for name in bench.Problem.available_hardware():
        assert bench.Problem(hardware=name).hardware == name
