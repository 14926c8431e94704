import functools
import json
import re

import numpy as np
import pytest

from experiments.nb101 import nb101_labels, nb101_predictors, nb101_tables
from nasplug import InputError, datasets
from nasplug.datasets.nasbench.table import read_file
from nasplug.search_spaces import space

KEYS = "model dataset train_size seed tau_val tau_test fit_seconds cells_per_second parameters"
COMPLETE = "EC-NAS 2,532 cells, 4 epochs"


@pytest.fixture
def run(run_script, mirror):
    """The script on the complete table."""
    words = ("--source", "ecnas-5v", "--train-sizes", "60")
    return functools.partial(run_script, nb101_predictors.main, *words)


def test_a_run_ranks_what_it_has_not_learned_and_is_kept(run, tmp_path):
    rows, said = run("--models", "params,random-forest", "--seeds", "3")
    floor, forest = rows
    assert " ".join(floor) == f"{KEYS} source"
    assert floor["source"] == COMPLETE
    # After four epochs size says nothing; a forest that sees the cell knows better.
    assert abs(floor["tau_val"]) < 0.2 < forest["tau_val"] < 0.7
    assert abs(forest["tau_val"] - forest["tau_test"]) < 0.05
    assert forest["parameters"] > 0
    assert "seed 3" in said
    kept = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [row["model"] for row in kept] == ["params", "random-forest"]
    assert kept[1]["options"] == {"nodes": 7, "features": "matrix"}
    again, said = run("--models", "params,random-forest", "--seeds", "3")
    assert again == rows
    assert "2 are stored and not done again, 0 are left" in said
    assert "seed 3" not in said


def test_training_cells_are_not_ranked(mirror, tmp_path, monkeypatch):
    complete = nb101_labels.labels_of("ecnas-5v", None, None)
    asked = []
    known = nb101_predictors.Count.scores
    monkeypatch.setattr(
        nb101_predictors.Count,
        "scores",
        lambda self, graphs: asked.append(len(graphs)) or known(self, graphs),
    )
    monkeypatch.setattr(nb101_predictors, "CHUNK", 1_000)
    run = nb101_predictors.CellRun("flops", "cifar10", 100, 0, source=complete.name)
    row = nb101_predictors.measure(run, complete, tmp_path, 1)
    assert asked == [1_000, 1_000, 432]
    order = np.random.default_rng(0).permutation(2_532)[100:]
    totals = [graph.total("flops") for graph in complete.graphs(order)]
    assert abs(row["tau_test"]) == pytest.approx(
        abs(nb101_predictors.tau(totals, complete.test[order])), abs=1e-6
    )


def test_every_budget_of_a_network_has_as_many_steps():
    few, many = (nb101_predictors.options_of("nnformer", n) for n in (172, 424))
    assert few["epochs"] * 172 == pytest.approx(many["epochs"] * 424, rel=0.05)
    assert nb101_predictors.options_of("nnformer", 100)["epochs"] == 300
    assert few["calibration_share"] == 0
    assert nb101_predictors.options_of("nasplug", 100) == {}


def test_a_count_chooses_its_sign_from_the_training_cells():
    nb101 = space("nb101")
    graphs = [nb101.to_graph(nb101[k]) for k in (5, 300, 1_500, 90_000)]
    params = np.array([graph.total("params") for graph in graphs])
    for sign in (1, -1):
        floor = nb101_predictors.Count("params")
        floor.fit(graphs, sign * params[:, None])
        assert (
            np.sign(np.diff(floor.scores(graphs)[0, :, 0])) == sign * np.sign(np.diff(params))
        ).all()


def test_means_over_runs_of_108_epochs(mirror):
    file = datasets.fetch("ecnas-4v")[0]
    found = nb101_labels.from_table(read_file(file, progress=False), "some cells")
    table = datasets.load("ecnas-4v")
    longest = table[table["epochs"] == 108].groupby("hash")["cifar10_test"].mean()
    archs = found.architectures(range(len(found)))
    assert len(found) == 91
    for arch, test in zip(archs, found.test, strict=True):
        assert test == pytest.approx(longest[arch.arch_id], abs=1e-5)
    best = archs[int(found.test.argmax())].arch_id
    assert best == "ea9270f536a1f1094f446246dad4fe89"
    assert found.test.max() == pytest.approx(93.349, abs=1e-3)


def test_the_small_subset():
    try:
        small = nb101_labels.small_subset()
    except InputError as error:
        pytest.skip(str(error))
    assert small.name == "NB-101 small-cell subset (n=1,713)"
    assert np.bincount(small.vertices).tolist() == [0, 0, 1, 6, 84, 1_446, 174, 2]
    assert small.test.max() == pytest.approx(93.92695, abs=1e-4)
    assert small.validation.max() == pytest.approx(94.55796, abs=1e-4)
    best = small.architectures([int(small.test.argmax())])[0]
    assert best.arch_id == "c90994ab1c1f30967e897f1fa84e27b5"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models", "nnformr"], "unknown model 'nnformr'"),
        (["--source", "nb201"], "invalid choice"),
        (["--seeds", "-1"], "that are not negative"),
        (["--train-sizes", "few"], "whole numbers"),
        (["--train-sizes", "2531"], "has 2,532 cells.*2531 training cells are too many"),
        (
            ["--models", "random-forest", "--train-sizes", "5"],
            "random-forest: 5 graphs are too few",
        ),
        (["--source", "official"], "give its path with --official"),
        (["--source", "official", "--official", "nowhere"], "nowhere is not a file"),
        (["--source", "small", "--subset", "nowhere.csv.gz"], "nowhere.csv.gz cannot be read"),
    ],
)
def test_bad_input(run, capsys, words, said):
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert re.search(said, f"{end.value.code} {capsys.readouterr().err}")


def test_other_files_are_refused(mirror, tmp_path):
    other = tmp_path / "nb101_real_subset.csv.gz"
    other.write_bytes(b"no table")
    with pytest.raises(InputError, match="is not the table nb101_real_subset"):
        nb101_labels.small_subset(other)
    with pytest.raises(InputError, match="has 91 cells; NAS-Bench-101's own file has 423,624"):
        nb101_labels.official(datasets.fetch("ecnas-4v")[0])


def test_tables(monkeypatch, tmp_path):
    rows = [
        {"source": nb101_tables.SMALL, "model": model, "train_size": 100, "seed": seed}
        | {"tau_val": tau, "tau_test": tau / 2}
        for model, tau in (("nasplug", 0.5), ("nnlp", 0.4))
        for seed in range(5)
    ]
    (tmp_path / "nb101_predictors.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr("experiments.tables.RESULTS", tmp_path)
    shown = nb101_tables.ranking(nb101_tables.SMALL)
    assert "NB-101 small-cell subset (n=1,713): tau, test accuracy" in shown
    assert "| nasplug | 0.500 ± 0.000 | – | – |" in shown
    assert "`nasplug` is before every model measured" in nb101_tables.first_places()
    # A draw that nasplug has not learned from says nothing.
    rows.append(rows[-1] | {"tau_val": 9.0, "seed": 9})
    (tmp_path / "nb101_predictors.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "is before every model" in nb101_tables.first_places()
    rows.append(rows[-1] | {"tau_val": 1.4, "seed": 0})
    (tmp_path / "nb101_predictors.jsonl").write_text("\n".join(map(json.dumps, rows)))
    behind = nb101_tables.first_places()
    assert "100 cells, validation: NNLP (GraphSAGE) 0.600, nasplug 0.500 (draws: 5)" in behind
    assert "100 cells, test" not in behind
