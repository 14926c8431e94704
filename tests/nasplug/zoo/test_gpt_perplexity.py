"""The zoo's predictor of perplexities, in predictions and in searches."""

import numpy as np
import pytest

import nasplug
from nasplug import InputError, datasets, search
from nasplug.predicting.zoo import is_known, predictors_for, zoo_name


@pytest.mark.parametrize("scale", ["s", "l"])
def test_predictions_are_near_what_was_evaluated(scale):
    space = nasplug.space(f"gpt:{scale},length=256")
    table = datasets.load(f"gpt-{scale}").dropna(subset="perplexity").iloc[:20]
    (predictor,) = predictors_for(space, False, ()).values()
    predicted = predictor.predict(table["arch"].tolist())
    errors = np.abs(predicted.mean[:, 0] - table["perplexity"])
    assert errors.mean() < 0.1
    assert predictor.kind == "perplexity"


def test_own_choices_have_no_perplexity():
    own = nasplug.space("gpt:embed=64,layers=1..2,heads=4,mlp=2,context=16")
    assert zoo_name(nasplug.space("gpt:m"), "perplexity") == "gpt-perplexity"
    assert is_known(nasplug.space("gpt:m"), "perplexity")
    assert not is_known(own, "perplexity")
    assert not is_known(nasplug.space("gpt"), "perplexity")
    with pytest.raises(InputError, match="no perplexity predictor for space gpt:embed=64"):
        search(own, constraints="perplexity<=30", n_trials=2, pool_size=20, storage="memory")


def test_a_search_minimises_perplexity_within_limits():
    result = search(
        "gpt:s",
        "H100",
        ["latency<=40ms", "perplexity<=30"],
        n_trials=4,
        pool_size=80,
        probability=0.5,
        storage="memory",
    )
    names = [(objective.name, objective.direction) for objective in result.objectives]
    assert names == [("perplexity", "minimize"), ("latency", "minimize")]
    assert result.pareto
    for row in result.pareto:
        assert row["predicted"]["perplexity"]["mean"] < 30
        assert row["predicted"]["latency_ms"]["mean"] < 40
    assert "perplexity" in result.to_text()
    assert result.choices()[-1].title.startswith("Lowest perplexity")
