"""Energy by the data sheet's board power: a known GPU, one that was left out, and refusals."""

from dataclasses import replace

import numpy as np
import pytest

import nasplug
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.network_energy import NetworkEnergy, measured_way
from nasplug.predictors.latency.power_share import shares_of
from nasplug.predictors.prediction import NotFittedError
from nasplug.search_spaces import InputError

SPACE = nasplug.space("gpt:s")
GENERATOR = np.random.default_rng(0)
GRAPHS = SPACE.to_graphs([SPACE.sample(GENERATOR) for _ in range(50)])
GPUS = ("H100", "A40", "RTX 3080")


def settings():
    devices = [nasplug.hardware(name) for name in GPUS]
    return [Setting.of(device, 8, measured_way(device)) for device in devices]


def joules(predictor):
    """A third of the board's power for the whole latency, and a little more on each next GPU."""
    columns = []
    for k, column in enumerate(settings()):
        ms = predictor.latency.predict(GRAPHS, column.hardware, 8, column.way.text).mean[:, 0]
        columns.append(ms / 1e3 * column.hardware.power_w * (0.3 + 0.02 * k))
    return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def fitted():
    predictor = NetworkEnergy()
    predictor.fit(GRAPHS[:40], joules(predictor)[:40], settings())
    return predictor


def test_a_known_gpu_is_learned_and_another_is_zero_shot(fitted, tmp_path):
    learned = [k for k in range(40) if k % 4 != 3]
    truth = joules(fitted)[learned]
    for g, column in enumerate(settings()):
        device, way = column.hardware, column.way.text
        prediction = fitted.predict([GRAPHS[k] for k in learned], device, 8, way)
        assert (prediction.evidence, prediction.learned) == ("measured", 30)
        assert np.abs(prediction.mean[:, 0] / truth[:, g] - 1).mean() < 0.02
    # Another GPU, the usual way of the latency, and another batch size.
    for setting in ({"hardware": nasplug.hardware("L40S")}, {"runtime": None}, {"batch_size": 4}):
        usual = {"hardware": nasplug.hardware("H100"), "batch_size": 8, "runtime": "eager bf16"}
        arguments = {**usual, **setting}
        prediction = fitted.predict(GRAPHS[40:], **arguments)
        assert prediction.zero_shot
        assert (prediction.lower < prediction.mean).all()
        assert (prediction.mean < prediction.upper).all()
    assert fitted.predict([], nasplug.hardware("H100"), 8).mean.shape == (0, 1)
    fitted.save(tmp_path / "energy")
    again = NetworkEnergy.from_checkpoint(load_checkpoint(tmp_path / "energy"))
    first, second = (p.predict(GRAPHS[:3], nasplug.hardware("A40"), 8) for p in (fitted, again))
    np.testing.assert_array_equal(first.upper, second.upper)


def test_a_gpu_that_was_not_measured_draws_no_more_than_its_board():
    predictor = NetworkEnergy()
    # All boards draw a tenth more than their limit.
    columns = settings()
    ms = [predictor.latency.predict(GRAPHS, c.hardware, 8, c.way.text).mean[:, 0] for c in columns]
    boards = [column.hardware.power_w for column in columns]
    joules = np.stack([1.1 * t / 1e3 * w for t, w in zip(ms, boards, strict=True)], axis=1)
    predictor.fit(GRAPHS[:40], joules[:40], columns)
    known = predictor.predict(GRAPHS[:40], columns[0].hardware, 8, columns[0].way.text)
    assert np.median(known.mean[:, 0] / joules[:40, 0]) == pytest.approx(1, abs=0.02)
    for device in (nasplug.hardware("L40S"), columns[0].hardware):
        latency = predictor.latency.predict(GRAPHS[:9], device, 4)
        joules = np.exp(predictor.predict(GRAPHS[:9], device, 4).center[:, 0])
        np.testing.assert_allclose(1e3 * joules / latency.mean[:, 0], device.power_w)


def test_what_has_no_energy(fitted):
    sheet = replace(nasplug.hardware("L40S"), name="My card", power_w=0.0)
    with pytest.raises(InputError, match="energy on My card is not known, because .* add power_w"):
        fitted.predict(GRAPHS[:1], sheet, 8)
    with pytest.raises(InputError, match="energy on Pixel 6 is not known: .* large GPUs alone"):
        fitted.predict(GRAPHS[:1], nasplug.hardware("Pixel 6"), 1)
    with pytest.raises(InputError, match="an energy needs a device"):
        fitted.predict(GRAPHS[:1])
    with pytest.raises(NotFittedError):
        NetworkEnergy().predict(GRAPHS[:1], nasplug.hardware("H100"))
    with pytest.raises(InputError, match="give a row a graph and a column a device"):
        NetworkEnergy().fit(GRAPHS[:2], np.ones((2, 1)), settings())


def test_columns_count_the_same_whatever_their_networks():
    features = np.ones((30, 2, 1))
    rest = np.stack([np.zeros(30), np.ones(30)], axis=1)
    rest[5:, 1] = np.nan
    share = shares_of(features, rest, np.zeros(30, np.int64))
    assert share[0] == pytest.approx(0.5, abs=1e-3)
