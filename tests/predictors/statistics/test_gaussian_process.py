"""The exact process against textbook formulas written out in numpy."""

import numpy as np
import pytest

from nasplug.predictors.statistics.gaussian_process import JITTER, GaussianProcess

TERMS = ((("a", "rbf"),), (("a", "matern52"), ("b", "rbf")))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    blocks = {"a": rng.normal(size=(70, 3)), "b": rng.normal(size=(70, 2))}
    y = np.stack([np.sin(2 * blocks["a"][:, 0]) + 0.3 * blocks["b"][:, 1], blocks["a"][:, 1]], 1)
    counts = rng.integers(1, 4, 70).astype(float)
    return blocks, y + 0.05 * rng.normal(size=y.shape), counts


@pytest.fixture(scope="module")
def process(data):
    blocks, y, counts = data
    found = GaussianProcess(TERMS)
    found.fit({k: v[:50] for k, v in blocks.items()}, y[:50], counts[:50])
    return found


def kernel(process, first, second):
    v1, v2, scale_a1, scale_a2, scale_b, _ = np.exp(process.hyperparameters)
    unit = dict(zip(process.names, process.state()["units"], strict=True))

    def squares(name, scale):
        x, y = first[name] / unit[name] / scale, second[name] / unit[name] / scale
        return ((x[:, None] - y[None]) ** 2).sum(-1)

    r = np.sqrt(5 * squares("a", scale_a2) + 1e-9)
    matern = (1 + r + r**2 / 3) * np.exp(-r)
    return v1 * np.exp(-0.5 * squares("a", scale_a1)) + v2 * matern * np.exp(
        -0.5 * squares("b", scale_b)
    )


def textbook(process, blocks, y, counts, rows, at):
    known = {k: v[rows] for k, v in blocks.items()}
    asked = {k: v[at] for k, v in blocks.items()}
    noisy = kernel(process, known, known) + np.diag(process.noise / counts[rows] + JITTER)
    cross = kernel(process, asked, known)
    mean = cross @ np.linalg.solve(noisy, y[rows])
    own = np.diag(kernel(process, asked, asked))
    return mean, own - np.einsum("ij,ji->i", cross, np.linalg.solve(noisy, cross.T))


def test_posterior_is_the_textbook_one(process, data):
    blocks, y, counts = data
    mean, variance = process.predict({k: v[50:] for k, v in blocks.items()})
    expected = textbook(process, blocks, y, counts, np.arange(50), np.arange(50, 70))
    np.testing.assert_allclose(mean, expected[0], atol=1e-8)
    np.testing.assert_allclose(variance, expected[1], atol=1e-8)


def test_means_of_learned_rows_need_no_kernel(process):
    mean, _ = process.predict(process.blocks, variance=False)
    np.testing.assert_allclose(process.learned_means, mean, atol=1e-8)


def test_leave_one_out_leaves_one_out(process, data):
    blocks, y, counts = data
    # one label a row is the mean of its labels, so that nothing else of it stays
    rng = np.random.default_rng(3)
    rows = np.repeat(np.arange(50), counts[:50].astype(int))
    noise = rng.normal(size=(len(rows), 2)) * 0.2
    means = np.array([noise[rows == k].mean(0) for k in range(50)])
    labels = y[rows] + noise - means[rows]
    mean, variance = process.leave_one_out(rows, labels)
    for place in (0, 17, len(rows) - 1):
        row = rows[place]
        known = counts.copy()
        known[row] -= 1
        values = y.copy()
        if known[row]:
            values[row] = labels[(rows == row) & (np.arange(len(rows)) != place)].mean(0)
        others = np.arange(50) if known[row] else np.delete(np.arange(50), row)
        expected = textbook(process, blocks, values, known, others, [row])
        np.testing.assert_allclose(mean[place], expected[0][0], atol=1e-4)
        np.testing.assert_allclose(variance[place], expected[1][0], atol=1e-4)


def test_it_learns_and_knows_its_noise(process, data):
    blocks, y, _ = data
    mean, variance = process.predict({k: v[50:] for k, v in blocks.items()})
    errors = mean - y[50:]
    assert np.sqrt((errors**2).mean()) < 0.5 * y.std()
    assert 0.0002 < process.noise < 0.05
    inside = np.abs(errors) < 2 * np.sqrt(variance + process.noise)[:, None]
    assert inside.mean() > 0.75


def test_repeated_labels_count(process, data):
    blocks, y, _ = data
    few = {k: v[:20] for k, v in blocks.items()}
    twice = {k: np.concatenate([v[:20], v[:20]]) for k, v in blocks.items()}
    first, second = GaussianProcess(TERMS), GaussianProcess(TERMS)
    state = process.state()
    first.condition(few, y[:20], np.full(20, 2.0), state)
    repeated = np.concatenate([y[:20], y[:20]])
    second.condition(twice, repeated, np.ones(40), state)
    at = {k: v[60:] for k, v in blocks.items()}
    for a, b in zip(first.predict(at), second.predict(at), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_weights_spare_the_factor(process, data):
    blocks, y, counts = data
    known, at = ({k: v[part] for k, v in blocks.items()} for part in (slice(50), slice(50, None)))
    again = GaussianProcess(TERMS)
    again.condition(known, y[:50], counts[:50], process.state(), process.weights)
    assert again._lower is None
    for a, b in zip(again.predict(at), process.predict(at), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    with pytest.raises(ValueError, match="shape"):
        again.condition(known, y[:50], counts[:50], process.state(), process.weights[1:])


def test_no_rows_are_no_predictions(process):
    mean, variance = process.predict({"a": np.empty((0, 3)), "b": np.empty((0, 2))})
    assert mean.shape == (0, 2)
    assert variance.shape == (0,)


def test_constant_features_do_no_harm():
    blocks = {"a": np.ones((30, 2)), "b": np.ones((30, 1))}
    y = np.random.default_rng(1).normal(size=(30, 1))
    process = GaussianProcess(TERMS)
    process.fit(blocks, y, np.ones(30))
    assert np.isfinite(process.predict(blocks)[0]).all()
