"""Quantities of candidates, and limits on them."""

from __future__ import annotations

import numpy as np
import pytest

from nasplug.candidates.constraints import parse_constraints
from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.scoring import Scoring
from nasplug.devices.hardware import hardware
from nasplug.predicting.memory import memory_of
from nasplug.predictors.features.runtimes import Way
from nasplug.search_spaces import InputError, space

MACRO = space("macro")
DEVICE = hardware("RTX 3090")


def scored(
    wanted: tuple[str, ...] = (),
    constraints: tuple[str, ...] = (),
    batch_size: int = 1,
    precision: str = "",
    is_timed: bool = True,
) -> ListedCandidates:
    """Every 200th network of NAS-Bench-Macro."""
    scoring = Scoring(
        MACRO,
        wanted,
        DEVICE if is_timed else None,
        parse_constraints(constraints, 0.8),
        batch_size,
        "cifar10",
        {},
        precision,
    )
    return ListedCandidates(scoring, list(MACRO)[::200], whole=True)  # type: ignore[call-overload]


def test_a_limit_on_throughput_is_one_on_latency() -> None:
    made = scored(("throughput",), ("fps>=4000", "latency<=2ms"), batch_size=8)
    throughput, latency = made.quantities["throughput"], made.quantities["latency"]
    np.testing.assert_allclose(throughput.mean, 8e3 / latency.mean)
    np.testing.assert_allclose(throughput.lower, 8e3 / latency.upper)
    assert (throughput.lower <= throughput.mean).all()
    by_rate, by_time = made.scores.met
    assert 0 < by_rate.sum() < len(made)
    assert (by_rate == by_time).all()
    np.testing.assert_allclose(made.scores.reachable[0], 8e3 / made.scores.reachable[1])
    assert ((made.violations()[0] <= 0) == by_rate).all()


def test_memory_and_size_are_those_of_the_precision() -> None:
    made = scored(("memory", "size"), ("memory<=3MB",), 4, "fp16", is_timed=False)
    way = Way("", "fp16")
    totals = [memory_of(g, 4, way).total for g in MACRO.to_graphs(made.architectures)]
    np.testing.assert_allclose(made.quantities["memory"].mean, totals)
    np.testing.assert_allclose(made.quantities["size"].mean, 2e-6 * made.quantities["params"].mean)
    assert (made.feasible == (np.array(totals) <= 3)).all()
    assert "memory" in made.summary(0)["predicted"]
    assert "size" not in made.summary(0)["predicted"]
    # A quantity that the search has nothing to do with is computed when it is asked for.
    others = scored(batch_size=4, precision="fp16", is_timed=False)
    np.testing.assert_allclose(others.exactly("memory", [0, 2]), np.array(totals)[[0, 2]])


def test_what_is_not_known_gets_a_sentence() -> None:
    nb201 = space("nb201")
    for name in ("memory", "energy"):
        scoring = Scoring(nb201, (name,), None, (), 1, "cifar10", {})
        sentence = f"graphs of cells alone, so the {name} of its networks .*known: params, size"
        with pytest.raises(InputError, match=sentence):
            ListedCandidates(scoring, [nb201[0]], whole=True)


@pytest.mark.parametrize(
    ("constraint", "sentence"),
    [
        ("memory<=1kB", r"meets memory<=0.001MB; the smallest reachable bound is memory<=\d"),
        ("size<=1B", r"meets size<=1e-06MB; the smallest reachable bound is size<=\d"),
        (
            "fps>=1e9",
            r"meets throughput>=1\d*img/s on RTX 3090 with probability 0.8; the largest reachable "
            r"bound is throughput>=\d",
        ),
    ],
)
def test_limits_that_nothing_meets_get_the_nearest(constraint: str, sentence: str) -> None:
    made = scored((), (constraint,), is_timed=constraint.startswith("fps"))
    with pytest.raises(InputError, match=sentence):
        made.check_reachable(DEVICE)
