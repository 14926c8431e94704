"""A search of whole networks: a pool, a proxy for quality, studies that come and go."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting_predictors import sum_latency
from typer.testing import CliRunner

import nasplug
from nasplug.cli import app
from nasplug.pareto import pareto_mask
from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import InputError, space
from nasplug.searching.search import SearchResult, search

NETS = space("nnlqp:mobilenetv2")
POOL = 80
SAID = "quality is a proxy: FLOPs (no accuracy predictor for this space)"
Find = Callable[..., SearchResult]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Find:
    """`search` with a latency that is a sum, and its own state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def found(evidence: str = "measured", **options: Any) -> SearchResult:
        given = {"space": NETS.name, "hardware": "RTX 3090", "n_trials": 6, "pool_size": POOL}
        given |= {"proxy": "flops"}
        options = {**given, "storage": tmp_path / "s.journal", **options}
        latency = (
            [] if options["hardware"] is None else [sum_latency(space(options["space"]), evidence)]
        )
        return search(**{"predictors": latency, **options})

    return found


def without_seconds(result: SearchResult) -> str:
    return json.dumps({**result.to_json(), "seconds": None})


def test_the_front_is_feasible_and_its_quality_is_said_to_be_a_proxy(find: Find) -> None:
    result = find(constraints="latency<=2.5ms", n_trials=12)
    told = json.loads(json.dumps(result.to_json()))
    assert told["quality"] == SAID
    assert told["objectives"] == [
        {"name": "flops", "direction": "maximize", "unit": "count"},
        {"name": "latency", "direction": "minimize", "unit": "ms"},
    ]
    assert told["pareto"]
    for row in told["pareto"]:
        arch = NETS.parse(row["arch"])
        assert row["arch_id"] == arch.arch_id
        assert row["predicted"]["accuracy"] is None
        assert row["measured"] == {"accuracy": None, "latency_ms": None}
        assert row["predicted"]["latency_ms"]["mean"] < 2.5
        assert row["flops"] == NETS.to_graph(arch).total("flops")
    values = [[-r["flops"], r["predicted"]["latency_ms"]["mean"]] for r in told["pareto"]]
    assert pareto_mask(np.array(values)).all()
    text = result.to_text()
    assert SAID in text.splitlines()[0]
    assert "MFLOPs (proxy)" in text
    assert any(line.startswith(SAID) for line in text.splitlines()[1:])
    assert f"the search scored {POOL} networks" in text


@pytest.mark.parametrize("evidence", ["measured", "few-shot", "zero-shot"])
def test_each_kind_of_evidence_has_a_sentence(find: Find, evidence: str) -> None:
    result = find(evidence=evidence, n_trials=2, storage="memory")
    assert result.evidence == evidence
    assert result.zero_shot == (evidence == "zero-shot")
    kinds = [note.partition(":")[0] for note in result.notes()]
    assert kinds.count(evidence) == 1
    assert not {"measured", "few-shot", "zero-shot"} - {evidence} & set(kinds)


def test_a_calibration_is_a_next_step_where_nothing_was_measured(find: Find) -> None:
    assert "nasplug calibrate" not in "\n".join(find("few-shot").next_steps())
    assert "nasplug calibrate" in find("zero-shot", storage="memory").next_steps()[0]


def test_the_next_steps_are_run_as_they_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    program = "import json, sys; print(json.dumps({'accuracy': 1.0 + len(sys.argv[1]) % 7}))"
    Path("train.py").write_text(program, encoding="utf-8")
    words = "search --space nnlqp:squeezenet --hw T4 --runtime tensorrt --precision fp16"
    words += " --batch-size 8 --n-trials 2 --pool-size 12 --constraint 'latency<=1s'"

    def run(line: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nasplug", *shlex.split(line)])
        done = CliRunner().invoke(app, shlex.split(line))
        assert done.exit_code == 0, done.output
        return done.stdout

    text = run(words)
    assert "TensorRT, fp16" in text
    steps = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    lines = [step.partition(": nasplug ")[2] for step in steps]
    for line in filter(None, lines):
        again = run(line)
        if line.startswith("search"):
            assert "T4, batch 8, TensorRT, fp16" in again
    assert sum(map(bool, lines)) == 3
    assert list(Path("networks").glob("*.onnx"))
    assert Path("todo.csv").is_file()
    (call,) = (step.partition("in Python: ")[2] for step in steps if "in Python: " in step)
    result = eval(call, {"nasplug": nasplug})
    assert [row["arch"] for row in result.pareto] == [
        row["arch"] for row in json.loads(run(f"{words} --json"))["pareto"]
    ]
    # A proxy stands for the accuracy here; with a program it would be observed.
    observed = run(f'{words} --evaluate command "{sys.executable} train.py {{arch}}"')
    for step in observed.splitlines()[observed.splitlines().index("next steps:") + 1 :]:
        run(step.partition(": nasplug ")[2])
    assert Path("report/report.html").is_file()


def test_a_search_says_what_its_latencies_rest_on(tmp_path: Path) -> None:
    given: dict[str, Any] = {"n_trials": 2, "pool_size": 24, "storage": "memory"}
    result = search("nnlqp:squeezenet", "Pixel 4", "latency<=900ms", **given)
    told = result.to_json()["latency"]
    assert (result.evidence, result.zero_shot) == ("measured", False)
    assert (told["evidence"], told["setting"]) == ("measured", "tflite")
    assert told["learned"] > 100
    assert len(told["measured"]) == 3
    notes = result.notes()
    text = f"learned from {told['learned']} networks measured on Pixel 4 (TensorFlow Lite)"
    assert any(text in note for note in notes)
    assert any(note.startswith("measured: ") and " ms on " in note for note in notes)
    assert f"the interval reflects {told['rests_on']}" in notes
    result.report(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text in page
    assert "zero-shot" not in page


def test_a_limit_on_latencies_of_which_the_magnitude_alone_is_known_is_said(tmp_path: Path) -> None:
    given: dict[str, Any] = {"n_trials": 2, "pool_size": 24, "storage": "memory"}
    result = search("nnlqp:squeezenet", "Eyeriss", "latency<=100s", **given)
    assert not any(row["predicted"]["latency_ms"]["usable"] for row in result.pareto)
    assert any(
        note.startswith("latency<=100s is checked against such a wide interval")
        for note in result.notes()
    )
    with pytest.raises(InputError, match="only the order of magnitude of latencies on Eyeriss"):
        search("nnlqp:squeezenet", "Eyeriss", "latency<=1us", **given)


def test_more_parameters_as_a_proxy(find: Find) -> None:
    limits = ("latency<=99s", "params<=9G")
    result = find(constraints=limits, proxy="params", n_trials=3)
    assert "latency<=99s (probability 0.9), params<=9G: " in result.heading()
    assert [o.name for o in result.objectives] == ["params", "latency"]
    assert "params (proxy)" in result.to_text()
    assert "quality is a proxy: parameters" in result.heading()


def test_without_hardware_flops_stand_against_parameters(find: Find, tmp_path: Path) -> None:
    result = find(hardware=None, constraints="params<=3M", n_trials=8)
    told = result.to_json()
    assert [(o["name"], o["direction"]) for o in told["objectives"]] == [
        ("flops", "maximize"),
        ("params", "minimize"),
    ]
    assert told["predictor"] == {"name": None, "sha256": None}
    assert all(row["params"] <= 3_000_000 for row in told["pareto"])
    assert "no device was given" in result.to_text()
    assert result.evidence is None
    result.report(tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "a proxy for accuracy" in page


def test_a_report_shows_the_proxy(find: Find, tmp_path: Path) -> None:
    find(constraints="flops<=400M").report(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "FLOPs (M), a proxy for accuracy" in page
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_goes_on_and_its_name_is_that_of_a_file(find: Find, tmp_path: Path) -> None:
    short = find(n_trials=3)
    whole = find(n_trials=6)
    fresh = find(n_trials=6, storage="memory")
    assert without_seconds(whole) == without_seconds(fresh)
    assert without_seconds(find(n_trials=3)) == without_seconds(short)
    assert len(whole.study.trials) == 6
    kept = find(n_trials=1, storage=None)
    path = tmp_path / "state" / "nasplug" / "studies" / f"{kept.study.study_name}.journal"
    assert path.is_file()
    assert kept.study.study_name.startswith("nnlqp-mobilenetv2-")
    names = {
        find(n_trials=1, storage="memory", **change).study.study_name
        # Macs stands for flops.
        for change in ({}, {"proxy": "macs"}, {"pool_size": 60}, {"proxy": "params"}, {"seed": 1})
    }
    assert len(names) == 4


def test_only_parameters_that_count_are_kept(find: Find) -> None:
    result = find()
    for trial in result.study.trials:
        depths = {n: v for n, v in trial.params.items() if n.startswith("d_")}
        assert depths
        arch = NETS.from_params(trial.params)
        for name in trial.params:
            assert f"{name}=" in arch.text
        assert trial.user_attrs["nasplug"]["arch_id"] == arch.arch_id
    assert any(set(t.params) < set(NETS.distributions()) for t in result.study.trials)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"proxy": "depth"}, "unknown proxy 'depth'; known: flops, params"),
        ({"pool_size": 0}, "pool size 0"),
        ({"constraints": "accuracy>=70%"}, "no accuracy predictor for space nnlqp:mobilenetv2, so"),
        ({"constraints": "latency<=1us"}, "none of the 80 nnlqp:mobilenetv2 architectures"),
        ({"dataset": "cifar10"}, "unknown image set 'cifar10'"),
    ],
)
def test_bad_input(find: Find, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        find(**options)
    assert said in str(caught.value)


def test_a_proxy_is_not_for_a_space_with_accuracies() -> None:
    with pytest.raises(InputError, match="space nb201 has an accuracy predictor and needs no"):
        search("nb201", proxy="flops", storage="memory")
    with pytest.raises(InputError, match="no accuracy predictor for space fbnet"):
        _ = PredictorSampler("fbnet", objectives="accuracy", pool_size=3).candidates


def test_a_runtime_is_searched_for_and_said(tmp_path: Path) -> None:
    given: dict[str, Any] = {"n_trials": 2, "pool_size": 24, "storage": "memory"}
    framework, compiled, usual = (
        search("nnlqp:squeezenet", "RTX 3090", runtime=runtime, **given)
        for runtime in ("eager", "tensorrt", None)
    )
    fastest = [min(r.candidates.means(("latency",))[:, 0]) for r in (framework, compiled)]
    assert fastest[1] < fastest[0]
    # The networks of the space are ONNX files, which an inference runtime runs.
    assert without_seconds(usual) == without_seconds(compiled) != without_seconds(framework)
    assert compiled.heading().startswith(
        "nnlqp:squeezenet, imagenet on RTX 3090, batch 1, TensorRT:"
    )
    notes = compiled.notes()
    assert any("RTX 3090 was not measured at batch 1 (TensorRT)" in note for note in notes)
    assert any(note.startswith("TensorRT was measured on ") for note in notes)
    with pytest.raises(InputError, match="name a device"):
        search("nnlqp:squeezenet", runtime="tensorrt", **given)
