"""Tables of language models in docs/results/networks.md."""

from __future__ import annotations

from collections.abc import Iterable
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


@section("transfer-perplexity")
def transfer() -> str:
    """A row a scale that is predicted, what was learned, and a method."""
    body = []
    runs = load("transfer_perplexity")["runs"]
    for (target, taught, part, labels, method), rows in grouped(
        runs, "target", "taught", "part", "labels", "method"
    ).items():
        taus, errors = (
            [row[key] for row in rows] for key in ("kendall_tau", "mean_absolute_error")
        )
        # Neither learns from other scales, so that their rows are alike in all cases.
        is_alone = method in (COUNT, "language-gp")
        if is_alone and (taught, part) != ("s", "all"):
            continue
        body.append(
            [
                f"gpt:{target}",
                MISSING if is_alone else f"{part} of {taught.replace('+', ' and ')}",
                f"{labels}" if labels else MISSING,
                method,
                spread(taus, usual=5),
                MISSING if errors[0] is None else spread(errors, usual=5),
            ]
        )
    body.sort(key=lambda cells: (cells[0] != "gpt:m", cells[1] == MISSING))
    head = ["predicted", "learned", "labels of it", "method", "Kendall tau", "mean error"]
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


@section("energy-intervals")
def energy_intervals() -> str:
    """A row a left-out GPU and scale: what intervals cover, and how wide they are."""
    rows = [row for row in load("energy")["runs"] if row["part"] == "intervals"]
    times = ("measured", "predicted")
    body = []
    for (gpu, scale), part in grouped(rows, "case", "scale").items():
        by_time = {row["time"]: row for row in part}
        body.append([gpu, f"gpt:{scale}", *_intervals([by_time[time]] for time in times)])
    parts = grouped(rows, "time", "case")
    means = []
    for time in times:
        # Each GPU counts the same, whatever its scales.
        means.append([_mean_row(own) for (name, _), own in parts.items() if name == time])
    body.append(["mean of the GPUs", "", *_intervals(means)])
    heads = [f"{name}, time {time}" for time in times for name in ("90 % cover", "upper / lower")]
    return table(["left out", "space", *heads], body)


def _intervals(groups: Iterable[list[dict[str, Any]]]) -> list[str]:
    """Mean coverage and mean width of each group of rows."""
    cells = []
    for rows in groups:
        count = len(rows)
        cells += [
            f"{sum(row['coverage'] for row in rows) / count:.0%}",
            f"{sum(row['upper_over_lower'] for row in rows) / count:.1f}",
        ]
    return cells


def _mean_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means of coverage and width."""
    names = ("coverage", "upper_over_lower")
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


@section("energy-forms")
def energy_forms() -> str:
    """A row a form of the share of power: errors on each left-out GPU, and how often chosen."""
    rows = load("energy_forms")["runs"]
    best = [min(part, key=_others) for part in grouped(rows, "gpu").values()]
    chosen = [row["form"] for row in best]
    body = []
    for (form,), part in grouped(rows, "form").items():
        errors = [row["mape_percent"] for row in part]
        body.append(
            [
                form,
                *(f"{error:.0f} %" for error in errors),
                f"{sum(errors) / len(errors):.0f} %",
                f"{sum(row['others'] for row in part) / len(part):.3f}",
                f"{chosen.count(form)}",
            ]
        )
    errors = [row["mape_percent"] for row in best]
    texts = [f"{error:.0f} %" for error in (*errors, sum(errors) / len(errors))]
    body.append(["the one chosen on the others", *texts, MISSING, MISSING])
    gpus = dict.fromkeys(row["gpu"] for row in rows)
    return table(["form", *gpus, "mean", "error on the others", "times chosen"], body)


def _others(row: dict[str, Any]) -> float:
    return float(row["others"])
