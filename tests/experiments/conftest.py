"""Fixtures for the tests of the scripts."""

import json

import pytest
import torch


@pytest.fixture
def run_script(tmp_path, capsys):
    """Call a script's `main` with a results file of its own: its rows, and what stderr says."""
    threads = torch.get_num_threads()
    places = ["--results", str(tmp_path / "all.jsonl"), "--runs", str(tmp_path / "runs")]

    def call(main, *words):
        main([*words, *places])
        shown = capsys.readouterr()
        return [json.loads(line) for line in shown.out.splitlines()], shown.err

    yield call
    torch.set_num_threads(threads)
