"""Linear corrections of measured columns."""

import numpy as np

from nasplug.predictors.latency.column_heads import FEWEST, FURTHEST, ColumnHeads

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(200, 6)) * [1, 10, 0.1, 1, 1, 0] + 3
WEIGHTS = np.array([0.1, 0.01, 1.0, 0.0, 0.0, 0.0])
GROUPS = ["cells"] * 120 + ["others"] * 80
LINEAR = (FEATURES - 3) @ WEIGHTS + 0.2
NOISE = RNG.normal(size=200)
HEADS = ColumnHeads.of(
    FEATURES[:180], np.stack([LINEAR, NOISE], axis=1)[:180], GROUPS[:180], ["a", "b"]
)


def test_what_is_linear_is_learned_and_noise_is_not():
    rest = slice(180, 200)
    said = HEADS(FEATURES[rest], "others", "a")
    np.testing.assert_allclose(said, LINEAR[rest], atol=0.05)
    noise = HEADS(FEATURES[rest], "others", "b")
    assert noise.std() < 0.5 * NOISE.std()


def test_there_is_no_head_of_few_networks_or_of_an_unknown_column():
    known = np.where(np.arange(180)[:, None] < FEWEST - 1, LINEAR[:180, None], np.nan)
    few = ColumnHeads.of(FEATURES[:180], known, GROUPS[:180], ["a"])
    assert few.pairs == []
    np.testing.assert_array_equal(few(FEATURES[:3], "cells", "a"), np.zeros(3))
    np.testing.assert_array_equal(HEADS(FEATURES[:3], "cells", "c"), np.zeros(3))
    assert HEADS.pairs == [(group, key) for group in ("cells", "others") for key in ("a", "b")]


def test_a_network_far_from_those_learned_is_not_corrected_without_limit():
    far = FEATURES[:2] + np.array([[1e6], [-1e6]])
    largest = np.abs(LINEAR[:120]).max()
    assert np.abs(HEADS(far, "cells", "a")).max() <= 1.01 * FURTHEST * largest


def test_stored_heads_say_the_same():
    again = ColumnHeads.restored(HEADS.tensors(), HEADS.groups, HEADS.pairs)
    np.testing.assert_allclose(
        again(FEATURES, "cells", "a"), HEADS(FEATURES, "cells", "a"), atol=1e-5
    )
