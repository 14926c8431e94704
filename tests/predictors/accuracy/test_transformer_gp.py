"""nasplug's own accuracy predictor and its pretraining, small, on real cells and labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nasplug import datasets
from nasplug.predictors.accuracy.pretraining import Encoder, PretrainingConfig, pretrain
from nasplug.predictors.accuracy.transformer_gp import (
    TransformerGP,
    TransformerGPConfig,
    transformer_gp,
)
from nasplug.predictors.checkpoint import load_checkpoint, save_checkpoint
from nasplug.predictors.features.graph_arrays import pack, unpack
from nasplug.predictors.features.zero_cost import RESPONSES, responses
from nasplug.predictors.prediction import NotFittedError, Predictor
from nasplug.predictors.training.config import TrainingConfig
from nasplug.predictors.training.relabeling import relabeled
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201

NB = NB201()
CELLS = np.random.default_rng(8).permutation(15_625)[:900]
GRAPHS = [NB.to_graph(NB[int(i)]) for i in CELLS]
TRAIN, REST = slice(0, 150), slice(150, 900)
SMALL = PretrainingConfig(
    dim=16,
    num_layers=1,
    random_networks=1,
    training=TrainingConfig(
        epochs=6, batch_size=16, learning_rate=4e-3, rank_weight=0.0, selection="last"
    ),
)


@pytest.fixture(scope="module")
def labels(nb201_cache):
    table = datasets.load("nb201-accuracy").iloc[CELLS]
    return table[["cifar10_val", "cifar10_test", "cifar100_val"]].to_numpy()


@pytest.fixture(scope="module")
def measured():
    return [responses(GRAPHS[:80])]


@pytest.fixture(scope="module")
def encoder(measured):
    return pretrain(GRAPHS[:80], SMALL, measured=measured)


@pytest.fixture(scope="module")
def fitted(encoder, labels):
    predictor = TransformerGP(encoder=encoder)
    predictor.fit(GRAPHS[TRAIN], labels[TRAIN, 0])
    return predictor


def tau(predictor, truth):
    return kendalltau(predictor.scores(GRAPHS[REST])[0, :, 0], truth[REST])[0]


def test_it_ranks_from_few_labels(fitted, labels):
    assert isinstance(fitted, Predictor)
    assert tau(fitted, labels[:, 0]) > 0.82
    paths = TransformerGP()
    paths.fit(GRAPHS[TRAIN], labels[TRAIN, 0])
    assert tau(paths, labels[:, 0]) > 0.82


def test_cells_that_were_learned_are_predicted_as_if_read_again(fitted, encoder, labels):
    # Variances need the features of every cell, means of learned cells do not.
    assert (
        np.abs(fitted.posterior(GRAPHS, variance=False)[0] - fitted.posterior(GRAPHS)[0]).max()
        < 1e-4
    )
    source = TransformerGP(encoder=encoder)
    source.fit(GRAPHS[TRAIN], labels[TRAIN, 1])
    means = fitted.posterior(GRAPHS[TRAIN], variance=False)[0]
    carried = TransformerGP(encoder=encoder, source=source)
    carried.fit(GRAPHS[TRAIN], labels[TRAIN, 0])
    carried.posterior(GRAPHS[TRAIN], variance=False)
    carried.fit(GRAPHS[:60], labels[:60, 2])
    first, second = (carried.posterior(GRAPHS[:90], variance=v)[0] for v in (False, True))
    assert np.abs(first - second).max() < 1e-4
    assert np.abs(first - means[:90]).max() > 1e-2


def test_an_embedding_alone_ranks(encoder, labels):
    predictor = transformer_gp(encoder=encoder, kernel="embedding")
    predictor.fit(GRAPHS[TRAIN], labels[TRAIN, 0])
    assert tau(predictor, labels[:, 0]) > 0.6
    assert predictor.parameters == encoder.parameters + 3


def test_spreads_tell_how_wrong_a_cell_may_be(fitted, labels):
    prediction = fitted.predict(GRAPHS[REST])
    surprise = (labels[REST, 0] - prediction.mean[:, 0]) / prediction.std[:, 0]
    # A spread that is read off where labels tie says near 0 beside a gap of 50 points.
    assert np.mean(np.abs(surprise) > 6) < 0.01


def test_intervals_hold_on_other_cells(fitted, labels):
    prediction = fitted.predict(GRAPHS[REST])
    truth = labels[REST, :1]
    inside = (truth >= prediction.lower) & (truth <= prediction.upper)
    assert 0.82 < inside.mean() < 0.97
    assert (prediction.std > 0).all()
    # A cell like those it knows is more certain than one unlike them.
    _, variance = fitted.posterior(GRAPHS)
    assert variance[TRAIN].mean() < 0.7 * variance[REST].mean()


def test_test_accuracies_move_the_scale_but_not_the_ranking(fitted, encoder, labels):
    mapped = TransformerGP(encoder=encoder)
    mapped.fit(GRAPHS[TRAIN], labels[TRAIN, 0], calibration_targets=labels[TRAIN, 1])
    first, second = fitted.predict(GRAPHS[REST]).mean, mapped.predict(GRAPHS[REST]).mean
    np.testing.assert_allclose(mapped.scores(GRAPHS[REST]), fitted.scores(GRAPHS[REST]), atol=1e-6)
    error = np.median(np.abs(second[:, 0] - labels[REST, 1]))
    assert error < 0.5 * np.median(np.abs(first[:, 0] - labels[REST, 1]))


@settings(max_examples=25)
@given(st.integers(0, 15_624), st.integers(0, 2**16))
def test_relabelled_graphs_get_the_same_prediction(fitted, index, seed):
    graph = NB.to_graph(NB[index])
    other = relabeled(graph, np.random.default_rng(seed))
    prediction = fitted.predict([graph, other])
    np.testing.assert_allclose(prediction.mean[0], prediction.mean[1], atol=1e-3)
    np.testing.assert_allclose(prediction.upper[0], prediction.upper[1], atol=1e-2)


def test_several_targets_and_a_round_trip(encoder, labels, tmp_path):
    predictor = transformer_gp(targets=("cifar10", "cifar100"), encoder=encoder)
    predictor.fit(GRAPHS[TRAIN], labels[TRAIN][:, [0, 2]])
    before = predictor.predict(GRAPHS[REST])
    assert before.mean.shape == (750, 2)
    assert kendalltau(before.mean[:, 1], labels[REST, 2])[0] > 0.8
    predictor.save(tmp_path / "mine", {"space": "nb201"})
    again = TransformerGP.from_checkpoint(load_checkpoint(tmp_path / "mine"))
    after = again.predict(GRAPHS[REST])
    np.testing.assert_allclose(before.mean, after.mean, atol=1e-6)
    np.testing.assert_allclose(before.upper, after.upper, atol=1e-6)
    assert again.predict([]).mean.shape == (0, 2)


def test_a_checkpoint_of_an_earlier_version(fitted, tmp_path):
    cells = GRAPHS[:40]
    fitted.save(tmp_path / "new")
    whole = load_checkpoint(tmp_path / "new")
    new = ("encoded.", "process.weights")
    older = {name: value for name, value in whole.tensors.items() if not name.startswith(new)}
    assert len(older) == len(whole.tensors) - 3
    save_checkpoint(tmp_path / "old", older, whole.card)
    for name in ("new", "old"):
        again = TransformerGP.from_checkpoint(load_checkpoint(tmp_path / name))
        for a, b in zip(again.posterior(cells), fitted.posterior(cells), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


def test_arrays_of_other_cells_are_refused(fitted, tmp_path):
    fitted.save(tmp_path / "whole")
    whole = load_checkpoint(tmp_path / "whole")
    for name in ("encoded.embedding", "process.weights"):
        cut = {**whole.tensors, name: whole.tensors[name][1:]}
        save_checkpoint(tmp_path / "cut", cut, whole.card)
        with pytest.raises(ValueError, match="rows|shape"):
            TransformerGP.from_checkpoint(load_checkpoint(tmp_path / "cut"))


def test_without_an_encoder_it_reads_cells_and_an_older_checkpoint_paths(labels, tmp_path):
    predictor = TransformerGP()
    predictor.fit(GRAPHS[:60], labels[:60, 0])
    assert predictor._process.names == ("ends", "pairs", "paths", "summaries")
    predictor.save(tmp_path / "new")
    again = TransformerGP.from_checkpoint(load_checkpoint(tmp_path / "new"))
    one, two = (p.predict(GRAPHS[60:120]).upper for p in (predictor, again))
    np.testing.assert_allclose(one, two, atol=1e-9)
    older = transformer_gp(kernel="paths")
    older.fit(GRAPHS[:60], labels[:60, 0])
    older.save(tmp_path / "old")
    card = load_checkpoint(tmp_path / "old").card
    # As it was written while there was no other kernel without an encoder.
    del card["kernel"]
    card["config"]["kernel"] = "auto"
    save_checkpoint(tmp_path / "old", load_checkpoint(tmp_path / "old").tensors, card)
    loaded = TransformerGP.from_checkpoint(load_checkpoint(tmp_path / "old"))
    assert loaded._process.names == ("paths", "summaries")
    one, two = (p.predict(GRAPHS[60:120]).mean for p in (older, loaded))
    np.testing.assert_allclose(one, two, atol=1e-9)


def test_seeds_repeat(encoder, labels):
    means = []
    for _ in range(2):
        predictor = TransformerGP(TransformerGPConfig(seed=3), encoder)
        predictor.fit(GRAPHS[:60], labels[:60, 0])
        means.append(predictor.predict(GRAPHS[100:120]).mean)
    np.testing.assert_array_equal(*means)


def test_pretraining_learns_responses(encoder, measured, tmp_path):
    embedding, expected = encoder.encode(GRAPHS[:80])
    assert embedding.shape == (80, 32)
    truth = measured[0]
    taus = [kendalltau(expected[:, k], truth[:, k])[0] for k in range(len(RESPONSES))]
    assert np.median(taus) > 0.3
    encoder.save(tmp_path / "encoder")
    again = Encoder.load(tmp_path / "encoder").encode(GRAPHS[:80])[0]
    np.testing.assert_allclose(again, embedding, atol=1e-5)


def test_structure_alone_can_be_learned():
    config = PretrainingConfig(dim=8, num_layers=1, random_networks=0, training=SMALL.training)
    encoder = pretrain(GRAPHS[:40], config)
    embedding, expected = encoder.encode(GRAPHS[:3])
    assert (embedding.shape, expected.shape) == ((3, 16), (3, 0))


def test_graphs_survive_packing():
    vocabulary = tuple(sorted({op for g in GRAPHS for op in g.ops}))
    lonely = Graph(("input", "output"), ())
    for before, after in zip(
        [*GRAPHS[:20], lonely],
        unpack(pack([*GRAPHS[:20], lonely], vocabulary), vocabulary),
        strict=True,
    ):
        assert (before.ops, before.edges) == (after.ops, after.edges)
        np.testing.assert_array_equal(before.attributes, after.attributes)


def test_damaged_graphs_are_refused():
    arrays = pack(GRAPHS[:3], ("a", *sorted({op for g in GRAPHS for op in g.ops})))
    with pytest.raises(InputError, match="stored graphs are damaged"):
        unpack({**arrays, "ops": arrays["ops"][:-1]}, ("a",) * 9)
    with pytest.raises(InputError, match="stored graphs are damaged"):
        unpack(arrays, ("a",))


def test_bad_input_is_named(encoder, labels):
    with pytest.raises(NotFittedError, match="is not fitted"):
        TransformerGP().predict(GRAPHS[:2])
    with pytest.raises(InputError, match="19 graphs are too few to learn from; give at least 20"):
        TransformerGP().fit(GRAPHS[:19], labels[:19, 0])
    with pytest.raises(InputError, match="unknown kernel 'magic'; known: auto, full"):
        transformer_gp(kernel="magic")
    with pytest.raises(InputError, match="needs a pretrained encoder"):
        transformer_gp(kernel="full")
    with pytest.raises(InputError, match="unknown option 'epochs'; known: units"):
        transformer_gp(epochs=3)
    with pytest.raises(InputError, match="predicts accuracy, not latency"):
        transformer_gp("latency")
    with pytest.raises(InputError, match="4 distinct graphs are too few to pretrain on"):
        pretrain(GRAPHS[:4], SMALL)
    stranger = [Graph(("input", "softmax", "output"), ((0, 1), (1, 2)))] * 30
    with pytest.raises(InputError, match="unknown operation 'softmax'"):
        TransformerGP(encoder=encoder).fit(stranger, np.arange(30.0))


def test_a_source_carries_over(encoder, labels, tmp_path):
    source = TransformerGP(encoder=encoder)
    source.fit(GRAPHS[:300], labels[:300, 2])
    few = slice(300, 330)
    alone = TransformerGP(encoder=encoder)
    alone.fit(GRAPHS[few], labels[few, 0])
    helped = transformer_gp(encoder=encoder, source=source)
    helped.fit(GRAPHS[few], labels[few, 0])
    rest = slice(330, 900)
    taus = [
        kendalltau(p.scores(GRAPHS[rest])[0, :, 0], labels[rest, 0])[0] for p in (alone, helped)
    ]
    assert taus[1] > taus[0] + 0.03
    helped.save(tmp_path / "helped")
    again = TransformerGP.from_checkpoint(load_checkpoint(tmp_path / "helped"))
    np.testing.assert_allclose(
        again.predict(GRAPHS[rest]).mean, helped.predict(GRAPHS[rest]).mean, atol=1e-6
    )
    with pytest.raises(InputError, match="the source predictor is not fitted"):
        transformer_gp(source=TransformerGP())
