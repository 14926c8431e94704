"""The shipped predictor of NAS-Bench-101 accuracies."""

import json

import numpy as np
import pytest
from scipy.stats import kendalltau
from typer.testing import CliRunner

from nasplug import create_predictor, datasets, load_predictor, space
from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.scoring import Scoring
from nasplug.objectives import OBJECTIVES
from nasplug.predictors.accuracy.array_gp import cell_gp
from nasplug.results.result import SearchResult
from nasplug.results.scored import Scored, facts_of
from nasplug.searching.outcome import _predicted_entry

NB = space("nb101")
SMALL = "0110001100010000:input,conv3x3-bn-relu,conv1x1-bn-relu,output"


@pytest.fixture(scope="module")
def shipped():
    return load_predictor("nb101-accuracy")


@pytest.fixture(scope="module")
def codes():
    """Some cells of every size, by their codes."""
    return NB.codes[[*range(0, 2_532, 50), *range(2_532, len(NB), 2_003)]]


def test_the_card_says_what_it_learned_from(shipped):
    assert shipped.space is NB
    assert shipped.kind == "accuracy"
    assert shipped.targets == ("cifar10",)
    training = shipped.card["training"]
    assert training["source"] == "NB-101 small-cell subset (n=1,713)"
    assert training["epochs"] == 108
    assert training["cells"] == sum(training["vertices"].values()) == 1_713
    assert training["vertices"] == {"2": 1, "3": 6, "4": 84, "5": 1_446, "6": 174, "7": 2}
    assert "No uniform sample of the 423,624 cells" in training["bias"]
    assert len(shipped.sha256) == 64


def test_it_knows_the_cells_of_the_benchmark_that_are_public(shipped, cache):
    known = datasets.load("nb101-small")
    known = known[known["epochs"] == 108]
    said = shipped.predict(list(known["arch"]))
    truth = known["cifar10_test"].to_numpy()
    assert kendalltau(said.mean[:, 0], truth)[0] > 0.85
    assert np.abs(said.mean[:, 0] - truth).mean() < 1
    inside = (said.lower[:, 0] <= truth) & (truth <= said.upper[:, 0])
    assert inside.mean() > 0.85
    # EC-NAS trained the same cells anew.
    anew = datasets.load("ecnas-4v")
    anew = anew[anew["epochs"] == 108].groupby("arch")["cifar10_test"].mean()
    other = shipped.predict(list(anew.index)).mean[:, 0]
    assert kendalltau(other, anew)[0] > 0.8


def test_a_predictor_like_it_ranks_cells_that_were_held_back(cache):
    known = datasets.load("nb101-small")
    known = known[known["epochs"] == 108].sample(frac=1, random_state=0)
    graphs = NB.to_graphs([NB.parse(text) for text in known["arch"]])
    predictor = cell_gp(targets=("cifar10",))
    values = known["cifar10_val"].to_numpy(), known["cifar10_test"].to_numpy()
    predictor.fit(graphs[:60], values[0][:60], calibration_targets=values[1][:60])
    said = predictor.predict(graphs[60:])
    assert kendalltau(said.mean[:, 0], values[1][60:])[0] > 0.6


def test_codes_are_told_as_architectures_are(shipped, codes):
    fast = shipped.predict_codes(codes)
    archs = [NB[int(k)] for k in np.searchsorted(NB.codes, codes)]
    slow = shipped.predict(archs)
    np.testing.assert_allclose(fast.mean, slow.mean, rtol=1e-6)
    np.testing.assert_allclose(fast.upper, slow.upper, rtol=1e-5)
    np.testing.assert_array_equal(shipped.familiar_codes(codes), shipped.familiar(archs))
    assert len(shipped.predict_codes(codes[:0])) == 0


def test_cells_of_six_and_seven_vertices_are_flagged_and_less_certain(shipped, codes):
    size = NB.arrays(codes).nodes
    said, familiar = shipped.predict_codes(codes), shipped.familiar_codes(codes)
    width = (said.upper - said.lower)[:, 0]
    assert not familiar[size >= 6].any()
    assert familiar[size <= 5].mean() > 0.9
    near, far = (np.median(width[rows]) for rows in (size <= 5, size == 7))
    assert far > 1.3 * near
    # nothing beyond what any training reaches
    assert said.mean.min() > 10
    assert said.mean.max() < 95


def test_what_reads_graphs_alone_says_so(codes):
    other = create_predictor("accuracy", "nb101")
    assert other.predict_codes(codes) is None
    assert other.familiar_codes(codes) is None
    assert other.familiar([SMALL]) is None
    assert load_predictor("nb201-accuracy").predict_codes(codes) is None


def test_it_is_made_again_from_the_same_labels(shipped):
    from experiments.nb101 import nb101_labels
    from nasplug import InputError

    try:
        labels = nb101_labels.small_subset()
    except InputError as error:
        pytest.skip(str(error))
    graphs = labels.graphs(np.arange(len(labels)))
    said = shipped.predict(graphs)
    assert kendalltau(said.mean[:, 0], labels.test)[0] > 0.87
    inside = (said.lower[:, 0] <= labels.test) & (labels.test <= said.upper[:, 0])
    assert inside.mean() > 0.9
    # its rows are these cells' features, in the order that the seed of the card draws
    order = np.random.default_rng(shipped.card["config"]["seed"]).permutation(len(labels))
    model = shipped.model
    np.testing.assert_allclose(
        model._state["scores"][:, 0].argsort(), labels.validation[order].argsort()
    )


def test_commands_say_that_a_large_cell_is_an_extrapolation(codes):
    from nasplug.cli import app

    large = NB[len(NB) - 1].text
    done = CliRunner().invoke(app, ["predict", SMALL, large, "--space", "nb101"])
    assert done.exit_code == 0, done.output
    assert done.output.count("this architecture is unlike those") == 1
    assert done.output.index(large) < done.output.index("unlike those")
    done = CliRunner().invoke(app, ["predict", SMALL, large, "--space", "nb101", "--json"])
    rows = json.loads(done.stdout)
    assert [row["familiar"] for row in rows] == [True, False]
    near, far = (row["accuracy"]["cifar10"] for row in rows)
    assert far["upper"] - far["lower"] > near["upper"] - near["lower"]


def test_a_search_says_how_many_of_its_architectures_are_extrapolations():
    archs = [NB.parse(SMALL), NB[len(NB) - 1], NB[len(NB) - 9]]
    scoring = Scoring(NB, ("accuracy", "flops"), None, (), 1, "cifar10", {})
    candidates = ListedCandidates(scoring, archs, whole=True)
    assert candidates.familiar([2, 0]).tolist() == [False, True]
    goals = (OBJECTIVES["accuracy"], OBJECTIVES["flops"])
    pareto = [
        _predicted_entry(candidates, k, {"accuracy": None, "latency_ms": None}, goals, {})
        for k in range(3)
    ]
    assert [row["familiar"] for row in pareto] == [True, False, False]
    result = SearchResult(
        space="nb101",
        hardware=None,
        dataset="cifar10",
        batch_size=1,
        seed=0,
        n_trials=3,
        objectives=goals,
        constraints=(),
        predictor={"name": "nb101-accuracy", "sha256": None},
        pareto=pareto,
        seconds={},
        study=None,
        searched=NB,
        facts=facts_of(candidates, "cifar10"),
        score=lambda: Scored(candidates, (0, 1, 2), ()),
    )
    assert any(note.startswith("2 of the 3 architectures are unlike") for note in result.notes())
    # Nothing is said where no accuracy is predicted.
    counted = Scoring(NB, ("flops", "params"), None, (), 1, "cifar10", {})
    assert ListedCandidates(counted, archs, whole=True).familiar([0]) is None
