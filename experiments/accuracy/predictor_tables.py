"""The tables of docs/few-labels.md, from the results of the experiments with predictors."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import Any

from experiments import RESULTS
from experiments.accuracy.published import PUBLISHED, SIZES
from experiments.accuracy.recipes import LONGER, recipe

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
Row = dict[str, Any]


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def runs() -> list[Row]:
    """The latest row of each run that was called with the options of `recipes`."""
    found: dict[tuple[Any, ...], Row] = {}
    text = (RESULTS / "predictor_accuracy.jsonl").read_text(encoding="utf-8")
    for line in text.splitlines():
        row = json.loads(line)
        model, size = row["model"], row["train_size"]
        if row["options"] != recipe(model, size):
            if model not in LONGER or row["options"] != recipe(model, size, longer=True):
                continue
            row["model"] = f"{model}, longer"
        found[row["model"], row["dataset"], row["train_size"], row["seed"]] = row
    return list(found.values())


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean ± standard deviation, and how many where they are not five."""
    if not values:
        return "–"
    text = f"{mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {stdev(values):.{digits}f}"
    return text if len(values) == 5 else f"{text} ({len(values)})"


def ranking(dataset: str) -> Callable[[], str]:
    """Two tables of an image set: against validation and against test accuracies."""

    def make() -> str:
        return taus([row for row in runs() if row["dataset"] == dataset], MODELS, SIZES)

    return make


def taus(rows: list[Row], models: dict[str, str], sizes: Sequence[int], of: str = "") -> str:
    """A table against validation and one against test accuracies: rows models, columns sizes."""
    parts = []
    for key, against in (("tau_val", "validation"), ("tau_test", "test")):
        by_cell: dict[tuple[str, int], list[float]] = defaultdict(list)
        for row in rows:
            by_cell[row["model"], row["train_size"]].append(row[key] or 0.0)
        body = [
            [title, *(spread(by_cell[model, size]) for size in sizes)]
            for model, title in models.items()
            if any(by_cell[model, size] for size in sizes)
        ]
        head = [f"{of}tau, {against} accuracy", *(f"{size} cells" for size in sizes)]
        parts.append(table(head, body))
    return "\n\n".join(parts)


def costs() -> str:
    by_cell: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in runs():
        by_cell[row["model"], row["train_size"]].append(row)
    body = []
    for model, title in MODELS.items():
        rows = [row for size in SIZES for row in by_cell[model, size]]
        if not rows:
            continue
        fits = [[row["fit_seconds"] for row in by_cell[model, size]] for size in SIZES]
        counts = sorted({row["parameters"] for row in rows if row["parameters"]})
        weights = f"{counts[0]:,}" if counts else "–"
        if len(counts) > 1:
            weights += f" to {counts[-1]:,}"
        speeds = [row["cells_per_second"] for row in rows]
        body.append(
            [
                title,
                *(f"{mean(fit):.0f}" if fit else "–" for fit in fits),
                weights,
                f"{max(speeds):,.0f}",
            ]
        )
    head = ["model", *(f"fit, s, {size}" for size in SIZES), "parameters", "cells/s, best run"]
    note = (
        "Means over all runs, one thread each, on a shared machine with two cores that often ran "
        "three of them at once: upper bounds."
    )
    return f"{table(head, body)}\n\n{note}"


def published() -> str:
    body = [
        [method, *(f"{taus[size]:.3f}" if size in taus else "–" for size in SIZES), source]
        for method, (taus, source) in PUBLISHED.items()
    ]
    return table(["method", *(f"{size} cells" for size in SIZES), "read in"], body)


def language_ablation() -> str:
    result = json.loads((RESULTS / "ledg_ablation.json").read_text(encoding="utf-8"))
    body = [
        [
            row["variant"],
            str(row["n"]),
            *(
                f"{row[key]['mean']:.4f} ± {row[key]['sd']:.4f}"
                for key in ("tau_validation", "tau_test")
            ),
            str(row["seeds"]),
        ]
        for row in result["summary"]
    ]
    return table(["variant", "cells", "tau, validation", "tau, test", "seeds"], body)


def own_ablation() -> str:
    """A row a variant; validation and test tau at both numbers of cells."""
    result = json.loads((RESULTS / "own_ablation.json").read_text(encoding="utf-8"))
    by_variant: dict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
    for row in result["summary"]:
        by_variant[row["part"], row["variant"]][row["n"]] = row
    columns = [(n, key) for n in (156, 781) for key in ("tau_validation", "tau_test")]
    body = [
        [
            part,
            variant,
            *(
                f"{rows[n][key]['mean']:.4f} ± {rows[n][key]['sd']:.4f}" if n in rows else "–"
                for n, key in columns
            ),
        ]
        for (part, variant), rows in by_variant.items()
    ]
    head = [f"{n} cells, {key.removeprefix('tau_')}" for n, key in columns]
    return table(["part", "variant", *head], body)


def transfer() -> str:
    result = json.loads((RESULTS / "transfer.json").read_text(encoding="utf-8"))
    by_cell: dict[tuple[str | None, int], dict[int, list[Row]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in result["runs"]:
        by_cell[row["source"], row["source_cells"]][row["target_cells"]].append(row)
    sizes = sorted({row["target_cells"] for row in result["runs"]})
    body = []
    for (source, labels), rows in by_cell.items():
        saw = "nothing" if source is None else f"{labels} labels of {source}"
        for key in ("tau_validation", "tau_test"):
            cells = [spread([row[key] for row in rows[size]]) for size in sizes]
            body.append([saw, key.removeprefix("tau_"), *cells])
    return table(["also learned from", "tau against", *(f"{n} cells" for n in sizes)], body)


def language_hardware() -> str:
    result = json.loads((RESULTS / "ledg_hardware.json").read_text(encoding="utf-8"))
    body = [
        [
            row["variant"],
            {"gpu": "GPUs", "other": "other devices"}.get(row["group"], row["group"]),
            str(row["columns"]),
            *(
                f"{row[key]['mean']:.{digits}f} ± {row[key]['sd']:.{digits}f}"
                for key, digits in (("spearman", 3), ("mape_percent", 0))
            ),
        ]
        for row in result["summary"]
    ]
    return table(["platform as", "left out", "columns", "Spearman", "MAPE %"], body)


def calibration() -> str:
    result = json.loads((RESULTS / "predictor_calibration.json").read_text(encoding="utf-8"))
    by_cell: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in result["runs"]:
        by_cell[row["model"], row["train_size"]].append(row)
    body = []
    for (model, size), rows in sorted(by_cell.items(), key=lambda item: (item[0][1], item[0][0])):
        cover = [f"{mean(row[f'coverage_{level}%'] for row in rows):.1%}" for level in (50, 80, 90)]
        width = f"{mean(row['median_width_90%'] for row in rows):.2f}"
        losses = [
            f"{mean(row[key] for row in rows):.2f}"
            for key in ("nll_median", "nll_mean_without_worst_percent", "nll_mean")
        ]
        body.append([MODELS[model], str(size), *cover, width, *losses, str(len(rows))])
    head = ["model", "cells", "50 % cover", "80 % cover", "90 % cover", "median width of 90 %"]
    head += ["NLL, median", "NLL, mean without the worst 1 %", "NLL, mean", "seeds"]
    return table(head, body)


SECTIONS: dict[str, Callable[[], str]] = {
    "cifar10": ranking("cifar10"),
    "cifar100": ranking("cifar100"),
    "imagenet16-120": ranking("imagenet16-120"),
    "costs": costs,
    "published": published,
    "calibration": calibration,
    "own-ablation": own_ablation,
    "transfer": transfer,
    "language-ablation": language_ablation,
    "language-hardware": language_hardware,
}
