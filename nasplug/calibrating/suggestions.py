"""Which networks are worth measuring on a new device, before it is calibrated."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from nasplug.arguments import checked_count
from nasplug.calibrating.latency_predictor import latency_predictor
from nasplug.devices.hardware import hardware as device_named
from nasplug.predicting.few_shot import draw, expands, known_devices
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.search_spaces import space as space_named
from nasplug.search_spaces.files import write_text
from nasplug.text import shown_path

__all__ = ["next_step", "suggest_measurements", "write_suggestions"]

# Networks that are chosen from.
CANDIDATES = 600


def suggest_measurements(
    space: str | SearchSpace = "nb201",
    count: int = 10,
    *,
    hardware: str | os.PathLike[str] | Hardware | None = None,
    batch_size: int = 1,
    predictor: str | os.PathLike[str] | ArchitecturePredictor | None = None,
) -> list[Architecture]:
    """The networks of a space that say most of a device when they are measured on it.

    Args:
        space: The space, or its name.
        count: How many networks.
        hardware: The device, if it is described already.
        batch_size: Images a forward pass, in the measurements.
        predictor: A latency predictor to build on instead of the package's own.

    Returns:
        Different architectures, the most telling first; always the same.

    Raises:
        InputError: If the space or the hardware is unknown, there is no latency predictor for the
            space, or the space has fewer networks.

    Example:
        >>> import nasplug
        >>> archs = nasplug.suggest_measurements("nb201", 3)
        >>> len(archs), archs == nasplug.suggest_measurements("nb201", 3)
        (3, True)
    """
    where = space_named(space) if isinstance(space, str) else space
    checked_count(count, "number of networks")
    checked_count(batch_size, "batch size")
    device = None if hardware is None else device_named(hardware)
    found = latency_predictor(where, predictor)
    archs, graphs = draw(where, CANDIDATES, expands(found, where))
    transfer = DeviceTransfer(known_devices(found, device, batch_size, [where]))
    return [archs[k] for k in transfer.suggest(graphs, count)]


def write_suggestions(texts: Sequence[str], out: str | os.PathLike[str]) -> None:
    """Write architectures as `nasplug measure --archs` reads them.

    Args:
        texts: The architectures.
        out: The file: a line an architecture; or, if it ends in .csv, a table with the column
            `arch` and an empty column `latency_ms` to be filled in.

    Raises:
        InputError: If the file is there already, or cannot be written.
    """
    path = Path(out)
    # It may hold measurements by now.
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


def next_step(space: str, out: str | os.PathLike[str] | None) -> str:
    """How the suggested networks can be measured, in a sentence."""
    if space_named(space).writes_onnx:
        file = "FILE" if out is None else shown_path(Path(out))
        return (
            f"time them on the device with: nasplug measure --space {space} --archs {file} "
            "--out measured.csv"
        )
    return (
        "time them on the device by your own means, and write a .csv with the columns arch and "
        "latency_ms"
    )
