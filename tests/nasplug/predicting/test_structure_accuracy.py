"""ImageNet accuracies from the sizes of networks, learned from trained networks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from counting_predictors import sum_latency

import nasplug
from experiments import RESULTS
from nasplug.measurements.graphs import graph_of
from nasplug.predicting import measured_accuracy, structure_accuracy
from nasplug.predicting.structure_accuracy import StructureAccuracy, has_structure_accuracy
from nasplug.predicting.zoo import is_known, is_structural

OFA = nasplug.space("ofa")


def test_trained_networks_are_predicted_near_their_accuracies() -> None:
    names = ["resnet18", "resnet50", "resnet152", "mobilenetv3_large_100", "efficientnet_b4"]
    predicted = StructureAccuracy(OFA).predict_graphs(
        [graph_of(f"timm:{name}@{320 if name[-1] == '4' else 224}") for name in names]
    )
    mean = predicted.mean[:, 0]
    assert (np.diff(mean[:3]) > 0).all()
    # Accuracies of timm's own elaborate recipes.
    assert mean == pytest.approx([72.0, 79.5, 82.0, 76.0, 82.5], abs=2.5)
    assert (predicted.lower[:, 0] < mean).all()
    assert (mean < predicted.upper[:, 0]).all()
    assert (predicted.upper < 100).all()


def test_spaces_for_imagenet_without_accuracies_have_it() -> None:
    for name in ("ofa", "nnlqp:resnet"):
        assert is_structural(nasplug.space(name))
        assert is_known(nasplug.space(name), "accuracy")
    # Small images, several image sets, and accuracies of the space's own.
    for name in ("fbnet", "macro", "accel", "nb201", "timm:vgg", "nnlqp"):
        assert not has_structure_accuracy(nasplug.space(name))


def test_constants_are_those_of_the_experiment() -> None:
    found = json.loads((RESULTS / "family_accuracy.json").read_text(encoding="utf-8"))
    assert found["scale"] == structure_accuracy.SCALE
    assert found["levels"] == list(measured_accuracy.LEVELS)
    np.testing.assert_allclose(found["residuals"], structure_accuracy.RESIDUALS, atol=5e-4)


def test_a_search_says_what_its_accuracy_rests_on() -> None:
    given: dict[str, Any] = {"n_trials": 3, "pool_size": 24, "storage": "memory"}
    given |= {"hardware": "RTX 3090", "predictors": [sum_latency(OFA)]}
    result = nasplug.search("ofa", constraints="accuracy>=60%", **given)
    told = result.to_json()
    assert told["quality"] == structure_accuracy.STRUCTURE_NOTE
    assert [objective["name"] for objective in told["objectives"]] == ["accuracy", "latency"]
    assert told["predictor"]["name"].startswith(structure_accuracy.NAME)
    best = told["pareto"][-1]
    assert best["predicted"]["accuracy"]["mean"] > 60
    assert best["measured"]["accuracy"] is None
    assert structure_accuracy.STRUCTURE_NOTE in result.heading()
    # A count takes its place on request.
    proxied = nasplug.search("ofa", proxy="flops", **given)
    assert proxied.to_json()["quality"].startswith("quality is a proxy: FLOPs")
