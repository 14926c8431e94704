"""The table of docs/cluster.md, from the runs of search_workers.py."""

from __future__ import annotations

from experiments.tables import MISSING, Row, cells, load, table

NAMES = {"journal": "journal file", "postgresql": "PostgreSQL"}
CHECKPOINTS = ("50", "100", "200", "400")


def compared(rows: list[Row]) -> str:
    """A row a run: what became of its trials, and how much of one worker's hypervolume it has."""
    alone = next(row for row in rows if row["workers"] == 1)
    body = []
    for row in rows:
        if row["workers"] == 1 or row["task"] != alone["task"]:
            continue
        named = {"complete": 0, **row, **row["states"], "storage": NAMES[row["storage"]]}
        trials = cells(
            "{storage} | {workers} | {killed} | {complete} | {duplicates} | "
            "{lost}, {lost_and_tried_again} again",
            named,
        )
        reached = [
            f"{row['curve'][n] / alone['curve'][n]:.3f}" if n in row["curve"] else MISSING
            for n in CHECKPOINTS
        ]
        body.append(trials + reached)
    head = ["storage", "workers", "killed", "complete trials", "duplicates", "lost trials"]
    return table([*head, *(f"at {n}" for n in CHECKPOINTS)], body)


def workers() -> str:
    return compared(load("search_workers")["rows"])


SECTIONS = {"search-workers": workers}
