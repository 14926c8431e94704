"""The tables of docs/latency.md, from the results of the experiments with latencies."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from statistics import mean, stdev
from typing import Any

from experiments import RESULTS
from experiments.accuracy.predictor_tables import table

Row = dict[str, Any]


def runs(name: str) -> list[Row]:
    rows: list[Row] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["runs"]
    return rows


def grouped(rows: list[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[key] for key in keys)].append(row)
    return found


def spread(values: list[float], digits: int) -> str:
    text = f"{mean(values):.{digits}f}"
    return f"{text} ± {stdev(values):.{digits}f}" if len(values) > 1 else text


def one_device() -> str:
    """A row a data set, device, number of networks and method."""
    body = []
    found = grouped(runs("network_latency"), "data", "column", "size", "method")
    for (data, column, _, method), rows in found.items():
        cover = [row["coverage"] for row in rows if row["coverage"] is not None]
        body.append(
            [
                data,
                column,
                f"{rows[0]['train']:,}",
                f"{rows[0]['test']:,}",
                method,
                spread([row["mape_percent"] for row in rows], 2),
                spread([row["acc10_percent"] for row in rows], 1),
                spread([row["spearman"] for row in rows], 4),
                f"{mean(cover):.1%}" if cover else "–",
            ]
        )
    head = ["data", "device", "learned", "judged", "method"]
    return table([*head, "MAPE %", "within 10 %", "Spearman", "90 % cover"], body)


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
            cover = [row["coverage"] for row in own if row["coverage"] is not None]
            body.append(
                [
                    method,
                    count,
                    *(f"{value:.3f}" for value in means),
                    f"{mean(means):.4f}",
                    f"{mean(cover):.1%}" if cover else "–",
                ]
            )
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
