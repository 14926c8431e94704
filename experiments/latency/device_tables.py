"""The tables of docs/results/latency.md, from the results of the experiments with latencies."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

from experiments.tables import cells, grouped, merged, runs, table, table_of


def one_device() -> str:
    """A row a data set, device, number of networks and method."""
    groups = grouped(runs("network_latency"), "data", "column", "size", "method")
    return table_of(
        "data | device | learned | judged | method | MAPE % | within 10 % | Spearman | 90 % cover",
        "{data} | {column} | {train:,} | {test:,} | {method} | {mape_percent:±.2f} | "
        "{acc10_percent:±.1f} | {spearman:±.4f} | {coverage:.1%}",
        map(merged, groups.values()),
    )


def few_shot(space: str, protocol: str) -> Callable[[], str]:
    """A row a method, a column a new device."""

    def make() -> str:
        rows = [r for r in runs("few_shot") if (r["space"], r["protocol"]) == (space, protocol)]
        columns = list(dict.fromkeys(row["column"] for row in rows))
        body = []
        for (method, measured), own in grouped(rows, "method", "measured").items():
            by_column = grouped(own, "column")
            means = [mean(row["spearman"] for row in by_column[(column,)]) for column in columns]
            count = "0" if method.startswith("mean of") else str(measured)
            ranks = [*(f"{value:.3f}" for value in means), f"{mean(means):.4f}"]
            body.append([method, count, *ranks, *cells("{coverage:.1%}", merged(own))])
        return table(["method", "measured", *columns, "mean", "90 % cover"], body)

    return make


SECTIONS: dict[str, Callable[[], str]] = {
    "one-device": one_device,
    **{
        f"few-shot-{space}-{protocol}": few_shot(space, protocol)
        for space in ("nb201", "fbnet")
        for protocol in ("help", "all")
    },
}
