import numpy as np

from nasplug.predictors.statistics.units import SMALLEST_SPREAD, by_quadrature, by_slope


def test_a_straight_map_is_exact():
    mean, variance = np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([0.25, 4.0])
    center, spread = by_quadrature(lambda scores: 3 * scores + 70, mean, variance)
    np.testing.assert_allclose(center, 3 * mean + 70)
    np.testing.assert_allclose(spread, [[1.5, 1.5], [6.0, 6.0]])


def test_the_exponential_of_a_normal_score_is_log_normal():
    center, spread = by_quadrature(np.exp, np.array([[0.5]]), np.array([0.09]))
    np.testing.assert_allclose(center, np.exp(0.5 + 0.045))
    np.testing.assert_allclose(spread, center * np.sqrt(np.exp(0.09) - 1))


def test_spreads_have_a_floor():
    mean = np.zeros((3, 1))
    _, spread = by_quadrature(lambda scores: np.full(scores.shape, 5.0), mean, np.ones(3))
    np.testing.assert_array_equal(spread, SMALLEST_SPREAD)
    center, spread = by_slope(np.tanh, mean, np.full((3, 1), 1e-6), np.array([0.1]))
    np.testing.assert_array_equal(center, 0)
    np.testing.assert_array_equal(spread, 0.1)
    np.testing.assert_allclose(by_slope(np.exp, mean, mean + 1, np.zeros(1))[1], np.sinh(1))
