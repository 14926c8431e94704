"""The tables of docs/results/latency.md, from the results of the experiments with latencies."""

from __future__ import annotations

from statistics import mean

from experiments.tables import (
    MISSING,
    cells,
    grouped,
    load,
    merged,
    runs,
    section,
    table,
    table_of,
)

QUALITY = "network_latency_quality"
# Columns of the tables on one device, floors first, then published predictors.
ORDER = (
    *("roofline, scaled", "gradient boosting", "launch costs", "nnlp", "narformer-v2"),
    *("latency-gp", "roofline-gp", "network-latency, no launch costs", "network-latency"),
    *("joined", "network-latency, all devices"),
)
# Method of a run -> its name in tables: launch costs belonged to the predictor once.
NAMES = {
    "network-latency, no launch costs": "network-latency",
    "network-latency": "network-latency with launch costs",
}
# What one of the predictors of cells knows beside HELP's known devices.
ALSO_KNOWN = "RTX 2080 Ti"


@section("network-measured")
def measured() -> str:
    """A row a source: networks that were not learned, on measured devices."""
    return table_of(
        "networks of | device × batch | judged, each | mean MAPE % | median MAPE % | within 10 % | "
        "Spearman | 90 % cover",
        "{source} | {count} | {networks:,.0f} | {mape_percent:.1f} | {mape_percent:~.1f} | "
        "{acc10_percent:.0f} | {spearman:.3f} | {coverage:.1%}",
        map(merged, grouped(load(QUALITY)["measured"], "source").values()),
    )


@section("network-unseen")
def unseen() -> str:
    """A row one of HELP's unseen devices, over all cells."""
    cells = {(row["column"], row["also_known"]): row for row in load("latency_quality")["unseen"]}
    body, ranks = [], []
    for row in load(QUALITY)["unseen"]:
        own, more = (cells[row["column"], known] for known in (None, ALSO_KNOWN))
        floors = row["spearman_mean_of_known"], row["spearman_roofline"]
        ranks.append([own["spearman"], more["spearman"], *floors])
        errors = f"{own['mape_percent']:.0f}", f"{more['mape_percent']:.0f}"
        body.append([row["column"], *(f"{value:.3f}" for value in ranks[-1]), *errors])
    means = [f"{mean(values):.4f}" for values in zip(*ranks, strict=True)]
    body.append(["mean", *means, MISSING, MISSING])
    head = ["device", "nb201-latency", f"{ALSO_KNOWN} known", "mean of the known devices"]
    head += ["roofline", "nb201-latency, MAPE %", f"{ALSO_KNOWN} known, MAPE %"]
    return table(head, body)


@section("class-models")
def class_models() -> str:
    """A row a runtime and precision on chips of a class that were left out."""
    body = []
    for row in load("class_models")["groups"]:
        case, name, *way = row["group"].split()
        body.append(
            [
                {"gpu": "GPUs", "cpu": "CPUs", "other": "other"}[name],
                " ".join(way),
                "unknown" if case == "unfamiliar" else "known",
                str(row["chips"]),
                str(row["rows"]),
                f"{row['median_mape']:.0f}",
                f"{row['upper_by_lower']:.2f}",
                f"{row['covered']:.0%}",
            ]
        )
    body.sort(key=lambda row: (row[0], row[2], row[1] != "all", row[1]))
    head = ["class", "runtime, precision", "networks", "chips", "measurements"]
    return table([*head, "median over chips of MAPE %", "upper / lower", "cover"], body)


@section("network-ablation")
def ablation() -> str:
    """A row a variant: errors on other networks, on left-out devices, on a left-out source."""
    return table_of(
        "variant | other networks | devices left out | Once-for-All left out | seeds",
        "{variant} | {measured:±.1f} | {device:±.1f} | {source:±.1f} | {count}",
        map(merged, grouped(runs("network_ablation"), "variant").values()),
    )


@section("class-ablation")
def class_ablation() -> str:
    """A row a class and variant: errors on chips that were left out."""
    names = {"gpu": "GPUs", "cpu": "CPUs", "other": "NPUs, GPUs of phones and boards"}
    body = [
        [
            f"{names[row['class']]}, {row['chips']} chips",
            row["variant"],
            f"{row['median_mape']:.1f} ({row['mean_mape']:.1f})",
            f"{row['median_shape']:.1f}",
        ]
        for row in load("class_ablation")["rows"]
    ]
    return table(["class", "variant", "MAPE %, median (mean) over chips", "shape alone"], body)


@section("out-of-domain-gpu", "RTX 2080 Ti")
@section("out-of-domain-titan", "Titan RTX")
@section("out-of-domain-cpu", "CPU")
def out_of_domain(start: str) -> str:
    """A row a case, a column a method: MAPE, and within 10 %."""
    rows = [row for row in runs("out_of_domain") if row["case"].startswith(start)]
    methods = [method for method in ORDER if any(row["method"] == method for row in rows)]
    by_run = grouped(rows, "case", "method")
    cases = list(dict.fromkeys(case for case, _ in by_run))
    body, means = [], []
    for case in cases:
        texts = []
        for method in methods:
            group = by_run.get((case, method))
            form = "{mape_percent:±.1f} / {acc10_percent:.0f}"
            texts += cells(form, merged(group)) if group else [MISSING]
        body.append([case.partition(": ")[2].removesuffix(" left out"), *texts])
    for method in methods:
        groups = [by_run.get((case, method)) for case in cases]
        # A mean over some of the cases would not compare with the others.
        whole = [
            [mean(row[key] for row in group) for key in ("mape_percent", "acc10_percent")]
            for group in groups
            if group
        ]
        error, near = map(mean, zip(*whole, strict=True))
        means.append(f"{error:.1f} / {near:.0f}" if all(groups) else MISSING)
    shown = [NAMES.get(method, method) for method in methods]
    return table(["left out", *shown], [*body, ["mean", *means]])


@section("out-of-domain-recipes")
def recipes() -> str:
    """A row a trained network and kind of device: how it was trained, and what it has learned."""
    body = []
    trained = [row for row in runs("out_of_domain") if row["recipe"]]
    for kind in ("GPU", "CPU"):
        own = [row for row in trained if row["case"].startswith("CPU") == (kind == "CPU")]
        for (method,), rows in grouped(own, "method").items():
            # Of some runs it was not kept.
            errors = [row["mape_percent_learned"] for row in rows]
            known = [error for error in errors if error is not None]
            reach = f"{min(known):.1f} to {max(known):.1f}" if known else MISSING
            recipe = cells("{epochs} | {batch_size}", rows[0]["recipe"])
            body.append([NAMES.get(method, method), kind, str(len(rows)), *recipe, reach])
    head = "network | device | runs | epochs | batch size | MAPE % on what was learned"
    return table(head, body)


@section("cpu-check")
def cpu() -> str:
    """A row a method: fresh networks on the CPU that was measured."""
    return table_of(
        "method | MAPE % | within 10 % | Spearman | 90 % cover",
        "{method} | {mape_percent:.1f} | {acc10_percent:.0f} | {spearman:.3f} | {coverage:.0%}",
        [
            {"coverage": None, **row, "method": method}
            for method, row in load("cpu_check")["methods"].items()
        ],
    )


@section("one-device")
def one_device() -> str:
    """A row a data set, device, number of networks and method."""
    groups = grouped(runs("network_latency"), "data", "column", "size", "method")
    return table_of(
        "data | device | learned | judged | method | MAPE % | within 10 % | Spearman | 90 % cover",
        "{data} | {column} | {train:,} | {test:,} | {method} | {mape_percent:±.2f} | "
        "{acc10_percent:±.1f} | {spearman:±.4f} | {coverage:.1%}",
        map(merged, groups.values()),
    )


@section("few-shot-nb201-help", "nb201", "help")
@section("few-shot-nb201-all", "nb201", "all")
@section("few-shot-fbnet-help", "fbnet", "help")
@section("few-shot-fbnet-all", "fbnet", "all")
def few_shot(space: str, protocol: str) -> str:
    """A row a method, a column a new device."""
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
