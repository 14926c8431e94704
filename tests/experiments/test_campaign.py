import argparse
import json

import pytest

from experiments.campaign import Campaign, Options, missing, numbers


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


def test_a_campaign_says_how_many_runs_are_stored(tmp_path, capsys):
    path = tmp_path / "result.json"
    runs = [("a", 0), ("a", 1)]
    Campaign(path, ("model", "seed")).complete(runs[:1], lambda model, seed: {"tau": 0.5})
    assert f"{path} has 0 rows, none of them of the 1 run asked for" in capsys.readouterr().err
    Campaign(path, ("model", "seed")).complete(runs, lambda model, seed: {"tau": 0.5})
    (first, *_) = capsys.readouterr().err.splitlines()
    assert first == (
        f"{path} has 1 row: of the 2 runs asked for, 1 are stored and not done again, 1 are left "
        "(--fresh does all anew)"
    )


def test_fresh_drops_the_rows_of_what_is_asked_for_at_the_first_write(tmp_path, capsys):
    path = tmp_path / "result.json"
    keys = ("model", "seed")
    campaign = Campaign(path, keys)
    campaign.complete([("a", 0), ("a", 1), ("b", 0)], lambda model, seed: [{"tau": 0.5}] * 2)
    before = path.read_text()

    def interrupted(model, seed):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Campaign(path, keys, fresh=True).complete([("a", 0), ("a", 1)], interrupted)
    assert path.read_text() == before
    assert "6 rows: of the 2 runs asked for, all are done anew" in capsys.readouterr().err

    def only_the_first(model, seed):
        if seed:
            raise KeyboardInterrupt
        return {"tau": 0.9}

    with pytest.raises(KeyboardInterrupt):
        Campaign(path, keys, fresh=True).complete([("a", 0), ("a", 1)], only_the_first)
    rows = [(row["model"], row["seed"], row["tau"]) for row in campaign.rows]
    assert rows == [("b", 0, 0.5), ("b", 0, 0.5), ("a", 0, 0.9)]
    # What was done anew is stored, for a run that goes on without --fresh.
    campaign.complete([("a", 0), ("a", 1)], lambda model, seed: {"tau": 0.1})
    assert [row["tau"] for row in campaign.rows] == [0.5, 0.5, 0.9, 0.1]


def test_rows_of_other_data_are_announced(tmp_path, capsys):
    path = tmp_path / "result.json"
    Campaign(path, ("seed",), same=("checksum",), checksum="a").add({"seed": 0})
    capsys.readouterr()
    Campaign(path, ("seed",), same=("checksum",), checksum="b").left([(0,)])
    assert "with another checksum is dropped when the first" in capsys.readouterr().err


def test_only_scripts_that_skip_runs_have_fresh(capsys):
    assert not Options("", fresh=True).parse_args([]).fresh
    assert Options("", fresh=True).parse_args(["--fresh"]).fresh
    with pytest.raises(SystemExit):
        Options("").parse_args(["--fresh"])
    with pytest.raises(SystemExit):
        Options("", fresh=True).parse_args(["--help"])
    assert "dropped when the first new row is" in " ".join(capsys.readouterr().out.split())


def test_parts_that_are_stored_are_said(tmp_path, capsys):
    files = {name: tmp_path / f"{name}.npz" for name in ("first", "second")}
    assert missing(files) == ["first", "second"]
    assert not capsys.readouterr().err
    files["first"].touch()
    assert missing(files) == ["second"]
    assert f"stored in {tmp_path} and not made again: first; 1 part left" in capsys.readouterr().err
