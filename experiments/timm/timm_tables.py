"""The tables of docs/latency.md on timm's networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import mean, median
from typing import Any

from experiments.accuracy.predictor_tables import table
from experiments.latency.device_tables import RESULTS, grouped, runs, spread

# Families that are named, most networks first.
NAMED = 12
DEVICES = ("RTX 3090", "RTX 4090", "Core i9-10940X")
# Floors first.
METHODS = (
    *("roofline, scaled", "gradient boosting", "launch costs", "nnlp", "narformer-v2"),
    *("latency-gp", "roofline-gp", "network-latency"),
)


def one_device() -> str:
    """A row a device, number of networks and method."""
    rows = sorted(
        (row for row in runs("timm_latency") if row["split"] == "random"),
        key=lambda row: (DEVICES.index(row["device"]), row["train"], METHODS.index(row["method"])),
    )
    body = []
    for (device, mode, _, method), own in grouped(rows, "device", "mode", "size", "method").items():
        cover = [row["coverage"] for row in own if row["coverage"] is not None]
        body.append(
            [
                f"{device}, {mode}",
                f"{own[0]['train']:,}",
                f"{own[0]['test']:,}",
                method,
                spread([row["mape_percent"] for row in own], 2),
                spread([row["acc10_percent"] for row in own], 1),
                spread([row["spearman"] for row in own], 4),
                f"{mean(cover):.1%}" if cover else "–",
            ]
        )
    head = ["device", "learned", "judged", "method"]
    return table([*head, "MAPE %", "within 10 %", "Spearman", "90 % cover"], body)


def families() -> str:
    """A row a device and method: the mean over families that were left out."""
    rows = sorted(
        (row for row in runs("timm_latency") if row["split"] == "family"),
        key=lambda row: (DEVICES.index(row["device"]), METHODS.index(row["method"])),
    )
    body = []
    for (device, mode, method), own in grouped(rows, "device", "mode", "method").items():
        cover = [row["coverage"] for row in own if row["coverage"] is not None]
        body.append(
            [
                f"{device}, {mode}",
                str(len(own)),
                method,
                f"{mean(row['mape_percent'] for row in own):.1f}",
                f"{median(row['mape_percent'] for row in own):.1f}",
                f"{mean(row['acc10_percent'] for row in own):.1f}",
                f"{mean(row['spearman'] for row in own):.3f}",
                f"{mean(cover):.1%}" if cover else "–",
            ]
        )
    head = ["device", "families", "method", "mean MAPE %", "median MAPE %", "within 10 %"]
    return table([*head, "Spearman", "90 % cover"], body)


def each_family() -> str:
    """A row a family left out on the first device, a column a method."""
    rows = [row for row in runs("timm_latency") if row["split"] == "family"]
    rows = [row for row in rows if row["device"] == DEVICES[0]]
    there = {row["method"] for row in rows}
    methods = [method for method in METHODS if method in there]
    body = []
    by_family = grouped(rows, "size")
    for (family,), own in sorted(by_family.items(), key=lambda item: -item[1][0]["test"]):
        errors = {row["method"]: row["mape_percent"] for row in own}
        cells = (f"{errors[method]:.1f}" if method in errors else "–" for method in methods)
        body.append([family, str(own[0]["test"]), *cells])
    return table(["family", "networks", *methods], body)


def agreement() -> str:
    """How far the graphs' costs are those of the tables."""
    result: dict[str, Any] = json.loads((RESULTS / "timm_graphs.json").read_text(encoding="utf-8"))
    found = result["agreement"]
    lines = [
        [
            name,
            f"{found[key]['agree_percent']:.1f} %",
            f"{found[key]['median_percent']:+.2f} %",
            f"{found[key]['p95_absolute_percent']:.1f} %",
        ]
        for key, name in (
            ("macs", "multiply-accumulates"),
            ("module_parameters", "parameters of the module"),
            ("graph_parameters", "parameters of the graph, norms folded"),
        )
    ]
    apart = sorted(
        ((name, row) for name, row in found["families"].items() if row["disagree"]),
        key=lambda item: -item[1]["disagree"],
    )
    named = ", ".join(
        f"{name} ({row['disagree']} of {row['networks']}, median {row['median_percent']:+.0f} %)"
        for name, row in apart[:NAMED]
    )
    rest = len(apart) - NAMED
    return (
        f"{found['compared']:,} graphs, of {result['nodes'][0]:.0f} to {result['nodes'][-1]:.0f} "
        f"nodes (median {result['nodes'][2]:.0f}). Left out, because this timm makes another "
        f"network by the name: {', '.join(result['not_what_was_measured']) or 'none'}. Made with "
        f"{result['made_with']}.\n\n"
        + table(
            [
                "against the table",
                f"within {found['agrees_up_to']:.0%}",
                "median difference",
                "95 % of the networks differ by at most",
            ],
            lines,
        )
        + f"\n\nMultiply-accumulates differ by more in {named or 'no family'}"
        + (f" and {rest} more families." if rest > 0 else ".")
    )


SECTIONS: dict[str, Callable[[], str]] = {
    "timm-agreement": agreement,
    "timm-one-device": one_device,
    "timm-families": families,
    "timm-each-family": each_family,
}
