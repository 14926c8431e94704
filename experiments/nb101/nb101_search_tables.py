"""The figures of docs/nb101.md on search, enumeration and the official file."""

from __future__ import annotations

from collections.abc import Callable

from experiments.tables import load, table_of

FILES = {"only108": "as nasbench_only108.tfrecord", "full": "as nasbench_full.tfrecord"}


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


def studies() -> str:
    """A row a kind of study: the first trial, and a later one."""
    return table_of(
        "values of a trial | hardware | first trial | a later trial | different cells",
        "{values} | {hardware} | {first_seconds:.1f} s | {milliseconds} ms | "
        "{distinct} of {trials}",
        load("nb101_search")["studies"],
    )


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


SECTIONS: dict[str, Callable[[], str]] = {
    "nb101-search": search,
    "nb101-studies": studies,
    "nb101-enumeration": enumeration,
    "nb101-official": official,
}
