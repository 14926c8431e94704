import functools
import json

import numpy as np
import pytest

from experiments.accuracy import predictor_accuracy
from experiments.accuracy.predictor_accuracy import Run

KEYS = "model dataset train_size seed tau_val tau_test fit_seconds cells_per_second parameters"


@pytest.fixture
def run(run_script, nb201_cache):
    """The script on the cheapest model."""
    words = ("--models", "random-forest", "--train-sizes", "40")
    return functools.partial(run_script, predictor_accuracy.main, *words)


def test_a_finished_run_is_kept_and_not_repeated(run, tmp_path):
    rows, said = run("--seeds", "3")
    (row,) = rows
    assert " ".join(row) == KEYS
    assert (row["model"], row["dataset"], row["train_size"]) == ("random-forest", "cifar10", 40)
    assert 0.2 < row["tau_val"] < 0.7
    assert abs(row["tau_val"] - row["tau_test"]) < 0.1
    assert row["parameters"] > 0
    assert row["cells_per_second"] > 100
    assert "seed 3" in said
    (kept,) = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
    assert kept.items() >= row.items()
    assert set(kept) - set(row) == {"options", "encoder", "version", "threads", "date"}
    again, said = run("--seeds", "3", "--json")
    assert again == rows
    assert "has 1 row: of the 1 run asked for, 1 are stored and not done again, 0 are left" in said
    assert "seed 3" not in said
    fresh, said = run("--seeds", "3", "--fresh")
    assert fresh[0]["tau_val"] == row["tau_val"]
    assert "seed 3" in said
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 1
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.suffix != ".claim"][1:]


def test_recipes():
    assert predictor_accuracy.recipe("random-forest", 156) == {}
    few, many, most = (predictor_accuracy.recipe("nnformer", n) for n in (40, 781, 9_999))
    assert few["epochs"] > many["epochs"] >= most["epochs"]
    assert few["calibration_share"] == 0.0
    usual, longer = (
        predictor_accuracy.recipe("narformer-v2", 781, longer) for longer in (False, True)
    )
    assert longer["epochs"] == 3 * usual["epochs"]
    for model in ("nnformer", "narformer-v2", "nnlp", "ledgformer"):
        made = predictor_accuracy.build(
            Run(model, "cifar100", 156, 0, predictor_accuracy.recipe(model, 156))
        )
        assert made.targets == ("cifar100",)


def test_constant_scores_have_no_tau():
    assert predictor_accuracy.tau(np.zeros(5), np.arange(5)) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models", "nnformr"], "unknown model 'nnformr'"),
        (["--train-sizes", "few"], "whole numbers"),
        (["--train-sizes", "20000"], "between 1 and 15625"),
        (["--seeds", "-1"], "that are not negative"),
        (["--dataset", "mnist"], "invalid choice"),
        (["--train-sizes", "5"], "random-forest: 5 graphs are too few"),
    ],
)
def test_bad_input(run, capsys, words, said):
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert said in f"{end.value.code} {capsys.readouterr().err}"
