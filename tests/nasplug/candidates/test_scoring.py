"""Quantities of candidates, and limits on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nasplug.candidates.constraints import parse_constraints
from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.scoring import Scoring
from nasplug.devices.hardware import hardware
from nasplug.predicting.memory import memory_of
from nasplug.predicting.zoo import load_shipped
from nasplug.predictors.features.runtimes import Way, known_way
from nasplug.predictors.latency.network_latency import NetworkLatency
from nasplug.predictors.prediction import Prediction
from nasplug.search_spaces import Architecture, InputError, space

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


class Watts:
    """Energies of nb201's cells by a user: a tenth of a joule for each convolution."""

    name, sha256, targets = "my-energy", None, ("energy",)

    def predict(
        self, architectures: Sequence[Architecture], hardware: Any = None, batch_size: int = 1
    ) -> Prediction:
        joules = [0.1 + 0.1 * arch.text.count("conv") for arch in architectures]
        return Prediction(
            targets=("energy",),
            units=("J",),
            center=np.array(joules)[:, None],
            spread=np.full((len(joules), 1), 0.01),
            levels=np.array([0.05, 0.5, 0.95]),
            residuals=np.array([-1.0, 0.0, 1.0])[:, None],
            log_scale=(False,),
            evidence="measured",
        )


def test_energies_of_cells_come_from_a_scorer_of_ones_own() -> None:
    nb201 = space("nb201")
    cells = [nb201[k] for k in range(0, 15_625, 500)]
    limits = parse_constraints(("energy<=0.35J",), 0.9)
    scoring = Scoring(nb201, ("accuracy",), DEVICE, limits, 1, "cifar10", {"energy": Watts()})
    made = ListedCandidates(scoring, cells, whole=True)
    joules = Watts().predict(cells).mean[:, 0]
    np.testing.assert_allclose(made.quantities["energy"].mean, joules)
    assert 0 < made.feasible.sum() < len(cells)
    assert (made.feasible == (joules + 0.01 <= 0.35)).all()
    np.testing.assert_allclose(made.exactly("energy", [0, 3]), joules[[0, 3]])


def test_an_energy_rests_on_the_latency_that_was_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    gpt = space("gpt:s")
    archs = [gpt.sample(np.random.default_rng(seed)) for seed in range(4)]
    devices = (hardware("H100"), hardware("A40"))
    latency, energy = (load_shipped(gpt, quantity) for quantity in ("latency", "energy"))
    asked: list[str] = []
    original = NetworkLatency.predict

    def counted(self: NetworkLatency, graphs: Any, device: Any, *more: Any, **named: Any) -> Any:
        asked.append(device.name)
        return original(self, graphs, device, *more, **named)

    monkeypatch.setattr(NetworkLatency, "predict", counted)
    wanted = ("energy@H100", "energy@A40", "latency@A40")
    # Without a chosen way, in one, and with ways that differ, where the energy has a time of its
    # own.
    halved = known_way("eager bf16")
    for timed, powered, passes in (
        (latency, energy, 1),
        (latency.in_way(halved), energy.in_way(halved), 1),
        (latency, energy.in_way(halved), 2),
    ):
        asked.clear()
        predictors = {"latency": timed, "energy": powered}
        scoring = Scoring(gpt, wanted, devices[0], (), 8, "prefill", predictors, others=devices[1:])
        scores = scoring(archs)
        assert sorted(asked) == ["A40"] * passes + ["H100"] * passes
        for device in devices:
            alone = powered.predict(archs, device, 8)
            joined = scores.quantities[f"energy@{device.name}"]
            np.testing.assert_array_equal(joined.mean, alone.mean[:, 0])
            np.testing.assert_array_equal(joined.upper, alone.upper[:, 0])
