"""Numbers of a configuration, in and out of range."""

import pytest

from nasplug.predictors import create
from nasplug.predictors.training.config import TrainingConfig
from nasplug.search_spaces import Graph, InputError

GRAPHS = [Graph.build(("input", "conv", "output"), [(0, 1), (1, 2)])] * 60


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 1e300),
        ("epochs", 2.5),
        ("epochs", True),
        ("epochs", 10**25),
        ("patience", -1),
        ("batch_size", 0.5),
        ("learning_rate", float("nan")),
        ("learning_rate", 1e300),
        ("learning_rate", "fast"),
        ("rank_weight", None),
    ],
)
def test_a_number_out_of_range_is_named(field, value):
    with pytest.raises(InputError, match=f"{field} is .*; give a (whole )?number from 0 to 1e10"):
        TrainingConfig(**{field: value})


@pytest.mark.parametrize("dim", [-4, 1e300, 10**30, "wide", None])
def test_a_network_that_cannot_be_is_told_of(dim):
    predictor = create("nnlp", targets=("a",), dim=dim, epochs=1)
    with pytest.raises(InputError, match="the configuration does not describe a network: "):
        predictor.fit(GRAPHS, [float(k) for k in range(1, 61)])
