"""Page of networks side by side: one HTML file with the table, a picture and what they rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasplug.predicting.energy import JOULES, energy_text
from nasplug.predicting.intervals import interval_of, is_usable, magnitude
from nasplug.predicting.known_networks import known_accuracy
from nasplug.predictors.features.runtimes import Way, way_name
from nasplug.reports.page import filled_html
from nasplug.text import counted, number_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["comparison_html"]

_SCRIPTS = ("charts.js", "comparison.js")
_ENDS = ("latency_ms", "lower_ms", "upper_ms")
# Most rows of a page, so that a browser stays fast.
_MOST_ROWS = 2_000
# Measurements that a latency was learned from, see `predictors.prediction.EVIDENCE`.
_EVIDENCE = {
    "measured": "this device",
    "few-shot": "few of this device",
    "zero-shot": "other devices",
}
# Number to sort by, and text.
Cell = tuple[float | str | None, str]


def comparison_html(table: pd.DataFrame, command: str | None = None) -> str:
    """Write networks side by side as one HTML file, which loads nothing.

    Args:
        table: Rows as `nasplug.compare` returns them.
        command: The command that makes the page.
    """
    rows: list[dict[Any, Any]] = table.to_dict("records")
    accuracies = {name: _accuracy(name) for name in table["network"].unique()}
    settings = _settings(rows)
    cells = [_cells(row, accuracies[row["network"]]) for row in rows[:_MOST_ROWS]]
    # A column without any text would only take space.
    columns = [name for name in cells[0] if any(line[name][1] for line in cells)]
    for line in cells:
        # Of a column of energies, those that are missing are marked.
        line["energy, J"] = line["energy, J"] if line["energy, J"][1] else (None, "–")
    devices = list(dict.fromkeys(table["hardware"]))
    counts = (counted(len(accuracies), "network"), counted(len(devices), "device"))
    return filled_html(
        "comparison",
        _SCRIPTS,
        {
            "title": "Networks side by side",
            "heading": f"Latency of {counts[0]} on {counts[1]}"
            + (f", in {len(set(settings))} settings" if len(set(settings)) > 1 else ""),
            "columns": columns,
            "rows": [
                {
                    "cells": [line[name] for name in columns],
                    "measured": not math.isnan(row["measured_ms"]),
                }
                for line, row in zip(cells, rows, strict=False)
            ],
            "n_rows": len(rows),
            "devices": devices,
            "settings": list(dict.fromkeys(settings)),
            "points": [
                _point(row, setting, devices, accuracies[row["network"]])
                for row, setting in zip(rows[:_MOST_ROWS], settings, strict=False)
                if _is_shown(row)
            ],
            "notes": _notes(rows, accuracies),
            "command": command,
        },
    )


def _accuracy(name: str) -> float | None:
    """Measured accuracy of a network of timm; None for a file, whose path may look like a name."""
    return None if name.lower().endswith(".onnx") else known_accuracy(name)


def _is_shown(row: Mapping[str, Any]) -> bool:
    """Whether the numbers of a row mean something."""
    return not math.isnan(row["latency_ms"]) and is_usable(row["lower_ms"], row["upper_ms"])


def _settings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Batch size and precision of each row in words, with the runtime where several are compared.

    Without a runtime each device has its usual one, so that one setting has several runtimes.
    """
    runtimes: dict[tuple[Any, ...], set[str]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("network", "hardware", "batch_size", "precision"))
        runtimes.setdefault(key, set()).add(row["runtime"])
    several = any(len(names) > 1 for names in runtimes.values())
    texts = []
    for row in rows:
        way = Way(row["runtime"] if several else "", row["precision"])
        words = way_name(way.text) if several else row["precision"]
        texts.append(
            ", ".join(filter(None, [f"batch {row['batch_size'] or 'of the file'}", words]))
        )
    return texts


def _cells(row: Mapping[str, Any], accuracy: float | None) -> dict[str, Cell]:
    """Cells of a row by their headings."""
    way = Way(row["runtime"], row["precision"], row["unit"], row["threads"])
    is_known = not math.isnan(row["latency_ms"])
    shown = _is_shown(row)
    latency, interval = "–", ""
    if is_known:
        latency, *ends = (number_text(row[end]) if shown else magnitude(row[end]) for end in _ENDS)
        interval = f" ({'–'.join(ends)})"
    joules: Cell = (None, "")
    if not math.isnan(row["energy_j"]):
        energy = interval_of([row[name] for name in JOULES], "J")
        joules = (row["energy_j"], energy_text(energy, "–"))
    return {
        "network": (row["network"], row["network"]),
        "device": (row["hardware"], row["hardware"]),
        "batch": _number(row["batch_size"] or None),
        "run in": (way.text, way_name(way.text) if way.text else ""),
        "latency, ms": (
            row["latency_ms"] if is_known else None,
            f"{latency}{interval}",
        ),
        "measured, ms": _number(row["measured_ms"]),
        "images/s": _number(row["images_per_second"] if shown else None),
        "energy, J": joules,
        "ImageNet top-1, %": _number(accuracy),
        "MACs, M": _number(row["mflops"]),
        "parameters, M": _number(row["params"] / 1e6 or None),
        "memory, MB": _number(row["memory_mb"]),
        "file, MB": _number(row["size_mb"]),
        "learned from": (row["evidence"], _EVIDENCE.get(row["evidence"], row["evidence"])),
    }


def _number(value: float | None) -> Cell:
    if value is None or math.isnan(value):
        return None, ""
    return value, number_text(value)


def _point(
    row: Mapping[str, Any], setting: str, devices: Sequence[str], accuracy: float | None
) -> dict[str, Any]:
    """One mark of the picture."""
    return {
        "network": row["network"],
        "device": devices.index(row["hardware"]),
        "setting": setting,
        "latency": [row[end] for end in _ENDS],
        "measured": row["measured_ms"],
        "accuracy": accuracy,
    }


def _notes(rows: Sequence[Mapping[str, Any]], accuracies: Mapping[str, float | None]) -> list[str]:
    """Sentences on the meaning of the numbers, and why some are missing."""
    notes = [
        "A latency is that of one forward pass of the whole batch. It is predicted, and lies in "
        "its interval with a probability of 90 %. It was learned from measurements of other "
        "devices and this one's specification, or of this device too. Images a second follow from "
        "the predicted latency; MACs are multiply-accumulates for one image. Memory is that of the "
        "weights and the peak of the activations, file that of the parameters in this precision."
    ]
    sources = list(dict.fromkeys(row["source"] for row in rows if row["source"]))
    notes += [
        f"Measured: a published measurement of this network in this setting, {source}."
        for source in sources
    ]
    if any(value is not None for value in accuracies.values()):
        notes.append(
            "ImageNet top-1 was measured by timm's author on the 50,000 validation images; a name "
            "without its training, such as resnet50, has that of its best training."
        )
    if any(not math.isnan(row["energy_j"]) for row in rows):
        notes.append(
            "An energy is that of the same pass: the latency times a share of the board's power, "
            "which the meters of language models on seven GPUs tell."
        )
    reasons = dict.fromkeys(row["note"] for row in rows if row["note"])
    return notes + [f"{reason[0].upper()}{reason[1:]}." for reason in reasons]
