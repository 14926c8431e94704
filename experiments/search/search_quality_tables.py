"""The tables of docs/sampler.md, from the runs of search_quality.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import mean, median
from typing import Any

from experiments import RESULTS
from experiments.accuracy.predictor_tables import table

RESULT = RESULTS / "search_quality.jsonl"
# All samplers are compared within this many trials, but for hypervolumes and best values so far.
WITHIN = 150
NAMES = {
    "nasplug": "nasplug",
    "nasplug-10": "nasplug, ten measurements",
    "path-gp": "Gaussian process, path features",
    "forest": "random forest",
    "gp": "GPSampler",
    "tpe": "TPE",
    "nsga2": "NSGA-II",
    "evolution": "regularized evolution",
    "random": "random",
}
SINGLE = {
    "nb201-cifar10": "CIFAR-10",
    "nb201-cifar100": "CIFAR-100",
    "nb201-imagenet16-120": "ImageNet16-120",
}
LIMITS = ("6.93", "8.48", "9.53")
MORE_SINGLE = {"macro-cifar10": "NAS-Bench-Macro", "accel-top1": "Accel-NASBench"}
MORE_TWO = {
    "nb201-cifar10-titanrtx": "NB201, Titan RTX",
    "nb201-cifar10-xeongold6226": "NB201, Xeon Gold 6226",
    "macro-cifar10-flops": "NAS-Bench-Macro, FLOPs",
    "accel-rtx3090": "Accel-NASBench, RTX 3090",
}
MORE_LIMITS = {
    "nb201-cifar10-titanrtx-5.64ms": "Titan RTX ≤ 5.64 ms",
    "nb201-cifar10-xeongold6226-7.79ms": "Xeon Gold 6226 ≤ 7.79 ms",
    "macro-cifar10-flops-45.5M": "Macro ≤ 45.5 MFLOPs",
    "accel-rtx3090-8200ips": "Accel ≥ 8,200 images/s",
}

Run = dict[str, Any]


def runs(task: str, sampler: str) -> list[Run]:
    """The runs of a sampler on a task, the longest of each seed."""
    found: dict[int, Run] = {}
    for line in RESULT.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        is_asked = (row["task"], row["sampler"]) == (task, sampler)
        if is_asked and row["trials"] >= found.get(row["seed"], row)["trials"]:
            found[row["seed"]] = row
    return list(found.values())


def found_within(own: list[Run]) -> tuple[str, str]:
    """How many runs found the optimum within `WITHIN` trials, and after how many in the median."""
    hits = [r["trials_to_optimum"] or WITHIN + 1 for r in own]
    middle = median(hits)
    count = sum(hit <= WITHIN for hit in hits)
    return f"{count} of {len(own)}", "–" if middle > WITHIN else f"{middle:g}"


def at(own: list[Run], trials: int, digits: int) -> str:
    """Mean over seeds of what was reached by then; – if a run is shorter or found nothing."""
    values = [r["curve"].get(str(trials)) for r in own]
    known = [value for value in values if value is not None]
    return f"{mean(known):.{digits}f}" if len(known) == len(own) else "–"


def single() -> str:
    """A row a sampler, two columns an image set."""
    body = []
    for sampler, name in NAMES.items():
        by_task = [runs(task, sampler) for task in SINGLE]
        if not any(by_task):
            continue
        known = [r for own in by_task for r in own]
        repeated = mean(r["duplicates"] / r["trials"] for r in known)
        cells = [t for own in by_task for t in (found_within(own) if own else ("–", "–"))]
        body.append([name, *cells, f"{repeated:.0%}"])
    head = [text for name in SINGLE.values() for text in (f"{name}: found", "median trials")]
    return table(["sampler", *head, "repeated"], body)


def two(task: str) -> Callable[[], str]:
    """A row a sampler: the share of the table's hypervolume."""

    def make() -> str:
        body = []
        for sampler, name in NAMES.items():
            own = runs(task, sampler)
            # Regularized evolution knows one objective.
            if not own or sampler == "evolution":
                continue
            shares = [at(own, trials, 3) for trials in (30, 50, 100, 200)]
            repeated = mean(r["duplicates"] / r["trials"] for r in own)
            body.append([name, str(len(own)), *shares, f"{repeated:.0%}"])
        return table(["sampler", "seeds", "30 trials", "50", "100", "200", "repeated"], body)

    return make


def more_single() -> str:
    """A row a sampler of each benchmark."""
    body = []
    for task, title in MORE_SINGLE.items():
        for sampler, name in NAMES.items():
            own = runs(task, sampler)
            if not own:
                continue
            best = [at(own, trials, 2) for trials in (20, 50, 100, 150)]
            repeated = mean(r["duplicates"] / r["trials"] for r in own)
            body.append([title, name, *found_within(own), *best, f"{repeated:.0%}"])
    head = ["benchmark", "sampler", f"found in {WITHIN}", "median trials", "best at 20", "50"]
    return table([*head, "100", "150", "repeated"], body)


def more_two() -> str:
    """A row a sampler of each benchmark: the share of the table's hypervolume."""
    body = []
    for task, title in MORE_TWO.items():
        for sampler, name in NAMES.items():
            own = runs(task, sampler)
            # Regularized evolution knows one objective.
            if not own or sampler == "evolution":
                continue
            shares = [at(own, trials, 3) for trials in (30, 50, 100, 150)]
            repeated = mean(r["duplicates"] / r["trials"] for r in own)
            body.append([title, name, str(len(own)), *shares, f"{repeated:.0%}"])
    head = ["benchmark", "sampler", "seeds", "30 trials", "50", "100", "150", "repeated"]
    return table(head, body)


def more_limits() -> str:
    """A row a sampler of each limit."""
    body = []
    for task, title in MORE_LIMITS.items():
        for sampler, name in NAMES.items():
            own = runs(task, sampler)
            if not own:
                continue
            best = [at(own, trials, 2) for trials in (50, 100, 150)]
            missed = mean(r["infeasible_share"] for r in own)
            body.append([title, name, *found_within(own), *best, f"{missed:.0%}"])
    head = ["limit", "sampler", f"found in {WITHIN}", "median trials", "best at 50", "100", "150"]
    return table([*head, "misses the limit"], body)


def limits() -> str:
    """A row a limit and sampler."""
    body = []
    for limit in LIMITS:
        for sampler, name in NAMES.items():
            own = runs(f"nb201-cifar10-gtx1080ti-{limit}ms", sampler)
            if not own:
                continue
            best = [at(own, trials, 2) for trials in (50, 100, 150, 200)]
            missed = mean(r["infeasible_share"] for r in own)
            repeated = mean(r["duplicates"] / r["trials"] for r in own)
            body.append(
                [f"{limit} ms", name, *found_within(own), *best, f"{missed:.0%}", f"{repeated:.0%}"]
            )
    head = ["limit", "sampler", f"found in {WITHIN}", "median trials", "best at 50", "100", "150"]
    return table([*head, "200", "misses the limit", "repeated"], body)


def times() -> str:
    """A row a number of values: milliseconds of a trial after so many."""
    result = json.loads((RESULT.parent / "search_time.json").read_text(encoding="utf-8"))
    rows = result["rows"]
    counts = list(rows[0]["milliseconds"])
    body = [
        [str(row["values"]), *(f"{row['milliseconds'].get(n, float('nan')):.0f}" for n in counts)]
        for row in rows
    ]
    return table(["values", *(f"{n} trials" for n in counts)], body)


SECTIONS = {
    "search-time": times,
    "search-single": single,
    "search-two": two("nb201-cifar10-gtx1080ti"),
    "search-limits": limits,
    "search-more-single": more_single,
    "search-more-two": more_two,
    "search-more-limits": more_limits,
}
