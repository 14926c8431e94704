"""Commands that list spaces, devices and data sets: spaces, hardware and data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from nasplug._signals import STOPPED, stoppable
from nasplug.commands.common import (
    Debug,
    Json,
    Precision,
    Runtime,
    Unit,
    command,
    complain,
    print_fields,
    print_rows,
)
from nasplug.commands.comparing import megabytes, print_devices_for, watts
from nasplug.search_spaces.errors import InputError
from nasplug.text import counted

if TYPE_CHECKING:
    from nasplug.datasets.nasbench.table import NasbenchTable
    from nasplug.predictors.hardware import Hardware, Processor
    from nasplug.search_spaces import SearchSpace

__all__ = [
    "data_fetch",
    "data_import",
    "data_list",
    "data_verify",
    "hardware_list",
    "hardware_show",
    "spaces",
]

DataSet = Annotated[str, Argument(help="Data set; nasplug data list shows them.")]
# Columns of the list of devices, beside the rate of fp32 and the calibration.
_DESCRIBED = ("name", "vendor", "kind", "microarchitecture", "year")
_FIGURES = ("memory_bandwidth_gbs", "memory_gb", "power_w")


@command
def spaces(as_json: Json = False, debug: Debug = False) -> None:
    """List the search spaces."""
    from nasplug.candidates.pool import is_listed
    from nasplug.search_spaces import FiniteSpace, names, space

    unions = {name: space(name) for name in names()}
    rows = [
        {
            "name": name,
            "architectures": len(part) if isinstance(part, FiniteSpace) else None,
            "parameters": len(part.distributions()),
            "datasets": list(part.tasks),
            # Whether a search scores the whole space, and what it maximises.
            "search": "all of it" if is_listed(part) else "a pool",
            "quality": _quality(part),
        }
        for whole, union in unions.items()
        for name, part in {whole: union, **_parts(whole, union)}.items()
    ]
    print_rows(rows, as_json)


def _quality(space: SearchSpace) -> str:
    from nasplug.predicting.zoo import is_known, is_structural

    if is_structural(space):
        return "accuracy, from other networks"
    return space.quality if is_known(space, space.quality) else "a proxy"


def _parts(whole: str, union: SearchSpace) -> dict[str, SearchSpace]:
    """Parts of a space, and spaces that are opened under its name, such as `gpt:s`."""
    from nasplug.search_spaces import space

    others = [f"{whole}:{name}" for name in getattr(union, "scales", ())]
    parts = {f"{whole}:{name}": part for name, part in union.parts.items()}
    return parts | {name: space(name) for name in others}


@command
def hardware_list(
    words: Annotated[
        list[str] | None, Argument(help="Show only devices whose description contains these words.")
    ] = None,
    here: Annotated[
        bool, Option("--here", help="Name the processors of this machine instead.")
    ] = False,
    network: Annotated[
        str | None,
        Option(
            "--for",
            metavar="NETWORK",
            help="Show devices that run this network fast enough, least power first: an .onnx "
            "file, or a name such as timm:resnet50.",
        ),
    ] = None,
    fps: Annotated[
        float | None, Option(help="With --for: lowest number of images a second.")
    ] = None,
    latency: Annotated[
        float | None, Option(metavar="MS", help="With --for: longest latency in ms.")
    ] = None,
    memory: Annotated[
        str | None,
        Option(
            metavar="BYTES",
            help="With --for: highest memory of the network's forward pass, such as 512MB; also "
            "leaves out devices that have less.",
        ),
    ] = None,
    power: Annotated[
        str | None, Option(metavar="WATTS", help="With --for: highest power, such as 30W.")
    ] = None,
    kind: Annotated[
        str | None, Option(help="With --for: gpu, cpu, board, phone or accelerator.")
    ] = None,
    year: Annotated[
        int | None, Option(help="With --for: earliest year in which a device came out.")
    ] = None,
    batch_size: Annotated[
        int | None,
        Option(
            help="With --for: images per forward pass; if left out one, or the fixed batch of the "
            "network."
        ),
    ] = None,
    runtime: Runtime = None,
    precision: Precision = None,
    unit: Unit = None,
    probability: Annotated[
        float, Option(help="With --for: lowest probability of being fast enough.")
    ] = 0.5,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List your calibrated devices and the catalogue, or only the devices that match some words;
    with --here name this machine, with --for list devices that run a network fast enough."""
    from nasplug.arguments import OWN_NETWORKS
    from nasplug.devices import profiles

    limits = {"latency_ms": latency, "images_per_second": fps, "kind": kind, "year": year}
    way = {"runtime": runtime, "precision": precision, "unit": unit}
    if network is not None:
        if words or here:
            raise InputError("--for takes no words and no --here; leave one of both out")
        more = {"power_w": watts(power), "batch_size": batch_size, "probability": probability}
        more["memory_mb"] = megabytes(memory)
        print_devices_for(network, limits | more | way, as_json)
        return
    given = {"--power": power, "--fps": fps, "--latency": latency, "--memory": memory}
    given |= {"--kind": kind, "--year": year}
    alone = next((n for n, v in {**given, **_options(way)}.items() if v is not None), None)
    if alone is not None:
        raise InputError(f"{alone} needs a network; name one with --for")
    if here:
        if words:
            raise InputError("--here names this machine and takes no words; leave one of both out")
        _print_this_machine(as_json)
        return
    calibrated, damaged = profiles.every()
    summaries = {
        p.name: counted(len(p.measured.archs), "network")
        + ("" if p.space in OWN_NETWORKS else f" of {p.space}")
        + f" at batch {p.batch_size}"
        for p in calibrated
    }
    rows = [
        {
            **{name: getattr(device, name) for name in _DESCRIBED},
            "fp32_tflops": device.peak_tflops["fp32"],
            **{name: getattr(device, name) for name in _FIGURES},
            "calibrated": summaries.get(device.name),
        }
        for device in _matching(" ".join(words or ()), calibrated)
    ]
    print_rows(rows, as_json)
    for sentence in damaged:
        complain(sentence)


def _options(way: Mapping[str, Any]) -> dict[str, Any]:
    return {f"--{name}": value for name, value in way.items()}


def _print_this_machine(as_json: bool) -> None:
    from nasplug.measuring.this_machine import processors

    rows = [
        {
            "source": processor.source,
            "prints": processor.name,
            "device": processor.device and processor.device.name,
            "advice": processor.advice,
        }
        for processor in processors()
    ]
    print_rows(rows, as_json)


def _matching(text: str, calibrated: Sequence[Hardware]) -> list[Hardware]:
    """Select the devices whose names, aliases or other texts contain all words of a text.

    Case, spaces and hyphens do not matter, so that "orin" and "jetson orin" find the Jetson AGX
    Orin. `calibrated` matches the user's own devices.

    Raises:
        InputError: If no device does.
    """
    from nasplug.devices.catalogue import catalogue
    from nasplug.devices.names import meaning

    def plain(text: str) -> str:
        return "".join(character for character in text.lower() if character not in " -_")

    def described(device: Hardware) -> list[str]:
        own = ("calibrated",) if device in calibrated else ()
        about = (device.vendor, device.kind, device.microarchitecture, device.source)
        return [plain(t) for t in (device.name, *device.aliases, *about, *own)]

    devices = [*calibrated, *catalogue()]
    texts = [described(device) for device in devices]
    # The words as one, as in "gtx 1080", find fewer than each of them anywhere.
    for parts in ([text], text.split()):
        matches = [
            device
            for device, known in zip(devices, texts, strict=True)
            if all(any(plain(part) in t for t in known) for part in parts)
        ]
        if matches:
            return matches
    # Operating systems print names that --hw takes, but that no name of the catalogue contains.
    match = meaning(text)
    if match.reason:
        raise InputError(f"{text[:80]!r} {match.question}")
    if not match.devices:
        raise InputError(
            f"no device in the catalogue contains {text[:80]!r}; nasplug hardware lists all devices"
        )
    return list(match.devices)


@command
def hardware_show(
    name: Annotated[
        str,
        Argument(
            help="Name or alias of a device, a name that a system prints, a cloud instance type, "
            "or the path of a .toml file."
        ),
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show all figures of one device."""
    from nasplug.devices.hardware import hardware
    from nasplug.predictors.hardware import as_data

    device = hardware(name)
    # A calibrated device has more fields than a description.
    row = {field.name: getattr(device, field.name) for field in dataclasses.fields(device)}
    row |= {"processors": []} | as_data(device)
    if device.processors and not as_json:
        row["processors"] = "\n".join(map(_processor, device.processors))
    print_fields(row, as_json)


def _processor(part: Processor) -> str:
    """A processor in words, such as "cpu: 3 Cortex-A76 at 2.42 GHz (TFLOPS fp32 0.116)"."""
    units = f"{part.units} " if part.kind == "cpu" else ""
    peaks = ", ".join(f"{precision} {peak:g}" for precision, peak in part.peak_tflops.items())
    return (
        f"{part.kind}: {units}{part.microarchitecture} at {part.clock_ghz:g} GHz (TFLOPS {peaks})"
    )


@command
def data_list(as_json: Json = False, debug: Debug = False) -> None:
    """List the data sets."""
    from nasplug import datasets

    rows = [
        {
            "name": name,
            "space": entry.space,
            "description": entry.description,
            "licence": entry.licence,
            "megabytes": round(entry.size / 1e6, 1),
            "available": datasets.available(name),
        }
        for name, entry in ((name, datasets.info(name)) for name in datasets.names())
    ]
    print_rows(rows, as_json)


@command
def data_fetch(name: DataSet, as_json: Json = False, debug: Debug = False) -> None:
    """Download a data set, check it and import it."""
    from nasplug import datasets

    with stoppable(
        lambda: f"{STOPPED}; complete files are kept, and the same command fetches the others"
    ):
        paths = datasets.fetch(name)
    print_rows([{"file": str(path)} for path in paths], as_json)


@command
def data_import(
    name: Annotated[str, Argument(help="Data set that you downloaded by hand.")],
    path: Annotated[Path, Argument(help="The downloaded file.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check and import a file that you downloaded by hand, such as NAS-Bench-101's."""
    with stoppable(lambda: f"{STOPPED}; the same command reads the file again"):
        row = _import(name, path)
    print_rows([row], as_json)


def _import(name: str, path: Path) -> dict[str, Any]:
    """Read and check the file of a data set that is downloaded by hand, and keep its table.

    Raises:
        InputError: If this data set is not read from a file, or the file is damaged or holds
            another data set; the sentence names the file and the record. Nothing is kept then.
    """
    from nasplug import datasets
    from nasplug.datasets.nasbench.official import means
    from nasplug.datasets.nasbench.table import cached_table
    from nasplug.datasets.store import keep

    entry = datasets.info(name)
    if name != "nb101-official":
        way = entry.manual or (
            "the package holds it" if entry.shipped else f"fetch it with nasplug data fetch {name}"
        )
        raise InputError(f"this command imports nb101-official only, not {name}; {way}")

    def check(table: NasbenchTable, digest: str) -> None:
        if "final_energy" in table.runs:
            raise InputError(
                f"{path} is a file of EC-NAS ({len(table):,} cells, with energies), not of "
                "NAS-Bench-101; fetch EC-NAS with nasplug data fetch ecnas-5v"
            )
        keep(name, means(table, {path.name: digest}))

    table = cached_table(path, None, check)
    return {
        "file": str(path),
        "cells": len(table),
        "runs": int(table.starts[-1]),
        "epochs": table.epochs.tolist(),
    }


@command
def data_verify(name: DataSet, as_json: Json = False, debug: Debug = False) -> None:
    """Check the cached files of a data set; the exit code is 1 if one is damaged or missing."""
    from nasplug import datasets

    rows = [{"file": file, "status": status} for file, status in datasets.verify(name)]
    print_rows(rows, as_json)
    if any(row["status"] != "ok" for row in rows):
        raise Exit(1)
