"""Tables of docs/data.md on the measurements that the package ships."""

from __future__ import annotations

from experiments.tables import MISSING, load, section, table
from nasplug.datasets.measurements import FLAGS, NUMBERS, TEXTS, measurement_sources

# Networks without a graph that the page names of a source.
MOST_LACKING = 3


@section("measurement-classes")
def classes() -> str:
    result = load("measurements")
    rows = [
        [name, f"{group['rows']:,}", f"{group['devices']:,}", f"{group['networks']:,}"]
        for name, group in result["classes"].items()
    ]
    kinds = result["kinds"]
    return (
        table("devices | measurements | devices or chips | networks and operators", rows)
        + f"\n\n{result['rows']:,} measurements of {result['devices']:,} devices, "
        f"{result['devices_in_catalogue']} of which are in the catalogue of `nasplug hardware`: "
        f"{kinds['network']['rows']:,} of whole networks, {kinds['operator']['rows']:,} of single "
        f"operators, {kinds['block']['rows']:,} of blocks. The file has "
        f"{result['bytes'] / 1e6:.1f} MB; a latency in it differs from the published one by "
        f"{result['largest_relative_error']:.3%} at most."
    )


@section("measurement-sources")
def sources() -> str:
    rows = [
        [
            f"[{name}]({measurement_sources()[name].url})",
            measurement_sources()[name].content,
            f"{group['rows']:,}",
            f"{group['devices']:,}",
            measurement_sources()[name].licence,
        ]
        for name, group in load("measurements")["sources"].items()
    ]
    return table("source | content | rows | devices | licence", rows)


@section("measurement-columns")
def columns() -> str:
    rows = [[f"`{name}`", meaning] for name, meaning in (TEXTS | NUMBERS).items()]
    return table("column | meaning", rows)


@section("measurement-flags")
def flags() -> str:
    counted = load("measurements")["flags"]
    rows = [[word, FLAGS[word], f"{count:,}"] for word, count in counted.items()]
    return table("word | meaning | rows", rows)


@section("measurement-dropped")
def dropped() -> str:
    files = load("measurements")["files"]
    totals: dict[str, int] = {}
    for part in files.values():
        for reason, count in part["dropped"].items():
            totals[reason] = totals.get(reason, 0) + count
    rows = [[reason, f"{count:,}"] for reason, count in totals.items()]
    return table("rows of the sources that are left out | rows", rows)


@section("measurement-graphs")
def graphs() -> str:
    """Rows of each source whose graph is known, and what the rest are."""
    result = load("network_graphs")
    packages = ", ".join(
        f"{count:,} of {name}"
        for name, count in sorted(result["packages"].items(), key=lambda item: -item[1])
    )
    costs = result["agreement"]
    left_out = ", ".join(f"`{name}`" for name in costs["left_out"]) or "none"
    agree = sum(counts.get("agrees", 0) for counts in costs["packages"].values())
    explained = sum(counts.get("explained", 0) for counts in costs["packages"].values())
    rows = [
        [
            source,
            f"{group['rows_with_graph']:,} of {group['rows']:,}",
            f"{group['networks_with_graph']:,} of {group['networks']:,}",
            ", ".join(list(group["lacks"])[:MOST_LACKING]) or MISSING,
        ]
        for source, group in result["coverage"].items()
    ]
    return (
        f"The package holds {result['networks']:,} graphs of {result['nodes'][0]:.0f} to "
        f"{result['nodes'][-1]:,.0f} operators in {result['bytes'] / 1e6:.1f} MB: {packages}. "
        "They hold types and sizes of operators, neither weights nor code. "
        f"Parameters and multiply-accumulates of {agree:,} are those that a table or the package "
        f"states, within {costs['agrees_up_to']:.0%}; of {explained} they differ for a known "
        f"reason, such as a table's other way of counting. Left out as another network: "
        f"{left_out}. Made with {result['made_with']}, with random weights.\n\n"
        + table("source | rows with a graph | networks and operators with one | most lack", rows)
    )


@section("peak-memory")
def peak_memory() -> str:
    """A row a network with its memory at the two batch sizes, and the mean errors."""
    result = load("peak_memory")
    by_network: dict[str, dict[int, dict[str, float]]] = {}
    for row in result["rows"]:
        by_network.setdefault(row["network"], {})[row["batch"]] = row
    body = [
        [f"{name} at {batches[1]['side']}"]
        + [
            cell
            for row in batches.values()
            for cell in (
                f"{row['measured_mb']:.1f}",
                f"{row['computed_mb']:.1f}",
                f"{row['error']:+.1%}",
                f"{row['weights_mb'] + row['allocator_mb']:.1f}",
                f"{row['resident_mb']:.0f}",
            )
        ]
        for name, batches in by_network.items()
    ]
    head = ["network"]
    for batch in (1, 8):
        head += [f"batch {batch}: measured MB", "computed MB", "error", "allocator", "resident set"]
    said = [
        f"{name}: the computed memory is off by {summary['mean error']:.1%} on average and by "
        f"{summary['largest error']:.1%} at most, and {summary['within 10 %']} of "
        f"{summary['networks']} networks are within 10 %; the activations alone are off by "
        f"{summary['mean error of activations alone']:.1%} on average. Against the allocator's "
        f"peak the mean error is {summary['mean error against the allocator']:.1%}."
        for name, summary in result["summary"].items()
    ]
    return table(head, body) + "\n\n" + "\n".join(said).replace("batch", "Batch")
