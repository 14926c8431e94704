"""The cheap methods as predictors, on real measurements."""

import sys

import numpy as np
import pytest
from scipy.stats import kendalltau

from nasplug import InputError, datasets, load_predictor
from nasplug.predictors import NotFittedError, Predictor
from nasplug.predictors.accuracy.classical import GradientBoosting, RandomForest
from nasplug.predictors.accuracy.path_gp import PathGP
from nasplug.predictors.checkpoint import load_checkpoint, save_checkpoint
from nasplug.predictors.features.cells import Matrix, OneHot, Paths
from nasplug.predictors.statistics.normal_scores import normal_scores
from nasplug.search_spaces import Graph
from nasplug.search_spaces.nb201 import NB201
from nasplug.search_spaces.simplify import prune

NB = NB201()
CELLS = np.random.default_rng(3).permutation(15_625)[:400]
GRAPHS = [NB.to_graph(NB[int(i)]) for i in CELLS]
QUICK = {RandomForest: {"trees": 60}, GradientBoosting: {"rounds": 40}, PathGP: {}}


@pytest.fixture(scope="module")
def accuracy(nb201_cache):
    table = datasets.load("nb201-accuracy").iloc[CELLS]
    return table[["cifar10_val", "cifar100_val"]].to_numpy()


@pytest.fixture(scope="module")
def fitted(accuracy):
    made = {}
    for kind, options in QUICK.items():
        made[kind] = kind(targets=("cifar10", "cifar100"), **options)
        made[kind].fit(GRAPHS[:120], accuracy[:120])
    return made


@pytest.fixture(scope="module")
def floors():
    from experiments.accuracy import floors

    return floors


@pytest.mark.parametrize("kind", QUICK)
def test_unseen_cells_are_ranked_in_units_with_intervals(kind, fitted, accuracy):
    predictor = fitted[kind]
    assert isinstance(predictor, Predictor)
    said, truth = predictor.predict(GRAPHS[120:]), accuracy[120:]
    assert (said.targets, said.units) == (("cifar10", "cifar100"), ("%", "%"))
    scores = predictor.scores(GRAPHS[120:])
    assert scores.shape == (1, 280, 2)
    for k in range(2):
        assert kendalltau(said.mean[:, k], truth[:, k])[0] > 0.45
        assert kendalltau(said.mean[:, k], scores[0, :, k])[0] > 0.999
        inside = (said.lower[:, k] <= truth[:, k]) & (truth[:, k] <= said.upper[:, k])
        assert 0.82 < inside.mean() < 0.97
        assert np.median(np.abs(said.mean[:, k] - truth[:, k])) < 4
    assert (said.std > 0).all()
    assert len(predictor.predict([])) == 0
    assert predictor.parameters is None or predictor.parameters > 100


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_path_gp_gives_the_numbers_of_the_floor(floors, accuracy):
    graphs, train = GRAPHS[:80], np.arange(60)
    ours, theirs = Paths.of(graphs)(graphs), floors.path_features(graphs)

    def distances(x):
        return np.square(x[:, None] - x[None]).sum(-1)

    # Columns come in another order, and constant ones are of no consequence.
    np.testing.assert_allclose(distances(ours), distances(theirs), atol=1e-9)
    target = accuracy[train, 0]
    predictor = PathGP()
    model, _ = predictor._learn(ours[train], normal_scores(target[:, None])[:, 0])
    expected = floors.gaussian_process(theirs, train, target)
    np.testing.assert_allclose(predictor._say(model, ours)[0], expected, atol=1e-3)


def test_unseen_paths_are_as_far_away_as_with_a_column_of_their_own(floors):
    few, all_of_them = Paths.of(GRAPHS[:10])(GRAPHS[:30]), floors.path_features(GRAPHS[:30])
    counted = slice(len(GRAPHS[0]) * len({op for g in GRAPHS[:10] for op in g.ops}), -15)
    ours = np.square(few[:10, None, counted] - few[None, :, counted]).sum(-1)
    theirs = all_of_them[:, 30:-12]
    theirs = np.square(theirs[:10, None] - theirs[None]).sum(-1)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_graphs_of_different_sizes_are_padded(accuracy):
    mixed = [prune(graph) if k % 2 else graph for k, graph in enumerate(GRAPHS[:60])]
    assert len({len(graph) for graph in mixed}) > 2
    predictor = RandomForest(trees=50)
    predictor.fit(mixed, accuracy[:60, 0])
    assert np.isfinite(predictor.predict(mixed).mean).all()
    longer = Graph.build((*GRAPHS[0].ops, "output"), [*GRAPHS[0].edges, (7, 8)])
    with pytest.raises(InputError, match="a graph has 9 nodes.*at most 8"):
        predictor.predict([longer])
    for features in ("one-hot", "matrix", "paths"):
        roomy = RandomForest(trees=50, features=features, nodes=9)
        roomy.fit(mixed, accuracy[:60, 0])
        assert np.isfinite(roomy.predict([longer]).mean).all()


def test_a_process_over_the_matrix_is_stored_too(accuracy, tmp_path):
    predictor = PathGP(features="matrix", nodes=9)
    predictor.fit(GRAPHS[:40], accuracy[:40, 0])
    predictor.save(tmp_path / "own")
    loaded = PathGP.from_checkpoint(load_checkpoint(tmp_path / "own"))
    np.testing.assert_allclose(
        loaded.predict(GRAPHS[40:60]).mean, predictor.predict(GRAPHS[40:60]).mean, rtol=1e-6
    )


def test_a_stored_process_says_the_same(fitted, tmp_path):
    predictor = fitted[PathGP]
    predictor.save(tmp_path / "mine", {"space": "nb201"})
    again = load_predictor(tmp_path / "mine.json")
    assert again.kind == "accuracy"
    one, two = predictor.predict(GRAPHS), again.predict(GRAPHS)
    for part in ("mean", "lower", "upper"):
        np.testing.assert_allclose(getattr(one, part), getattr(two, part), rtol=1e-6)
    own = load_checkpoint(tmp_path / "mine")
    del own.card["sequences"]
    save_checkpoint(tmp_path / "mine", own.tensors, own.card)
    with pytest.raises(InputError, match="does not describe a path-gp"):
        load_predictor(tmp_path / "mine.json")


@pytest.mark.parametrize("kind", [RandomForest, GradientBoosting])
def test_what_only_a_pickle_could_hold_is_not_saved(kind, fitted, tmp_path):
    with pytest.raises(InputError, match="cannot be saved, because that would need a pickle"):
        fitted[kind].save(tmp_path / "mine")
    assert not list(tmp_path.iterdir())


def test_bad_input(fitted, accuracy, monkeypatch):
    predictor = fitted[RandomForest]
    with pytest.raises(InputError, match="unknown operation 'conv'"):
        predictor.predict([Graph(("input", "conv", "output"), ((0, 1), (1, 2)))])
    with pytest.raises(NotFittedError, match="is not fitted"):
        PathGP().predict(GRAPHS)
    with pytest.raises(NotFittedError, match="nothing to save"):
        PathGP().save("nowhere")
    for options, words in (
        ({"kind": "latency"}, "path-gp predicts accuracy, not 'latency'"),
        ({"features": "words"}, "unknown features 'words'; known: one-hot, matrix, paths"),
        ({"targets": ()}, "at least one target"),
    ):
        with pytest.raises(InputError, match=words):
            PathGP(**options)
    with pytest.raises(InputError, match="trees is 3"):
        RandomForest(trees=3)
    with pytest.raises(InputError, match="rounds 0"):
        GradientBoosting(rounds=0)
    for graphs, values, words in (
        (GRAPHS[:10], accuracy[:10, 0], "10 graphs are too few"),
        (GRAPHS[:30], accuracy[:20, 0], r"shape \(20, 1\); expected \(30, 1\)"),
        (GRAPHS[:30], np.r_[np.nan, accuracy[:29, 0]], "target of graph 0 is not finite"),
    ):
        with pytest.raises(InputError, match=words):
            RandomForest().fit(graphs, values)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(InputError, match=r'pip install "nasplug\[classical\]"'):
        RandomForest().fit(GRAPHS[:30], accuracy[:30, 0])


def test_one_hot_places_each_operation():
    graph = Graph(("input", "conv", "output"), ((0, 1), (1, 2)))
    code = OneHot(("conv", "input", "output"), 4)([graph]).reshape(4, 3)
    assert code.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_matrix_places_each_edge_and_the_output_last():
    graph = Graph(("input", "conv", "output"), ((0, 1), (0, 2), (1, 2)))
    code = Matrix(OneHot(("conv", "input", "output"), 4))([graph])[0]
    assert code[:12].tolist() == OneHot(("conv", "input", "output"), 4)([graph])[0].tolist()
    # pairs 01 02 03 12 13 23 of four places; the third node is the last one
    assert code[12:].tolist() == [1, 0, 1, 0, 1, 0]
