"""The tables of docs/results/latency.md on timm's networks."""

from __future__ import annotations

from experiments.tables import MISSING, Row, grouped, load, merged, runs, section, table, table_of

# Families that are named, most networks first.
NAMED = 12
DEVICES = ("RTX 3090", "RTX 4090", "Core i9-10940X")
# Floors first.
METHODS = (
    *("roofline, scaled", "gradient boosting", "launch costs", "nnlp", "narformer-v2"),
    *("latency-gp", "roofline-gp", "network-latency"),
)


def _sorted(split: str) -> list[Row]:
    """The runs of a split, by device, number of learned networks and method."""
    rows = [row for row in runs("timm_latency") if row["split"] == split]
    return sorted(
        rows,
        key=lambda row: (
            DEVICES.index(row["device"]),
            row["train"] if split == "random" else 0,
            METHODS.index(row["method"]),
        ),
    )


@section("timm-one-device")
def one_device() -> str:
    """A row a device, number of networks and method."""
    groups = grouped(_sorted("random"), "device", "mode", "size", "method")
    return table_of(
        "device | learned | judged | method | MAPE % | within 10 % | Spearman | 90 % cover",
        "{device}, {mode} | {train:,} | {test:,} | {method} | {mape_percent:±.2f} | "
        "{acc10_percent:±.1f} | {spearman:±.4f} | {coverage:.1%}",
        map(merged, groups.values()),
    )


@section("timm-families")
def families() -> str:
    """A row a device and method: the mean over families that were left out."""
    return table_of(
        "device | families | method | mean MAPE % | median MAPE % | within 10 % | Spearman | "
        "90 % cover",
        "{device}, {mode} | {count} | {method} | {mape_percent:.1f} | {mape_percent:~.1f} | "
        "{acc10_percent:.1f} | {spearman:.3f} | {coverage:.1%}",
        map(merged, grouped(_sorted("family"), "device", "mode", "method").values()),
    )


@section("timm-each-family")
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
        cells = (f"{errors[method]:.1f}" if method in errors else MISSING for method in methods)
        body.append([family, str(own[0]["test"]), *cells])
    return table(["family", "networks", *methods], body)


@section("timm-agreement")
def agreement() -> str:
    """The costs of the graphs against those of the tables."""
    result = load("network_graphs")
    costs = result["agreement"]
    counts = costs["packages"]["timm"]
    reasons = [
        f"{sum(name.startswith('timm:') for name in group['networks'])} because {reason}"
        for reason, group in costs["explained"].items()
        if any(name.startswith("timm:") for name in group["networks"])
    ]
    others = [name.removeprefix("timm:") for name in costs["left_out"] if name.startswith("timm:")]
    return (
        f"{result['packages']['timm']:,} graphs. Parameters and multiply-accumulates of "
        f"{counts['agrees']:,} are those of the table, within {costs['agrees_up_to']:.0%} beyond "
        f"its rounding; those of {counts['explained']} differ by more: {'; '.join(reasons)}. Left "
        "out, because this timm makes another network by the name: "
        f"{', '.join(others) or 'none'}. Made with {result['made_with']}."
    )
