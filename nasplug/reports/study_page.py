"""The page of a study: its trials, front, progress, and expected against observed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.arrays import Array
from nasplug.choices import choices
from nasplug.objectives import Objective
from nasplug.pareto import pareto_mask
from nasplug.plots.axes import scale_of
from nasplug.plots.progress import best_so_far, hypervolume_so_far, reference_of
from nasplug.plots.shown import limited_of, limits_of, shown_values, value_axes
from nasplug.predictors.features.runtimes import way_name
from nasplug.reports.page import Comparison, Page, Progress, Row, State
from nasplug.search_spaces import InputError
from nasplug.studies.values import ATTRIBUTE, RECORD, StudyValues

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = [
    "comparisons",
    "progress",
    "study_page",
    "study_rows",
    "when",
]

Mask = NDArray[np.bool_]

# Significant digits of a value in a table.
SHOWN = 5


def study_page(study: Study, command: str | None = None) -> Page:
    """Read a study of any sampler into a page.

    Args:
        study: The study.
        command: The command that writes the report.

    Raises:
        InputError: If no trial has ended with finite values.
    """
    values, record, limits = shown_values(study), _record(study), limits_of(study)
    limited, others = limited_of(study, values, limits)
    objectives = _objectives(values)
    axes = value_axes(values, limits)
    on_front = _front(values)
    rows = study_rows(study, values, {int(n) for n in values.numbers[on_front]}, others)
    front = [k for k in np.argsort(values.losses[:, -1], kind="stable") if on_front[k]]
    texts = [[text for _, text in rows[k].cells[: len(axes)]] for k in front]
    bounds = [limit.shown for limit in limits]
    chosen = choices(values.values[front], objectives, texts, bounds)
    return Page(
        title=_title(record) or values.name,
        heading=_heading(values),
        axes=axes,
        limited=limited,
        columns=[axis.label for axis in (*axes, *limited)],
        rows=rows,
        interval="",
        choices=[replace(c, row=int(front[c.row])) for c in chosen],
        progress=progress(values),
        comparisons=comparisons(values),
        facts=_facts(study, values, record),
        notes=_notes(values),
        command=command,
    )


def _objectives(values: StudyValues) -> list[Objective]:
    """The objectives of a study, of unknown unit."""
    return [
        Objective(name, "maximize" if sign < 0 else "minimize", "")
        for name, sign in zip(values.metrics, values.sign, strict=True)
    ]


def study_rows(
    study: Study,
    values: StudyValues,
    front: set[int],
    limited: Array | None = None,
) -> list[Row]:
    """A row for each trial with finite values, in the order of their numbers.

    Args:
        study: The study.
        values: Its values.
        front: Numbers of the trials on the front.
        limited: Values of quantities that have limits and are no objectives, `(n, quantities)`; NaN
            if unknown.
    """
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    others = np.empty((len(values.numbers), 0)) if limited is None else limited
    rows = []
    for k, number in enumerate(map(int, values.numbers)):
        row = values.values[k]
        state: State = "met" if values.feasible[k] else "missed"
        rows.append(
            Row(
                trial=number,
                arch=_architecture(trials[number]),
                state="front" if number in front else state,
                values=row.tolist(),
                ends=[None] * len(row),
                cells=[_cell(value) for value in (*row, *others[k])],
                more=_expected(values, k) if values.learned else "",
                limited=others[k].tolist(),
            )
        )
    return rows


def progress(values: StudyValues) -> Progress | None:
    """The hypervolume after each trial, or the best value so far; None if no trial is feasible."""
    if len(values.metrics) == 1:
        if not values.feasible.any():
            return None
        curve, note = best_so_far(values), ""
        label = f"best {values.labels[0]} so far"
    else:
        try:
            reference = reference_of([values], values.sign)
        except InputError:
            return None
        volumes = hypervolume_so_far(values, reference)
        curve = volumes / volumes[-1] if volumes[-1] > 0 else volumes
        label = "hypervolume, as a share of the last value"
        ends = zip(values.labels, reference, strict=True)
        note = ", ".join(f"{label} = {end:.4g}" for label, end in ends)
        note = f"The reference point of the hypervolume is {note}."
    return Progress(
        label=label,
        note=note,
        trials=values.numbers.tolist(),
        values=curve.tolist(),
        missed=values.numbers[~values.feasible].tolist(),
        failed=values.lost.tolist(),
    )


def comparisons(values: StudyValues) -> list[Comparison]:
    """Expected against observed values of each objective; none where nothing was expected."""
    if not values.foreseen.any() or values.repeats_predictions:
        return []
    rows = np.flatnonzero(values.foreseen)
    return [
        Comparison(
            values.labels[m],
            scale_of(values.values[rows, m], name.lower().startswith("accuracy")),
            "expected",
            "observed",
            [
                (
                    int(values.numbers[k]),
                    float(values.values[k, m]),
                    *values.expected[k, m].tolist(),
                )
                for k in rows
            ],
        )
        for m, name in enumerate(values.metrics)
    ]


def _front(values: StudyValues) -> Mask:
    """Mask of the feasible trials that no other feasible trial dominates."""
    mask = values.feasible.copy()
    mask[mask] = pareto_mask(values.losses[mask]) if mask.any() else False
    return mask


def _architecture(trial: FrozenTrial) -> str:
    """The architecture of a trial, or its parameters where no architecture is kept."""
    note = trial.user_attrs.get(ATTRIBUTE)
    arch = note.get("arch") if isinstance(note, dict) else None
    if isinstance(arch, str) and arch:
        return arch
    return ", ".join(f"{name}={value}" for name, value in trial.params.items())


def _cell(value: float) -> tuple[float | None, str]:
    """Number to sort by and text of a value; none of an unknown one."""
    return (float(value), _text(value)) if np.isfinite(value) else (None, "")


def _text(value: float) -> str:
    """A value for a table."""
    is_large = 10**SHOWN <= abs(value) < 1e12
    return f"{value:,.0f}" if is_large else f"{value:.{SHOWN}g}"


def _expected(values: StudyValues, k: int) -> str:
    """Values and probability of feasibility that were expected of a trial, in words."""
    parts = [
        f"{label} {_text(mean)} ({_text(lower)}–{_text(upper)})"
        for label, (mean, lower, upper) in zip(values.labels, values.expected[k], strict=True)
        if np.isfinite([mean, lower, upper]).all()
    ]
    if np.isfinite(values.chance[k]):
        parts.append(f"{values.chance[k]:.0%} probability to meet the constraints")
    return f"expected before the trial: {'; '.join(parts)}" if parts else ""


def _heading(values: StudyValues) -> str:
    ways = [
        f"{name.replace('_', ' ')} ({'maximize' if sign < 0 else 'minimize'})"
        for name, sign in zip(values.metrics, values.sign, strict=True)
    ]
    return f"Study of {' and '.join(ways)}: {len(values.numbers)} trials with values"


def _record(study: Study) -> Mapping[str, Any]:
    """The arguments of the search that made a study; empty if no search made it."""
    record = study.user_attrs.get(RECORD)
    return record if isinstance(record, dict) else {}


def _device(record: Mapping[str, Any]) -> str | None:
    hardware = record.get("hardware")
    devices = hardware if isinstance(hardware, list) else [hardware]
    names = [str(device.get("name")) for device in devices if isinstance(device, dict)]
    return " and ".join(names) or None


def _title(record: Mapping[str, Any]) -> str:
    """The space and the device of a search; empty where they are unknown."""
    space, device = record.get("space"), _device(record)
    return "" if space is None else f"{space} on {device}" if device else str(space)


def _settings(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Arguments of a search by name; a storage may hold anything, so all become text."""
    facts = [
        (name, str(record[key]))
        for name, key in (("Search space", "space"), ("Image set", "dataset"))
        if record.get(key) is not None
    ]
    if device := _device(record):
        runtime = f", {way_name(str(record['runtime']))}" if record.get("runtime") else ""
        facts.append(("Device", f"{device}, batch {record.get('batch_size')}{runtime}"))
    limits = record.get("constraints")
    if isinstance(limits, list) and limits:
        pairs = [limit for limit in limits if isinstance(limit, list) and len(limit) == 2]
        facts.append(("Constraints", "; ".join(f"{c} with probability {p}" for c, p in pairs)))
    if record.get("evaluate") is not None:
        facts.append(("Values", f"{record['evaluate']}, with seed {record.get('seed')}"))
    return facts


def _facts(study: Study, values: StudyValues, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    missed = int((~values.feasible).sum())
    facts = [
        *_settings(record),
        ("Study", values.name),
        ("Trials with values", str(len(values.numbers))),
    ]
    if missed:
        facts.append(("Trials that violate a constraint", str(missed)))
    if len(values.lost):
        facts.append(("Trials without values", str(len(values.lost))))
    return [*facts, *when(study)]


def when(study: Study) -> list[tuple[str, str]]:
    """Start of the first trial and end of the last one, in the time zone of the workers."""
    trials = study.get_trials(deepcopy=False)
    starts = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    if not starts or not ends:
        return []
    return [("Trials ran", f"{min(starts):%Y-%m-%d %H:%M} to {max(ends):%Y-%m-%d %H:%M}")]


def _notes(values: StudyValues) -> list[str]:
    notes = []
    if not values.feasible.any():
        notes.append("no trial meets every constraint; run more trials, or loosen the constraints")
    if values.repeats_predictions and values.foreseen.any():
        notes.append(
            "the values are predictions, so there are no observations to compare them with"
        )
    elif not values.foreseen.any():
        notes.append(
            "no trial has expected values; PredictorSampler stores them for all but its first "
            "trials, and other samplers never do"
        )
    return notes
