"""The tables of docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from experiments.accuracy.predictor_tables import table
from experiments.latency.network_tables import result


def signals() -> str:
    """A row a command: signals that were sent, and how it ended."""
    told = [row for row in result("signals")["attempts"] if "code" in row]
    rows = []
    for command in dict.fromkeys(row["case"] for row in told):
        own = [row for row in told if row["case"] == command]
        rows.append(
            [
                f"`nasplug {command}`",
                str(len(own)),
                str(sum(row["is_right_code"] for row in own)),
                str(sum(row["is_one_sentence"] for row in own)),
                str(sum(bool(row["lost"] or row["damaged"]) for row in own)),
                str(sum(row["left_alive"] for row in own)),
            ]
        )
    rows.append(["all", *(str(sum(int(row[k]) for row in rows)) for k in range(1, 6))])
    head = ["command", "signals", "right exit code", "one sentence", "lost or damaged"]
    return table([*head, "processes left behind"], rows)


def bit_flips() -> str:
    """A row a type of file."""
    rows = []
    for name, row in result("bit_flips")["files"].items():
        counts = [str(row[key]) for key in ("tried", "error", "warning", "equal", "silently wrong")]
        rows.append([name, *counts, row["protected by"]])
    journal = result("journal_flips")
    counts = [str(journal[key]) for key in ("tried", "said", "equal", "wrong")]
    rows.append(["study journal", *counts[:2], "0", *counts[2:], "a checksum a trial"])
    head = ["file", "flips", "refused", "read with a warning", "no effect", "silently wrong"]
    return table([*head, "protected by"], rows)


def kills() -> str:
    """A row a kind of checkpoint that a training writes over."""
    found = result("retrain_kills")
    rows = [
        [name, str(len(row["kill_points"])), *(str(row[key]) for key in ("old", "new", "lost"))]
        for name, row in found.items()
        if isinstance(row, dict) and "kill_points" in row
    ]
    return table(["a training that writes", "kill points", "old", "new", "lost"], rows)


def starts() -> str:
    """A row a kind of storage."""
    rows = [
        [
            row["storage"],
            f"{row['processes']} × {row['starts']}",
            str(row["tried"]),
            str(row["failed"]),
            str(row["studies_not_whole"]),
        ]
        for row in result("study_starts")["rows"]
    ]
    head = ["storage", "processes × starts", "processes in all", "failed", "studies not whole"]
    return table(head, rows)


def long_studies() -> str:
    """A row a study."""
    rows = [
        [
            row["case"],
            str(row["seed"]),
            f"{row['trials']:,}",
            f"{row['grown_mb']:.0f}",
            f"{row['ms_at_400']:.0f}",
            f"{row['ms_at_end']:.0f}",
            f"{row['times']:.2f}",
        ]
        for row in result("long_studies")["rows"]
    ]
    head = ["study", "seed", "trials", "memory grew by, MB", "CPU ms a trial at 400", "at the end"]
    return table([*head, "times"], rows)


def growth() -> str:
    """A row a predictor and runtime: falls of the latency as the batch doubles."""
    found = result("batch_growth")
    rows = []
    kinds = Counter((row["predictor"], row["runtime"]) for row in found["rows"])
    for predictor, runtime in kinds:
        own = [
            row
            for row in found["rows"]
            if (row["predictor"], row["runtime"]) == (predictor, runtime)
        ]
        rows.append(
            [
                f"`{predictor}`",
                runtime,
                str(len(own)),
                f"{sum(row['doublings'] for row in own):,}",
                str(sum(row["violations"] for row in own)),
                f"{max(row['largest_fall_percent'] for row in own):.2f}",
                str(sum(row["usual_runtimes"] > 1 for row in own)),
            ]
        )
    head = ["predictor", "runtime", "devices", "doublings", f"falls above {found['noise']:.0%}"]
    return table([*head, "largest fall, %", "devices whose usual runtime changes"], rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "signals": signals,
    "bit-flips": bit_flips,
    "kills": kills,
    "starts": starts,
    "long-studies": long_studies,
    "batch-growth": growth,
}
