"""The accuracy predictors of whole networks that the package has, and a search that uses one."""

import json

import numpy as np
import pytest
from scipy.stats import kendalltau

from nasplug import datasets, load_predictor, search, space
from nasplug.predicting.zoo import names

# Space -> column of its table, image set, least Kendall's tau on networks never learned from.
SPACES = {"accel": ("imagenet_val", "imagenet", 0.88), "macro": ("cifar10_test", "cifar10", 0.9)}


@pytest.mark.parametrize("name", SPACES)
def test_it_predicts_networks_that_it_never_learned_from(name, mirror):
    column, image_set, least = SPACES[name]
    where, table = space(name), datasets.load(name)
    archs = {a.arch_id: a for a in (where.parse(str(text)) for text in table["arch"])}
    truths = dict(zip(map(str, table["arch"]), table[column], strict=True))
    # The split of experiments/zoo/train_network_accuracy.py.
    order = np.random.default_rng(201).permutation(len(archs))
    judged = [list(archs.values())[k] for k in order[len(order) // 2 :][:500]]
    truth = np.array([truths[arch.text] for arch in judged])
    predictor = load_predictor(f"{name}-accuracy")
    said = predictor.predict(judged)
    assert said.targets == (image_set,)
    assert kendalltau(said.mean[:, 0], truth)[0] > least
    inside = (said.lower[:, 0] <= truth) & (truth <= said.upper[:, 0])
    assert 0.84 < inside.mean() < 0.96
    # Those that a search would take are not further off than their intervals say.
    best = np.argsort(-said.mean[:, 0])[:60]
    assert inside[best].mean() > 0.75


@pytest.mark.parametrize("name", SPACES)
def test_its_card_says_what_it_was_made_of(name):
    assert f"{name}-accuracy" in names()
    predictor = load_predictor(f"{name}-accuracy")
    card = predictor.card
    assert (predictor.kind, predictor.space.name) == ("accuracy", name)
    assert card["training"]["networks"] == 1500
    assert all(len(h) == 64 for f in card["provenance"]["data"].values() for h in f.values())
    quality = card["quality"]
    assert quality["kendall_tau"] > SPACES[name][2]
    json.dumps(card, allow_nan=False)


def test_a_search_predicts_accuracy_where_it_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = search("accel", constraints="accuracy>=60%", n_trials=4, pool_size=80)
    told = result.to_json()
    assert "quality" not in told
    assert [o["name"] for o in told["objectives"]] == ["accuracy", "flops"]
    assert told["predictor"]["name"] == "accel-accuracy"
    assert told["pareto"]
    for row in told["pareto"]:
        assert "flops" not in row
        assert row["predicted"]["accuracy"]["mean"] > 60
    assert "the search scored 80 networks" in result.to_text()


def test_measured_accuracies_stand_beside_predictions(monkeypatch, mirror):
    datasets.fetch("macro")
    result = search("macro", n_trials=2, storage="memory")
    table = datasets.load("macro").set_index("arch")["cifar10_test"]
    for row in result.pareto:
        assert row["measured"]["accuracy"] == pytest.approx(table[row["arch"]], abs=1e-5)
    assert "measured" in result.to_text()
