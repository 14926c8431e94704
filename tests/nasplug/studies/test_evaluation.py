"""What evaluations may answer, and how objectives are read."""

from __future__ import annotations

import json
import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.search_spaces import Architecture, InputError, space
from nasplug.studies.evaluation import (
    Function,
    Request,
    TrialFailure,
    missing,
    parse_objectives,
    read_metrics,
)

CELL = space("nb201").parse(
    "|none~0|+|none~0|none~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
)
REQUEST = Request(
    CELL, 3, {"x": 1}, {"space": "nb201", "seed": 0}, {"accuracy": None}, {"params": 7}
)


def test_objectives() -> None:
    first, second, third = parse_objectives(["accuracy", "latency_ms", "memory_mb : min"])
    assert (first.name, first.direction, first.unit) == ("accuracy", "maximize", "%")
    assert (second.name, second.direction, second.unit) == ("latency_ms", "minimize", "ms")
    assert (third.name, third.direction, third.unit) == ("memory_mb", "minimize", "MB")
    assert parse_objectives("accuracy:minimize")[0].direction == "minimize"
    assert parse_objectives(()) == ()
    assert parse_objectives(["macs", "accuracy"]) == parse_objectives(["flops", "accuracy"])


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["loss"], "has no direction; write loss:max or loss:min"),
        (["loss:least"], "has direction 'least'; write max or min"),
        (["loss:"], "has direction ''"),
        ([":max"], "does not name a metric"),
        (["top 1:max"], "does not name a metric"),
        (["constraints:max"], "does not name a metric"),
        (["accuracy", "accuracy:max"], "accuracy is given twice as an objective; give"),
    ],
)
def test_bad_objectives(texts: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_objectives(texts)


@given(st.text())
def test_any_text_is_an_objective_or_one_sentence(text: str) -> None:
    try:
        (found,) = parse_objectives([text])
    except InputError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 300
    else:
        assert found.direction in ("maximize", "minimize")


def test_metrics() -> None:
    answer = {
        "accuracy": np.float32(93.5),
        "epochs": 12,
        "checkpoint": "best.pt",
        "stopped": True,
        "curve": [1, 2],
        "constraints": {"memory": -3},
    }
    found = read_metrics(answer)
    assert found.values == {"accuracy": 93.5, "epochs": 12.0}
    assert found.constraints == {"memory": -3.0}
    assert read_metrics({"accuracy": 1, "constraints": None}).constraints == {}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "the result is None, not an object"),
        ([93.1], "not an object"),
        ({"accuracy": math.nan}, "accuracy is nan, not a finite number"),
        ({"accuracy": -math.inf}, "not a finite number"),
        ({"accuracy": 10**400}, "accuracy is .*, not a number"),
        ({"accuracy": 100.1}, "accuracy is 100.1 %, which is impossible; it must be from 0 to 100"),
        ({"accuracy": -3}, "accuracy is -3 %, which is impossible"),
        ({"latency_ms": -8.4}, "latency_ms is -8.4 ms, which is impossible"),
        ({"latency_ms": 0.0}, "latency_ms is 0 ms, which is impossible"),
        ({"latency_ms": 1e12}, "latency_ms is 1e.12 ms, which is impossible"),
        ({"throughput": 0}, "throughput is 0 img/s, which is impossible"),
        ({"flops": -1}, "flops is -1.*, which is impossible"),
        ({"params": 1e30}, "params is 1e.30.*, which is impossible"),
        ({"loss": 1e200}, "loss is 1e.200, which is impossible"),
        ({"constraints": {"memory": -1e200}}, "constraint memory is -1e.200, which is impossible"),
        ({"constraints": [1]}, "constraints is"),
        ({"constraints": {"memory": "3"}}, "constraint memory is '3', not a number"),
        ({"constraints": {"memory": math.nan}}, "constraint memory is nan"),
        ({str(k): k for k in range(101)}, "101 entries"),
    ],
)
def test_bad_answers(answer: object, said: str) -> None:
    with pytest.raises(TrialFailure, match=said):
        read_metrics(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_any_answer_is_read_or_says_why(answer: object) -> None:
    try:
        found = read_metrics(answer)
    except TrialFailure as failure:
        assert 0 < len(str(failure)) < 400
    else:
        assert all(map(math.isfinite, [*found.values.values(), *found.constraints.values()]))


def test_what_is_missing_is_named() -> None:
    assert str(missing(["top1"], {"loss": 1, "note": "x"})) == (
        "the result has no top1; it has loss, note"
    )
    assert str(missing(["top1"], {})) == "the result has no top1; it has no entries"
    assert str(missing(["top1"], {"top1": "93"})) == "not a number: top1 '93'"


def test_a_request_as_json() -> None:
    told = json.loads(json.dumps(REQUEST.to_json()))
    assert list(told)[:5] == ["space", "arch", "arch_id", "params", "trial"]
    assert (told["arch"], told["trial"], told["seed"]) == (CELL.text, 3, 0)
    assert (told["costs"], told["predicted"]) == ({"params": 7}, {"accuracy": None})


def test_a_function_that_raises_fails_its_trial() -> None:
    def broken(arch: Architecture) -> dict[str, float]:
        raise ZeroDivisionError("by\nzero")

    def pruned(arch: Architecture) -> dict[str, float]:
        raise optuna.TrialPruned

    function = Function(broken)
    assert function.identity.endswith("broken")
    with pytest.raises(TrialFailure, match="^ZeroDivisionError: by zero$"):
        function(REQUEST)
    with pytest.raises(optuna.TrialPruned):
        Function(pruned)(REQUEST)
    assert Function(lambda arch: {"n": len(arch.text)})(REQUEST) == {"n": len(CELL.text)}
