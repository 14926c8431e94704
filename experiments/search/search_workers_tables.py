"""The table of docs/cluster.md, from the runs of search_workers.py."""

from __future__ import annotations

import json
from typing import Any

from experiments import RESULTS
from experiments.accuracy.predictor_tables import table

RESULT = RESULTS / "search_workers.json"
NAMES = {"journal": "journal file", "postgresql": "PostgreSQL"}
CHECKPOINTS = ("50", "100", "200", "400")

Row = dict[str, Any]


def workers() -> str:
    """A row a run: what became of its trials, and how much of one worker's hypervolume it has."""
    rows: list[Row] = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    alone = next(row for row in rows if row["workers"] == 1)
    body = []
    for row in rows:
        if row["workers"] == 1 or row["task"] != alone["task"]:
            continue
        body.append(
            [
                NAMES[row["storage"]],
                str(row["workers"]),
                str(row["killed"]),
                str(row["states"].get("complete", 0)),
                str(row["duplicates"]),
                f"{row['lost']}, {row['lost_and_tried_again']} again",
                *(
                    f"{row['curve'][n] / alone['curve'][n]:.3f}" if n in row["curve"] else "–"
                    for n in CHECKPOINTS
                ),
            ]
        )
    head = ["storage", "workers", "killed", "complete trials", "duplicates", "lost trials"]
    return table([*head, *(f"at {n}" for n in CHECKPOINTS)], body)


SECTIONS = {"search-workers": workers}
