"""The published predictors, trained small on real measurements."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from nasplug import datasets
from nasplug.devices.hardware import hardware
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.models.sibling_transformer import (
    SiblingTransformer,
    SiblingTransformerConfig,
)
from nasplug.predictors.prediction import NotFittedError, Predictor
from nasplug.predictors.published.factories import build, narformer_v2, nnformer, nnlp
from nasplug.predictors.published.predictor import NetworkPredictor, NetworkPredictorConfig
from nasplug.predictors.published.recipes import NETWORKS, Form
from nasplug.predictors.training.config import TrainingConfig
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201

NB = NB201()
CELLS = np.random.default_rng(5).permutation(15_625)[:300]
GRAPHS = [NB.to_graph(NB[int(i)]) for i in CELLS]
DEVICE = Setting(hardware("GTX 1080 Ti"), 32)
TINY = {"epochs": 2, "batch_size": 16, "dim": 16, "num_layers": 1}
# Enough of each network to rank cells after a few seconds.
SMALL = {
    nnformer: {"dim": 32, "num_layers": 2, "epochs": 25, "batch_size": 16, "learning_rate": 3e-3},
    narformer_v2: {"dim": 32, "num_layers": 2, "epochs": 25, "learning_rate": 3e-3},
    nnlp: {"dim": 32, "epochs": 60, "batch_size": 16, "learning_rate": 1e-2},
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def accuracy(nb201_cache):
    table = datasets.load("nb201-accuracy").iloc[CELLS]
    return table[["cifar10_val", "cifar100_val"]].to_numpy()


@pytest.fixture(scope="module")
def latency(nb201_cache):
    return datasets.load("nb201-latency").iloc[CELLS][[DEVICE.key]].to_numpy()


@pytest.mark.parametrize("factory", SMALL)
def test_accuracy_of_unseen_cells_is_ranked(factory, accuracy):
    predictor = factory(**SMALL[factory])
    assert isinstance(predictor, Predictor)
    predictor.fit(GRAPHS[:100], accuracy[:100, 0])
    said = predictor.predict(GRAPHS[100:])
    assert (said.targets, said.units) == (("accuracy",), ("%",))
    assert kendalltau(said.mean[:, 0], accuracy[100:, 0])[0] > 0.3
    # Nothing was kept aside, so it does not say how wrong it is.
    for name in ("std", "lower", "upper"):
        assert np.isnan(getattr(said, name)).all()
    assert np.isnan(said.probability_at_most(90.0, "accuracy")).all()


@pytest.mark.parametrize("factory", SMALL)
def test_training_lowers_the_loss(factory, accuracy):
    few, many = (
        factory(**{**SMALL[factory], "epochs": epochs, "ema_decay": None}) for epochs in (1, 20)
    )
    errors = []
    for predictor in (few, many):
        predictor.fit(GRAPHS[:60], accuracy[:60, 0])
        errors.append(np.mean((predictor.scores(GRAPHS[:60])[0, :, 0] / accuracy[:60, 0] - 1) ** 2))
    assert errors[1] < errors[0]


@pytest.mark.parametrize("factory", SMALL)
def test_latency_of_unseen_cells(factory, latency):
    predictor = factory("latency", dim=32, epochs=30, learning_rate=5e-3)
    predictor.fit(GRAPHS[:100], latency[:100], [DEVICE])
    said = predictor.predict(GRAPHS[100:], DEVICE.hardware, DEVICE.batch_size)
    assert (said.targets, said.units) == (("latency",), ("ms",))
    assert not said.zero_shot
    assert np.mean(np.abs(said.mean / latency[100:] - 1)) < 0.2
    np.testing.assert_array_equal(said.mean, predictor.predict(GRAPHS[100:]).mean)
    assert predictor._models[0].config.images == 32
    with pytest.raises(InputError, match="GTX 1080 Ti at batch size 1 was not learned.*@32"):
        predictor.predict(GRAPHS[:1], DEVICE.hardware)
    tuned = replace(DEVICE.hardware, power_w=DEVICE.hardware.power_w * 2)
    with pytest.raises(InputError, match="was not learned"):
        predictor.predict(GRAPHS[:1], tuned, 32)


def test_several_targets_members_and_calibration(accuracy):
    options = {**SMALL[nnformer], "epochs": 10, "members": 2, "calibration_share": 0.2}
    predictor = nnformer(targets=("cifar10", "cifar100"), **options)
    reports = []
    predictor.fit(GRAPHS[:200], accuracy[:200], report=reports.append)
    assert len(reports) == 2
    assert predictor.scores(GRAPHS[200:]).shape == (2, 100, 2)
    said = predictor.predict(GRAPHS[200:])
    assert said.targets == ("cifar10", "cifar100")
    assert (said.std > 0).all()
    for k in range(2):
        inside = (accuracy[200:, k] >= said.lower[:, k]) & (accuracy[200:, k] <= said.upper[:, k])
        assert 0.7 < inside.mean() <= 1.0
        # A calibrated scale changes no ranking.
        raw = predictor.scores(GRAPHS[200:]).mean(0)[:, k]
        assert kendalltau(raw, said.mean[:, k])[0] > 0.99
    members = predictor.scores(GRAPHS[:9])
    assert not np.allclose(members[0], members[1])


def test_latency_calibration_covers(latency):
    predictor = nnlp("latency", dim=32, epochs=20, calibration_share=0.3)
    predictor.fit(GRAPHS[:200], latency[:200], [DEVICE])
    said = predictor.predict(GRAPHS[200:])
    inside = (latency[200:] >= said.lower) & (latency[200:] <= said.upper)
    assert 0.75 < inside.mean() <= 1.0
    assert said.log_scale == (True,)


def test_calibration_targets_change_scale_but_not_ranking(accuracy):
    plain, moved = (nnlp(**TINY, calibration_share=0.3) for _ in range(2))
    plain.fit(GRAPHS[:100], accuracy[:100, 0])
    moved.fit(GRAPHS[:100], accuracy[:100, 0], calibration_targets=accuracy[:100, 0] / 10 + 50)
    a, b = (p.predict(GRAPHS[100:]).mean[:, 0] for p in (plain, moved))
    assert 50 < np.median(b) < 60
    np.testing.assert_array_equal(np.argsort(a, kind="stable"), np.argsort(b, kind="stable"))


@pytest.mark.parametrize("kind", ["accuracy", "latency"])
@pytest.mark.parametrize("network", NETWORKS)
def test_saved_predictors_predict_the_same(network, kind, accuracy, latency, tmp_path):
    if kind not in NETWORKS[network]:
        pytest.skip(f"{network} has no {kind} form")
    options = {"epochs": 1, "batch_size": 16, "dim": 16, "members": 2, "calibration_share": 0.3}
    predictor = build(network, kind, **options)
    if kind == "accuracy":
        predictor.fit(GRAPHS[:80], accuracy[:80, 0])
    else:
        predictor.fit(GRAPHS[:80], latency[:80], [DEVICE])
    predictor.save(tmp_path / "mine", {"note": "small"})
    checkpoint = load_checkpoint(tmp_path / "mine")
    assert checkpoint.card["note"] == "small"
    again = NetworkPredictor.from_checkpoint(checkpoint)
    assert (again.kind, again.config, again.parameters) == (
        kind,
        predictor.config,
        predictor.parameters,
    )
    first, second = predictor.predict(GRAPHS[80:120]), again.predict(GRAPHS[80:120])
    for name in ("mean", "lower", "upper"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_checkpoint_that_does_not_fit_is_refused(accuracy, tmp_path):
    predictor = nnlp(**TINY)
    predictor.fit(GRAPHS[:40], accuracy[:40, 0])
    predictor.save(tmp_path / "mine")
    checkpoint = load_checkpoint(tmp_path / "mine")
    own = checkpoint.card["config"]
    for broken, message in [
        ({**own, "network": "gcn"}, "unknown network 'gcn'"),
        ({**own, "color": "red"}, "does not describe a network predictor"),
        ({k: v for k, v in own.items() if k != "recipe"}, "does not describe"),
    ]:
        card = {**checkpoint.card, "config": broken}
        with pytest.raises(InputError, match=message):
            NetworkPredictor.from_checkpoint(replace(checkpoint, card=card))
    wider = {**checkpoint.card, "model": {**checkpoint.card["model"], "dim": 32}}
    with pytest.raises(InputError, match="do not fit"):
        NetworkPredictor.from_checkpoint(replace(checkpoint, card=wider))


def test_a_resumed_fit_equals_an_uninterrupted_one(accuracy, tmp_path):
    whole, halfway, resumed = (nnformer(**{**TINY, "epochs": 6}) for _ in range(3))
    whole.fit(GRAPHS[:40], accuracy[:40, 0])

    class Stop(RuntimeError):
        pass

    steps, forward = 0, type(whole._models[0]).forward

    def stopping(self, batch):
        nonlocal steps
        steps += 1
        if steps == 11:
            raise Stop
        return forward(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(whole._models[0]), "forward", stopping)
        with pytest.raises(Stop):
            halfway.fit(GRAPHS[:40], accuracy[:40, 0], folder=tmp_path)
    resumed.fit(GRAPHS[:40], accuracy[:40, 0], folder=tmp_path)
    np.testing.assert_array_equal(whole.scores(GRAPHS), resumed.scores(GRAPHS))


def test_unknown_targets_are_left_out(accuracy, latency):
    values = accuracy[:60].copy()
    values[::3, 1] = np.nan
    predictor = nnlp(targets=("cifar10", "cifar100"), **TINY)
    predictor.fit(GRAPHS[:60], values)
    assert np.isfinite(predictor.scores(GRAPHS)).all()
    slow = latency[:60].copy()
    slow[5], slow[6] = np.nan, 0.01
    timed = nnlp("latency", **TINY, calibration_share=0.4)
    timed.fit(GRAPHS[:60], slow, [DEVICE])
    assert np.isfinite(timed.predict(GRAPHS).upper).all()


def test_the_best_epoch_can_be_chosen_on_a_validation_split(accuracy):
    reports = []
    predictor = nnformer(**TINY, selection="best", validation_share=0.25)
    predictor.fit(GRAPHS[:60], accuracy[:60, 0], report=reports.append)
    assert math.isfinite(reports[0].validation_loss)


def test_bad_training_data_is_named(accuracy, latency):
    predictor = nnlp(targets=("cifar10", "cifar100"), **TINY)
    with pytest.raises(InputError, match=r"shape \(300, 1\); expected \(300, 2\)"):
        predictor.fit(GRAPHS, accuracy[:, 0])
    broken = accuracy.copy()
    broken[3, 1] = np.inf
    with pytest.raises(InputError, match="graph 3 is infinite"):
        predictor.fit(GRAPHS, broken)
    broken[3, 1] = 0.0
    with pytest.raises(InputError, match="graph 3 is not above 0"):
        predictor.fit(GRAPHS, broken)
    broken[:, 1] = np.nan
    with pytest.raises(InputError, match="no values for the training graphs"):
        predictor.fit(GRAPHS, broken)
    with pytest.raises(InputError, match="10 graphs are too few"):
        nnlp(**TINY, calibration_share=0.2).fit(GRAPHS[:10], accuracy[:10, 0])
    gap = accuracy[:, :1].copy()
    gap[-1] = np.nan
    with pytest.raises(InputError, match="every target for every graph"):
        nnlp(**TINY, calibration_share=0.2).fit(GRAPHS, gap)
    with pytest.raises(InputError, match="0 devices were given, but"):
        nnlp("latency", **TINY).fit(GRAPHS, latency)
    with pytest.raises(InputError, match="2 devices were given, but"):
        nnlp("latency", **TINY).fit(GRAPHS, latency, [DEVICE, DEVICE])


def test_empty_and_unfitted(accuracy):
    predictor = nnlp(**TINY)
    for ask in (lambda: predictor.predict(GRAPHS[:1]), lambda: predictor.parameters):
        with pytest.raises(NotFittedError):
            ask()
    with pytest.raises(NotFittedError):
        predictor.save("nowhere")
    predictor.fit(GRAPHS[:40], accuracy[:40, 0])
    assert predictor.predict([]).mean.shape == (0, 1)
    with pytest.raises(InputError, match="'conv9x9'"):
        predictor.predict([Graph(("input", "conv9x9"), ((0, 1),))])


def test_options_reach_recipe_network_and_predictor():
    predictor = nnformer(epochs=7, sibling_mask="padded", members=3, seed=4)
    assert predictor.config.recipe == replace(
        NETWORKS["nnformer"]["accuracy"].recipe, epochs=7, seed=4
    )
    assert predictor.config.options == {"sibling_mask": "padded"}
    assert predictor.config.members == 3
    assert predictor.targets == ("accuracy",)
    assert nnlp("latency").targets == ("latency",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 3}, "unknown option 'depth'.*members.*epochs.*dim.*num_heads"),
        ({"vocabulary": ("a",)}, "unknown option 'vocabulary'"),
        ({"images": 2}, "unknown option 'images'"),
        ({"kind": "energy"}, "nnformer predicts accuracy or latency, not 'energy'"),
        ({"kind": "latency", "targets": ("a", "b")}, "2 targets"),
        ({"targets": ()}, "0 targets"),
        ({"members": 0}, "members is 0"),
        ({"calibration_share": 1.0}, "between 0 and 1"),
        ({"schedule": "step"}, "schedule is 'step'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        nnformer(**options)


def test_another_network_is_one_entry(monkeypatch, accuracy, tmp_path):
    recipe = TrainingConfig(epochs=15, batch_size=16, learning_rate=3e-3, selection="last")
    form = Form(SiblingTransformer, SiblingTransformerConfig, recipe, scale=None)
    monkeypatch.setitem(NETWORKS, "sibling", {"accuracy": form})
    predictor = build("sibling", targets=("cifar10", "cifar100"), dim=16, num_layers=2)
    predictor.fit(GRAPHS[:100], accuracy[:100])
    said = predictor.predict(GRAPHS[100:]).mean
    for k in range(2):
        assert kendalltau(said[:, k], accuracy[100:, k])[0] > 0.3
        # Such a network predicts standardised targets; the answer is in percent all the same.
        assert abs(np.median(said[:, k]) - np.median(accuracy[:100, k])) < 10
    predictor.save(tmp_path / "mine")
    again = NetworkPredictor.from_checkpoint(load_checkpoint(tmp_path / "mine"))
    np.testing.assert_array_equal(again.predict(GRAPHS[100:]).mean, said)
    with pytest.raises(InputError, match="sibling predicts accuracy, not 'latency'"):
        build("sibling", "latency")


def test_unknown_networks_and_fields_are_named():
    with pytest.raises(InputError, match="unknown network 'nnforma'.*nnformer"):
        build("nnforma")
    with pytest.raises(InputError, match="nnlp has no 'num_heads'; known: dim"):
        NetworkPredictor(NetworkPredictorConfig("nnlp", options={"num_heads": 4}))
