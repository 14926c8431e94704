"""The shipped table of language models."""

import numpy as np
import pytest

from nasplug import datasets, space
from nasplug.datasets import gpt_networks
from nasplug.search_spaces import InputError


def test_tables_of_the_scales():
    frame = datasets.load("gpt-s")
    assert len(frame) == 10_000
    assert frame["perplexity"].agg(["min", "max"]).round(2).tolist() == [22.16, 41.92]
    # Medians that the source's files have.
    assert frame["H100@8"].median() == pytest.approx(7.19, rel=1e-3)
    assert frame["Xeon Gold (Cascade Lake)@8"].median() == pytest.approx(1555, rel=1e-3)
    texts = frame["arch"].iloc[::500]
    assert [space("gpt:s").parse(text).text for text in texts] == texts.tolist()
    counts = [datasets.load(f"gpt-{scale}")["perplexity"].count() for scale in "ml"]
    assert counts == [5_245, 429]
    # Energy is power times time, of which kernels alone are a part.
    joules, watts = frame["H100@8 J"], frame["H100@8 W"]
    assert 1 < (joules / (watts * frame["H100@8"] / 1e3)).median() < 1.5
    # Latencies of the large scale are of one sequence, its energies of eight.
    large = datasets.load("gpt-l")
    seconds = large["H100@8 J"] / large["H100@8 W"]
    assert 3 < (seconds / (large["H100@1"] / 1e3)).median() < 8
    # Weights are a part of the memory.
    params = np.array(
        [
            space("gpt:l")
            .choices.model(space("gpt:l").to_params(space("gpt:l").parse(text)))
            .params
            for text in large["arch"].iloc[::1000]
        ]
    )
    assert (large["allocated_mb"].iloc[::1000].to_numpy() > 4 * params / 1e6).all()


def test_the_table_is_known_by_its_space():
    assert datasets.tables_of("gpt:m", "perplexity") == ["gpt-m"]
    assert datasets.available("gpt-m")
    assert datasets.verify("gpt-m") == [("gpt_networks.npz", "ok")]


def test_a_file_of_other_measurements_is_refused(monkeypatch):
    monkeypatch.setattr(gpt_networks, "_digest", lambda texts: b"")
    with pytest.raises(InputError, match="another table of measurements"):
        gpt_networks.gpt_table.__wrapped__("l")
