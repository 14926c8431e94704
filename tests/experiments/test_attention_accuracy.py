"""Accuracies of vision transformers from their structure: who judges, and what is said of it."""

from __future__ import annotations

import numpy as np

from experiments.accuracy.attention_accuracy import TWINS, asked_as_new, is_judge
from experiments.accuracy.family_accuracy import Trained, recipe_with_attention
from experiments.tables import load
from nasplug.predicting.structure_accuracy import NEW


def test_recipes_of_networks_with_attention() -> None:
    names = ("deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_base_patch16_224")
    tags = ("fb_in1k", "fb_in1k", "augreg_in21k_ft_in1k")
    kinds = [recipe_with_attention(".".join(pair)) for pair in zip(names, tags, strict=True)]
    assert kinds == ["strong", "distilled", "more data"]


def test_judges_are_plain_and_their_families_are_left_out() -> None:
    trained = Trained(attention=True)
    judges = is_judge(trained)
    names = np.array(trained.names)[judges]
    assert "deit_tiny_patch16_224" in names
    assert {*trained.families[judges]} <= {*TWINS}
    assert not [name for name in names if "distilled" in name or "clip" in name]
    table = asked_as_new(trained, np.flatnonzero(judges))
    assert (table.tags[: len(judges)] == NEW).tolist() == judges.tolist()
    found = load("attention_accuracy")
    assert [row["network"] for row in found["judges"]] == names.tolist()
    assert found["ranks"]["tau"]["FLOPs alone"] > found["ranks"]["tau"]["network left out"]
