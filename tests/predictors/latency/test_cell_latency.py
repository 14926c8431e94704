"""The two predictors, trained small on real measurements."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, spearmanr

from nasplug import datasets
from nasplug.devices.hardware import hardware
from nasplug.predictors.accuracy.transformer_ensemble import AccuracyConfig, AccuracyPredictor
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.cell_latency import LatencyConfig, LatencyPredictor
from nasplug.predictors.models.sibling_transformer import (
    SiblingTransformer,
    SiblingTransformerConfig,
)
from nasplug.predictors.prediction import NotFittedError, Predictor
from nasplug.predictors.statistics.calibration import LEVELS
from nasplug.predictors.training.config import Examples, TrainingConfig
from nasplug.predictors.training.loop import train
from nasplug.search_spaces import InputError
from nasplug.search_spaces.nb201 import NB201

NB = NB201()
CELLS = np.random.default_rng(5).permutation(15_625)[:700]
GRAPHS = [NB.to_graph(NB[int(i)]) for i in CELLS]
QUICK = TrainingConfig(epochs=14, batch_size=64, learning_rate=3e-3)
DEVICES = [
    Setting(hardware("GTX 1080 Ti"), 1),
    Setting(hardware("GTX 1080 Ti"), 256),
    Setting(hardware("Raspberry Pi 4"), 1, "tflite"),
]


@pytest.fixture(scope="module")
def accuracy(nb201_cache):
    table = datasets.load("nb201-accuracy").iloc[CELLS]
    return table[["cifar10_val", "cifar100_val"]].to_numpy()


@pytest.fixture(scope="module")
def fitted_accuracy(accuracy):
    config = AccuracyConfig(("cifar10", "cifar100"), members=2, dim=32, training=QUICK)
    predictor = AccuracyPredictor(config)
    predictor.fit(GRAPHS[:500], accuracy[:500])
    return predictor


@pytest.fixture(scope="module")
def latency(nb201_cache):
    table = datasets.load("nb201-latency").iloc[CELLS]
    return table[[d.plain_key for d in DEVICES]].to_numpy()


@pytest.fixture(scope="module")
def fitted_latency(latency):
    predictor = LatencyPredictor(LatencyConfig(members=1, dim=32, training=QUICK))
    predictor.fit(GRAPHS[:500], latency[:500], DEVICES)
    predictor.set_zero_shot({"gpu": np.linspace(-1, 1, len(LEVELS))})
    return predictor


def test_accuracy_ranks_unseen_cells(fitted_accuracy, accuracy):
    assert isinstance(fitted_accuracy, Predictor)
    said = fitted_accuracy.predict(GRAPHS[500:])
    assert said.targets == ("cifar10", "cifar100")
    assert said.units == ("%", "%")
    assert said.mean.shape == (200, 2)
    for k in range(2):
        # A one-hot random forest on as many cells reaches about .63.
        assert kendalltau(said.mean[:, k], accuracy[500:, k])[0] > 0.65
        inside = (accuracy[500:, k] >= said.lower[:, k]) & (accuracy[500:, k] <= said.upper[:, k])
        assert 0.75 < inside.mean() <= 1.0


def test_calibration_targets_change_scale_but_not_ranking(accuracy):
    config = AccuracyConfig(("cifar10",), members=1, dim=16, training=replace(QUICK, epochs=3))
    plain, shifted = AccuracyPredictor(config), AccuracyPredictor(config)
    values = accuracy[:300, :1]
    plain.fit(GRAPHS[:300], values)
    shifted.fit(GRAPHS[:300], values, calibration_targets=values / 10 + 50)
    a, b = plain.predict(GRAPHS[300:]).mean[:, 0], shifted.predict(GRAPHS[300:]).mean[:, 0]
    assert 50 < np.median(b) < 60
    # `b` is a tenth of the scale, so equal up to rounding in what decides the order.
    assert spearmanr(a, b)[0] > 1 - 1e-9


def test_latency_follows_cells_and_devices(fitted_latency, latency):
    for k, device in enumerate(DEVICES[:2]):
        said = fitted_latency.predict(GRAPHS[500:], device.hardware, device.batch_size)
        assert not said.zero_shot
        assert spearmanr(said.mean[:, 0], latency[500:, k])[0] > 0.9
        error = np.abs(said.mean[:, 0] / latency[500:, k] - 1)
        assert error.mean() < 0.1


def test_degenerate_latencies_do_not_poison_training(fitted_latency, latency):
    # Cells without a path from input to output take "0.01 ms" on this board.
    assert (latency[:500, 2] < 0.1).any()
    said = fitted_latency.predict(GRAPHS[500:], DEVICES[2].hardware)
    assert np.isfinite(said.mean).all()
    assert said.mean.min() > 1


def test_unmeasured_device_is_zero_shot_with_the_width_it_was_given(fitted_latency):
    said = fitted_latency.predict(GRAPHS[:3], hardware("RTX 3090"))
    assert said.zero_shot
    low, high = np.interp([0.05, 0.95], LEVELS, np.linspace(-1, 1, len(LEVELS)))
    np.testing.assert_allclose(said.lower / said.mean, np.exp(low))
    np.testing.assert_allclose(said.upper / said.mean, np.exp(high))
    # a batch size that was not measured is no measured device either
    assert fitted_latency.predict(GRAPHS[:3], DEVICES[0].hardware, 32).zero_shot


def test_a_users_device_under_a_known_name_is_not_the_measured_one(fitted_latency):
    known = hardware("GTX 1080 Ti")
    assert fitted_latency.predict(GRAPHS[:1], replace(known, power_w=known.power_w * 2)).zero_shot
    assert not fitted_latency.predict(GRAPHS[:1], replace(known, note="mine")).zero_shot


def test_an_unknown_device_is_predicted_like_the_measured_ones_that_it_is_like(fitted_latency):
    known = DEVICES[1]
    twin = replace(known.hardware, name="Twin")
    own = fitted_latency.predict(GRAPHS, known.hardware, known.batch_size).mean[:, 0]
    said = fitted_latency.predict(GRAPHS, twin, known.batch_size).mean[:, 0]
    alone = LatencyPredictor(replace(fitted_latency.config, similar=0.0))
    alone.__dict__ |= {k: v for k, v in vars(fitted_latency).items() if k != "config"}
    without = alone.predict(GRAPHS, twin, known.batch_size).mean[:, 0]
    assert np.abs(np.log(said / own)).mean() < 0.5 * np.abs(np.log(without / own)).mean()
    # Two at once are each predicted as alone.
    columns = [Setting(twin, 256), known, Setting(hardware("Pixel 6"))]
    both = fitted_latency.log_latency(GRAPHS[:5], columns)
    one = [fitted_latency.log_latency(GRAPHS[:5], [column]) for column in columns]
    np.testing.assert_allclose(both, np.concatenate(one, axis=1), atol=1e-5)


def test_a_measured_device_in_another_runtime_is_not_measured(fitted_latency):
    device = DEVICES[0].hardware
    usual = fitted_latency.predict(GRAPHS[:3], device)
    said = fitted_latency.predict(GRAPHS[:3], device, 1, "float32")
    assert not said.zero_shot
    np.testing.assert_array_equal(said.mean, usual.mean)
    assert fitted_latency.predict(GRAPHS[:3], device, 1, "compiled").zero_shot
    assert fitted_latency.measured_in("float32") == ("GTX 1080 Ti",)
    assert fitted_latency.measured_in("tflite") == ("Raspberry Pi 4",)
    with pytest.raises(InputError, match="unknown runtime 'fast'"):
        fitted_latency.predict(GRAPHS[:3], device, 1, "fast")


def test_unknown_group_says_what_is_measured(fitted_latency):
    with pytest.raises(InputError, match="Pixel 6.*GTX 1080 Ti@1"):
        fitted_latency.predict(GRAPHS[:1], hardware("Pixel 6"))


def test_latency_needs_a_device_and_a_batch_size(fitted_latency):
    with pytest.raises(InputError, match="needs a device"):
        fitted_latency.predict(GRAPHS[:1])
    with pytest.raises(InputError, match="batch size 0"):
        fitted_latency.predict(GRAPHS[:1], hardware("RTX 3090"), 0)


def test_saved_predictors_predict_the_same(fitted_accuracy, fitted_latency, tmp_path):
    fitted_accuracy.save(tmp_path / "a")
    again = AccuracyPredictor.from_checkpoint(load_checkpoint(tmp_path / "a"))
    first, second = fitted_accuracy.predict(GRAPHS[:50]), again.predict(GRAPHS[:50])
    for name in ("mean", "std", "lower", "upper"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    fitted_latency.save(tmp_path / "b")
    restored = LatencyPredictor.from_checkpoint(load_checkpoint(tmp_path / "b"))
    for device in (DEVICES[1], Setting(hardware("RTX 3090"))):
        x = fitted_latency.predict(GRAPHS[:50], device.hardware, device.batch_size)
        y = restored.predict(GRAPHS[:50], device.hardware, device.batch_size)
        np.testing.assert_array_equal(x.upper, y.upper)
        assert x.zero_shot == y.zero_shot


def test_a_checkpoint_of_another_kind_is_refused(fitted_accuracy, tmp_path):
    fitted_accuracy.save(tmp_path / "a")
    with pytest.raises(InputError, match="does not describe a latency predictor"):
        LatencyPredictor.from_checkpoint(load_checkpoint(tmp_path / "a"))


def test_a_checkpoint_without_its_devices_is_refused(fitted_latency, tmp_path):
    fitted_latency.save(tmp_path / "b")
    whole = load_checkpoint(tmp_path / "b")
    for part in ("known.settings", "known.described"):
        tensors = {**whole.tensors, part: whole.tensors[part][:-1]}
        with pytest.raises(InputError, match="its 3 measured devices is incomplete"):
            LatencyPredictor.from_checkpoint(replace(whole, tensors=tensors))


def test_empty_and_unfitted(fitted_accuracy, fitted_latency):
    assert fitted_accuracy.predict([]).mean.shape == (0, 2)
    assert fitted_latency.predict([], hardware("GTX 1080 Ti")).mean.shape == (0, 1)
    with pytest.raises(NotFittedError):
        AccuracyPredictor().predict(GRAPHS[:1])
    with pytest.raises(NotFittedError):
        LatencyPredictor().predict(GRAPHS[:1], hardware("RTX 3090"))
    with pytest.raises(NotFittedError):
        AccuracyPredictor().save("nowhere")


def test_bad_training_data_is_named(accuracy):
    predictor = AccuracyPredictor(AccuracyConfig(("cifar10", "cifar100")))
    with pytest.raises(InputError, match=r"shape \(700, 1\); expected \(700, 2\)"):
        predictor.fit(GRAPHS, accuracy[:, 0])
    broken = accuracy.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match="graph 3 is not finite"):
        predictor.fit(GRAPHS, broken)
    with pytest.raises(InputError, match="10 graphs are too few"):
        predictor.fit(GRAPHS[:10], accuracy[:10])
    with pytest.raises(InputError, match="a column per device"):
        LatencyPredictor().fit(GRAPHS, accuracy, DEVICES)


def examples(count):
    targets = torch.tensor([[g.total("flops") / 1e8] for g in GRAPHS[:count]], dtype=torch.float32)
    return Examples(GRAPHS[:count], targets, torch.ones(count))


def small_model():
    torch.manual_seed(0)
    vocabulary = tuple(sorted({op for g in GRAPHS for op in g.ops}))
    return SiblingTransformer(SiblingTransformerConfig(vocabulary, ("y",), dim=8, num_layers=1))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_training_repeats_by_seed_and_resumes_where_it_stopped(tmp_path):
    config = TrainingConfig(epochs=6, batch_size=16)
    whole, again, other, resumed = (small_model() for _ in range(4))
    train(whole, examples(64), examples(20), config)
    train(again, examples(64), examples(20), config)
    assert torch.equal(weights(whole), weights(again))
    train(other, examples(64), examples(20), replace(config, seed=1))
    assert not torch.equal(weights(whole), weights(other))

    class Stop(RuntimeError):
        pass

    interrupted = small_model()
    steps = 0
    forward = SiblingTransformer.forward

    def stopping(self, *arguments):
        nonlocal steps
        steps += 1
        if steps == 18:  # in the fourth epoch
            raise Stop
        return forward(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SiblingTransformer, "forward", stopping)
        with pytest.raises(Stop):
            train(interrupted, examples(64), examples(20), config, folder=tmp_path)
    result = train(resumed, examples(64), examples(20), config, folder=tmp_path)
    assert result.epochs == 6
    assert torch.equal(weights(whole), weights(resumed))


def test_training_stops_early_and_keeps_the_best_epoch():
    config = TrainingConfig(epochs=60, batch_size=16, learning_rate=0.3, patience=2)
    model = small_model()
    result = train(model, examples(64), examples(20), config)
    assert result.epochs < 60
    batch = model.collate(GRAPHS[:20])
    with torch.no_grad():
        loss = (model(batch) - examples(20).targets).pow(2).mean().item()
    assert loss == pytest.approx(result.validation_loss, rel=1e-4)


def test_training_without_examples_is_refused():
    with pytest.raises(InputError, match="0 training and 20 validation"):
        train(small_model(), examples(0), examples(20), QUICK)
