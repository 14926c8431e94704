"""Searches whose trials are evaluated by a function or a table, on a few cells of NAS-Bench-201."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from own_signals import send_signal
from sqlalchemy.engine.default import DefaultDialect

from nasplug import Command, search
from nasplug.candidates.candidates import Candidates
from nasplug.quantities import QUANTITIES
from nasplug.results.observed_result import ObservedResult
from nasplug.search_spaces import Architecture, FiniteSpace, InputError, space
from nasplug.searching.config import RECORD
from nasplug.studies import journals
from nasplug.studies import trials as trials_module
from nasplug.studies.evaluation_table import Members
from nasplug.studies.storages import open_storage
from nasplug.studies.trials import FAILURE

NB201 = space("nb201")
assert isinstance(NB201, FiniteSpace)
SOME = Members(NB201, [arch for k, arch in enumerate(NB201) if k % 331 == 5])
Find = Callable[..., ObservedResult]


def quality(arch: Architecture) -> float:
    return float(50 + arch.text.count("nor_conv_3x3") - 2 * arch.text.count("none"))


def give(arch: Architecture) -> dict[str, Any]:
    return {"accuracy": quality(arch)}


@pytest.fixture
def find(tmp_path: Path) -> Find:
    def found(evaluate: Any = give, **options: Any) -> ObservedResult:
        given = {"n_trials": 12, "storage": tmp_path / "s.journal", "space": SOME}
        result = search(evaluate=evaluate, **{**given, **options})
        assert isinstance(result, ObservedResult)
        return result

    return found


def test_it_learns_and_shows_what_was_observed(find: Find) -> None:
    result = find()
    told = json.loads(json.dumps(result.to_json()))
    assert list(told) == [
        *("space", "hardware", "seed", "n_trials", "evaluate", "observed_in", "failed"),
        *("objectives", "constraints", "predictor", "latency", "pareto", "hypervolume", "seconds"),
    ]
    assert told["evaluate"] == "function"
    assert told["objectives"] == [{"name": "accuracy", "direction": "maximize", "unit": "%"}]
    best = max(map(quality, SOME))
    for row in told["pareto"]:
        assert row["observed"] == {"accuracy": best}
        assert quality(SOME.parse(row["arch"])) == best
        assert result.study.trials[row["trial"]].values == [best]
        assert row["predicted"] == {"accuracy": None, "latency_ms": None}
    ids = [trial.user_attrs["nasplug"]["arch_id"] for trial in result.study.trials]
    assert len(set(ids)) == 12
    text = result.to_text()
    assert "12 trials; values: returned by your function" in text
    assert "predicted" not in text
    assert result.study.metric_names == ["accuracy"]


def test_again_gives_the_same_and_more_goes_on(find: Find) -> None:
    first, calls = find(n_trials=6), 0

    def counted(arch: Architecture) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return give(arch)

    name = first.study.study_name
    again = find(counted, n_trials=6, study_name=name)
    assert {**again.to_json(), "seconds": 0} == {**first.to_json(), "seconds": 0}
    assert calls == 0
    more = find(counted, n_trials=9, study_name=name)
    assert (calls, more.n_trials) == (3, 9)
    assert more.study.user_attrs[RECORD]["n_trials"] == 9
    with pytest.raises(
        InputError, match=r"objectives \(accuracy:maximize there, accuracy:minimize here\)"
    ):
        find(study_name=name, objectives="accuracy:min")


def test_failed_trials_are_kept_with_the_reason(
    find: Find, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[Any] = [
        ValueError("no memory\nleft"),
        {"loss": 1},
        {"accuracy": float("nan")},
        "high",
        {"accuracy": "93"},
    ]

    def sometimes(arch: Architecture) -> Any:
        if not answers:
            return give(arch)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    result = find(sometimes, n_trials=4)
    assert (result.n_trials, result.failed) == (4, 5)
    states = [trial.state for trial in result.study.trials]
    assert states == [TrialState.FAIL] * 5 + [TrialState.COMPLETE] * 4
    reasons = [trial.user_attrs[FAILURE] for trial in result.study.trials[:5]]
    assert reasons == [
        "ValueError: no memory left",
        "the result has no accuracy; it has loss",
        "accuracy is nan, not a finite number",
        "the result is 'high', not an object of metrics",
        "not a number: accuracy '93'",
    ]
    lines = capsys.readouterr().err.splitlines()
    assert "nasplug: trial 0 failed: ValueError: no memory left" in lines
    assert len([line for line in lines if " failed: " in line]) == 5
    assert "4 trials, and 5 failed" in result.heading()


def test_a_command_that_was_stopped_may_be_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("print('{\"accuracy\": 1}')")
    command = Command([sys.executable, "train.py"])
    command.stop()
    result = search(SOME, evaluate=command, n_trials=2, storage="memory")
    assert result.n_trials == 2
    assert result.to_text().startswith("nb201: 2 trials; values: printed by your program")


def test_ten_failures_in_succession_end_it(find: Find) -> None:
    calls = []

    def broken(arch: Architecture) -> dict[str, Any]:
        calls.append(arch)
        if len(calls) == 3:
            return give(arch)
        raise RuntimeError("no GPU")

    said = "10 trials in a row failed, the last one with: RuntimeError: no GPU; the study is stored"
    with pytest.raises(InputError, match=said):
        find(broken, study_name="mine")
    assert len(calls) == 13
    assert find(study_name="mine").n_trials == 12


def test_limits_are_learned_where_they_are_observed(find: Find) -> None:
    def answer(arch: Architecture) -> dict[str, Any]:
        convolutions = arch.text.count("nor_conv")
        return {
            "accuracy": float(convolutions),
            "latency_ms": 1.0 + convolutions,
            "constraints": {"no pooling": arch.text.count("avg_pool") - 1},
        }

    result = find(answer, constraints=["latency<=4ms", "params<=0.9M"], n_trials=20)
    for trial in result.study.trials:
        limits = trial.constraints
        assert set(limits) == {"latency_ms<=4", "params<=900000", "no pooling"}
        assert limits["latency_ms<=4"] == pytest.approx((trial.values[0] - 3) / 4)
    assert result.pareto
    for row in result.pareto:
        assert row["observed"]["latency_ms"] <= 4
        assert row["params"] <= 900_000
        assert row["arch"].count("avg_pool") <= 1
    # What counts alone tell is never tried.
    assert all(t.constraints["params<=900000"] <= 0 for t in result.study.trials)
    missed = [t for t in result.study.trials if any(v > 0 for v in t.constraints.values())]
    assert f"{len(missed)} of 20 trials violate a constraint" in result.to_text()
    with pytest.raises(InputError, match="10 trials in a row.*no latency_ms; it has"):
        find(constraints=["latency<=4ms"])


def test_objectives_of_ones_own_and_counted_ones(find: Find) -> None:
    def answer(arch: Architecture) -> dict[str, Any]:
        return {"loss": -quality(arch), "top-1": quality(arch)}

    result = find(answer, objectives=["loss:min", "params", "top-1:max"])
    assert [d.name for d in result.study.directions] == ["MINIMIZE", "MINIMIZE", "MAXIMIZE"]
    rows = result.pareto
    for row in rows:
        assert result.study.trials[row["trial"]].values[1] == row["params"]
        better = [
            r
            for r in rows
            if r["params"] < row["params"] and r["observed"]["loss"] < row["observed"]["loss"]
        ]
        assert not better
    heading = next(line for line in result.to_text().splitlines() if line.lstrip().startswith("#"))
    assert heading.split() == ["#", "trial", "loss", "params", "top-1"]


def test_a_latency_that_is_not_given_is_predicted(find: Find) -> None:
    result = find(hardware="RTX 3090", n_trials=3)
    assert [goal.name for goal in result.objectives] == ["accuracy", "latency_ms"]
    for row in result.pareto:
        mean = row["predicted"]["latency_ms"]["mean"]
        assert result.study.trials[row["trial"]].values[1] == pytest.approx(mean, abs=1e-6)
        assert "latency_ms" not in row["observed"]
        assert f"~{mean:.5g}" in result.to_text()
    assert "with ~ are predicted, because" in result.to_text()
    assert "predicted latencies (zero-shot: RTX 3090 was not measured)" in result.to_text()
    given = find(lambda arch: {**give(arch), "latency_ms": 2.5}, hardware="RTX 3090", n_trials=3)
    assert all(row["observed"]["latency_ms"] == 2.5 for row in given.pareto)
    assert "with ~" not in given.to_text()


def test_what_must_be_known_of_the_scores_is_said(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Candidates, "notes", lambda self: [f"{len(self)} were scored"])
    assert f"\n{len(SOME)} were scored\n" in find(n_trials=1).to_text()


def test_several_at_once(find: Find) -> None:
    three = threading.Barrier(3, timeout=300)

    def slow(arch: Architecture) -> dict[str, Any]:
        # Passed only if two others are here too.
        three.wait()
        return give(arch)

    result = find(slow, n_jobs=3, n_trials=9)
    assert result.n_trials == 9
    complete = [t for t in result.study.trials if t.state == TrialState.COMPLETE]
    assert len(complete) == 9
    assert len({t.user_attrs["nasplug"]["arch_id"] for t in complete}) == 9


def test_ten_failures_end_a_search_whoever_has_the_last_one(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowAtTheTenth(io.StringIO):
        n_failures = 0

        def write(self, text: str) -> int:
            self.n_failures += "failed" in text
            time.sleep(0.5 if self.n_failures == 10 else 0)
            return super().write(text)

    monkeypatch.setattr(sys, "stderr", SlowAtTheTenth())
    with pytest.raises(InputError, match="^10 trials in a row"):
        find(lambda arch: {}, n_jobs=3)


def test_an_interrupted_trial_is_tried_again_first(find: Find) -> None:
    tried: list[str] = []

    def interrupted(arch: Architecture) -> dict[str, Any]:
        tried.append(arch.text)
        if len(tried) in (4, 5):
            raise KeyboardInterrupt
        return give(arch)

    # What fails twice is left alone, but not what is stopped twice.
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt, match="stopped after 3 of 12 trials; the study is"):
            find(interrupted, study_name="mine")
    result = find(interrupted, study_name="mine")
    assert result.n_trials == 12
    assert tried[3] == tried[4] == tried[5]
    states = [trial.state for trial in result.study.trials]
    assert states.count(TrialState.FAIL) == 2
    assert result.study.trials[3].user_attrs[FAILURE] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_programs_and_marks_their_trials(
    find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    program = (
        "import os, time; open(str(os.getpid()), 'w').close()\n"
        "while not os.path.exists('over'): time.sleep(0.05)"
    )
    monkeypatch.chdir(tmp_path)
    ended = threading.Event()

    def send() -> None:
        while len(list(tmp_path.glob("[0-9]*"))) < 2:
            if ended.wait(0.05):
                return
        with contextlib.suppress(AssertionError):
            send_signal(number)
            if ended.wait(300):
                return
        (tmp_path / "over").touch()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt, match="stopped after 0 of 12 trials; the study is"):
            find(Command([sys.executable, "-c", program]), n_jobs=2, study_name="s")
    finally:
        # Otherwise the signal of a search that failed would come in another test.
        ended.set()
        thread.join()
    pids = [int(path.name) for path in tmp_path.glob("[0-9]*")]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path / "s.journal"))
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL] * 2 + [TrialState.WAITING] * 2
    assert not (tmp_path / "s.journal.lock").exists()


def test_a_full_disk_is_named_where_optunas_clean_up_hides_it(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The end of the second trial cannot be written, nor anything that follows.
    append, full = journals._Journal.append_logs, []

    def written(self: Any, logs: list[dict[str, Any]]) -> None:
        full.extend(log for log in logs if log.get("state") == 1)
        if len(full) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(journals._Journal, "append_logs", written)
        with pytest.raises(InputError, match=r"study 's' \(No space left on device\); finished"):
            find(study_name="s")
    assert find(study_name="s").n_trials == 12


def test_a_lost_database_is_named(
    find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, lost = DefaultDialect.do_commit, []

    def committed(self: Any, connection: Any) -> None:
        if len(lost) > 60:
            raise sqlite3.OperationalError("database or disk is full")
        lost.append(connection)
        commit(self, connection)

    storage = f"sqlite:///{tmp_path}/s.db"
    with monkeypatch.context() as patch:
        patch.setattr(DefaultDialect, "do_commit", committed)
        with pytest.raises(InputError, match=r"study 's' \(database or disk is full\); finished"):
            find(study_name="s", storage=storage, n_trials=40)
    again = find(study_name="s", storage=storage, n_trials=40)
    assert again.n_trials == 40


def test_metrics_that_cannot_be_true_fail_their_trial_alone(find: Find) -> None:
    told = iter([{"accuracy": 931.0}, {"accuracy": 93.0, "latency_ms": -1}, {"accuracy": math.nan}])
    result = find(lambda arch: next(told, give(arch)), n_trials=5)
    assert (result.n_trials, result.failed) == (5, 3)
    reasons = [t.user_attrs[FAILURE] for t in result.study.trials if t.state == TrialState.FAIL]
    assert reasons == [
        "accuracy is 931 %, which is impossible; it must be from 0 to 100",
        "latency_ms is -1 ms, which is impossible; it must be from 1e-09 to 1e+09",
        "accuracy is nan, not a finite number",
    ]


def test_pruned_trials_do_not_count(find: Find) -> None:
    calls = []

    def sometimes(arch: Architecture) -> dict[str, Any]:
        calls.append(arch)
        if len(calls) % 2:
            raise optuna.TrialPruned
        return give(arch)

    assert find(sometimes, n_trials=3).n_trials == 3
    assert len(calls) == 6


def test_a_surplus_trial_gives_way(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two processes may see room for the last trial at the same moment.
    monkeypatch.setattr(trials_module, "_rank", lambda study, number: 99 if number == 1 else 0)
    result = find(n_trials=3)
    assert (result.n_trials, result.failed) == (3, 0)
    assert [t.state.name for t in result.study.trials].count("FAIL") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"evaluate": "tables"},
            "unknown evaluation 'tables'; known: predicted, table",
        ),
        ({"evaluate": "command"}, "no command is given"),
        ({"evaluate": 3}, "evaluate is 3"),
        (
            {"evaluate": "predicted", "objectives": ["loss"]},
            "unknown objective 'loss'; known: ",
        ),
        ({"proxy": "params"}, "a proxy replaces predicted accuracy, but these trials are"),
        ({"predictors": ["nb201-accuracy"]}, "leave the accuracy predictor"),
        ({"objectives": ["loss"]}, "has no direction"),
        ({"n_jobs": 0}, "number of jobs 0"),
        ({"constraints": ["params<=1k"]}, "no nb201 architecture meets"),
    ],
)
def test_bad_input(find: Find, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        find(**options)
    assert "\n" not in str(caught.value)


def test_a_report(find: Find, tmp_path: Path) -> None:
    one = find().report(tmp_path / "one")
    assert (tmp_path / "one" / "trials.png").stat().st_size > 5000
    assert json.loads((tmp_path / "one" / "result.json").read_text())["n_trials"] == 12
    assert [path.is_file() for path in one] == [True] * len(one)
    limited = find(lambda a: {"accuracy": quality(a), "constraints": {"c": quality(a)}})
    assert (tmp_path / "two" / "trials.png") in limited.report(tmp_path / "two")
    two = find(lambda a: {"a": quality(a), "b": len(a.text)}, objectives=["a:max", "b:min"])
    assert "--report report" in two.next_steps("nasplug search")[-1]
    assert "a page" not in "\n".join(two.next_steps("nasplug search --report two"))
    assert (tmp_path / "three" / "trials.png") in two.report(tmp_path / "three")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the report"):
        two.report(tmp_path / "file")


def test_a_limit_on_a_device_of_no_table_is_predicted(nb201_cache: Path, find: Find) -> None:
    limit = "latency<=9ms"
    result = find(
        "table", hardware="RTX 3090", constraints=limit, objectives="accuracy", n_trials=3
    )
    assert [set(trial.constraints) for trial in result.study.trials] == [{limit}] * 3
    assert all(trial.constraints[limit] <= 0 for trial in result.study.trials)
    measured = find(
        "table",
        hardware="GTX 1080 Ti",
        constraints=limit,
        objectives=["accuracy", "latency"],
        n_trials=3,
    )
    assert all("latency_ms<=9" in trial.constraints for trial in measured.study.trials)
    # The quantity stands for the table's metric.
    assert [objective.name for objective in measured.objectives] == ["accuracy", "latency_ms"]
    assert all("latency_ms" in row["observed"] for row in measured.pareto)


def test_a_search_of_a_table(nb201_cache: Path, find: Find) -> None:
    from nasplug import datasets

    result = find("table", n_trials=10)
    assert len(result.candidates) == len(SOME)
    truth = datasets.load("nb201-accuracy").set_index("arch")
    (row, *_) = result.pareto
    assert row["observed"]["accuracy"] == pytest.approx(truth["cifar10_val"][row["arch"]], abs=1e-5)
    assert row["measured"]["accuracy"] == pytest.approx(
        truth["cifar10_test"][row["arch"]], abs=1e-5
    )
    assert "values: measured, from nb201-accuracy cifar10_val" in result.to_text()
    assert row["observed"]["accuracy"] > np.percentile(
        [truth["cifar10_val"][arch.text] for arch in SOME], 90
    )


def test_a_table_of_some_architectures(mirror: Path, find: Find) -> None:
    result = find("table", space="nb101", n_trials=6)
    assert result.n_trials == 6
    assert "the search covers the 91 architectures of nb101 that the table has" in result.to_text()
    assert len(result.candidates) == 91


def test_every_device_is_predicted_where_a_program_tells_none(find: Find) -> None:
    devices = ["RTX 3090", "Jetson Orin Nano"]
    result = find(hardware=devices, n_trials=2)
    names = [f"latency_ms@{device}" for device in devices]
    assert [goal.name for goal in result.objectives] == ["accuracy", *names]
    for row in result.pareto:
        means = [row["predicted"][name]["mean"] for name in names]
        assert result.study.trials[row["trial"]].values[1:] == pytest.approx(means, abs=1e-6)
    # A latency without a device is that on the first one.
    told = find(lambda a: {**give(a), "latency_ms": 2.5}, hardware=devices, n_trials=3)
    assert all(row["observed"][names[0]] == 2.5 for row in told.pareto)
    assert not any(names[1] in row["observed"] for row in told.pareto)


@pytest.mark.parametrize("quantity", ["size", "throughput", "latency"])
def test_an_objective_that_is_not_told_is_predicted_or_counted(find: Find, quantity: str) -> None:
    result = find(hardware="RTX 3090", objectives=["accuracy", quantity], n_trials=2)
    key = QUANTITIES[quantity].key
    assert [goal.name for goal in result.objectives] == ["accuracy", key]
    for row in result.pareto:
        known = row[key] if key in row else row["predicted"][key]["mean"]
        assert result.study.trials[row["trial"]].values[1] == pytest.approx(known, abs=1e-5)
    assert ("with ~ are predicted" in result.to_text()) == (quantity != "size")


def test_a_quantity_may_be_told_by_its_name(find: Find) -> None:
    result = find(lambda a: {**give(a), "energy": 2.0}, objectives=["accuracy", "energy"])
    assert [goal.name for goal in result.objectives] == ["accuracy", "energy_j"]
    assert all(row["observed"]["energy_j"] == 2.0 for row in result.pareto)
    assert "energy J" in result.to_text()


def test_energy_and_memory_of_language_models_are_foreseen(find: Find) -> None:
    def answer(arch: Architecture) -> dict[str, Any]:
        return {"perplexity": 30.0 + len(arch.text) % 7}

    names = ["perplexity", "energy", "memory"]
    result = find(answer, space="gpt:s", hardware="H100", objectives=names, n_trials=2)
    for row in result.pareto:
        values = result.study.trials[row["trial"]].values
        known = [row["predicted"]["energy_j"]["mean"], row["memory_mb"]]
        assert values[1:] == pytest.approx(known, rel=1e-5)
    assert "energy is zero-shot" in result.to_text()


@pytest.mark.parametrize("device", ["H100", "Raspberry Pi 5"])
def test_a_limit_on_an_energy_that_only_the_program_knows(find: Find, device: str) -> None:
    def answer(arch: Architecture) -> dict[str, Any]:
        return {**give(arch), "energy_j": 0.1 * len(arch.text)}

    result = find(answer, hardware=device, objectives="accuracy", constraints="energy<=4J")
    assert all("energy_j<=4" in trial.constraints for trial in result.study.trials)
    with pytest.raises(InputError, match="10 trials in a row failed.*no energy_j; it has"):
        find(hardware=device, objectives="accuracy", constraints="energy<=5J", n_trials=10)


def test_a_table_may_know_better_than_the_predictions(
    nb201_cache: Path, find: Find, caplog: pytest.LogCaptureFixture
) -> None:
    result = find("table", hardware="GTX 1080 Ti", constraints="latency<=0.1ms", n_trials=2)
    assert result.pareto == []
    assert result.infeasible == 2
    assert "meets latency<=0.1ms on GTX 1080 Ti" in caplog.text
    assert "architectures are proposed that miss it by least" in caplog.text


def test_a_table_was_measured_in_one_way(find: Find) -> None:
    options = {"space": "gpt:s", "hardware": "H100", "batch_size": 8, "n_trials": 1}
    goals = ["perplexity", "latency"]
    with pytest.raises(InputError, match=r"measured on H100 in eager, bf16.*leave runtime and"):
        find("table", **options, runtime="fp32", objectives=goals)
    with pytest.raises(InputError, match="latency of the table is that of whole prompts, and not"):
        find("table", **options, dataset="decode", objectives=goals)
