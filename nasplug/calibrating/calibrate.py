"""Calibration of a user's own device by a few measurements, as `nasplug calibrate` does it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.arguments import OWN_NETWORKS, checked_count, checked_space
from nasplug.arrays import Array
from nasplug.calibrating.calibrated_device import BEYOND, MOST, CalibratedDevice
from nasplug.calibrating.latency_predictor import latency_predictor
from nasplug.calibrating.measurements import LatencyTable, read_latencies
from nasplug.devices import profiles
from nasplug.devices.hardware import hardware as device_named
from nasplug.predicting.few_shot import (
    SMALLEST_MS,
    asked_settings,
    data_sheet,
    drawn,
    is_connected,
    measured_device,
)
from nasplug.predicting.zoo import NETWORK_LATENCY, ArchitecturePredictor, load_predictor
from nasplug.predictors.capabilities import reads_networks
from nasplug.predictors.features.runtimes import Way, check_way, exists
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.calibrated_networks import CalibratedNetworks
from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks, Run
from nasplug.predictors.latency.few_shot import FEWEST, MOST_ALONE
from nasplug.predictors.latency.measured_device import END, LeftOut, MeasuredDevice
from nasplug.search_spaces import Graph, InputError, SearchSpace
from nasplug.search_spaces import names as space_names
from nasplug.text import shown_path

if TYPE_CHECKING:
    import pandas as pd

    from nasplug.measuring import MeasurementSet

__all__ = ["CalibratedDevice", "calibrate"]

UNITS = {"ms": 1.0, "s": 1000.0, "us": 0.001}
# A column in another unit is a thousand times off, while the description of a device predicts
# latencies within a factor of ten. Latencies that are a hundred times off, and within a factor of
# ten in another unit, are refused; for an honest device so far from its data sheet the user states
# the unit.
SUSPICIOUS, PLAUSIBLE = 100.0, 10.0
# Measurements whose left-out error is larger than this times that of the data sheet are refused;
# errors of a few measurements differ by less without a reason.
WORSE = 1.1


def calibrate(
    hardware: str | os.PathLike[str] | Hardware,
    measurements: str | os.PathLike[str] | pd.DataFrame | MeasurementSet,
    space: str | SearchSpace = "nb201",
    *,
    name: str | None = None,
    batch_size: int | None = None,
    unit: str | None = None,
    predictor: str | os.PathLike[str] | ArchitecturePredictor | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> CalibratedDevice:
    """Learn a device from a few measured networks, and save it as a device profile.

    The profile is saved in the user's data folder; every `hardware=` takes its name from then on.

    Args:
        hardware: Description of the device: the path of a .toml file, a `Hardware`, a device of the
            catalogue that the user has measured anew, or an earlier profile.
        measurements: A CSV file with columns `arch` and `latency_ms`, such as `nasplug measure`
            writes, of architectures or of the user's own ONNX files; a pandas frame; or the result
            of `nasplug.measure`.
        space: The space of the architectures, or its name; not used if they are ONNX files.
        name: Name of the profile; the description's name if None.
        batch_size: Images a forward pass; needed if the table has several batch sizes.
        unit: `"ms"`, `"s"` or `"us"`, the unit of the column; None for ms with a check that the
            latencies do not look like seconds or microseconds.
        predictor: A latency predictor to build on instead of the package's own.
        out: A .json file to save the profile in, instead of the user's data folder.
        force: Whether to save a profile even if it predicts left-out measurements worse than the
            data sheet alone.

    Raises:
        InputError: If the device, the space, a row of the table or its ONNX file cannot be read, a
            file has changed since it was measured, fewer than three usable networks remain, the
            unit looks wrong, the name is taken by the catalogue, the measurements make predictions
            worse, or the profile cannot be written.

    Example:
        >>> import pandas as pd
        >>> import nasplug
        >>> space = nasplug.space("nb201")
        >>> archs = [space[k] for k in range(0, 15625, 1500)]
        >>> known = nasplug.load_predictor("nb201-latency").predict(archs, "GTX 1080 Ti").mean[:, 0]
        >>> table = pd.DataFrame({"arch": map(str, archs), "latency_ms": 1.5 * known})  # or yours
        >>> device = nasplug.calibrate("RTX 3090", table, space, name="My GPU", out="mine.json")
        >>> device.profile.name, device.rows
        ('My GPU', 11)
    """
    opened = checked_space(space)
    described = device_named(hardware)
    _check_options(unit, batch_size)
    device = _renamed(described, name)
    path = _target(device.name, out)
    table = read_latencies(measurements, opened, batch_size, UNITS[unit or "ms"])
    if table.graphs:
        if not opened.has_networks and any(arch.space == opened.name for arch in table.archs):
            raise InputError(
                f"{table.source} has cells of space {opened.name} beside whole networks; calibrate "
                "by a table of either"
            )
        predictor = NETWORK_LATENCY if predictor is None else predictor
        opened = opened if opened.has_networks else load_predictor(NETWORK_LATENCY).space
    base = latency_predictor(opened, predictor)
    table = replace(table, runs=_possible(table, device))
    graphs = _graphs(base, table)
    promised = np.empty(0)
    if graphs:
        settings = [Setting.of(device, run.batch_size, run.way) for run in table.runs]
        promised = np.exp(data_sheet(base.model)(graphs, settings)[0])
    if unit is None:
        _check_unit(table, promised)
    usable, left_out = _usable(table, graphs)
    measured = MeasuredNetworks(
        tuple(table.archs[k].text for k in usable),
        table.latencies[usable],
        tuple(graphs[k] for k in usable),
        tuple(table.runs[k] for k in usable),
    )
    networks = _networks_of(table, checked_space(space))
    profile = DeviceProfile(device, networks, table.batch_size, measured)
    result = _assessed(profile, path, base, table, left_out, promised[usable], force)
    profiles.write(profile, path, _origin(result, base, table))
    return result


def _networks_of(table: LatencyTable, space: SearchSpace) -> str:
    """Name of the measured networks in a profile.

    A space that no other process can open by its name, such as that of a function, has networks of
    no space.
    """
    is_known = table.space != space.name or space.name.partition(":")[0] in space_names()
    return table.space if is_known or not space.has_networks else OWN_NETWORKS[-1]


def _possible(table: LatencyTable, device: Hardware) -> list[Run]:
    """Runs of a table; a way that its description tells, and that the device lacks, is left out.

    Raises:
        InputError: If a row itself tells a way in which the device runs nothing.
    """
    for way in dict.fromkeys(run.way for run in table.runs):
        try:
            check_way(device, way)
        except InputError as error:
            if way != table.told_way:
                raise InputError(f"{table.source}: {error}") from None
    told = table.told_way if exists(device, table.told_way) else Way()
    return [run._replace(way=told) if run.way == table.told_way else run for run in table.runs]


def _graphs(predictor: ArchitecturePredictor, table: LatencyTable) -> list[Graph]:
    """Graph of each network, as the predictor reads it."""
    if not reads_networks(predictor.model):
        sizes = sorted({run.batch_size for run in table.runs})
        if len(sizes) > 1:
            raise InputError(
                f"{table.source} has rows of batch sizes {', '.join(map(str, sizes))}; choose one "
                "with --batch-size"
            )
    return predictor.graphs([table.graphs.get(arch.text, arch) for arch in table.archs])


def _check_options(unit: str | None, batch_size: int | None) -> None:
    if unit is not None and unit not in UNITS:
        raise InputError(f"unknown unit {unit!r}; known: {', '.join(UNITS)}")
    if batch_size is not None:
        checked_count(batch_size, "batch size")


def _assessed(
    profile: DeviceProfile,
    path: Path,
    predictor: ArchitecturePredictor,
    table: LatencyTable,
    left_out: Mapping[str, int],
    promised: Array,
    force: bool,
) -> CalibratedDevice:
    """Assess a profile by leaving measurements out, beside the data sheet's predictions in ms.

    Raises:
        InputError: If the profile predicts worse than the data sheet, unless `force` is set.
    """
    measured = profile.measured
    device = measured_device(predictor, profile)
    held_out = device.left_out()
    if not force:
        _check_worth(held_out, table.source)
    return CalibratedDevice(
        profile,
        path,
        path.exists(),
        table.rows,
        left_out,
        table.repeated,
        _mape(np.exp(held_out.mean), measured.latencies),
        _spearman(held_out.mean, held_out.logs),
        int((np.abs(held_out.logs - held_out.mean) <= END * held_out.std).sum()),
        "each alone" if len(measured.archs) <= MOST_ALONE else "a tenth at a time",
        _interval_factor(device, predictor, held_out, profile),
        float(np.median(measured.latencies / promised)),
        _mape(promised, measured.latencies),
        held_out.factors,
    )


def _origin(
    result: CalibratedDevice, predictor: ArchitecturePredictor, table: LatencyTable
) -> dict[str, Any]:
    """Describe for the profile's file how it was made."""
    calibration = result.to_json()
    for key in ("file", "replaced", "sha256"):
        del calibration[key]
    return {
        "date": date.today().isoformat(),
        "nasplug": version("nasplug"),
        "predictor": {"name": predictor.name, "sha256": predictor.sha256},
        "measurements": {"source": table.source, "sha256": table.sha256},
        "calibration": calibration,
    }


def _renamed(hardware: Hardware, name: str | None) -> Hardware:
    """Rename a description to the name of the profile."""
    new_name = hardware.name if name is None else name.strip()
    profiles.check_name(new_name)
    content = {field.name: getattr(hardware, field.name) for field in fields(Hardware)}
    # Aliases are names in a catalogue; a profile has one name.
    return Hardware(**{**content, "name": new_name, "aliases": ()})


def _target(name: str, out: str | os.PathLike[str] | None) -> Path:
    """Path to save the profile at; only an older profile may be overwritten."""
    if out is None:
        path = profiles.path_of(name)
        assert path is not None
        return path
    path = Path(out)
    where = shown_path(path)
    if path.suffix != ".json":
        raise InputError(
            f"{where} cannot be the file of a device profile; give a name that ends in .json"
        )
    if os.path.lexists(path):
        try:
            profiles.read(path)
        except InputError:
            raise InputError(
                f"{where} exists and is not a device profile; give another file"
            ) from None
    return path


def _check_unit(table: LatencyTable, promised: Array) -> None:
    """Refuse latencies that are implausible in ms and plausible in another unit."""
    if not len(promised):
        return
    ratio = float(np.median(table.latencies / promised))
    for unit, word in (("s", "seconds"), ("us", "microseconds")):
        in_unit = ratio * UNITS[unit]
        deviation = ratio if UNITS[unit] < 1 else 1 / ratio
        if deviation > SUSPICIOUS and 1 / PLAUSIBLE <= in_unit <= PLAUSIBLE:
            raise InputError(
                f"{table.source}: latency_ms must be in ms, but its values look like {word}: "
                f"their median is {np.median(table.latencies):.3g}, and the data sheet of the "
                f"device predicts {np.median(promised):.3g} ms; give --unit {unit} if they are "
                f"{word}, or --unit ms if they are in ms"
            )


def _check_worth(held_out: LeftOut, source: str) -> None:
    """Refuse measurements that make predictions worse than the data sheet alone."""
    by_profile, by_sheet = held_out.factors
    if by_profile > WORSE * by_sheet:
        raise InputError(
            f"{source}: the data sheet alone predicts these measurements better (off by a factor "
            f"of {by_sheet:.3g} on average) than they predict each other ({by_profile:.3g}); "
            "measure again on an idle machine, measure other networks, or save the profile "
            "anyway with --force"
        )


def _usable(table: LatencyTable, graphs: list[Graph]) -> tuple[NDArray[np.intp], dict[str, int]]:
    """Positions of the networks to learn from, and the reasons for leaving rows out."""
    left_out = dict(table.left_out)
    is_usual = (table.latencies >= SMALLEST_MS) & np.array([is_connected(g) for g in graphs], bool)
    usable = np.flatnonzero(is_usual)
    if len(usable) < len(graphs):
        left_out["degenerate"] = len(graphs) - len(usable)
    if len(usable) < FEWEST:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        meaning = f"; degenerate: below {SMALLEST_MS} ms or not connected"
        keeping = ", or let disturbed rows count with nasplug measure --keep-disturbed"
        raise InputError(
            f"{table.source} has {len(usable)} usable networks in {table.rows} "
            f"rows{f' ({reasons})' if reasons else ''}{meaning * ('degenerate' in left_out)}; "
            f"measure at least {FEWEST}, better ten{keeping * ('disturbed' in left_out)}"
        )
    if len(usable) > MOST:
        left_out[BEYOND] = len(usable) - MOST
        usable = np.sort(np.random.default_rng(0).permutation(usable)[:MOST])
    return usable, left_out


def _mape(predicted: Array, measured: Array) -> float:
    return float(100 * np.mean(np.abs(predicted / measured - 1)))


def _spearman(predicted: Array, measured: Array) -> float | None:
    """Rank correlation; None where it would mean nothing."""
    from scipy.stats import spearmanr

    if len(measured) < 5 or np.ptp(measured) == 0 or np.ptp(predicted) == 0:
        return None
    return float(spearmanr(predicted, measured)[0])


def _interval_factor(
    device: MeasuredDevice | CalibratedNetworks,
    predictor: ArchitecturePredictor,
    held_out: LeftOut,
    profile: DeviceProfile,
) -> float:
    """Factor between a prediction and either end of its interval, the median over networks.

    The networks are drawn from the space. Networks of no space, or of several, are the measured
    ones, each left out.
    """
    if profile.space in OWN_NETWORKS:
        return float(np.exp(END * np.median(held_out.std)))
    graphs = drawn(predictor, predictor.space)[:100]
    if isinstance(device, CalibratedNetworks):
        settings = asked_settings(profile, len(graphs), profile.batch_size, None)
        prediction = device.predict(graphs, settings)
    else:
        prediction = device.predict(graphs)
    return float(np.median(np.sqrt(prediction.upper / prediction.lower)))
