"""The figures of docs/nb101.md on search, enumeration and the official file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from experiments import RESULTS
from experiments.accuracy.predictor_tables import table

FILES = {
    "only108": "as nasbench_only108.tfrecord",
    "full": "as nasbench_full.tfrecord",
}


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def search() -> str:
    """What the command takes, and how far off its fast latencies are."""
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


def studies() -> str:
    """A row a kind of study: the first trial, and a later one."""
    body = [
        [
            str(row["values"]),
            row["hardware"] or "–",
            f"{row['first_seconds']:.1f} s",
            f"{row['milliseconds']} ms",
            f"{row['distinct']} of {row['trials']}",
        ]
        for row in load("nb101_search")["studies"]
    ]
    head = ["values of a trial", "hardware", "first trial", "a later trial", "different cells"]
    return table(head, body)


def enumeration() -> str:
    """From scratch and from the cache."""
    result = load("nb101_enumeration")
    rows = {
        "cells and hashes from scratch": result["scratch"],
        "the same from the cache, checked": result["cache"],
        "`list(space)` with the cache": result["list"],
    }
    body = [
        [name, f"{row['seconds']:.1f} s", f"{row['processor_seconds']:.1f} s"]
        for name, row in rows.items()
    ]
    loads = " and ".join(f"{result[key]['load_average']:.0f}" for key in ("scratch", "list"))
    return (
        table(["", "clock", "processor"], body)
        + f"\n\n{result['scratch']['distinct']:,} different hashes, on a machine of two cores with "
        f"a load of {loads}."
    )


def official() -> str:
    """A row a file of the official size."""
    body = []
    for name, title in FILES.items():
        row = load("nasbench_load").get(name)
        if row is not None:
            body.append(
                [
                    title,
                    f"{row['records']:,}",
                    f"{row['bytes'] / 1e9:.2f} GB",
                    f"{row['first']['processor_seconds']:.0f} s",
                    f"{row['first']['peak_mib']} MiB",
                    f"{row['again']['processor_seconds']:.1f} s",
                ]
            )
    head = ["file", "records", "size", "first time, processor", "memory"]
    return table([*head, "from the copy, processor"], body)


SECTIONS: dict[str, Callable[[], str]] = {
    "nb101-search": search,
    "nb101-studies": studies,
    "nb101-enumeration": enumeration,
    "nb101-official": official,
}
