"""The tables of docs/reliability.md."""

from __future__ import annotations

from experiments.tables import grouped, load, section, table, table_of


@section("signals")
def signals() -> str:
    """A row a command: signals that were sent, and how it ended."""
    attempts = [row for row in load("signals")["attempts"] if "code" in row]
    rows = []
    for (command,), own in grouped(attempts, "case").items():
        counts = [
            len(own),
            sum(row["is_right_code"] for row in own),
            sum(row["is_one_sentence"] for row in own),
            sum(bool(row["lost"] or row["damaged"]) for row in own),
            sum(row["left_alive"] for row in own),
        ]
        rows.append([f"`nasplug {command}`", *map(str, counts)])
    rows.append(["all", *(str(sum(int(row[k]) for row in rows)) for k in range(1, 6))])
    head = "command | signals | right exit code | one sentence | lost or damaged"
    return table(f"{head} | processes left behind", rows)


@section("bit-flips")
def bit_flips() -> str:
    """A row a type of file."""
    files = [row | {"name": name} for name, row in load("bit_flips")["files"].items()]
    return table_of(
        "file | flips | refused | read with a warning | no effect | silently wrong | protected by",
        "{name} | {tried} | {error} | {warning} | {equal} | {silently wrong} | {protected by}",
        files,
    )


@section("kills")
def kills() -> str:
    """A row a kind of checkpoint that a training writes over."""
    return table_of(
        "a training that writes | kill points | old | new | lost",
        "{name} | {points} | {old} | {new} | {lost}",
        [
            row | {"name": name, "points": len(row["kill_points"])}
            for name, row in load("retrain_kills").items()
            if isinstance(row, dict) and "kill_points" in row
        ],
    )


@section("starts")
def starts() -> str:
    """A row a kind of storage."""
    return table_of(
        "storage | processes × starts | processes in all | failed | studies not whole",
        "{storage} | {processes} × {starts} | {tried} | {failed} | {studies_not_whole}",
        load("study_starts")["rows"],
    )


@section("long-studies")
def long_studies() -> str:
    """A row a study."""
    return table_of(
        "study | seed | trials | memory grew by, MB | CPU ms a trial at 400 | at the end | times",
        "{case} | {seed} | {trials:,} | {grown_mb:.0f} | {ms_at_400:.0f} | {ms_at_end:.0f} | "
        "{times:.2f}",
        load("long_studies")["rows"],
    )


@section("batch-growth")
def growth() -> str:
    """A row a predictor and runtime: falls of the latency as the batch doubles."""
    result = load("batch_growth")
    rows = []
    for (predictor, runtime), own in grouped(result["rows"], "predictor", "runtime").items():
        doublings, violations = (sum(row[k] for row in own) for k in ("doublings", "violations"))
        fall = max(row["largest_fall_percent"] for row in own)
        changed = sum(row["usual_runtimes"] > 1 for row in own)
        counts = [str(len(own)), f"{doublings:,}", str(violations), f"{fall:.2f}", str(changed)]
        rows.append([f"`{predictor}`", runtime, *counts])
    return table(
        f"predictor | runtime | devices | doublings | falls above {result['noise']:.0%} | "
        "largest fall, % | devices whose usual runtime changes",
        rows,
    )
