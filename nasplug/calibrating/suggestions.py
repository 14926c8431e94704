"""Suggestions of networks that are worth measuring on a new device, before it is calibrated."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from nasplug.arguments import can_export, checked_count, checked_space
from nasplug.calibrating.latency_predictor import latency_predictor
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.devices.hardware import hardware as device_named
from nasplug.predicting.few_shot import data_sheet, draw, expands, known_devices
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors.capabilities import reads_networks
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.calibrated_networks import located, processor_class
from nasplug.predictors.latency.departure_priors import departure_priors
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace
from nasplug.search_spaces.files import write_text
from nasplug.text import shown_path

__all__ = ["next_step", "suggest_measurements", "write_suggestions"]

# Number of cells to choose from, of whole networks, and of others that are to be predicted.
CANDIDATES, NETWORKS, OTHERS = 600, 150, 60
# All suggested whole networks can be timed in so many seconds, at so many runs each.
SECONDS, RUNS = 300.0, 33
# Device that stands for one that is not described.
USUAL = "Xeon Gold 6226"


def suggest_measurements(
    space: str | SearchSpace = "nb201",
    count: int = 10,
    *,
    hardware: str | os.PathLike[str] | Hardware | None = None,
    batch_size: int = 1,
    predictor: str | os.PathLike[str] | ArchitecturePredictor | None = None,
) -> list[Architecture]:
    """Suggest the networks of a space whose latencies tell most about a device.

    Whole networks are such that all can be timed in five minutes.

    Args:
        space: The space, or its name.
        count: Number of networks.
        hardware: The device, if it is described already.
        batch_size: Images a forward pass, in the measurements.
        predictor: A latency predictor to build on instead of the package's own.

    Returns:
        Different architectures, the most informative first; equal for equal arguments.

    Raises:
        InputError: If the space or the hardware is unknown, there is no latency predictor for the
            space, or the space has fewer networks.

    Example:
        >>> import nasplug
        >>> archs = nasplug.suggest_measurements("nb201", 3)
        >>> len(archs), archs == nasplug.suggest_measurements("nb201", 3)
        (3, True)
    """
    opened = checked_space(space)
    checked_count(count, "number of networks")
    checked_count(batch_size, "batch size")
    device = None if hardware is None else device_named(hardware)
    base = latency_predictor(opened, predictor)
    if reads_networks(base.model):
        return _networks(base, opened, count, device or device_named(USUAL), batch_size)
    archs, graphs = draw(opened, CANDIDATES)
    transfer = DeviceTransfer(known_devices(base, device, batch_size, [opened]))
    return [archs[k] for k in transfer.suggest(graphs, count)]


def _networks(
    predictor: ArchitecturePredictor,
    space: SearchSpace,
    count: int,
    device: Hardware,
    batch_size: int,
) -> list[Architecture]:
    """Whole networks that can be timed in `SECONDS` and tell most about networks of all kinds."""
    archs, graphs = draw(space, NETWORKS, expands(predictor, space))
    setting = Setting(device, batch_size)
    ms = np.exp(data_sheet(predictor.model)(graphs, [setting] * len(graphs))[0])
    if not 0 < count <= len(graphs):
        raise InputError(f"cannot choose {count} of {len(graphs)} networks of {space.name}")
    is_fast = ms * RUNS <= 1000 * SECONDS / count
    quick = np.flatnonzero(is_fast) if is_fast.sum() >= count else np.argsort(ms)[:count]
    others = _others()
    prior = departure_priors()[processor_class(setting)]
    chosen = prior.design(
        located([graphs[k] for k in quick], [setting] * len(quick)),
        located(others, [setting] * len(others)),
        count,
    )
    return [archs[quick[k]] for k in chosen]


@cache
def _others() -> list[Graph]:
    """Networks of many families, such as a user may ask for."""
    networks = shipped_network_graphs()
    order = np.random.default_rng(0).permutation(len(networks))[:OTHERS]
    return [networks.graph(networks.references[k]) for k in order.tolist()]


def write_suggestions(texts: Sequence[str], out: str | os.PathLike[str]) -> None:
    """Write architectures to a file that `nasplug measure --archs` reads.

    Args:
        texts: The architectures.
        out: Path of the file, with one architecture a line; if it ends in .csv, a table with the
            column `arch` and an empty column `latency_ms` to be filled in.

    Raises:
        InputError: If the file exists already, or cannot be written.
    """
    path = Path(out)
    # An existing file may hold measurements.
    if os.path.lexists(path):
        raise InputError(f"{shown_path(path)} exists; give a new file")
    buffer = io.StringIO()
    if path.suffix == ".csv":
        rows = csv.writer(buffer, lineterminator="\n")
        rows.writerow(["arch", "latency_ms"])
        rows.writerows([text, ""] for text in texts)
    else:
        buffer.writelines(f"{text}\n" for text in texts)
    try:
        write_text(path, buffer.getvalue())
    except OSError as error:
        raise InputError(f"cannot write {shown_path(path)} ({error.strerror})") from None


def next_step(space: SearchSpace, out: str | os.PathLike[str] | None, words: str) -> str:
    """Say in a sentence how to measure the suggested networks.

    Args:
        space: Their space.
        out: File with the networks.
        words: What follows `--space` in a command.
    """
    if can_export(space):
        file = "FILE" if out is None else shown_path(Path(out))
        return (
            f"next, measure them on the device: nasplug measure --space {words} --archs {file} "
            "--out measured.csv"
        )
    return (
        "next, measure them on the device with your own tools, and write a .csv file with the "
        "columns arch and latency_ms"
    )
