"""Tables of docs/few-labels.md and docs/results/networks.md, from experiments with accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from experiments.accuracy.published import PUBLISHED, SIZES
from experiments.accuracy.recipes import LONGER, recipe
from experiments.tables import (
    MISSING,
    Row,
    grouped,
    load,
    load_lines,
    merged,
    runs,
    section,
    spread,
    table,
    table_of,
)

MODELS = {
    "nasplug": "nasplug",
    "transformer-ensemble": "transformer ensemble, labels only",
    "ledgformer": "LeDG-Former (reconstruction)",
    "nnformer": "NN-Former",
    "narformer-v2": "NAR-Former V2",
    "narformer-v2, longer": "NAR-Former V2, three times the steps",
    "nnlp": "NNLP (GraphSAGE)",
    "path-gp": "Gaussian process over path features",
    "gradient-boosting": "gradient boosting over path features",
    "random-forest": "random forest, one-hot",
}


def ranked() -> list[Row]:
    """The latest row of each run that was called with the options of `recipes`."""
    latest: dict[tuple[Any, ...], Row] = {}
    for row in load_lines("predictor_accuracy"):
        model, size = row["model"], row["train_size"]
        if row["options"] != recipe(model, size):
            if model not in LONGER or row["options"] != recipe(model, size, longer=True):
                continue
            row["model"] = f"{model}, longer"
        latest[row["model"], row["dataset"], row["train_size"], row["seed"]] = row
    return list(latest.values())


@section("cifar10", "cifar10")
@section("cifar100", "cifar100")
@section("imagenet16-120", "imagenet16-120")
def ranking(dataset: str) -> str:
    """Two tables of an image set: against validation and against test accuracies."""
    return taus([row for row in ranked() if row["dataset"] == dataset], MODELS, SIZES)


def taus(rows: list[Row], models: dict[str, str], sizes: Sequence[int], of: str = "") -> str:
    """A table against validation and one against test accuracies: rows models, columns sizes."""
    parts = []
    by_cell = grouped(rows, "model", "train_size")
    for key, against in (("tau_val", "validation"), ("tau_test", "test")):
        body = []
        for model, title in models.items():
            values = [[row[key] or 0.0 for row in by_cell.get((model, n), ())] for n in sizes]
            if any(values):
                body.append([title, *(spread(own, usual=5) for own in values)])
        head = [f"{of}tau, {against} accuracy", *(f"{size} cells" for size in sizes)]
        parts.append(table(head, body))
    return "\n\n".join(parts)


@section("costs")
def costs() -> str:
    by_cell = grouped(ranked(), "model", "train_size")
    body = []
    for model, title in MODELS.items():
        by_size = [by_cell.get((model, size), []) for size in SIZES]
        rows = [row for own in by_size for row in own]
        if not rows:
            continue
        fits = [
            f"{mean(row['fit_seconds'] for row in own):.0f}" if own else MISSING for own in by_size
        ]
        counts = sorted({row["parameters"] for row in rows if row["parameters"]})
        weights = f"{counts[0]:,}" if counts else MISSING
        if len(counts) > 1:
            weights += f" to {counts[-1]:,}"
        speed = max(row["cells_per_second"] for row in rows)
        body.append([title, *fits, weights, f"{speed:,.0f}"])
    head = ["model", *(f"fit, s, {size}" for size in SIZES), "parameters", "cells/s, best run"]
    note = (
        "Means over all runs, one thread each, on a shared machine with two cores that often ran "
        "three of them at once: upper bounds."
    )
    return f"{table(head, body)}\n\n{note}"


@section("published")
def published() -> str:
    body = [
        [method, *(f"{taus[size]:.3f}" if size in taus else "–" for size in SIZES), source]
        for method, (taus, source) in PUBLISHED.items()
    ]
    return table(["method", *(f"{size} cells" for size in SIZES), "read in"], body)


@section("language-ablation")
def language_ablation() -> str:
    result = load("ledg_ablation")
    variants = list(result["variants"])
    groups = grouped(result["runs"], "n", "variant")
    return table_of(
        "variant | cells | tau, validation | tau, test | seeds",
        "{variant} | {n} | {tau_validation:±.4f} | {tau_test:±.4f} | {count}",
        [merged(groups[key]) for key in sorted(groups, key=lambda k: (k[0], variants.index(k[1])))],
    )


@section("own-ablation")
def own_ablation() -> str:
    """A row a variant; validation and test tau at both numbers of cells."""
    rows = runs("own_ablation")
    columns = [(n, key) for n in (156, 781) for key in ("tau_validation", "tau_test")]
    body = []
    for (part, variant), own in grouped(rows, "part", "variant").items():
        by_size = grouped(own, "n")
        taus = ([row[key] for row in by_size.get((n,), ())] for n, key in columns)
        body.append([part, variant, *(spread(values, ".4f") for values in taus)])
    head = [f"{n} cells, {key.removeprefix('tau_')}" for n, key in columns]
    return table(["part", "variant", *head], body)


@section("transfer")
def transfer() -> str:
    rows = runs("transfer")
    sizes = sorted({row["target_cells"] for row in rows})
    body = []
    for (source, labels), own in grouped(rows, "source", "source_cells").items():
        saw = "nothing" if source is None else f"{labels} labels of {source}"
        by_size = grouped(own, "target_cells")
        for key in ("tau_validation", "tau_test"):
            taus = [[row[key] for row in by_size.get((size,), ())] for size in sizes]
            texts = [spread(values, usual=5) for values in taus]
            body.append([saw, key.removeprefix("tau_"), *texts])
    return table(["also learned from", "tau against", *(f"{n} cells" for n in sizes)], body)


@section("language-hardware")
def language_hardware() -> str:
    result = load("ledg_hardware")
    rows = [
        row | {"group": "GPUs" if row["kind"] == "gpu" else "other devices"}
        for row in result["left_out"]
    ]
    # The variants first, then what they are set against.
    order = [*result["variants"], "mean of the other devices"]
    groups = grouped(sorted(rows, key=lambda row: order.index(row["variant"])), "variant", "group")
    return table_of(
        "platform as | left out | columns | Spearman | MAPE %",
        "{variant} | {group} | {count} | {spearman:±.3f} | {mape_percent:±.0f}",
        map(merged, groups.values()),
    )


@section("calibration")
def calibration() -> str:
    by_cell = grouped(runs("predictor_calibration"), "train_size", "model")
    return table_of(
        "model | cells | 50 % cover | 80 % cover | 90 % cover | median width of 90 % | "
        "NLL, median | NLL, mean without the worst 1 % | NLL, mean | seeds",
        "{model} | {train_size} | {coverage_50%:.1%} | {coverage_80%:.1%} | {coverage_90%:.1%} | "
        "{median_width_90%:.2f} | {nll_median:.2f} | {nll_mean_without_worst_percent:.2f} | "
        "{nll_mean:.2f} | {count}",
        [
            merged(rows) | {"model": MODELS[model]}
            for (_, model), rows in sorted(by_cell.items(), key=lambda item: item[0])
        ],
    )


@section("network-accuracy")
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


@section("proxies")
def shortfalls() -> str:
    """A row a device, a column a method."""
    rows = load("network_accuracy")["shortfalls"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    body = []
    for (column,), own in grouped(rows, "column").items():
        points = {row["method"]: row["points"] for row in own}
        body.append([column, *(f"{points[method]:.2f}" for method in methods)])
    return table(["limit on", *methods], body)
