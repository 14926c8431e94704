"""The tables of docs/results/networks.md, from the experiments with accuracies of networks."""

from __future__ import annotations

from collections.abc import Callable

from experiments.tables import grouped, load, merged, table, table_of


def accuracies() -> str:
    """A row a space, number of networks and method; a count needs no networks, and has one row."""
    by_method = grouped(load("network_accuracy")["runs"], "space", "train", "method")
    rows = []
    for (_, train, _), own in sorted(by_method.items(), key=lambda item: item[0][:2]):
        rows.append(merged(own) if train else merged(own[:1]) | {"train": None})
    return table_of(
        "space | learned | judged | method | Kendall tau | Spearman | mean error, points | "
        "90 % cover",
        "{space} | {train:,} | {test:,} | {method} | {kendall_tau:±.3f} | {spearman:±.3f} | "
        "{mean_absolute_error:±.2f} | {coverage:.1%}",
        rows,
    )


def shortfalls() -> str:
    """A row a device, a column a method."""
    rows = load("network_accuracy")["shortfalls"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    body = []
    for (column,), own in grouped(rows, "column").items():
        points = {row["method"]: row["points"] for row in own}
        body.append([column, *(f"{points[method]:.2f}" for method in methods)])
    return table(["limit on", *methods], body)


SECTIONS: dict[str, Callable[[], str]] = {"network-accuracy": accuracies, "proxies": shortfalls}
