"""A process over architectures and the parameters beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from nasplug.sampling.joint_model import JointModel


def test_the_model_finds_what_an_architecture_and_a_parameter_do_together() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2)).astype(np.float32)
    rows, points = rng.integers(0, 80, 60), rng.random((60, 2))

    def truth(rows: Any, points: Any) -> Any:
        # The second parameter does nothing, and the best of the first depends on the candidate.
        return x[rows, 0] - 4 * (points[:, 0] - 0.5 - 0.2 * np.tanh(x[rows, 1])) ** 2

    kernels = [((1.0, "all", length),) for length in (1.0, 2.0)]
    model = JointModel({"all": x}, kernels, np.zeros(2, np.bool_))
    targets = truth(rows, points)
    centre, unit = targets.mean(), targets.std()
    model.fit(rows, points, (targets - centre) / unit, np.zeros(60))
    new, others = rng.integers(0, 80, 200), rng.random((200, 2))
    mean, std = model.posterior(new, others)
    errors = mean * unit + centre - truth(new, others)
    assert np.sqrt(np.mean(errors**2)) < 0.25 * unit
    assert np.mean(np.abs(errors) < 2 * std * unit) > 0.8
