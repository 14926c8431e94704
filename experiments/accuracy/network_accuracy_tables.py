"""The tables of docs/spaces.md, from the results of the experiment with accuracies of networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from experiments import RESULTS
from experiments.accuracy.predictor_tables import table
from experiments.latency.device_tables import grouped, spread


def load() -> dict[str, Any]:
    path = RESULTS / "network_accuracy.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def accuracies() -> str:
    """A row a space, number of networks and method; a count needs no networks, and has one row."""
    body = []
    found = grouped(load()["runs"], "space", "train", "method")
    for (space, train, method), rows in sorted(found.items(), key=lambda item: item[0][:2]):
        counted = train == 0
        own = rows[:1] if counted else rows
        cover = [row["coverage"] for row in own if row["coverage"] is not None]
        body.append(
            [
                space,
                "–" if counted else f"{train:,}",
                f"{own[0]['test']:,}",
                method,
                spread([row["kendall_tau"] for row in own], 3),
                spread([row["spearman"] for row in own], 3),
                "–" if counted else spread([row["mean_absolute_error"] for row in own], 2),
                f"{sum(cover) / len(cover):.1%}" if cover else "–",
            ]
        )
    head = ["space", "learned", "judged", "method", "Kendall tau", "Spearman"]
    return table([*head, "mean error, points", "90 % cover"], body)


def shortfalls() -> str:
    """A row a device, a column a method."""
    rows = load()["shortfalls"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    body = []
    for (column,), own in grouped(rows, "column").items():
        points = {row["method"]: row["points"] for row in own}
        body.append([column, *(f"{points[method]:.2f}" for method in methods)])
    return table(["limit on", *methods], body)


SECTIONS: dict[str, Callable[[], str]] = {
    "network-accuracy": accuracies,
    "proxies": shortfalls,
}
