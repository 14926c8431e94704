import dataclasses
import json
import signal

import numpy as np
import pytest
import torch

from experiments.accuracy import predictor_accuracy

KEYS = "model dataset train_size seed tau_val tau_test fit_seconds cells_per_second parameters"


@pytest.fixture(scope="module")
def protocol(nb201_cache):
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    yield predictor_accuracy
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def run(protocol, tmp_path, capsys):
    """The script on the cheapest model; its rows, and what it said beside."""
    places = ["--results", str(tmp_path / "all.jsonl"), "--runs", str(tmp_path / "runs")]

    def call(*words):
        protocol.main(["--models", "random-forest", "--train-sizes", "40", *words, *places])
        said = capsys.readouterr()
        return [json.loads(line) for line in said.out.splitlines()], said.err

    return call


def test_a_finished_run_is_kept_and_not_repeated(run, protocol, tmp_path):
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
    assert run("--seeds", "3", "--json") == (rows, "")
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.suffix != ".claim"][1:]


def test_a_run_of_another_process_is_left_to_it(protocol, tmp_path):
    results, runs = tmp_path / "all.jsonl", tmp_path / "runs"
    wanted = protocol.Run("random-forest", "cifar10", 40, 0)
    with protocol.claim(wanted.folder(runs, results), wait=False) as ours:
        assert ours
        assert protocol.finish(wanted, results, runs, 1, wait=False) is None
    other = protocol.Run("random-forest", "cifar10", 40, 0, {"trees": 60})
    assert other.folder(runs, results) != wanted.folder(runs, results)
    with_weights = dataclasses.replace(wanted, encoder="abc")
    row = {**dataclasses.asdict(wanted), "tau_val": 0.5}
    protocol.append(results, row)
    assert protocol.finish(wanted, results, runs, 1, wait=False) == row
    assert protocol.stored(results, other) is None
    assert protocol.stored(results, with_weights) is None


def test_a_line_that_a_crash_cut_off_costs_no_other(protocol, tmp_path):
    results = tmp_path / "all.jsonl"
    first, second = (protocol.Run("nnlp", "cifar10", 40, seed) for seed in (0, 1))
    protocol.append(results, dataclasses.asdict(first))
    with open(results, "a", encoding="utf-8") as file:
        file.write('{"model": "nn')
    protocol.append(results, dataclasses.asdict(second))
    assert protocol.stored(results, first)
    assert protocol.stored(results, second)


def test_seconds_of_broken_off_tries_add_up(protocol, tmp_path):
    def broken_off():
        with protocol.stopwatch(tmp_path / "seconds.txt"):
            raise KeyboardInterrupt

    (tmp_path / "seconds.txt").write_text("100.0")
    with pytest.raises(KeyboardInterrupt):
        broken_off()
    with protocol.stopwatch(tmp_path / "seconds.txt") as seconds:
        pass
    assert 100 < sum(seconds) < 101


def test_recipes(protocol):
    assert protocol.recipe("random-forest", 156) == {}
    few, many, most = (protocol.recipe("nnformer", n) for n in (40, 781, 9_999))
    assert few["epochs"] > many["epochs"] >= most["epochs"]
    assert few["calibration_share"] == 0.0
    usual, longer = (protocol.recipe("narformer-v2", 781, longer) for longer in (False, True))
    assert longer["epochs"] == 3 * usual["epochs"]
    for model in ("nnformer", "narformer-v2", "nnlp", "ledgformer"):
        made = protocol.build(protocol.Run(model, "cifar100", 156, 0, protocol.recipe(model, 156)))
        assert made.targets == ("cifar100",)


def test_constant_scores_have_no_tau(protocol):
    assert protocol.tau(np.zeros(5), np.arange(5)) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models", "nnformr"], "unknown model 'nnformr'"),
        (["--train-sizes", "few"], "whole numbers"),
        (["--train-sizes", "20000"], "between 1 and 15625"),
        (["--seeds", "-1"], "must not be negative"),
        (["--dataset", "mnist"], "invalid choice"),
        (["--train-sizes", "5"], "random-forest: 5 graphs are too few"),
    ],
)
def test_bad_input(run, capsys, words, said):
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert said in f"{end.value.code} {capsys.readouterr().err}"
