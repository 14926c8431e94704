"""Tables of several networks, devices or ways, for the commands predict and hardware."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasplug.commands.common import command_line, complain, print_json, print_table
from nasplug.search_spaces.errors import InputError
from nasplug.text import number_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "megabytes",
    "print_comparison",
    "print_devices_for",
    "split_sizes",
    "split_words",
    "watts",
]

_SUFFIXES = (".csv", ".json", ".html")
_ENDS = ("latency_ms", "lower_ms", "upper_ms")


def split_sizes(text: str | None) -> list[int]:
    """Parse a batch size, or several such as `"1,8,32"`; empty without a text.

    Raises:
        InputError: If a part is no whole number.
    """
    words = split_words(text)
    if not all(word.isdecimal() for word in words):
        raise InputError(f"{text!r} is no batch size; write one number, or several like 1,8,32")
    return [int(word) for word in words]


def split_words(text: str | None) -> list[str]:
    """Parse a word, or several such as `"fp32,fp16"`; empty without a text."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def print_comparison(
    networks: Sequence[str],
    devices: Sequence[str],
    sizes: Sequence[int],
    runtimes: Sequence[str],
    precisions: Sequence[str],
    *,
    unit: str | None,
    threads: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print networks side by side, and write them to a file.

    Raises:
        InputError: If a network cannot be read, a device is unknown, or nothing can be predicted.
    """
    from nasplug.predicting.comparison import compare

    if out is not None and out.suffix not in _SUFFIXES:
        raise InputError(
            f"{str(out)!r} ends in neither of {', '.join(_SUFFIXES)}; name such a file"
        )
    table = compare(
        list(networks),
        list(devices),
        batch_size=list(sizes) or None,
        runtime=list(runtimes) or None,
        precision=list(precisions) or None,
        unit=unit,
        threads=threads,
    )
    if out is not None:
        _write(table, out)
    if as_json:
        print_json(_rows(table))
        return
    print_table(_cells(table))
    for note in _notes(table):
        print(note)


def _write(table: pd.DataFrame, path: Path) -> None:
    import json

    from nasplug.search_spaces.files import write_text

    if path.suffix == ".html":
        from nasplug.reports.comparison_page import comparison_html

        text = comparison_html(table, command_line())
    elif path.suffix == ".csv":
        text = table.to_csv(index=False)
    else:
        text = json.dumps(_rows(table), indent=2) + "\n"
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(
            f"cannot write {str(path)!r} ({error.strerror or error}); give a file in a folder that "
            "can be written"
        ) from error
    complain(f"wrote {len(table)} rows to {path}")


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, with None for what is not known."""
    return [
        {str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in table.to_dict("records")
    ]


def _cells(table: pd.DataFrame) -> list[dict[str, str]]:
    """Rows of texts; without measurements or energies there is no column of them."""
    from nasplug.predicting.energy import JOULES, energy_text
    from nasplug.predicting.intervals import interval_of, is_usable, magnitude
    from nasplug.predictors.features.runtimes import Way, way_name

    rows = []
    records: list[dict[Any, Any]] = table.to_dict("records")
    for row in records:
        latency, interval, rate = "–", "", ""
        if not math.isnan(row["latency_ms"]):
            usable = is_usable(row["lower_ms"], row["upper_ms"])
            texts = [number_text(row[k]) if usable else magnitude(row[k]) for k in _ENDS]
            latency, interval = texts[0], f"{texts[1]}–{texts[2]}"
            rate = number_text(row["images_per_second"]) if usable else ""
        measured = row["measured_ms"]
        energy = "–"
        if not math.isnan(row["energy_j"]):
            energy = energy_text(interval_of([row[name] for name in JOULES], "J"), "–")
        way = Way(row["runtime"], row["precision"], row["unit"], row["threads"])
        rows.append(
            {
                "network": row["network"],
                "device": row["hardware"],
                "batch": str(row["batch_size"] or ""),
                "run in": way_name(way.text) if way.text else "",
                "latency ms": latency,
                "90 % interval": interval,
                "images/s": rate,
                "memory MB": "" if latency == "–" else number_text(row["memory_mb"]),
                "energy J": energy,
                "measured ms": "" if math.isnan(measured) else number_text(measured),
            }
        )
    for name, empty in (("measured ms", ""), ("energy J", "–")):
        if all(row[name] == empty for row in rows):
            for row in rows:
                del row[name]
    return rows


def _notes(table: pd.DataFrame) -> list[str]:
    """Sentences on rows: sources of what was measured, and why a number is missing."""
    sources = list(dict.fromkeys(filter(None, table["source"])))
    notes = [f"measured: this network in this setting, {source}" for source in sources]
    return notes + list(dict.fromkeys(filter(None, table["note"])))


def watts(text: str | None) -> float | None:
    """Parse a power such as `"30W"` or `"30"`.

    Raises:
        InputError: If it is none.
    """
    if text is None:
        return None
    try:
        return float(text.strip().rstrip("wW"))
    except ValueError:
        raise InputError(f"{text!r} is no power; write it like 30W") from None


def megabytes(text: str | None) -> float | None:
    """Parse an amount of memory such as `"512MB"` or `"1GB"`.

    Raises:
        InputError: If it is none.
    """
    from nasplug.candidates.constraints import parse_constraint

    return None if text is None else parse_constraint(f"memory<={text}").bound


def print_devices_for(network: str, options: Mapping[str, Any], as_json: bool) -> None:
    """Print the devices that run a network fast enough."""
    import nasplug
    from nasplug.predictors.features.runtimes import Way, way_name

    table = nasplug.devices_for(network, **options)
    if as_json:
        print_json(_rows(table))
        return
    rows = []
    for row in _rows(table):
        way = Way(row["runtime"], row["precision"], row["unit"])
        rows.append(
            {
                "device": row["hardware"],
                "kind": "board" if row["kind"] == "edge" else row["kind"],
                "year": str(row["year"]),
                "W": f"{row['power_w']:g}",
                "run in": way_name(way.text),
                "latency ms": number_text(row["latency_ms"]),
                "90 % interval": f"{number_text(row['lower_ms'])}–{number_text(row['upper_ms'])}",
                "images/s": number_text(row["images_per_second"]),
                "memory MB": number_text(row["memory_mb"]),
                "probability": f"{row['probability']:.2f}",
            }
        )
    print_table(rows)
    print(
        "probability: that the device is fast enough; W: thermal design power. Latencies are "
        "predicted; nasplug predict says what each rests on"
    )
