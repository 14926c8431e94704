"""The tables of docs/results/sampler.md, from the runs of search_quality.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import mean, median

from experiments.tables import MISSING, Row, load, load_lines, table

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


def runs(task: str, sampler: str) -> list[Row]:
    """The runs of a sampler on a task, the longest of each seed."""
    longest: dict[int, Row] = {}
    for row in load_lines("search_quality"):
        is_asked = (row["task"], row["sampler"]) == (task, sampler)
        if is_asked and row["trials"] >= longest.get(row["seed"], row)["trials"]:
            longest[row["seed"]] = row
    return list(longest.values())


def found_within(own: list[Row]) -> tuple[str, str]:
    """Number of runs that found the optimum within `WITHIN` trials, and their median trial."""
    hits = [r["trials_to_optimum"] or WITHIN + 1 for r in own]
    middle = median(hits)
    count = sum(hit <= WITHIN for hit in hits)
    return f"{count} of {len(own)}", MISSING if middle > WITHIN else f"{middle:g}"


def reached(own: list[Row], digits: int, *checkpoints: int) -> list[str]:
    """Means over seeds of what was reached after so many trials; – if a run has no such value."""
    texts = []
    for trials in checkpoints:
        values = [r["curve"].get(str(trials)) for r in own]
        texts.append(MISSING if None in values else f"{mean(values):.{digits}f}")
    return texts


def repeated(own: list[Row]) -> str:
    """Share of the trials whose architecture had been tried."""
    return f"{mean(r['duplicates'] / r['trials'] for r in own):.0%}"


def missed(own: list[Row]) -> str:
    """Share of the trials that missed the limit."""
    return f"{mean(r['infeasible_share'] for r in own):.0%}"


def compared(tasks: Mapping[str, str]) -> Iterator[tuple[str, str, list[Row]]]:
    """Title of a task, name of a sampler, and its runs, if there are any."""
    for task, title in tasks.items():
        for sampler, name in NAMES.items():
            rows = runs(task, sampler)
            if rows:
                yield title, name, rows


def single() -> str:
    """A row a sampler, two columns an image set."""
    body = []
    for sampler, name in NAMES.items():
        by_task = [runs(task, sampler) for task in SINGLE]
        if not any(by_task):
            continue
        every = [r for own in by_task for r in own]
        hits = [found_within(own) if own else (MISSING, MISSING) for own in by_task]
        body.append([name, *(text for pair in hits for text in pair), repeated(every)])
    head = [text for name in SINGLE.values() for text in (f"{name}: found", "median trials")]
    return table(["sampler", *head, "repeated"], body)


def shares(tasks: Mapping[str, str], *checkpoints: int) -> list[list[str]]:
    """A row a task and sampler: the share of the table's hypervolume after so many trials."""
    return [
        [title, name, str(len(own)), *reached(own, 3, *checkpoints), repeated(own)]
        for title, name, own in compared(tasks)
        # Regularized evolution knows one objective.
        if name != NAMES["evolution"]
    ]


def two() -> str:
    """A row a sampler: the share of the table's hypervolume."""
    rows = shares({"nb201-cifar10-gtx1080ti": ""}, 30, 50, 100, 200)
    head = "sampler | seeds | 30 trials | 50 | 100 | 200 | repeated"
    return table(head, [row[1:] for row in rows])


def more_single() -> str:
    """A row a sampler of each benchmark."""
    body = [
        [title, name, *found_within(own), *reached(own, 2, 20, 50, 100, 150), repeated(own)]
        for title, name, own in compared(MORE_SINGLE)
    ]
    head = f"benchmark | sampler | found in {WITHIN} | median trials | best at 20 | 50 | 100 | 150"
    return table(f"{head} | repeated", body)


def more_two() -> str:
    """A row a sampler of each benchmark: the share of the table's hypervolume."""
    head = "benchmark | sampler | seeds | 30 trials | 50 | 100 | 150 | repeated"
    return table(head, shares(MORE_TWO, 30, 50, 100, 150))


LIMIT = f"limit | sampler | found in {WITHIN} | median trials | best at 50 | 100 | 150"


def more_limits() -> str:
    """A row a sampler of each limit."""
    body = [
        [title, name, *found_within(own), *reached(own, 2, 50, 100, 150), missed(own)]
        for title, name, own in compared(MORE_LIMITS)
    ]
    return table(f"{LIMIT} | misses the limit", body)


def limits() -> str:
    """A row a limit and sampler."""
    tasks = {f"nb201-cifar10-gtx1080ti-{limit}ms": f"{limit} ms" for limit in LIMITS}
    body = []
    for title, name, own in compared(tasks):
        best = reached(own, 2, 50, 100, 150, 200)
        body.append([title, name, *found_within(own), *best, missed(own), repeated(own)])
    return table(f"{LIMIT} | 200 | misses the limit | repeated", body)


def times() -> str:
    """A row a number of values: milliseconds of a trial after so many."""
    rows = load("search_time")["rows"]
    counts = list(rows[0]["milliseconds"])
    body = [
        [str(row["values"]), *(f"{row['milliseconds'].get(n, float('nan')):.0f}" for n in counts)]
        for row in rows
    ]
    return table(["values", *(f"{n} trials" for n in counts)], body)


SECTIONS: dict[str, Callable[[], str]] = {
    "search-time": times,
    "search-single": single,
    "search-two": two,
    "search-limits": limits,
    "search-more-single": more_single,
    "search-more-two": more_two,
    "search-more-limits": more_limits,
}
