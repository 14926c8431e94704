"""Tables of docs/results/sampler.md, docs/cluster.md and docs/plots.md: results of searches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import mean, median

from experiments.tables import MISSING, Row, cells, load, load_lines, section, table

# All samplers are compared within this many trials, but for hypervolumes and best values so far.
WITHIN = 150
NAMES = {
    "nasplug": "nasplug",
    "nasplug-10": "nasplug, ten measurements",
    # As it was when counts alone were a kernel of values, and half of a score was the order.
    "nasplug-former": "nasplug, former kernels",
    "nasplug-10-former": "nasplug, ten measurements, former kernels",
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
MORE_SINGLE = {
    "macro-cifar10": "NAS-Bench-Macro",
    "accel-top1": "Accel-NASBench",
    "nb101-small": "NB-101 small-cell subset (n=1,713)",
    "nb101-ecnas-5v": "EC-NAS 2,532 cells, 4 epochs",
}
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
    return f"{mean(r['duplicates'] / r.get('trials_made', r['trials']) for r in own):.0%}"


def missed(own: list[Row]) -> str:
    """Share of the trials that missed the limit."""
    return f"{mean(r['infeasible_share'] for r in own):.0%}"


def by_sampler(tasks: Mapping[str, str]) -> Iterator[tuple[str, str, list[Row]]]:
    """Title of a task, name of a sampler, and its runs, if there are any."""
    for task, title in tasks.items():
        for sampler, name in NAMES.items():
            rows = runs(task, sampler)
            if rows:
                yield title, name, rows


@section("search-single")
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
        for title, name, own in by_sampler(tasks)
        # Regularized evolution knows one objective.
        if name != NAMES["evolution"]
    ]


@section("search-two")
def two() -> str:
    """A row a sampler: the share of the table's hypervolume."""
    rows = shares({"nb201-cifar10-gtx1080ti": ""}, 30, 50, 100, 200)
    head = "sampler | seeds | 30 trials | 50 | 100 | 200 | repeated"
    return table(head, [row[1:] for row in rows])


@section("search-more-single")
def more_single() -> str:
    """A row a sampler of each benchmark."""
    body = [
        [title, name, *found_within(own), *reached(own, 2, 20, 50, 100, 150), repeated(own)]
        for title, name, own in by_sampler(MORE_SINGLE)
    ]
    head = f"benchmark | sampler | found in {WITHIN} | median trials | best at 20 | 50 | 100 | 150"
    return table(f"{head} | repeated", body)


@section("search-more-two")
def more_two() -> str:
    """A row a sampler of each benchmark: the share of the table's hypervolume."""
    head = "benchmark | sampler | seeds | 30 trials | 50 | 100 | 150 | repeated"
    return table(head, shares(MORE_TWO, 30, 50, 100, 150))


LIMIT = f"limit | sampler | found in {WITHIN} | median trials | best at 50 | 100 | 150"


@section("search-more-limits")
def more_limits() -> str:
    """A row a sampler of each limit."""
    body = [
        [title, name, *found_within(own), *reached(own, 2, 50, 100, 150), missed(own)]
        for title, name, own in by_sampler(MORE_LIMITS)
    ]
    return table(f"{LIMIT} | misses the limit", body)


@section("search-limits")
def limits() -> str:
    """A row a limit and sampler."""
    tasks = {f"nb201-cifar10-gtx1080ti-{limit}ms": f"{limit} ms" for limit in LIMITS}
    body = []
    for title, name, own in by_sampler(tasks):
        best = reached(own, 2, 50, 100, 150, 200)
        body.append([title, name, *found_within(own), *best, missed(own), repeated(own)])
    return table(f"{LIMIT} | 200 | misses the limit | repeated", body)


@section("search-time")
def times() -> str:
    """A row a number of values: milliseconds of a trial after so many."""
    rows = load("search_time")["rows"]
    counts = list(rows[0]["milliseconds"])
    body = [
        [str(row["values"]), *(f"{row['milliseconds'].get(n, float('nan')):.0f}" for n in counts)]
        for row in rows
    ]
    return table(["values", *(f"{n} trials" for n in counts)], body)


STORAGES = {"journal": "journal file", "postgresql": "PostgreSQL"}
CHECKPOINTS = ("50", "100", "200", "400")


def compared(rows: list[Row]) -> str:
    """A row a run: what became of its trials, and how much of one worker's hypervolume it has."""
    alone = next(row for row in rows if row["workers"] == 1)
    body = []
    for row in rows:
        if row["workers"] == 1 or row["task"] != alone["task"]:
            continue
        named = {"complete": 0, **row, **row["states"], "storage": STORAGES[row["storage"]]}
        trials = cells(
            "{storage} | {workers} | {killed} | {complete} | {duplicates} | "
            "{lost}, {lost_and_tried_again} again",
            named,
        )
        reached = [
            f"{row['curve'][n] / alone['curve'][n]:.3f}" if n in row["curve"] else MISSING
            for n in CHECKPOINTS
        ]
        body.append(trials + reached)
    head = ["storage", "workers", "killed", "complete trials", "duplicates", "lost trials"]
    return table([*head, *(f"at {n}" for n in CHECKPOINTS)], body)


@section("search-workers")
def workers() -> str:
    return compared(load("search_workers")["rows"])


KINDS = ("two objectives", "one objective under a limit")


@section("study-intervals")
def intervals() -> str:
    result = load("study_plots")
    rows = []
    for kind in KINDS:
        shares = result[kind]
        for metric in ("accuracy (%)", "latency (ms)"):
            if metric in shares:
                rows.append([kind, f"{metric} in its interval", "90%", f"{shares[metric]:.0%}"])
        if "feasible" in shares:
            expected, came = shares["expected_feasible"], shares["feasible"]
            rows.append([kind, "trial is feasible", f"{expected:.0%}", f"{came:.0%}"])
    counts = ", ".join(f"{kind}: {result[kind]['trials']}" for kind in KINDS)
    seeds = f"{result[KINDS[0]]['studies']} seeds of {result['trials_a_study']} trials each"
    return (
        table(["study", "what", "expected", "came"], rows)
        + f"\n\n{seeds}; trials of which something was expected, {counts}."
    )
