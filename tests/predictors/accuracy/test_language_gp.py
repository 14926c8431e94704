"""Perplexities of language models, learned from a few networks of the shipped table."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from nasplug import datasets, space
from nasplug.predictors.accuracy.language_gp import LanguageGP
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.features.language_models import features_of, read_models
from nasplug.predictors.prediction import NotFittedError
from nasplug.search_spaces import InputError

SPACE = space("gpt:s")


@pytest.fixture(scope="module")
def some():
    """Graphs and perplexities of 240 networks."""
    table = datasets.load("gpt-s").sample(240, random_state=0)
    graphs = SPACE.to_graphs([SPACE.parse(text) for text in table["arch"]])
    return graphs, table["perplexity"].to_numpy()


@pytest.fixture(scope="module")
def fitted(some):
    predictor = LanguageGP()
    predictor.fit(some[0][:120], some[1][:120])
    return predictor


def test_decisions_are_read_from_graphs():
    arch = SPACE.parse("embed=384,bias=1,heads=c8c48c8c48,mlp=2434243424")
    for task in SPACE.tasks:
        models = read_models([SPACE.to_graph(arch, task)])
        assert (models.scales[0], models.embed[0], models.layers[0]) == ("s", 384, 10)
        assert models.bias[0]
        assert models.heads[0, :11].tolist() == [12, 8, 12, 4, 8, 12, 8, 12, 4, 8, 0]
        assert models.ratios[0, :11].tolist() == [2, 4, 3, 4, 2, 4, 3, 4, 2, 4, 0]
    features, groups = features_of(models)
    assert features.shape == (1, len(groups))
    assert np.isfinite(features).all()


def test_few_networks_teach_the_order(some, fitted):
    graphs, truth = some[0][120:], some[1][120:]
    predicted = fitted.predict(graphs)
    params = [-graph.total("params") for graph in graphs]
    tau = kendalltau(predicted.mean[:, 0], truth)[0]
    assert tau > 0.96
    assert tau > kendalltau(params, truth)[0]
    inside = (predicted.lower[:, 0] <= truth) & (truth <= predicted.upper[:, 0])
    assert inside.mean() > 0.75
    assert (predicted.targets, predicted.units) == (("perplexity",), ("",))


def test_a_checkpoint_predicts_the_same(some, fitted, tmp_path: Path):
    fitted.save(tmp_path / "mine")
    restored = LanguageGP.from_checkpoint(load_checkpoint(tmp_path / "mine"))
    for part in ("mean", "lower", "upper"):
        expected = getattr(fitted.predict(some[0][:9]), part)
        np.testing.assert_allclose(getattr(restored.predict(some[0][:9]), part), expected)
    assert restored.parameters == fitted.parameters > 100


def test_other_networks_are_refused(some, fitted):
    own = space("gpt:embed=384,layers=2,heads=4,mlp=2,context=16")
    with pytest.raises(InputError, match="none of the scales gpt:s, gpt:m and gpt:l"):
        fitted.predict([own.to_graph(own.parse("largest"))])
    medium = space("gpt:m")
    with pytest.raises(InputError, match="no perplexity of a network of scale m was learned"):
        fitted.predict([medium.to_graph(medium.parse("smallest"))])
    with pytest.raises(NotFittedError):
        LanguageGP().predict(some[0][:1])


def test_labels_that_cannot_be_learned(some):
    graphs, truth = some
    with pytest.raises(InputError, match="numbers above 1"):
        LanguageGP().fit(graphs[:30], np.zeros(30))
    with pytest.raises(InputError, match="too few"):
        LanguageGP().fit(graphs[:5], truth[:5])
