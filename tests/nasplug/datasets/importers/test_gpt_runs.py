"""The source's own files of HW-GPT-Bench, against the table that the package ships."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from nasplug import datasets
from nasplug.datasets.importers import gpt_runs
from nasplug.search_spaces import InputError

ARCH = {
    "sample_embed_dim": 192,
    "sample_n_layer": 10,
    "sample_layer_indices": list(range(10)),
    # The source's lists are as long as the deepest network's.
    "sample_n_head": [4] * 12,
    "sample_mlp_ratio": [2] * 12,
    "sample_bias": False,
}
TEXT = "embed=192,bias=0,heads=4444444444,mlp=2222222222"


def written(path: Path, results: object) -> dict[str, Path]:
    path.write_bytes(pickle.dumps(results))
    return {path.name: path}


def compare(name: str, columns: list[str], within: float) -> None:
    raw = datasets.load(name).set_index("arch")
    shipped = datasets.load("gpt-" + name.split("-")[1]).set_index("arch").loc[raw.index]
    for column in columns:
        given = raw[column].dropna()
        np.testing.assert_allclose(shipped.loc[given.index, column], given, rtol=within)


def test_perplexities_are_those_of_the_shipped_table(mirror: Path):
    compare("gpt-l-perplexity", ["perplexity", "next_token_accuracy"], 5e-5)
    assert len(datasets.load("gpt-l-perplexity")) == 429


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "columns", "within", "rows"),
    [
        ("gpt-s-perplexity", ["perplexity", "next_token_accuracy"], 5e-5, 10_000),
        ("gpt-m-perplexity", ["perplexity", "next_token_accuracy"], 5e-5, 5_245),
        ("gpt-s-h100", ["H100@8", "H100@8 J", "H100@8 W"], 1e-3, 10_000),
        ("gpt-s-cpu", ["Xeon Gold (Cascade Lake)@8"], 1e-3, 10_000),
    ],
)
def test_all_files_are_those_of_the_shipped_table(mirror: Path, name, columns, within, rows):
    compare(name, columns, within)
    assert len(datasets.load(name)) == rows


def test_each_run_has_a_unit_and_energies_are_watt_hours(tmp_path: Path):
    run = {
        "arch": ARCH,
        "times_profiler_gpu": [np.float64(2.0), 1900.0, 0.0021],
        "unit_gpu": ["ms", "us", "s"],
    }
    energy = {
        "arch": ARCH,
        "energy_gpu": [1e-3, 2e-3, 3e-3],
        "emissions_gpu": [100.0, 150.0, 120.0],
        "unit": "W",
        "unit_energy": "KWh",
    }
    files = written(tmp_path / "efficiency_observations_0.pkl", [run])
    files |= written(tmp_path / "efficiency_energy_observations_tracker_0.pkl", [energy])
    frame = gpt_runs.import_gpu(files).to_frame()
    assert frame["arch"].tolist() == [TEXT]
    assert frame[["H100@8", "H100@8 J", "H100@8 W"]].iloc[0].tolist() == [2.0, 7.2, 120.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample_embed_dim": 200}, "has 200 for embed"),
        ({"sample_bias": 1}, "has 10 layers"),
        ({"sample_n_head": [4] * 9}, "for sample_n_head"),
        ({"sample_mlp_ratio": [2] * 9 + [True]}, "has True for mlp_10"),
        ({"sample_layer_indices": [*range(9), 10]}, "leaves other layers out than the last ones"),
        ({"other": 1}, "has no network of gpt:s"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, change, words):
    result = {"arch": {**copy.deepcopy(ARCH), **change}, "perplexity": 30.0, "accuracy": 0.4}
    with pytest.raises(InputError, match=words):
        gpt_runs.import_perplexity(written(tmp_path / "a.pkl", [result]), "s")


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({}, "no list of results"),
        ([{"arch": ARCH}], "accuracy, arch, perplexity"),
        ([{"arch": ARCH, "perplexity": "30", "accuracy": 0.4}], "'30' for perplexity"),
        ([{"arch": ARCH, "perplexity": 30.0, "accuracy": 40.0}], "an accuracy above 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, results, words):
    with pytest.raises(InputError, match=words):
        gpt_runs.import_perplexity(written(tmp_path / "a.pkl", results), "s")
