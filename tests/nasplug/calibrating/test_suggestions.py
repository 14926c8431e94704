"""Networks that are worth measuring before a calibration."""

from __future__ import annotations

import numpy as np
import pytest
from roofline_predictor import Roofline

from nasplug.calibrating.suggestions import next_step, suggest_measurements
from nasplug.predicting.few_shot import draw
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.search_spaces import space

FBNET, MACRO, RESNET = (space(name) for name in ("fbnet", "macro", "nnlqp:resnet"))


@pytest.fixture
def predictor() -> ArchitecturePredictor:
    return ArchitecturePredictor("roofline", FBNET, Roofline())


def test_networks_are_suggested_that_can_be_measured(predictor: ArchitecturePredictor) -> None:
    chosen = suggest_measurements("fbnet", 5, predictor=predictor)
    assert len({FBNET.parse(arch.text).text for arch in chosen}) == 5
    assert chosen == suggest_measurements(FBNET, 5, predictor=predictor)
    # They differ more in size than the first ones that come along.
    sizes = [
        [np.log(FBNET.to_graph(a).total("flops")) for a in some]
        for some in (chosen, draw(FBNET)[0])
    ]
    assert np.ptp(sizes[0]) > np.ptp(sizes[1][:5])
    assert next_step("fbnet", "todo.txt").endswith(
        "nasplug measure --space fbnet --archs todo.txt --out measured.csv"
    )
    assert "--space nb201 --archs todo.txt" in next_step("nb201", "todo.txt")
