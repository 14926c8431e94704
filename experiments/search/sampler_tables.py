"""Tables of docs/results/sampler.md on pruned trials, other parameters, and time."""

from __future__ import annotations

from experiments.tables import Row, grouped, load, merged, section, table_of

SAMPLERS = (
    *("nasplug", "nasplug, repeat 3", "nasplug, ranks", "nasplug, ignored", "TPE", "random"),
)
CASES = {"flops": "FLOPs, reported once", "curves": "accuracy, made-up curves"}


def _means(rows: list[Row], *keys: str) -> list[Row]:
    """One row for each combination of the keys, with means over seeds."""
    return [merged(group) for group in grouped(rows, *keys).values()]


@section("pruned-estimates")
def pruned_estimates() -> str:
    rows = [row for row in load("pruned_trials")["rows"] if row["part"] == "estimates"]
    return table_of(
        "curves | estimate | rank correlation | error of pruned trials, root mean square | median",
        "{case} | {sampler} | {spearman:.2f} | {rmse:.2f} | {median_error:.2f}",
        _means(rows, "case", "sampler"),
    )


@section("pruned-searches")
def pruned_searches() -> str:
    rows = [
        row | {"task": CASES[row["case"]]}
        for row in load("pruned_trials")["rows"]
        if row["part"] == "searches"
    ]
    order = [list(keys) for keys in (CASES, ("median", "hyperband"), SAMPLERS)]
    names = ("case", "pruner", "sampler")
    rows.sort(key=lambda r: [keys.index(r[n]) for n, keys in zip(names, order, strict=True)])
    return table_of(
        "task | pruner | sampler | complete trials | different ones | among the best | "
        "architectures tried | best value | epochs",
        "{task} | {pruner} | {sampler} | {complete:.1f} | {complete_architectures:.1f} | "
        "{complete_among_best:.1f} | {architectures:.1f} | {best:±.3f} | {epochs:.0f}",
        _means(rows, "case", "pruner", "sampler"),
    )


@section("other-params")
def other_params() -> str:
    rows = load("other_params")["rows"]
    counts = ("20", "30", "50", "75", "100")
    body = [
        row | {f"after_{n}": row["regret"][n] for n in counts} for row in _means(rows, "sampler")
    ]
    return table_of(
        ["sampler", "seeds", *(f"regret after {n} trials" for n in counts), "architectures tried"],
        "{sampler} | {count} | "
        + " | ".join(f"{{after_{n}:±.2f}}" for n in counts)
        + " | {architectures:.0f}",
        body,
    )


MANY = {
    "nb201-2": "NAS-Bench-201: accuracy, latency",
    "nb201-3": "NAS-Bench-201: accuracy, latency, parameters",
    "nb201-4": "NAS-Bench-201: accuracy, two latencies, parameters",
    "macro-3": "NAS-Bench-Macro: accuracy, FLOPs, parameters",
}
GAINS = {"hypervolume": "hypervolume", "weighting": "random weighting"}


@section("many-objectives")
def many_objectives() -> str:
    counts = ("50", "100", "200")
    rows = [
        row
        | {"title": MANY[row["task"]], "name": GAINS[row["gain"]]}
        | {f"share_{n}": row["share"][n] for n in counts}
        | {f"ms_{n}": row["milliseconds"][n] for n in counts}
        for row in load("many_objectives")["rows"]
    ]
    rows.sort(key=lambda row: (list(MANY).index(row["task"]), list(GAINS).index(row["gain"])))
    return table_of(
        ["values", "gain", "seeds", *(f"share after {n}" for n in counts)]
        + [f"ms a trial at {n}" for n in counts],
        "{title} | {name} | {count} | "
        + " | ".join(f"{{share_{n}:±.3f}}" for n in counts)
        + " | "
        + " | ".join(f"{{ms_{n}:.0f}}" for n in counts),
        _means(rows, "title", "name"),
    )


@section("long-joins")
def long_joins() -> str:
    result = load("long_joins")
    names = {"cells": "none", "beside": "learning rate, weight decay"}
    rows = [row | {"beside": names[row["case"]]} for row in result["rows"]]
    return (
        table_of(
            "trials | parameters beside the cell | to the first proposal, s | a proposal, ms",
            "{trials} | {beside} | {join_processor_s:.1f} | {proposal_processor_ms:.0f}",
            rows,
        )
        + f"\n\nA pickled sampler has {result['pickled_bytes']:,} bytes after fifty trials."
    )
