"""The tables of docs/results/nb101.md and docs/nb101.md on predictors of NAS-Bench-101."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from statistics import mean
from typing import Any

from experiments.accuracy.predictor_tables import MODELS as NB201_MODELS
from experiments.accuracy.predictor_tables import taus
from experiments.tables import Row, load, load_lines, merged, table_of

SMALL = "NB-101 small-cell subset (n=1,713)"
COMPLETE = "EC-NAS 2,532 cells, 4 epochs"
SIZES = (100, 172, 424)
MODELS = {
    "nasplug": "nasplug",
    "cell-gp": "nasplug, by arrays (`cell-gp`)",
    **NB201_MODELS,
    "random-forest": "random forest, operations and adjacency matrix",
    "params": "parameters alone",
    "flops": "FLOPs alone",
}
# Both are of this package; the second one is made for speed.
OWN = ("nasplug", "cell-gp")


def runs() -> list[Row]:
    """The latest row of each run, whatever its options were before."""
    latest: dict[tuple[Any, ...], Row] = {}
    for row in load_lines("nb101_predictors"):
        latest[row["source"], row["model"], row["train_size"], row["seed"]] = row
    return list(latest.values())


def ranking(source: str) -> Callable[[], str]:
    """Two tables of a source, one row a model: against validation and against test accuracies."""

    def make() -> str:
        rows = [row for row in runs() if row["source"] == source]
        return taus(rows, MODELS, SIZES, f"{source}: ")

    return make


def first_places() -> str:
    """List where nasplug's own predictor is not first, or say that it is everywhere.

    Each model is compared on the draws of labels that both have learned from.
    """
    by_model: dict[tuple[str, int, str], dict[int, Row]] = defaultdict(dict)
    for row in runs():
        by_model[row["source"], row["train_size"], row["model"]][row["seed"]] = row
    behind = []
    for (source, size, model), rows in sorted(by_model.items()):
        nasplug_rows = by_model.get((source, size, "nasplug"), {})
        seeds = [seed for seed in rows if seed in nasplug_rows]
        if model in OWN or not seeds:
            continue
        for key, against in (("tau_val", "validation"), ("tau_test", "test")):
            other, mine = (mean(r[s][key] or 0.0 for s in seeds) for r in (rows, nasplug_rows))
            if other > mine:
                behind.append(
                    f"{source}, {size} cells, {against}: {MODELS[model]} {other:.3f}, "
                    f"nasplug {mine:.3f} (draws: {len(seeds)})"
                )
    if not behind:
        return (
            "At every size and source, `nasplug` is before every model measured that is not "
            "nasplug's own, on the same draws, against validation and against test accuracies."
        )
    return "`nasplug` is not first here, on the same draws:\n\n" + "\n".join(
        f"- {line}" for line in behind
    )


def shipped() -> str:
    """A row a group of cells that were left out: the shipped predictor's errors and intervals."""
    result = load("nb101_accuracy")
    random = result["at_random"]
    groups = [merged(random) | {"title": f"a fifth at random ({len(random)} draws)"}]
    for row in result["large"]:
        groups.append(row | {"title": f"all of {row['vertices']} and more vertices"})
    return table_of(
        "left out | learned from | asked | tau, test | mean absolute error | "
        "one width for all covers (width) | the predictor's own 90 % cover (median width) | "
        "of the tenth predicted best (median width) | taken as familiar",
        "{title} | {known:,} | {asked:,} | {tau_test:.3f} | {mean_absolute_error:.2f} | "
        "{coverage_fixed:.1%} ({width_fixed:.2f}) | {coverage:.1%} ({median_width:.2f}) | "
        "{coverage_best:.1%} ({median_width_best:.2f}) | {familiar:.1%}",
        groups,
    )


def whole_space() -> str:
    """Predictions of the shipped predictor for all cells, by size."""
    everything = load("nb101_accuracy")["all_cells"]
    sizes = table_of(
        "vertices | cells | mean predicted | best predicted | median width of 90 % | "
        "taken as familiar",
        "{vertices} | {cells:,} | {mean:.2f} | {best:.2f} | {median_width:.2f} | {familiar:.1%}",
        everything["by_vertices"],
    )
    return (
        f"{sizes}\n\nAll {everything['cells']:,} cells took "
        f"{everything['processor_seconds']:.0f} s of "
        f"processor time, {everything['cells'] / everything['processor_seconds']:,.0f} a second "
        "and core."
    )


RANKINGS: dict[str, Callable[[], str]] = {
    "nb101-small": ranking(SMALL),
    "nb101-complete": ranking(COMPLETE),
    "nb101-first": first_places,
}
SECTIONS: dict[str, Callable[[], str]] = {
    "nb101-shipped": shipped,
    "nb101-all-cells": whole_space,
}
