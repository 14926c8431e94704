"""Predictions that do not fall as the batch grows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug import hardware
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.batch_growth import GRID, NOISE, never_falling
from nasplug.search_spaces import InputError

DEVICE = hardware("RTX 3090")


def predicted(values, measured, batches):
    """Values at batch sizes, where the raw ones are `values(batch)`."""
    columns = [Setting(DEVICE, batch) for batch in batches]
    return never_falling(
        columns,
        lambda column: measured,
        lambda asked: np.array([[values(column.batch_size) for column in asked]]),
    )[0]


@given(
    st.dictionaries(st.integers(1, 2000), st.floats(-5, 5), max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_no_doubling_is_faster_by_more_than_the_noise(anchors, seed):
    noise = np.random.default_rng(seed)
    raw = {}

    def values(batch):
        return anchors.get(batch, raw.setdefault(batch, noise.normal()))

    batches = [2**k for k in range(12)]
    assert (np.diff(predicted(values, list(anchors), batches)) >= -NOISE - 1e-12).all()
    # One call a batch size says the same as one call for all.
    alone = [predicted(values, list(anchors), [batch])[0] for batch in batches]
    np.testing.assert_allclose(alone, predicted(values, list(anchors), batches))
    # Without measured batch sizes nothing falls at all.
    assert (np.diff(predicted(values, [], batches)) >= 0).all()


def test_what_grows_is_left_alone():
    batches = [1, 2, 3, 64, 100, 5000]
    assert predicted(float, [], batches).tolist() == batches


def test_measured_batches_that_grow_are_left_alone_and_bound_the_others():
    found = predicted({1: 1.0, 32: 2.0}.get, [1, 32], [1, 32])
    assert found.tolist() == [1, 2]
    # What was not measured is wild, and stays between.
    wild = predicted(lambda b: {1: 1.0, 32: 2.0}.get(b, 100.0 * (-1) ** b), [1, 32], [4, 7, 16])
    assert ((wild >= 1) & (wild <= 2)).all()


def test_measured_batches_that_fall_by_more_than_the_noise_meet_halfway():
    found = predicted({1: 2.0, 32: 1.0}.get, [1, 32], [1, 32])
    np.testing.assert_allclose(found, [1.5 + NOISE / 2, 1.5 - NOISE / 2])
    less = {1: 2.0, 32: 2.0 - NOISE / 2}
    np.testing.assert_allclose(predicted(less.get, [1, 32], [1, 32]), list(less.values()))


@pytest.mark.parametrize("batch", [1, 5, GRID[-1], 3000])
def test_each_column_is_asked_for_once(batch):
    asked = []

    def predict(columns):
        asked.extend(column.batch_size for column in columns)
        return np.zeros((2, len(columns)))

    columns = [Setting(DEVICE, batch), Setting(DEVICE, batch)]
    assert never_falling(columns, lambda column: [2], predict).shape == (2, 2)
    assert len(set(asked)) == len(asked)


def test_a_batch_out_of_range_is_named_as_it_was_asked_for():
    def predict(columns):
        return np.array([[column.features(False)[0] for column in columns]])

    with pytest.raises(InputError, match="batch size 100000 is not between 1 and 65536"):
        never_falling([Setting(DEVICE, 100_000)], lambda column: [], predict)


def test_no_batch_that_was_not_measured_is_faster_than_its_data_sheet():
    columns = [Setting(DEVICE, batch) for batch in (1, 4, 64)]

    def flat(columns):
        return np.zeros((1, len(columns)))

    def sheet(columns):
        return np.log([[0.1 * column.batch_size for column in columns]])

    found = never_falling(columns, lambda column: [], flat, sheet)
    np.testing.assert_allclose(found, [[0, 0, np.log(6.4)]])
    # What beats its data sheet with one image may beat it as much with more.
    found = never_falling(columns, lambda column: [], flat, lambda c: sheet(c) + np.log(20))
    np.testing.assert_allclose(found, [[0, np.log(4), np.log(64)]])
    # Measurements are believed.
    found = never_falling(columns[2:], lambda column: [64], flat, sheet)
    assert found.tolist() == [[0]]
