"""The process over operators, on measured accuracies of whole networks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nasplug import InputError, datasets
from nasplug.predictors import NotFittedError, Predictor
from nasplug.predictors.accuracy.operator_gp import AccuracyGP, AccuracyGPConfig, accuracy_gp
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.registry import restore
from nasplug.search_spaces import space

ROWS = np.random.default_rng(4).permutation(5000)[:500]
LEARN, REST = slice(0, 250), slice(250, 500)


@pytest.fixture(scope="module")
def networks(mirror):
    table = datasets.load("accel").iloc[ROWS]
    accel = space("accel")
    graphs = [accel.to_graph(accel.parse(text)) for text in table["arch"]]
    return graphs, table["imagenet_val"].to_numpy()


@pytest.fixture(scope="module")
def fitted(networks):
    graphs, accuracies = networks
    predictor = AccuracyGP(AccuracyGPConfig(("imagenet",)))
    predictor.fit(graphs[LEARN], accuracies[LEARN])
    return predictor


def test_it_predicts_networks_that_it_has_not_seen(fitted, networks):
    graphs, accuracies = networks
    assert isinstance(fitted, Predictor)
    said, truth = fitted.predict(graphs[REST]), accuracies[REST]
    flops = [graph.total("flops") for graph in graphs[REST]]
    tau = kendalltau(said.mean[:, 0], truth)[0]
    assert tau > 0.8
    assert tau > kendalltau(flops, truth)[0] + 0.2
    inside = (truth >= said.lower[:, 0]) & (truth <= said.upper[:, 0])
    assert 0.82 < inside.mean() < 0.97
    assert (said.targets, said.units) == (("imagenet",), ("%",))
    assert (said.std > 0).all()


def test_a_stored_process_says_the_same(fitted, networks, tmp_path):
    graphs, _ = networks
    fitted.save(tmp_path / "mine")
    again = restore(load_checkpoint(tmp_path / "mine"))
    assert isinstance(again, AccuracyGP)
    assert again.targets == ("imagenet",)
    first, second = (p.predict(graphs[REST]) for p in (fitted, again))
    np.testing.assert_allclose(second.mean, first.mean, rtol=1e-9)
    np.testing.assert_allclose(second.upper, first.upper, rtol=1e-9)


def test_a_card_that_does_not_fit_is_refused(fitted, tmp_path):
    fitted.save(tmp_path / "mine")
    checkpoint = load_checkpoint(tmp_path / "mine")
    card = dict(checkpoint.card)
    for change in (
        {"config": {"targets": 3}},
        {"config": {"targets": ["a", "b"]}},
        {"config": {"a": 1}},
        {"operators": 3},
        {"operators": []},
        {"kinds": ["Conv"]},
    ):
        checkpoint.card.update(card | change)
        with pytest.raises(InputError, match="does not describe an accuracy-gp"):
            AccuracyGP.from_checkpoint(checkpoint)


def test_it_goes_on_beyond_the_best_that_it_learned(networks):
    graphs, accuracies = networks
    worst = np.argsort(accuracies)[:300]
    one = accuracy_gp(targets=("imagenet",))
    one.fit([graphs[k] for k in worst], accuracies[worst])
    best = np.argsort(accuracies)[-40:]
    said = one.predict([graphs[k] for k in best])
    assert said.mean.max() > accuracies[worst].max() + 1
    inside = (accuracies[best] >= said.lower[:, 0]) & (accuracies[best] <= said.upper[:, 0])
    assert inside.mean() > 0.5


def test_a_kernel_without_neighbours(networks):
    graphs, accuracies = networks
    one = accuracy_gp(kernel="sum", targets=("imagenet",))
    one.fit(graphs[:120], accuracies[:120])
    assert kendalltau(one.predict(graphs[REST]).mean[:, 0], accuracies[REST])[0] > 0.7


def test_several_targets_share_a_process(networks):
    graphs, accuracies = networks
    both = AccuracyGP(AccuracyGPConfig(("a", "b")))
    both.fit(graphs[:80], np.stack([accuracies[:80], 100 - accuracies[:80]], axis=1))
    mean = both.predict(graphs[80:120]).mean
    assert kendalltau(mean[:, 0], mean[:, 1])[0] < -0.9
    assert both.predict([]).mean.shape == (0, 2)


def test_bad_input_is_named(networks):
    graphs, accuracies = networks
    with pytest.raises(NotFittedError):
        AccuracyGP().predict(graphs[:1])
    with pytest.raises(NotFittedError):
        AccuracyGP().save("nowhere")
    with pytest.raises(InputError, match="19 graphs are too few"):
        AccuracyGP().fit(graphs[:19], accuracies[:19])
    with pytest.raises(InputError, match="targets have shape"):
        AccuracyGP().fit(graphs[:20], accuracies[:19])
    with pytest.raises(InputError, match="the target of graph 3 is not finite"):
        AccuracyGP().fit(graphs[:20], np.where(np.arange(20) == 3, np.nan, accuracies[:20]))
    with pytest.raises(InputError, match="accuracy 101 is not from 0 to 100; give a percentage"):
        AccuracyGP().fit(graphs[:20], np.where(np.arange(20) == 3, 101, accuracies[:20]))
    with pytest.raises(InputError, match="not latency"):
        accuracy_gp(kind="latency")
    with pytest.raises(InputError, match="unknown kernel 'linear'; known: full"):
        accuracy_gp(kernel="linear")
    with pytest.raises(InputError, match="unknown option 'rows'"):
        accuracy_gp(rows=3)


@settings(max_examples=15)
@given(st.integers(0, 249), st.integers(0, 2**16))
def test_networks_are_predicted_alike_together_and_apart(fitted, networks, index, seed):
    graphs = networks[0][REST]
    order = np.random.default_rng(seed).permutation(5)
    some = [graphs[(index + k) % 250] for k in range(5)]
    together = fitted.predict(some).mean
    apart = fitted.predict([some[k] for k in order]).mean
    np.testing.assert_allclose(apart, together[order], rtol=1e-9)
