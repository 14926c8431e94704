import dataclasses

import pytest

from experiments.accuracy.predictor_accuracy import Run
from experiments.shared_campaign import (
    SharedCampaign,
    append_line,
    claim,
    read_lines,
    stopwatch,
)


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


def test_rows_are_replaced_by_the_write_of_a_new_one(tmp_path):
    results = tmp_path / "all.jsonl"
    first, second, third = ({"seed": seed} for seed in range(3))
    append_line(results, first)
    append_line(results, second)
    append_line(results, third, ['{"seed": 0}'])
    assert list(read_lines(results)) == [second, third]


def test_fresh_runs_are_done_anew_and_others_stay(tmp_path, capsys):
    results = tmp_path / "all.jsonl"
    done = []

    def measure(run, folder):
        assert not any(folder.iterdir())
        done.append(run)
        return dataclasses.asdict(run) | {"tau_val": len(done)}

    runs = [Run("random-forest", "cifar10", 40, seed) for seed in range(3)]
    others = [Run("nnlp", "cifar10", 40, 0)]
    list(SharedCampaign(results, tmp_path, measure).finish_all([*runs[:2], *others]))
    capsys.readouterr()
    rows = list(SharedCampaign(results, tmp_path, measure).finish_all(runs))
    assert [row["tau_val"] for row in rows] == [1, 2, 4]
    assert "3 rows: of the 3 runs asked for, 2 are stored" in capsys.readouterr().err
    # The state of an earlier training.
    fresh = SharedCampaign(results, tmp_path, measure, fresh=True)
    fresh.folder(runs[0]).mkdir()
    (fresh.folder(runs[0]) / "state").touch()
    again = fresh.finish_all(runs)
    assert next(again)["tau_val"] == 5
    assert "4 rows: of the 3 runs asked for, all are done anew" in capsys.readouterr().err
    assert [row["tau_val"] for row in read_lines(results)] == [3, 5]
    assert [row["tau_val"] for row in again] == [6, 7]
    assert [row["tau_val"] for row in read_lines(results)] == [3, 5, 6, 7]
