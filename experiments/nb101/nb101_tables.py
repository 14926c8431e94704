"""Tables of docs/nb101.md and docs/results/nb101.md, from experiments with NAS-Bench-101."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean
from typing import Any

from experiments.accuracy.accuracy_tables import MODELS as NB201_MODELS
from experiments.accuracy.accuracy_tables import taus
from experiments.tables import Row, load, load_lines, merged, section, table_of

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


@section("nb101-small", SMALL)
@section("nb101-complete", COMPLETE)
def ranking(source: str) -> str:
    """Two tables of a source, one row a model: against validation and against test accuracies."""
    rows = [row for row in runs() if row["source"] == source]
    return taus(rows, MODELS, SIZES, f"{source}: ")


@section("nb101-first")
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


@section("nb101-shipped")
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


@section("nb101-all-cells")
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


FILES = {"only108": "as nasbench_only108.tfrecord", "full": "as nasbench_full.tfrecord"}


@section("nb101-search")
def search() -> str:
    """Time and memory of the command, and the errors of its fast latencies."""
    result = load("nb101_search")
    run, latency = result["search"], result["latency"]
    return (
        f"`{run['command']}` scored all {latency['cells']:,} cells in "
        f"{run['processor_seconds']:.0f} s of processor time with {run['peak_mib']:,} MiB of "
        f"memory ({run['seconds']:.0f} s on the clock of a machine of two cores with a load of "
        f"{run['load_average']:.0f}). The latency of {latency['predicted_exactly']:,} cells is the "
        f"predictor's own. On {latency['sample']:,} other cells at random the fast model was off "
        f"by {latency['mean_error']:.1%} on average, by less than {latency['error_95']:.1%} in 95 "
        f"of 100 cases (root mean square {latency['rms']:.1%}; it had said "
        f"{latency['said_rms']:.1%}). "
        f"Of these {latency['sample']:,} cells, {latency['beyond_the_front']} lie beyond the front "
        "of the cells that the predictor scored itself"
        + (
            f", by {latency['largest_gain']:.1%} of latency at most."
            if latency["beyond_the_front"]
            else "."
        )
    )


@section("nb101-studies")
def studies() -> str:
    """A row a kind of study: the first trial, and a later one."""
    return table_of(
        "values of a trial | hardware | first trial | a later trial | different cells",
        "{values} | {hardware} | {first_seconds:.1f} s | {milliseconds} ms | "
        "{distinct} of {trials}",
        load("nb101_search")["studies"],
    )


@section("nb101-enumeration")
def enumeration() -> str:
    """From scratch and from the cache."""
    result = load("nb101_enumeration")
    rows = {
        "cells and hashes from scratch": result["scratch"],
        "the same from the cache, checked": result["cache"],
        "`list(space)` with the cache": result["list"],
    }
    times = table_of(
        " | clock | processor",
        "{name} | {seconds:.1f} s | {processor_seconds:.1f} s",
        [row | {"name": name} for name, row in rows.items()],
    )
    loads = " and ".join(f"{result[key]['load_average']:.0f}" for key in ("scratch", "list"))
    return (
        f"{times}\n\n{result['scratch']['distinct']:,} different hashes, on a machine of two cores "
        f"with a load of {loads}."
    )


@section("nb101-official")
def official() -> str:
    """A row a file of the official size."""
    result = load("nasbench_load")
    return table_of(
        "file | records | size | first time, processor | memory | from the copy, processor",
        "{title} | {records:,} | {gigabytes:.2f} GB | {first[processor_seconds]:.0f} s | "
        "{first[peak_mib]} MiB | {again[processor_seconds]:.1f} s",
        [
            result[name] | {"title": title, "gigabytes": result[name]["bytes"] / 1e9}
            for name, title in FILES.items()
            if name in result
        ],
    )
