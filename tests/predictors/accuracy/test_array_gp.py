import numpy as np
import pytest
from scipy.stats import kendalltau

from nasplug import InputError
from nasplug.predictors import NotFittedError, create
from nasplug.predictors.accuracy.array_gp import CellGP, cell_gp
from nasplug.predictors.checkpoint import load_checkpoint, save_checkpoint
from nasplug.predictors.features.cell_arrays import cell_blocks
from nasplug.predictors.features.paths import operation_pairs, summaries
from nasplug.predictors.registry import restore
from nasplug.search_spaces import Graph, space
from nasplug.search_spaces.cell_arrays import CellArrays
from nasplug.search_spaces.simplify import prune

NB = space("nb101")
TYPES = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")
RNG = np.random.default_rng(0)
# Cells of at most five vertices come first in the space's order.
SMALL = [NB[int(k)] for k in RNG.choice(2_532, 260, replace=False)]
LARGE = [NB[int(k)] for k in RNG.choice(np.arange(70_000, len(NB)), 60, replace=False)]


def made_up(archs):
    """Percent that paths decide, with ties and a long tail as accuracies have."""
    rows = summaries(NB.to_graphs(archs), (*TYPES, "input", "output"))
    score = rows[:, 6] + 0.5 * rows[:, 1] - 0.7 * rows[:, 11] + 0.2 * rows[:, 20]
    return np.round(94 - 6 * np.exp(-0.6 * score), 2)


@pytest.fixture(scope="module")
def fitted():
    predictor = cell_gp(targets=("cifar10",), inducing=120)
    noise = RNG.normal(0, 0.1, 200)
    predictor.fit(NB.to_graphs(SMALL[:200]), made_up(SMALL[:200]) + noise)
    return predictor


def test_summaries_and_pairs_are_those_of_the_graphs():
    archs = [*SMALL[:40], *LARGE[:40], NB[0]]
    graphs = NB.to_graphs(archs)
    blocks = cell_blocks(CellArrays.of(graphs, TYPES, 7))
    np.testing.assert_allclose(
        blocks["summaries"], summaries(graphs, (*TYPES, "input", "output")), atol=1e-9
    )
    for counter, row in zip(operation_pairs(graphs), blocks["pairs"], strict=True):
        assert sorted(counter.values()) == sorted(row[row > 0].tolist())


def test_a_graph_without_a_path_has_the_features_of_paths():
    nb201 = space("nb201")
    cells = [nb201[k] for k in range(0, 15_625, 400)]
    graphs = [prune(graph) for graph in nb201.to_graphs(cells)]
    types = ("avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
    assert any(not graph.edges for graph in graphs)
    found = cell_blocks(CellArrays.of(graphs, types))["summaries"]
    # minima of a graph without a path, where no count differs
    for graph, row in zip(graphs, found, strict=True):
        if not graph.edges:
            assert row[1] == row[2] == -1
            assert row[3] == row[4] == 0
    assert np.isfinite(found).all()


def test_it_ranks_what_it_has_not_seen(fitted):
    graphs, truth = NB.to_graphs(SMALL[200:]), made_up(SMALL[200:])
    said = fitted.predict(graphs)
    assert kendalltau(said.mean[:, 0], truth)[0] > 0.8
    inside = (said.lower[:, 0] <= truth) & (truth <= said.upper[:, 0])
    assert inside.mean() > 0.8
    assert kendalltau(fitted.scores(graphs)[0, :, 0], said.mean[:, 0])[0] > 0.98
    assert said.targets == ("cifar10",)
    assert len(fitted.predict([])) == 0


def test_arrays_and_graphs_are_told_the_same(fitted):
    archs = [*SMALL[:30], *LARGE]
    said = fitted.predict(NB.to_graphs(archs))
    arrays = NB.arrays(np.array([arch.key for arch in archs], np.uint32))
    fast = fitted.predict_arrays(arrays)
    np.testing.assert_allclose(fast.mean, said.mean, rtol=1e-6)
    np.testing.assert_allclose(fast.std, said.std, rtol=1e-4)
    np.testing.assert_array_equal(
        fitted.familiar_arrays(arrays), fitted.familiar(NB.to_graphs(archs))
    )


def test_large_cells_are_unfamiliar_and_less_certain(fitted):
    near, far = NB.to_graphs(SMALL[200:]), NB.to_graphs(LARGE)
    assert fitted.familiar(near).mean() > 0.85
    assert not fitted.familiar(far).any()

    def widths(graphs):
        # in scores: in percent the map from ranks has its say
        _, variance = fitted._posterior(graphs)
        return np.median(variance)

    assert widths(far) > 2 * widths(near)


def test_far_intervals_grow_by_what_leaving_large_cells_out_showed(fitted, monkeypatch):
    far, near = NB.to_graphs(LARGE), NB.to_graphs(SMALL[:5])
    assert fitted.familiar(near).all()
    before = fitted.predict(near).std
    state = dict(fitted._state)
    size, uncertain, factor = state["far"]
    assert factor >= 1
    monkeypatch.setattr(fitted, "_state", state)
    floors = state["floors"]
    assert (floors[1] >= floors[0]).all()
    state["floors"] = np.zeros((2, 1))
    wide = fitted.predict(far).std
    state["far"] = np.array([size, uncertain, 3 * factor])
    np.testing.assert_allclose(fitted.predict(far).std, 3 * wide, rtol=1e-9)
    state["far"] = np.array([size, uncertain, factor])
    state["floors"] = floors + np.array([[0.0], [50.0]])
    assert (fitted.predict(far).spread == floors[1] + 50).all()
    np.testing.assert_array_equal(fitted.predict(near).std, before)


def test_large_cells_among_the_learned_say_how_wrong_the_best_may_be():
    archs = [*SMALL[:150], *[NB[int(k)] for k in RNG.choice(np.arange(2_532, 60_000), 60)]]
    values = made_up(archs)
    alone, both = CellGP(), CellGP()
    alone.fit(NB.to_graphs(archs[:150]), values[:150])
    both.fit(NB.to_graphs(archs), values)
    # Only the second one has seen how wrong it is of large cells.
    assert alone._state["floors"][0] == alone._state["floors"][1] > 0
    assert both._state["floors"][1] > both._state["floors"][0]
    graphs = NB.to_graphs(LARGE)
    best = np.argsort(-both.predict(graphs).mean[:, 0])[:20]
    said, truth = both.predict([graphs[k] for k in best]), made_up([LARGE[k] for k in best])
    both._state["floors"] = np.zeros((2, 1))
    narrow = both.predict([graphs[k] for k in best])

    def covered(one):
        return ((one.lower[:, 0] <= truth) & (truth <= one.upper[:, 0])).mean()

    assert covered(said) > covered(narrow) + 0.1


def test_the_best_are_not_told_too_sharply(fitted):
    graphs = NB.to_graphs(SMALL[200:])
    spread = fitted.predict(graphs).spread
    assert spread.min() == pytest.approx(fitted._state["floors"][0, 0])
    # Where labels lie close together at the upper end the floor is what counts.
    best = np.argsort(-fitted.predict(graphs).mean[:, 0])[:5]
    np.testing.assert_allclose(spread[best], fitted._state["floors"][0, 0])


def test_the_order_of_the_nodes_makes_no_difference(fitted):
    graph = Graph(
        ("input", "maxpool3x3", "conv3x3-bn-relu", "output"), ((0, 1), (0, 2), (1, 3), (2, 3))
    )
    other = Graph(
        ("input", "conv3x3-bn-relu", "maxpool3x3", "output"), ((0, 1), (0, 2), (1, 3), (2, 3))
    )
    assert fitted.predict([graph]).mean == pytest.approx(fitted.predict([other]).mean)


def test_a_stored_one_says_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "own", {"space": "nb101"})
    loaded = restore(load_checkpoint(tmp_path / "own"))
    graphs = NB.to_graphs([*SMALL[200:220], *LARGE[:20]])
    np.testing.assert_array_equal(loaded.predict(graphs).mean, fitted.predict(graphs).mean)
    np.testing.assert_array_equal(loaded.predict(graphs).upper, fitted.predict(graphs).upper)
    np.testing.assert_array_equal(loaded.familiar(graphs), fitted.familiar(graphs))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"types": ["conv1x1-bn-relu"]}, "features are not"),
        ({"config": {"targets": ["a", "b"]}}, "its arrays have shapes"),
        ({"config": {"pots": 1}}, "pots"),
        ({"types": None}, "NoneType"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(fitted, tmp_path, change, words):
    fitted.save(tmp_path / "own")
    own = load_checkpoint(tmp_path / "own")
    save_checkpoint(tmp_path / "own", own.tensors, own.card | change)
    with pytest.raises(InputError, match=f"does not describe a cell-gp.*{words}"):
        CellGP.from_checkpoint(load_checkpoint(tmp_path / "own"))


def test_bad_input():
    with pytest.raises(NotFittedError):
        CellGP().predict(NB.to_graphs(SMALL[:1]))
    with pytest.raises(NotFittedError):
        CellGP().save("nowhere")
    with pytest.raises(InputError, match="39 graphs are too few to learn from; give at least 40"):
        CellGP().fit(NB.to_graphs(SMALL[:39]), np.arange(39.0))
    with pytest.raises(InputError, match="unknown option 'trees'"):
        create("cell-gp", targets=("a",), trees=3)
    with pytest.raises(InputError, match="predicts accuracy, not latency"):
        create("cell-gp", kind="latency")
