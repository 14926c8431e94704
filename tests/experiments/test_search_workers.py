import json
import subprocess
import sys
from pathlib import Path

from experiments.search.search_tables import compared

ROOT = Path(__file__).resolve().parents[2]


def test_a_worker_is_killed_and_the_study_completes(nb201_cache, tmp_path):
    result = tmp_path / "workers.json"
    command = [sys.executable, "-m", "experiments.search.search_workers"]
    command += ["--result", str(result), "--storages", "journal", "--workers", "2"]
    command += ["--trials", "12", "--kill", "1", "--alone", "0"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(result.read_text())["rows"]
    assert row["exit_codes"] == [0]
    assert row["killed"] == 1
    assert row["states"]["complete"] >= 12
    assert set(row["states"]) <= {"complete", "fail", "waiting"}
    assert row["duplicates"] == 0
    assert row["numbers_are_whole"]
    assert row["lost"] <= 1
    assert 0.5 < row["curve"]["10"] < 1


def test_the_table_sets_workers_against_one():
    alone = {"workers": 1, "task": "t", "curve": {"50": 0.5, "100": 0.8}}
    eight = {
        "task": "t",
        "workers": 8,
        "storage": "postgresql",
        "killed": 2,
        "states": {"complete": 401, "fail": 2},
        "duplicates": 0,
        "lost": 2,
        "lost_and_tried_again": 1,
        "curve": {"50": 0.4, "100": 0.8},
    }
    (line,) = [line for line in compared([alone, eight]).splitlines() if "PostgreSQL" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:] == ["8", "2", "401", "0", "2, 1 again", "0.800", "1.000", "–", "–"]
