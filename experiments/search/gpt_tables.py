"""Tables of docs/results/sampler.md on searches of the measured language models."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from experiments.search.search_tables import missed
from experiments.tables import MISSING, Row, grouped, load_lines, section, spread, table

_NAMES = {
    "nasplug": "nasplug",
    "nasplug-shipped": "nasplug, latency predicted",
    "gp": "GPSampler",
    "forest": "random forest",
    "tpe": "TPE",
    "nsga2": "NSGA-II",
    "nsga3": "NSGA-III",
    "morea": "MOREA (Syne Tune)",
    "local-search": "local search",
    "evolution": "regularized evolution",
    "random-members": "random, of the measured networks",
    "random": "random",
}
_SETS = {
    "h100-latency": "perplexity, H100 latency",
    "h100-latency-energy": "perplexity, H100 latency, H100 energy",
    "rtx3080-latency-energy-memory": "perplexity, RTX 3080 latency, RTX 3080 energy, memory",
}


def _runs(name: str) -> dict[str, list[Row]]:
    """Runs of a task by sampler, in the order of the table."""
    rows = [row for row in load_lines("gpt_search") if row["task"] == name]
    by_sampler = grouped(rows, "sampler")
    return {key: by_sampler[key,] for key in _NAMES if (key,) in by_sampler}


def _reached(rows: Sequence[Row], trials: int, digits: str) -> str:
    """Mean and spread of what was reached; the count of runs that had reached anything."""
    values = [row["curve"][str(trials)] for row in rows]
    some = [value for value in values if value is not None]
    if not some:
        return MISSING
    text = spread(some, digits)
    return text if len(some) == len(values) else f"{text} (in {len(some)} of {len(values)})"


@section("gpt-search")
def several() -> str:
    """A row a scale, set of objectives, and sampler: the share of the table's hypervolume."""
    body = []
    for scale in "sm":
        for key, title in _SETS.items():
            for sampler, rows in _runs(f"gpt-{scale}-{key}").items():
                shares = [_reached(rows, trials, ".3f") for trials in (50, 100, 200)]
                cost = f"{1e3 * mean(row['last_cpu_seconds'] for row in rows):.0f}"
                body.append([scale, title, _NAMES[sampler], str(len(rows)), *shares, cost])
    head = "scale | values | sampler | seeds | 50 trials | 100 | 200 | ms a proposal"
    return table(head, body)


@section("gpt-search-limits")
def limits() -> str:
    """A row a scale and sampler: the best perplexity within the limits."""
    body = []
    for scale in "sm":
        for sampler, rows in _runs(f"gpt-{scale}-h100-limits").items():
            best = [_reached(rows, trials, ".2f") for trials in (20, 50, 100)]
            body.append([scale, _NAMES[sampler], str(len(rows)), *best, missed(rows)])
    head = "scale | sampler | seeds | best at 20 trials | 50 | 100 | misses a limit"
    return table(head, body)
