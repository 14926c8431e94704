"""The tables of docs/latency.md on the predictor of whole networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import mean, median
from typing import Any

from device_tables import RESULTS, Row, grouped, runs, spread
from predictor_tables import table

QUALITY = "network_latency_quality"


def result(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def measured() -> str:
    """A row a source: networks that were not learned, on measured devices."""
    body = []
    for (source,), rows in grouped(result(QUALITY)["measured"], "source").items():
        body.append(
            [
                source,
                str(len(rows)),
                f"{mean(row['networks'] for row in rows):,.0f}",
                f"{mean(row['mape_percent'] for row in rows):.1f}",
                f"{median(row['mape_percent'] for row in rows):.1f}",
                f"{mean(row['acc10_percent'] for row in rows):.0f}",
                f"{mean(row['spearman'] for row in rows):.3f}",
                f"{mean(row['coverage'] for row in rows):.1%}",
            ]
        )
    head = ["networks of", "device × batch", "judged, each", "mean MAPE %", "median MAPE %"]
    return table([*head, "within 10 %", "Spearman", "90 % cover"], body)


def _left_out(rows: list[Row], *keys: str) -> str:
    body = []
    for found, own in grouped(rows, *keys).items():
        body.append(
            [
                *map(str, found),
                str(len(own)),
                f"{mean(row['mape_percent'] for row in own):.0f}",
                f"{median(row['mape_percent'] for row in own):.0f}",
                f"{mean(row['acc10_percent'] for row in own):.0f}",
                f"{mean(row['coverage'] for row in own):.1%}",
            ]
        )
    head = [{"source": "networks of", "kind": "devices"}[key] for key in keys]
    return table(
        [*head, "device × batch", "mean MAPE %", "median MAPE %", "within 10 %", "90 % cover"], body
    )


def zero_shot() -> str:
    """A row a source and kind of device: devices that were left out."""
    return _left_out(result(QUALITY)["zero_shot"], "source", "kind")


def unfamiliar() -> str:
    """A row a source that was left out, and kind of device."""
    return _left_out(result(QUALITY)["unfamiliar"], "source", "kind")


def unseen() -> str:
    """A row one of HELP's unseen devices, over all cells."""
    rows = result(QUALITY)["unseen"]
    names = ("spearman", "spearman_mean_of_known", "spearman_roofline")
    body = [
        [row["column"], *(f"{row[name]:.3f}" for name in names), f"{row['mape_percent']:.0f}"]
        for row in rows
    ]
    means = [f"{mean(row[name] for row in rows):.4f}" for name in names]
    body.append(["mean", *means, f"{mean(row['mape_percent'] for row in rows):.0f}"])
    head = ["device", "nasplug", "mean of the known devices", "roofline", "MAPE % of nasplug"]
    return table(head, body)


def out_of_domain(start: str) -> Callable[[], str]:
    """A row a case, a column a method: MAPE, and within 10 %."""

    def make() -> str:
        rows = [row for row in runs("out_of_domain") if row["case"].startswith(start)]
        methods = list(dict.fromkeys(row["method"] for row in rows))
        body, every = [], {}
        for (case,), own in grouped(rows, "case").items():
            cells = []
            for method in methods:
                found = [row for row in own if row["method"] == method]
                if not found:
                    cells.append("–")
                    continue
                error = [row["mape_percent"] for row in found]
                near = mean(row["acc10_percent"] for row in found)
                every.setdefault(method, []).append((mean(error), near))
                cells.append(f"{spread(error, 1)} / {near:.0f}")
            body.append([case, *cells])
        means = [
            f"{mean(e for e, _ in every[m]):.1f} / {mean(a for _, a in every[m]):.0f}"
            for m in methods
        ]
        return table(["left out", *methods], [*body, ["mean", *means]])

    return make


def cpu() -> str:
    """A row a method: fresh networks on the CPU that was measured."""
    body = []
    for method, row in result("cpu_check")["methods"].items():
        cover = row.get("coverage")
        body.append(
            [
                method,
                f"{row['mape_percent']:.1f}",
                f"{row['acc10_percent']:.0f}",
                f"{row['spearman']:.3f}",
                f"{cover:.0%}" if cover is not None else "–",
            ]
        )
    return table(["method", "MAPE %", "within 10 %", "Spearman", "90 % cover"], body)


SECTIONS: dict[str, Callable[[], str]] = {
    "network-measured": measured,
    "network-zero-shot": zero_shot,
    "network-unseen": unseen,
    "network-unfamiliar": unfamiliar,
    "out-of-domain-gpu": out_of_domain("RTX 2080 Ti"),
    "out-of-domain-titan": out_of_domain("Titan RTX"),
    "out-of-domain-cpu": out_of_domain("CPU"),
    "cpu-check": cpu,
}
