"""The tables of docs/results/latency.md, from the results of the experiments with latencies."""

from __future__ import annotations

from statistics import mean

from experiments.tables import (
    MISSING,
    Row,
    cells,
    grouped,
    load,
    merged,
    runs,
    section,
    spread,
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
# Tables of small networks, from which neither the roofline of GPUs nor its floor learned.
SMALL = ("nb201", "fbnet", "ofa", "accel", "nnlqp")
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


def _left_out(rows: list[Row]) -> str:
    """A row a source and kind of device, and one for each kind of device in all sources."""
    whole = [{**row, "source": "all"} for row in rows]
    return table_of(
        "networks of | devices | device × batch | mean MAPE % | median MAPE % | within 10 % | "
        "90 % cover",
        "{source} | {kind} | {count} | {mape_percent:.0f} | {mape_percent:~.0f} | "
        "{acc10_percent:.0f} | {coverage:.1%}",
        map(merged, grouped([*rows, *whole], "source", "kind").values()),
    )


@section("network-zero-shot")
def zero_shot() -> str:
    """A row a source and kind of device: devices that were left out."""
    return _left_out(load(QUALITY)["zero_shot"])


@section("network-unfamiliar")
def unfamiliar() -> str:
    """A row a source that was left out, and kind of device."""
    return _left_out(load(QUALITY)["unfamiliar"])


@section("network-unseen")
def unseen() -> str:
    """A row one of HELP's unseen devices, over all cells."""
    cells = {(row["column"], row["also_known"]): row for row in load("latency_quality")["unseen"]}
    rows = load(QUALITY)["unseen"]
    ranks, errors = [], []
    for row in rows:
        own, more = (cells[row["column"], known] for known in (None, ALSO_KNOWN))
        floors = row["spearman_mean_of_known"], row["spearman_roofline"]
        ranks.append([own["spearman"], more["spearman"], row["spearman"], *floors])
        errors.append([own["mape_percent"], row["mape_percent"]])
    body = [
        [row["column"], *(f"{value:.3f}" for value in own), *(f"{value:.0f}" for value in wrong)]
        for row, own, wrong in zip(rows, ranks, errors, strict=True)
    ]
    means = [f"{mean(values):.4f}" for values in zip(*ranks, strict=True)]
    body.append(["mean", *means, *(f"{mean(v):.0f}" for v in zip(*errors, strict=True))])
    head = ["device", "nb201-latency", f"{ALSO_KNOWN} known", "network-latency"]
    head += ["mean of the known devices", "roofline"]
    return table([*head, "nb201-latency, MAPE %", "network-latency, MAPE %"], body)


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


@section("sanity")
def sanity() -> str:
    """A row a check of consistency."""
    body = [
        [name, f"{row['checked']:,}", f"{row['wrong_percent']:.2f}", str(row["beyond_5_percent"])]
        for name, row in load("sanity")["checks"].items()
    ]
    return table(["check", "comparisons", "wrong, %", "by more than 5 %"], body)


@section("launch-share")
def launch_share() -> str:
    """A row a source that was left out, and kind of device; a column a share of launch costs."""
    rows = [{**row, "without": ", ".join(row["without"])} for row in runs("launch_share")]
    shares = sorted({row["share"] for row in rows})
    body = []
    for (without,), part in grouped(rows, "without").items():
        start = "also without " + without if without else "all others"
        for (source, kind), own in grouped(part, "source", "kind").items():
            each = [
                spread([r["mape_percent"] for r in own if r["share"] == s], ".0f") for s in shares
            ]
            seeds = {row["seed"] for row in own}
            body.append([start, source, kind, str(own[0]["columns"]), *each, str(len(seeds))])
        means = [mean(r["log_error"] for r in part if r["share"] == share) for share in shares]
        body.append([start, "mean log error", "", "", *(f"{value:.3f}" for value in means), ""])
    heads = [f"{share:g}" for share in shares]
    return table(["learned", "left out", "devices", "device × batch", *heads, "seeds"], body)


@section("network-ablation")
def ablation() -> str:
    """A row a variant: errors on other networks, on left-out devices, on a left-out source."""
    return table_of(
        "variant | other networks | devices left out | Once-for-All left out | seeds",
        "{variant} | {measured:±.1f} | {device:±.1f} | {source:±.1f} | {count}",
        map(merged, grouped(runs("network_ablation"), "variant").values()),
    )


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
    return table(["left out", *methods], [*body, ["mean", *means]])


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
            body.append([method, kind, str(len(rows)), *recipe, reach])
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
