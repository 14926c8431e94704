"""Accuracies of vision transformers from their structure: who judges, and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad

from experiments.accuracy import mixed_process
from experiments.accuracy.attention_accuracy import SAME_SIZE, Networks, recipe_key, splits
from experiments.accuracy.family_accuracy import recipe_with_attention
from experiments.accuracy.mixed_process import MixedProcess, Part
from experiments.tables import load


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks()


def test_recipes_of_networks_with_attention() -> None:
    names = ("deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_base_patch16_224")
    tags = ("fb_in1k", "fb_in1k", "augreg_in21k_ft_in1k")
    kinds = [recipe_with_attention(".".join(pair)) for pair in zip(names, tags, strict=True)]
    assert kinds == ["strong", "distilled", "more data"]
    keys = [recipe_key(name, "deit", tag) for name, tag in zip(names, tags, strict=True)]
    assert keys[:2] == ["plain deit fb_in1k", "plain deit distilled fb_in1k"]
    assert recipe_key("deit3_base_patch16_224", "deit", "fb_in1k") not in keys
    # The resolution of a tag is no recipe.
    pair = [recipe_key("caformer_s18", "metaformer", tag) for tag in ("sail_in1k", "sail_in1k_384")]
    assert pair[0] == pair[1] != recipe_key("volo_d1_224", "volo", "sail_in1k")


def test_judges_are_plain_and_no_twin_is_known(networks: Networks) -> None:
    names = np.array(networks.names)
    judges = networks.with_known_recipe(np.flatnonzero(networks.plain), np.arange(len(names)))
    assert [row["network"] for row in load("attention_accuracy")["judges"]] == names[
        judges
    ].tolist()
    starts = {name.partition("_")[0] for name in names[judges]}
    assert starts == {"vit", "deit", "deit3", "flexivit"}
    every = np.arange(len(names))
    for known, asked in splits(networks, judges, every, "sizes"):
        for row in asked:
            near = np.abs(networks.sizes[known, 1] - networks.sizes[row, 1]) < SAME_SIZE
            assert not (near & networks.near[known]).any()
            assert names[row] not in names[known]
            assert (networks.tags[known] == networks.tags[row]).any()
    for known, _ in splits(networks, judges, every, "families"):
        assert not networks.near[known].any()


def test_choice_reads_other_families_and_no_model_meets_the_conditions() -> None:
    found = load("attention_accuracy")
    others = {name: model["sizes"]["others"]["tau"] for name, model in found["models"].items()}
    assert found["chosen"] == max(others, key=others.__getitem__)
    low, high = found["over_flops"]
    assert low < 0 < high
    flops = found["floors"]["tau"]["judges"]["FLOPs alone"]
    for model in found["models"].values():
        for setting in ("families", "sizes"):
            told = model[setting]["judges"]
            assert told["inside"] < 0.8 or told["tau"] < flops + 1e-9
    mean = found["floors"]["mean_absolute_error"]["judges"]["sizes"]
    errors = [m["sizes"]["judges"]["mean_absolute_error"] for m in found["models"].values()]
    assert max(errors) < mean / 2


def _toy() -> tuple[MixedProcess, dict[str, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    labels = {"family": np.repeat(np.arange(12), 10)}
    inputs = generator.normal(size=(120, 2))
    target = 3 - 0.3 * inputs[:, 0] + generator.normal(0, 0.5, 12)[labels["family"]]
    target += generator.normal(0, 0.05, 120)
    parts = (Part("linear"), Part("constant", "family"), Part("smooth", "family"))
    return MixedProcess(inputs, labels, target, parts, 2.0), labels, target


def test_amplitudes_are_those_of_the_data() -> None:
    process, labels, target = _toy()
    process.fit(np.arange(120))
    found = process.amplitudes()
    assert found["noise"] == pytest.approx(0.05, rel=0.3)
    assert 0.25 < found["constant of a family"] < 1
    assert found["smooth of a family"] < 0.1
    family = labels["family"]
    # An unknown family is less certain than other networks of a known one.
    known, unknown = (
        process.predict(np.flatnonzero(rows), np.arange(5))
        for rows in ((family > 0) | (np.arange(120) >= 5), family > 0)
    )
    assert np.abs(known[0] - target[:5]).max() < 0.3
    assert known[1].max() < 0.1
    assert unknown[1].min() > 0.3


def test_slopes_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    process, _, _ = _toy()
    losses = []
    monkeypatch.setattr(
        mixed_process, "minimize", lambda loss, start, **_: losses.append((loss, start)) or _Done
    )
    process.fit(np.arange(60))
    (loss, start), *_ = losses
    assert check_grad(lambda x: loss(x)[0], lambda x: loss(x)[1], start + 0.3) < 1e-3


class _Done:
    x = np.zeros(4)
