"""Rows that the commands beside `search` print, equal for JSON and for tables."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces import FiniteSpace, InputError
from nasplug.search_spaces import names as space_names
from nasplug.search_spaces import space as space_named

if TYPE_CHECKING:
    from nasplug.predictors.hardware import Hardware
    from nasplug.predictors.prediction import Prediction

__all__ = [
    "datasets",
    "devices",
    "importing",
    "predictions",
    "spaces",
    "specification",
    "verification",
]

Row = dict[str, Any]
_DIGITS = 6


def predictions(
    architectures: Sequence[str],
    space: str = "nb201",
    hardware: str | os.PathLike[str] | None = None,
    batch_size: int = 1,
    predictors: Sequence[str | os.PathLike[str]] = (),
    runtime: str | None = None,
) -> list[Row]:
    """Predict the accuracy on every data set, in %, and with hardware the latency, in ms.

    Args:
        architectures: Texts that the space parses.
        space: Name of the space.
        hardware: Name of a device, or the path of a .toml file.
        batch_size: Images a forward pass.
        predictors: Checkpoints to use instead of the package's own of the same kind.
        runtime: How networks are run, for a latency, as in `nasplug.predict`.

    Returns:
        A row for each architecture: `arch`, `arch_id`, `accuracy` (data set to mean, lower, upper;
        empty if no predictor knows accuracies of the space), `familiar` (whether the architecture
        is like those that the accuracy was learned from; None if the predictor does not tell),
        `latency_ms` (mean, lower, upper and whether these are `usable`, or None), and the source
        of the latency: `zero_shot`, and `evidence` as in `Prediction`.

    Raises:
        InputError: If an architecture, the space or the hardware is unknown.
    """
    from nasplug.arguments import checked_count
    from nasplug.devices.hardware import hardware as device_named
    from nasplug.predicting.zoo import in_runtime, predictors_for
    from nasplug.predictors.capabilities import TellsFamiliar

    named_space = space_named(space)
    checked_count(batch_size, "batch size")
    archs = [named_space.parse(text) for text in architectures]
    device = None if hardware is None else device_named(hardware)
    chosen = predictors_for(named_space, device is not None, predictors, all_needed=False)
    accuracy = latency = familiar = None
    if "accuracy" in chosen:
        accuracy = chosen["accuracy"].predict(archs)
        if isinstance(chosen["accuracy"], TellsFamiliar):
            familiar = chosen["accuracy"].familiar(archs)
    if runtime is not None:
        in_runtime(chosen, runtime)
    if "latency" in chosen:
        latency = chosen["latency"].predict(archs, device, batch_size)

    return [
        {
            "arch": arch.text,
            "arch_id": arch.arch_id,
            "accuracy": {}
            if accuracy is None
            else {t: _interval(accuracy, row, t) for t in accuracy.targets},
            "familiar": None if familiar is None else bool(familiar[row]),
            "latency_ms": None if latency is None else _interval(latency, row, "latency"),
            "zero_shot": None if latency is None else bool(latency.zero_shot),
            "evidence": None if latency is None else latency.evidence,
        }
        for row, arch in enumerate(archs)
    ]


def _interval(prediction: Prediction, row: int, target: str) -> Row:
    """Mean and ends of a predicted target; for a latency also whether these are usable."""
    from nasplug.predicting.intervals import is_usable

    k = prediction.column(target)
    ends = {end: float(getattr(prediction, end)[row, k]) for end in ("mean", "lower", "upper")}
    rounded: Row = {end: round(number, _DIGITS) for end, number in ends.items()}
    if target == "latency":
        rounded["usable"] = is_usable(ends["lower"], ends["upper"])
    return rounded


def spaces() -> list[Row]:
    """List the installed search spaces, with their sizes and data sets, and how each is searched.

    `search` tells whether a search scores the whole space or a pool of it, `quality` whether it
    maximises a predicted accuracy or a proxy.
    """
    from nasplug.candidates.pool import is_listed
    from nasplug.predicting.zoo import names as zoo_names

    shipped = zoo_names()
    rows = []
    for whole in space_names():
        union = space_named(whole)
        parts = {f"{whole}:{name}": part for name, part in union.parts.items()}
        for name, space in {whole: union, **parts}.items():
            rows.append(
                {
                    "name": name,
                    "architectures": len(space) if isinstance(space, FiniteSpace) else None,
                    "parameters": len(space.distributions()),
                    "datasets": list(space.tasks),
                    "search": "all of it" if is_listed(space) else "a pool",
                    "quality": "accuracy" if f"{name}-accuracy" in shipped else "a proxy",
                }
            )
    return rows


def devices(word: str | None = None) -> tuple[list[Row], list[str]]:
    """List the user's calibrated devices and those of the catalogue, or those that match a word.

    Args:
        word: Text to find in names, aliases, vendors, kinds and microarchitectures, without regard
            to case and spaces; `calibrated` matches the user's own devices.

    Returns:
        A row for each device, with `calibrated` a summary of its profile, or None for a device of
        the catalogue; and a sentence for each profile that is damaged.

    Raises:
        InputError: If no device contains the word.
    """
    from nasplug.devices import profiles
    from nasplug.devices.catalogue import catalogue, catalogue_names

    calibrated, damaged = profiles.every()
    summaries = {
        p.name: f"{len(p.measured.archs)} networks of {p.space} at batch {p.batch_size}"
        for p in calibrated
    }

    def plain(text: str) -> str:
        return "".join(text.lower().split())

    def contains(d: Hardware, part: str) -> bool:
        texts = (d.name, *d.aliases, d.vendor, d.kind, d.microarchitecture)
        texts += ("calibrated",) if d.name in summaries else ()
        return any(plain(part) in plain(text) for text in texts)

    matches = [d for d in (*calibrated, *catalogue()) if word is None or contains(d, word)]
    if not matches and word is not None:
        # Operating systems print names that --hw takes, but that no name of the catalogue contains.
        matches = [d for d in catalogue() if d.name in catalogue_names(word)]
    if not matches:
        raise InputError(
            f"no hardware in the catalogue contains {str(word)[:80]!r}; "
            "nasplug hardware lists all of it"
        )
    rows = [
        {
            "name": d.name,
            "vendor": d.vendor,
            "kind": d.kind,
            "microarchitecture": d.microarchitecture,
            "year": d.year,
            "fp32_tflops": d.peak_tflops["fp32"],
            "memory_bandwidth_gbs": d.memory_bandwidth_gbs,
            "memory_gb": d.memory_gb,
            "power_w": d.power_w,
            "calibrated": summaries.get(d.name),
        }
        for d in matches
    ]
    return rows, damaged


def specification(name: str) -> Row:
    """List all fields of one device.

    Raises:
        InputError: If there is no such device.
    """
    from nasplug.devices.hardware import hardware as device_named

    device = device_named(name)
    row = {field.name: getattr(device, field.name) for field in dataclasses.fields(device)}
    return {**row, "peak_tflops": dict(device.peak_tflops), "aliases": list(device.aliases)}


def datasets() -> list[Row]:
    """List the known data sets, and whether they can be loaded without the network."""
    from nasplug import datasets as data

    rows = []
    for name in data.names():
        entry = data.info(name)
        rows.append(
            {
                "name": name,
                "space": entry.space,
                "description": entry.description,
                "licence": entry.licence,
                "megabytes": round(entry.size / 1e6, 1),
                "available": data.available(name),
            }
        )
    return rows


def verification(name: str) -> list[Row]:
    """List the status of each cached file of a data set."""
    from nasplug import datasets as data

    return [{"file": file, "status": status} for file, status in data.verify(name)]


def importing(name: str, path: str | os.PathLike[str], progress: bool | None = None) -> Row:
    """Read and check the file of a data set that is downloaded by hand, and keep its table.

    Args:
        name: `"nb101-official"`.
        path: The file.
        progress: Whether to draw a progress bar on stderr; None draws it on a terminal only.

    Returns:
        Contents of the file: `file`, `cells`, `runs`, and the `epochs` of its trainings.

    Raises:
        InputError: If this data set is not read from a file, or the file is damaged or holds
            another data set; the sentence names the file and the record. Nothing is kept then.
    """
    from nasplug import datasets as data
    from nasplug.datasets.nasbench.official import means
    from nasplug.datasets.nasbench.table import NasbenchTable, cached_table
    from nasplug.datasets.store import keep

    entry = data.info(name)
    if name != "nb101-official":
        way = entry.manual or f"nasplug data fetch {name} gets it"
        raise InputError(f"{name} is not read by this command, but nb101-official is; {way}")

    def check(table: NasbenchTable, digest: str) -> None:
        if "final_energy" in table.runs:
            raise InputError(
                f"{path} is a file of EC-NAS ({len(table):,} cells, with energies), not one of "
                "NAS-Bench-101's own; nasplug data fetch ecnas-5v gets those"
            )
        keep(name, means(table, {Path(path).name: digest}))

    table = cached_table(Path(path), progress, check)
    return {
        "file": str(path),
        "cells": len(table),
        "runs": int(table.starts[-1]),
        "epochs": table.epochs.tolist(),
    }
