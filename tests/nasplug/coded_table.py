"""A made-up latency of every NAS-Bench-101 cell, and what predicts it, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from counting_predictors import LEVELS, QUANTILES
from numpy.typing import NDArray

from nasplug import hardware
from nasplug.candidates.constraints import parse_constraints
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.candidates.pool import candidates_of
from nasplug.candidates.scoring import Scoring
from nasplug.objectives import OBJECTIVES, PROXIES
from nasplug.pareto import pareto_mask
from nasplug.predictors.prediction import Prediction
from nasplug.search_spaces import Architecture, space

NB = space("nb101")
DEVICE = hardware("RTX 3090")
GOALS = (PROXIES["flops"], OBJECTIVES["latency"])
SPREAD = 0.1


@cache
def totals() -> dict[str, NDArray[np.float64]]:
    return NB.totals()  # type: ignore[attr-defined,no-any-return]


@cache
def truth() -> NDArray[np.float64]:
    """A latency of every cell in ms: its costs, with a few percent that no fast model can know."""
    noise = np.random.default_rng(1).uniform(-0.03, 0.03, len(NB.codes))  # type: ignore[attr-defined]
    ideal = totals()["bytes"] ** 0.7 * 1e-6 + totals()["flops"] ** 0.5 * 5e-5
    return np.asarray(ideal * np.exp(noise))


def prediction(values: NDArray[np.float64]) -> Prediction:
    center = np.log(values)[:, None]
    return Prediction(
        ("latency",),
        ("ms",),
        center,
        np.full_like(center, SPREAD),
        LEVELS,
        QUANTILES[:, None],
        (True,),
    )


class Table:
    """Predicts the latency of one architecture after the other."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def predict(
        self, architectures: Sequence[Architecture], hardware: Any = None, batch_size: int = 1
    ) -> Prediction:
        rows = [NB.index(arch) for arch in architectures]  # type: ignore[attr-defined]
        self.asked += rows
        return prediction(truth()[rows])


class Arrays(Table):
    """Predicts by arrays, too."""

    def predict_codes(
        self, codes: NDArray[np.uint32], hardware: Any = None, batch_size: int = 1
    ) -> Prediction:
        return prediction(truth()[np.searchsorted(NB.codes, codes)])  # type: ignore[attr-defined]


def candidates(scorer: Table, limits: Sequence[str] = ()) -> EnumeratedCandidates:
    scoring = Scoring(
        space=NB,
        wanted=("flops", "latency"),
        hardware=DEVICE,
        constraints=parse_constraints(limits),
        batch_size=1,
        dataset="cifar10",
        predictors={"latency": scorer},
    )
    made = candidates_of(scoring, GOALS, seed=0)
    assert isinstance(made, EnumeratedCandidates)
    return made


def front(rows: NDArray[np.intp]) -> set[int]:
    flops = totals()["flops"]
    return set(rows[pareto_mask(np.stack([-flops[rows], truth()[rows]], axis=1))].tolist())


def shortfall(found: NDArray[np.intp], every: NDArray[np.intp]) -> NDArray[np.float64]:
    """How much slower the fastest found cell of as many FLOPs is than each cell of the front."""
    flops = totals()["flops"]
    rows = np.array(sorted(front(every)))
    best = [
        truth()[found[flops[found] >= flops[k]]].min(initial=1.1 * truth()[k]) / truth()[k] - 1
        for k in rows
    ]
    return np.array(best)
