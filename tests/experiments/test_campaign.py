import argparse
import dataclasses
import json

import pytest

from experiments.accuracy.predictor_accuracy import Run
from experiments.campaign import (
    Campaign,
    Options,
    SharedCampaign,
    append_line,
    claim,
    numbers,
    read_lines,
    stopwatch,
)


def test_a_run_that_is_there_is_not_repeated(tmp_path, capsys):
    path = tmp_path / "result.json"
    campaign = Campaign(path, ("model", "sizes"), cells=10)
    assert not campaign.has("a", (1, 2))
    campaign.add({"model": "a", "sizes": (1, 2), "tau": 0.5}, kernels=["rbf"])
    # Another process, which knows of the first one's row.
    Campaign(path, ("model", "sizes"), cells=10).add({"model": "b", "sizes": [], "tau": 0.1})
    assert campaign.has("a", (1, 2))
    assert campaign.has("b", ())
    campaign.add({"model": "a", "sizes": [1, 2], "tau": 0.7})
    content = json.loads(path.read_text())
    assert [row["tau"] for row in content["runs"]] == [0.1, 0.7]
    assert (content["cells"], content["kernels"]) == (10, ["rbf"])
    assert content["provenance"]["packages"]["nasplug"]
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_rows_of_other_data_are_dropped(tmp_path):
    path = tmp_path / "result.json"
    Campaign(path, ("seed",), same=("checksum",), checksum="a").add({"seed": 0})
    other = Campaign(path, ("seed",), same=("checksum",), checksum="b")
    assert other.rows == []
    other.add({"seed": 1})
    assert json.loads(path.read_text())["runs"] == [{"seed": 1}]


def test_only_runs_that_are_not_there_are_done(tmp_path):
    campaign = Campaign(tmp_path / "result.json", ("model", "seed"))
    campaign.complete([("a", 0)], lambda model, seed: {"tau": 0.5})
    campaign.complete([("a", 0), ("a", 1)], lambda model, seed: [{"tau": 0.9}, {"tau": seed}])
    rows = [(row["model"], row["seed"], row["tau"]) for row in campaign.rows]
    assert rows == [("a", 0, 0.5), ("a", 1, 0.9), ("a", 1, 1)]
    assert all(row["seconds"] >= 0 for row in campaign.rows)
    campaign.complete([("b", 0)], lambda model, seed: [])
    assert not campaign.has("b", 0)


def test_seeds_are_numbers_and_ranges(capsys):
    assert numbers("0,3-5") == [0, 3, 4, 5]
    with pytest.raises(argparse.ArgumentTypeError):
        numbers("few")
    assert Options("", threads=None, seeds="0-2").parse_args([]).seeds == [0, 1, 2]
    with pytest.raises(SystemExit):
        Options("").parse_args(["--threads", "0"])
    assert "--threads must be at least 1" in capsys.readouterr().err


def test_a_run_of_another_process_is_left_to_it(tmp_path):
    results = tmp_path / "all.jsonl"

    def never(run, folder):
        raise AssertionError("the run is another process's")

    campaign = SharedCampaign(results, tmp_path / "runs", never)
    wanted = Run("random-forest", "cifar10", 40, 0)
    with claim(campaign.folder(wanted), wait=False) as is_ours:
        assert is_ours
        assert campaign.finish(wanted, wait=False) is None
    other = Run("random-forest", "cifar10", 40, 0, {"trees": 60})
    assert campaign.folder(other) != campaign.folder(wanted)
    with_weights = dataclasses.replace(wanted, encoder="abc")
    row = {**dataclasses.asdict(wanted), "tau_val": 0.5}
    append_line(results, row)
    assert campaign.finish(wanted, wait=False) == row
    assert campaign.stored(other) is None
    assert campaign.stored(with_weights) is None


def test_a_line_that_a_crash_cut_off_costs_no_other(tmp_path):
    results = tmp_path / "all.jsonl"
    first, second = (dataclasses.asdict(Run("nnlp", "cifar10", 40, seed)) for seed in (0, 1))
    append_line(results, first)
    with open(results, "a", encoding="utf-8") as file:
        file.write('{"model": "nn')
    append_line(results, second)
    assert list(read_lines(results)) == [first, second]


def test_seconds_of_broken_off_tries_add_up(tmp_path):
    def broken_off():
        with stopwatch(tmp_path / "seconds.txt"):
            raise KeyboardInterrupt

    (tmp_path / "seconds.txt").write_text("100.0")
    with pytest.raises(KeyboardInterrupt):
        broken_off()
    with stopwatch(tmp_path / "seconds.txt") as seconds:
        pass
    assert 100 < sum(seconds) < 101
