"""Sections of the pages on spaces of a user's own."""

from __future__ import annotations

from statistics import mean

from experiments.tables import load, section, table, table_of


@section("builder-speed")
def builder_speed() -> str:
    result = load("builder_speed")
    rows = [row | {"count": int(row["candidates"])} for row in result["rows"]]
    times = table_of(
        "candidates | graphs | seconds | processor time, s",
        "{count:,} | {cache} | {total_s:.1f} | {processor_s:.1f}",
        rows,
    )
    operators = mean(row["operators"] for row in rows)
    return (
        f"{times}\n\nNetworks of {operators:.0f} operators on average, "
        f"{rows[0]['parameters']:.0f} parameters, latencies on {result['device']}; two threads of "
        f"a machine that did other work too, the median of {result['repeats']} runs. *Empty "
        "cache*: no graph was read before; *full cache*: the same candidates in another process."
    )


@section("limits-here")
def limits_here() -> str:
    result = load("limits_here")
    rows = [
        [
            str(run["seed"]),
            f"{run['limit_ms']:.2f}",
            f"{run['met']:.0%}",
            f"{run['met_after_calibration']:.0%}",
            f"{run['inside_after_calibration']:.0%}",
        ]
        for run in result["runs"]
    ]
    return (
        table(
            "seed | limit, ms | proposals within it | after the first calibration | "
            "measured inside the predicted interval, then",
            rows,
        )
        + f"\n\n{len(result['runs'][0]['trials'])} trials each, device {result['device']} by its "
        f"data sheet at first, calibrated after every {result['every']} measurements."
    )
