"""The page of a search: by prediction, or with evaluated trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from nasplug.choices import Choice
from nasplug.plots.axes import axis_of, kind_of, label_of, scale_of, shown_factor
from nasplug.plots.shown import in_shown_units, limited_of, value_axes
from nasplug.predicting.intervals import is_usable, shown
from nasplug.predictors.features.runtimes import way_name
from nasplug.quantities import QUANTITIES, without_device
from nasplug.reports.page import Comparison, Page, Row, State
from nasplug.reports.reported import (
    ReportedQuantity,
    ReportedSearch,
    is_measured,
    limited_quantities,
    quantities,
    some_untried,
)
from nasplug.reports.study_page import (
    comparisons,
    progress,
    study_rows,
    when,
)
from nasplug.studies.trials import finished
from nasplug.studies.values import StudyValues, study_values

__all__ = ["observed_page", "search_page"]

# Key of a measured quantity in the rows of a result.
_KEYS = {name: QUANTITIES[name].key for name in ("accuracy", "latency")}
Cell = tuple[float | None, str]


def search_page(result: ReportedSearch, command: str | None = None) -> Page:
    """The page of a search by prediction.

    Args:
        result: Result of the search.
        command: The command that writes the report.
    """
    shown_quantities = quantities(result)
    rows = _predicted_rows(result, shown_quantities)
    values = _shown(study_values(result.study), result.n_trials)
    axes = [
        axis_of(
            q.label + _magnitude_only(result, q),
            np.array([row.values[k] for row in rows]),
            objective.direction == "maximize",
            q.limits,
            is_accuracy=q.name == "accuracy",
        )
        for k, (q, objective) in enumerate(zip(shown_quantities, result.objectives, strict=True))
    ]
    is_predicted = any(QUANTITIES[q.name].is_risky for q in shown_quantities)
    some, n_scored = some_untried(result, shown_quantities)
    limited = limited_quantities(result)
    return Page(
        title=_title(result),
        heading=result.heading(),
        axes=axes,
        columns=[heading for heading, _ in _columns(result, shown_quantities)],
        rows=rows,
        interval=f"{result.candidates.scores.interval:.0%} intervals" if is_predicted else "",
        choices=_chosen(result, rows),
        progress=progress(values),
        comparisons=_measured_comparisons(result, rows),
        facts=_facts(result),
        notes=result.notes(),
        command=command,
        scored=np.stack(
            [result.candidates.quantities[q.name].mean[some] * q.factor for q in shown_quantities],
            axis=1,
        ).tolist(),
        n_scored=n_scored,
        limited=[
            axis_of(
                q.label,
                result.candidates.quantities[q.name].mean[list(result.front)] * q.factor,
                maximize,
                q.limits,
                is_accuracy=q.name == "accuracy",
            )
            for q, maximize in limited
        ],
    )


def observed_page(result: ReportedSearch, command: str | None = None) -> Page:
    """The page of a search with evaluated trials.

    Args:
        result: Result of the search.
        command: The command that writes the report.
    """
    values = _shown(study_values(result.study), result.n_trials)
    front = {int(row["trial"]) for row in result.pareto}
    limited, others = limited_of(result.study, values, result.constraints)
    rows = study_rows(result.study, values, front, others)
    return Page(
        title=_title(result),
        heading=result.heading(),
        axes=value_axes(values, result.constraints),
        limited=limited,
        columns=[*values.labels, *(axis.label for axis in limited)],
        rows=rows,
        interval="",
        choices=_chosen(result, rows),
        progress=progress(values),
        comparisons=comparisons(values),
        facts=_facts(result),
        notes=result.notes(),
        command=command,
    )


def _shown(values: StudyValues, count: int) -> StudyValues:
    """The values of the first trials, in the shown units."""
    names = ("numbers", "values", "feasible", "expected", "chance")
    first = {name: getattr(values, name)[:count] for name in names}
    return in_shown_units(replace(values, **first))


def _title(result: ReportedSearch) -> str:
    devices = result.to_json().get("devices") or [result.hardware.name if result.hardware else ""]
    return f"{result.space} on {' and '.join(devices)}" if any(devices) else result.space


def _chosen(result: ReportedSearch, rows: Sequence[Row]) -> list[Choice]:
    """The choices, with positions in `rows` in the place of those on the front."""
    position = {row.arch: k for k, row in reversed(list(enumerate(rows))) if row.state == "front"}
    archs = [row["arch"] for row in result.pareto]
    return [
        replace(choice, row=position[archs[choice.row]])
        for choice in result.choices()
        if archs[choice.row] in position
    ]


def _predicted_rows(
    result: ReportedSearch, shown_quantities: Sequence[ReportedQuantity]
) -> list[Row]:
    """A row for each trial of a search by prediction."""
    candidates = result.candidates
    front = dict(zip(result.front, result.pareto, strict=True))
    columns = _columns(result, shown_quantities)
    limited = [q for q, _ in limited_quantities(result)]
    seen: set[int] = set()
    rows = []
    trials = finished(result.study)[: result.n_trials]
    for trial, index in zip(trials, result.trials, strict=True):
        on_front = index in front and index not in seen
        seen.add(index)
        values, ends = [], []
        for q in shown_quantities:
            quantity = candidates.quantities[q.name]
            values.append(float(quantity.mean[index] * q.factor))
            bounds = quantity.lower[index] * q.factor, quantity.upper[index] * q.factor
            is_interval = np.isfinite(bounds).all() and bounds[0] < bounds[1]
            is_interval = is_interval and not is_measured(result, q.name)
            ends.append((float(bounds[0]), float(bounds[1])) if is_interval else None)
        measured = [_measured(front.get(index), q.name) for q in shown_quantities]
        state: State = "met" if candidates.feasible[index] else "missed"
        rows.append(
            Row(
                trial=trial.number,
                arch=candidates.architectures[index].text,
                state="front" if on_front else state,
                values=values,
                ends=ends,
                cells=[cell(index) for _, cell in columns],
                measured=None if None in measured else [m for m in measured if m is not None],
                limited=[
                    float(candidates.quantities[q.name].mean[index] * q.factor) for q in limited
                ],
            )
        )
    return rows


def _columns(
    result: ReportedSearch, shown_quantities: Sequence[ReportedQuantity]
) -> list[tuple[str, Callable[[int], Cell]]]:
    """Heading of each column, and the function that makes its cell from a candidate's index."""
    candidates = result.candidates
    rows = dict(zip(result.front, result.pareto, strict=True))

    def predicted(name: str, index: int) -> Cell:
        quantity, factor = candidates.quantities[name], shown_factor(name)
        form = f".{_digits(name)}f"
        ends = {end: getattr(quantity, end)[index] * factor for end in ("mean", "lower", "upper")}
        if not QUANTITIES[name].is_risky or is_measured(result, name):
            text = f"{ends['mean']:{form}}"
        elif without_device(name) in ("latency", "throughput"):
            text = "{mean} ({lower}–{upper})".format(**shown(ends, form))
        else:
            text = f"{ends['mean']:{form}} ({ends['lower']:{form}}–{ends['upper']:{form}})"
        return float(ends["mean"]), text

    def measured(name: str, index: int) -> Cell:
        value = _measured(rows.get(index), name)
        return value, "" if value is None else f"{value:.{_digits(name)}f}"

    names = [q.name for q in shown_quantities]
    known = [
        name
        for name in names
        if not is_measured(result, name)
        and any(_measured(row, name) is not None for row in result.pareto)
    ]
    names += [q.name for q, _ in limited_quantities(result)]
    names += [] if "params" in names else ["params"]
    columns: list[tuple[str, Callable[[int], Cell]]] = [
        (label_of(name), partial(predicted, name)) for name in names
    ]
    return columns + [(f"measured {label_of(name)}", partial(measured, name)) for name in known]


def _digits(name: str) -> int:
    """Digits after the point of a quantity's shown values."""
    kind = kind_of(name)
    return 2 if kind is None else kind.digits


def _measured(row: Mapping[str, Any] | None, name: str) -> float | None:
    """Measured value of a quantity in a row of the result; None if it is not known."""
    value = None if row is None else row["measured"].get(_KEYS.get(name, name))
    return None if value is None else float(value)


def _magnitude_only(result: ReportedSearch, quantity: ReportedQuantity) -> str:
    """End of an axis label where only orders of magnitude are known."""
    base, at, device = quantity.name.partition("@")
    if base not in ("latency", "throughput"):
        return ""
    latency = result.candidates.quantities[f"latency{at}{device}"]
    usable = (is_usable(latency.lower[k], latency.upper[k]) for k in result.front)
    return "" if all(usable) else " (only the order of magnitude is known)"


def _measured_comparisons(result: ReportedSearch, rows: Sequence[Row]) -> list[Comparison]:
    """Predicted against measured values of the front, where a benchmark has measured it."""
    number = {row.arch: row.trial for row in reversed(rows) if row.state == "front"}
    compared = []
    for name, key in _KEYS.items():
        if is_measured(result, name):
            continue
        points = []
        for row in result.pareto:
            measured, ends = _measured(row, name), row["predicted"][key]
            if measured is not None and ends is not None:
                bounds = (ends[end] for end in ("mean", "lower", "upper"))
                points.append((number.get(row["arch"], 0), measured, *bounds))
        if points:
            scale = scale_of(np.array([point[1] for point in points]), name == "accuracy")
            compared.append(Comparison(label_of(name), scale, "predicted", "measured", points))
    return compared


def _facts(result: ReportedSearch) -> list[tuple[str, str]]:
    """Name and text of each fact that the numbers of a search rest on."""
    candidates = result.candidates
    scored = f"all {len(candidates):,} architectures" if candidates.whole else "a pool of "
    scored += "" if candidates.whole else f"{len(candidates):,} architectures"
    facts = [("Search space", f"{result.space}; {scored} scored"), ("Image set", result.dataset)]
    if result.hardware is not None:
        runtime = f", {way_name(result.runtime)}" if result.runtime else ""
        names = " and ".join(result.to_json().get("devices") or [result.hardware.name])
        facts.append(("Device", f"{names}, batch {result.batch_size}{runtime}"))
    if result.constraints:
        limits = [f"{c} with probability {c.probability:g}" for c in result.constraints]
        facts.append(("Constraints", "; ".join(limits)))
    if result.predictor.get("name"):
        facts.append(("Predictors", str(result.predictor["name"])))
        facts.append(("SHA-256 of the predictors", str(result.predictor.get("sha256"))))
    facts.append(("Trials", f"{result.n_trials}, with seed {result.seed}"))
    facts.append(("Study", result.study.study_name))
    facts += when(result.study)
    facts.append(("Run time", f"{result.seconds['total']:.1f} s"))
    return facts
