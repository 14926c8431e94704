"""Tables of language models in docs/results/networks.md."""

from __future__ import annotations

from typing import Any

from experiments.tables import MISSING, grouped, load, section, spread, table

COUNT = "parameters alone"


@section("perplexity")
def perplexity() -> str:
    """A row a scale, number of networks and method; parameters need no networks."""
    cells = grouped(load("perplexity")["runs"], "scale", "size", "method")
    scales = {scale: k for k, scale in enumerate("sml")}
    body = []
    for scale, size, method in sorted(cells, key=lambda cell: (scales[cell[0]], cell[1])):
        rows = cells[scale, size, method]
        if method == COUNT and body and any(cell[0] == f"gpt:{scale}" for cell in body):
            continue
        errors = [row["mean_absolute_error"] for row in rows]
        covered = [row["coverage"] for row in rows]
        taus = [row["kendall_tau"] for row in rows]
        body.append(
            [
                f"gpt:{scale}",
                MISSING if method == COUNT else f"{size:,}",
                f"{rows[0]['test']:,}",
                method,
                f"{taus[0]:.3f}" if method == COUNT else spread(taus, usual=5),
                MISSING if errors[0] is None else spread(errors, usual=5),
                MISSING if covered[0] is None else f"{sum(covered) / len(covered):.1%}",
            ]
        )
    head = ["space", "learned", "judged", "method", "Kendall tau", "mean error", "90 % cover"]
    return table(head, body)


@section("language-memory")
def memory() -> str:
    """A row a scale and part of the memory."""
    body = []
    for (scale, method), rows in grouped(
        load("language_memory")["runs"], "scale", "method"
    ).items():
        errors = [row["error_percent"] for row in rows]
        learned = rows[0]["learned"]
        body.append(
            [
                f"gpt:{scale}",
                method,
                f"{learned}" if learned else MISSING,
                f"{rows[0]['judged']:,}",
                f"{spread(errors, '.2f', 5) if learned else format(errors[0], '.2f')} %",
                f"{max(row['worst_percent'] for row in rows):.1f} %",
            ]
        )
    head = ["space", "counted", "learned from", "judged", "mean error", "largest error"]
    return table(head, body)


def _percents(rows: list[dict[str, Any]], method: str) -> str:
    """Mean ± deviation over seeds of a method's errors."""
    values = [row["mape_percent"][method] for row in rows if row["mape_percent"][method]]
    return f"{spread(values, '.1f', len(rows))} %" if values else MISSING


@section("energy-known")
def energy_known() -> str:
    """A row a scale and known GPU."""
    rows = [row for row in load("energy")["runs"] if row["part"] == "held out"]
    methods = list(rows[0]["mape_percent"])
    body = []
    for (scale, gpu), part in grouped(rows, "scale", "gpu").items():
        covers = [row["coverage"] for row in part]
        body.append(
            [
                f"gpt:{scale}",
                gpu,
                f"{part[0]['watts']:.0f} W",
                *(_percents(part, method) for method in methods),
                f"{sum(covers) / len(covers):.1%}",
            ]
        )
    return table(["space", "GPU", "median power", *methods, "90 % cover"], body)


@section("energy-left-out")
def energy_left_out() -> str:
    """A row a left-out GPU and way to know its times; means over its scales."""
    rows = [row for row in load("energy")["runs"] if row["part"] == "left out"]
    methods = list(rows[0]["mape_percent"])
    body = []
    for (gpu, time), part in grouped(rows, "case", "time").items():
        values = [
            [row["mape_percent"][name] for row in part if row["mape_percent"][name]]
            for name in methods
        ]
        scales = ", ".join(row["scale"] for row in part)
        means = [f"{sum(v) / len(v):.0f} %" if v else MISSING for v in values]
        body.append([gpu, scales, time, *means])
    return table(["left out", "scales", "time", *methods], body)
