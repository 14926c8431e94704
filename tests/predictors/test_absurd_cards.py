"""Cards whose fields are absurd: one sentence, or a predictor."""

import json
import random

import numpy as np
import pytest

from nasplug import load_predictor, space
from nasplug.predictors import create
from nasplug.predictors.checkpoint import Checkpoint, load_checkpoint
from nasplug.predictors.registry import restore
from nasplug.search_spaces import InputError

NB, NB101 = space("nb201"), space("nb101")
ABSURD = (
    *(None, True, -1, 0, 10**30, 1e308, -0.5, float("nan"), float("inf"), "", "x", "\0", "1" * 99),
    *([], {}, [[]], [None], {"a": None}, {"": {}}, ["x", 3], [10**30], [[["deep"]]]),
)


def places(value, path=()):
    """Places of the parts of a JSON value, itself left out."""
    parts = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value[:3])
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


def changed(card, path, value):
    """A copy of a card with another value, or none, in one place."""
    copy = json.loads(json.dumps(card))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return copy


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Checkpoints of several kinds that are quickly restored."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    archs = [NB.sample(rng) for _ in range(60)]
    graphs, values = NB.to_graphs(archs), rng.uniform(10, 90, 60)
    options = {"dim": 8, "epochs": 1, "batch_size": 30}
    for name, more in (("path-gp", {}), ("nnlp", options), ("cell-gp", {})):
        predictor = create(name, targets=("a",), **more)
        if name == "cell-gp":
            graphs = NB101.to_graphs([NB101.sample(rng) for _ in range(60)])
        predictor.fit(graphs, values)
        predictor.save(folder / name, {"space": "nb201"})
    load_predictor("nb201-latency").save(folder / "latency")
    return {path.stem: load_checkpoint(path) for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize("name", ["path-gp", "nnlp", "cell-gp", "latency"])
def test_an_absurd_field_is_a_sentence_or_without_effect(small, name):
    found = small[name]
    card = {k: v for k, v in found.card.items() if k not in ("training", "provenance")}
    draw = random.Random(name)
    tried = [
        (path, value)
        for path in places(card)
        for value in draw.sample([*ABSURD, ...], 2)
        if path[0] != "predictor" or value is not ...
    ]
    refused = 0
    for path, value in draw.sample(tried, min(len(tried), 60)):
        try:
            restore(Checkpoint(found.tensors, changed(card, path, value)))
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 10
