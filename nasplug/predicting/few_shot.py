"""Calibrated devices: latency predictors of the package adapted by a few measurements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nasplug.arguments import OWN_NETWORKS
from nasplug.devices.catalogue import catalogue
from nasplug.predictors.capabilities import KnowsDevices, KnowsRuntimes, reads_networks
from nasplug.predictors.features.runtimes import parse_way
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.calibrated_networks import CalibratedNetworks, DataSheet
from nasplug.predictors.latency.departure_priors import departure_priors
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.predictors.latency.known_devices import PredictedDevices
from nasplug.predictors.latency.measured_device import MeasuredDevice
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace
from nasplug.search_spaces import space as space_named
from nasplug.search_spaces.simplify import simplify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nasplug.predictors.hardware import Hardware
    from nasplug.predictors.latency.device_profile import DeviceProfile
    from nasplug.predictors.prediction import Prediction

__all__ = [
    "SMALLEST_MS",
    "asked_settings",
    "calibrated",
    "data_sheet",
    "device_columns",
    "draw",
    "drawn",
    "expands",
    "familiar",
    "is_connected",
    "known_devices",
    "measured_device",
    "predict_few_shot",
    "promise",
]

# Latency below which no connected network runs; a shorter one is no network's.
SMALLEST_MS = 0.01
# Number of networks that set the scales, fewer where they are whole networks.
POOL, SCORED = 300, 120
# Largest number of known columns and devices; more of them add nothing.
MOST_COLUMNS, MOST_DEVICES = 24, 12
# Half-width (log ms) of the 90 % interval around a data sheet's prediction by a predictor without
# residuals on unseen devices: a factor of ten.
UNTOLD = float(np.log(10.0))
# Number of draws a network without a new one after which a space counts as exhausted.
_MOST_DRAWS = 20


class SpacePredictor(Protocol):
    """Protocol of the parts of an `ArchitecturePredictor` that a calibrated device needs."""

    name: str
    space: SearchSpace
    calibrated: dict[str, MeasuredDevice | CalibratedNetworks]

    @property
    def model(self) -> Any:
        """The predictor of graphs."""


def device_columns(predictor: SpacePredictor, batch_size: int) -> list[Setting]:
    """Devices of the catalogue that a predictor was trained on, near batch sizes first.

    Raises:
        InputError: If the predictor does not know latencies on several devices.
    """
    model = predictor.model
    by_name = {device.name: device for device in catalogue()}
    columns: list[Setting] = []
    for key in model.devices if isinstance(model, KnowsDevices) else ():
        name, _, setting = key.rpartition("@")
        size, _, runtime = setting.partition(" ")
        # Latencies in another runtime do not count.
        if name in by_name and size.isdecimal() and not runtime:
            columns.append(Setting(by_name[name], int(size)))
    if len(columns) < 2:
        raise InputError(
            "a calibration needs a predictor of several devices of the catalogue, and "
            f"{predictor.name!r} is not one; leave it out"
        )
    columns.sort(key=lambda column: abs(np.log(column.batch_size / batch_size)))
    if not reads_networks(model):
        return columns[:MOST_COLUMNS]
    # Whole networks take time for each column, and batch sizes of one device are much alike.
    nearest: dict[str, Setting] = {}
    for column in columns:
        nearest.setdefault(column.hardware.name, column)
    devices = list(nearest.values())
    chosen = np.linspace(0, len(devices) - 1, min(MOST_DEVICES, len(devices))).round()
    return [devices[int(k)] for k in chosen]


def is_connected(graph: Graph) -> bool:
    """Whether a network's output depends on its input; only then its latency is representative."""
    return len(simplify(graph).edges) > 0


@lru_cache(maxsize=8)
def draw(
    space: SearchSpace, count: int = POOL, expand: bool = False
) -> tuple[tuple[Architecture, ...], list[Graph]]:
    """Draw different connected networks of a space with a fixed seed, and make their graphs.

    A small space gives as many as it has. With `expand` cells are expanded to whole networks.
    """
    make = space.to_network if expand else space.to_graph
    rng = np.random.default_rng(0)
    seen: set[str] = set()
    archs: list[Architecture] = []
    graphs: list[Graph] = []
    for _ in range(_MOST_DRAWS * count):
        if len(archs) == count:
            break
        arch = space.sample(rng)
        if arch.text in seen:
            continue
        seen.add(arch.text)
        graph = make(arch)
        if is_connected(graph):
            archs.append(arch)
            graphs.append(graph)
    return tuple(archs), graphs


def expands(predictor: SpacePredictor, space: SearchSpace) -> bool:
    """Whether a predictor reads the whole networks of a space whose graphs are cells."""
    return reads_networks(predictor.model) and not space.whole_networks


def drawn(predictor: SpacePredictor, space: SearchSpace) -> list[Graph]:
    """Make the graphs of drawn networks that a predictor reads; see `draw`."""
    return draw(space, expand=True)[1] if expands(predictor, space) else draw(space)[1]


def known_devices(
    predictor: SpacePredictor,
    hardware: Hardware | None,
    batch_size: int,
    spaces: Sequence[SearchSpace],
) -> PredictedDevices:
    """Collect a predictor's latencies on the devices it was trained on, and on the new device.

    The device is None if it is not described. The spaces are those of the measured networks and of
    those to predict.

    Raises:
        InputError: If the predictor knows no devices, or the batch size is out of range.
    """
    # A predictor of whole networks is slow.
    count = SCORED if reads_networks(predictor.model) else POOL
    graphs = [g for space in dict.fromkeys(spaces) for g in drawn(predictor, space)[:count]]
    return PredictedDevices(
        predictor.model,
        device_columns(predictor, batch_size),
        None if hardware is None else Setting(hardware, batch_size),
        graphs,
        SMALLEST_MS,
    )


def promise(
    model: Any, hardware: Hardware, batch_size: int, graphs: Sequence[Graph], runtime: str = ""
) -> tuple[Array, Array]:
    """Predict latencies from a data sheet: log-latencies in log ms, and half-widths of their 90 %
    intervals, each of shape `(graphs,)`.

    Args:
        model: The predictor of graphs.
        hardware: The device.
        batch_size: Images a forward pass.
        graphs: As the predictor reads them.
        runtime: `Way.text` of how they are run; empty for the usual way.
    """
    chosen = {"runtime": runtime} if runtime and isinstance(model, KnowsRuntimes) else {}
    try:
        prediction = model.predict(graphs, hardware, batch_size, **chosen)
    except InputError:
        center = model.log_latency(graphs, [Setting(hardware, batch_size)])[:, 0]
        return center, np.full(len(graphs), UNTOLD)
    return np.log(prediction.mean[:, 0]), np.log(
        prediction.upper[:, 0] / prediction.lower[:, 0]
    ) / 2


def data_sheet(model: Any) -> DataSheet:
    """Make the function that predicts networks in settings from a data sheet alone."""

    def tell(graphs: Sequence[Graph], settings: Sequence[Setting]) -> tuple[Array, Array]:
        result = np.empty((2, len(graphs)))
        places: dict[tuple[int, int, str], list[int]] = {}
        for k, s in enumerate(settings):
            places.setdefault((id(s.hardware), s.batch_size, s.way.text), []).append(k)
        for (_, size, runtime), own in places.items():
            asked = [graphs[k] for k in own]
            result[:, own] = promise(model, settings[own[0]].hardware, size, asked, runtime)
        return result[0], result[1]

    return tell


def measured_device(
    predictor: SpacePredictor, profile: DeviceProfile
) -> MeasuredDevice | CalibratedNetworks:
    """Fit the device of a profile to its measurements.

    Raises:
        InputError: If the predictor does not read the profile's networks.
    """
    asked, measured = predictor.space, profile.measured
    space = None if profile.space in OWN_NETWORKS else space_named(profile.space)
    if reads_networks(predictor.model) and (space is None or space.has_networks):
        priors, settings = departure_priors(), profile.settings
        sheet = data_sheet(predictor.model)
        return CalibratedNetworks(priors, sheet, measured.graphs, settings, measured.latencies)
    if space is None or space.name != asked.name:
        measured_on = profile.space if space is None else f"networks of space {space.name}"
        raise InputError(
            f"device {profile.name} was calibrated with {measured_on}, which say too little about "
            f"{asked.name}; calibrate it for {asked.name} under another name"
        )
    devices = known_devices(predictor, profile, profile.batch_size, [asked])
    device = MeasuredDevice(
        DeviceTransfer(devices),
        lambda graphs: promise(predictor.model, profile, profile.batch_size, graphs),
    )
    device.fit(measured.graphs, measured.latencies)
    return device


def predict_few_shot(
    predictor: SpacePredictor,
    profile: DeviceProfile,
    graphs: Sequence[Graph],
    batch_size: int,
    runtime: str | None = None,
) -> Prediction:
    """Predict latencies on a calibrated device, by a predictor of latencies on several devices.

    Args:
        predictor: Of whole networks, or of the space of the measured cells.
        profile: The calibrated device.
        graphs: As the predictor reads them.
        batch_size: Images a forward pass.
        runtime: `Way.text` of how networks are run; None for the way of most measurements.

    Raises:
        InputError: If the profile is of other networks; if it is of cells and another batch size or
            a runtime is asked.
    """
    device = calibrated(predictor, profile)
    if isinstance(device, CalibratedNetworks):
        return device.predict(graphs, asked_settings(profile, len(graphs), batch_size, runtime))
    if runtime is not None:
        raise InputError(
            "a calibrated device has the runtime of its measurements; leave the runtime out for "
            f"{profile.name}"
        )
    if batch_size != profile.batch_size:
        raise InputError(
            f"device {profile.name} was calibrated at batch size {profile.batch_size}, not "
            f"{batch_size}; use that batch size, or calibrate the device again under another name"
        )
    return device.predict(graphs)


def familiar(
    predictor: SpacePredictor,
    profile: DeviceProfile,
    graphs: Sequence[Graph],
    batch_size: int,
    runtime: str | None = None,
) -> NDArray[np.bool_]:
    """Whether graphs are near one that was measured on a calibrated device, `(graphs,)`.

    Cells of one space count as near each other.
    """
    device = calibrated(predictor, profile)
    if isinstance(device, CalibratedNetworks):
        return device.like(graphs, asked_settings(profile, len(graphs), batch_size, runtime))
    return np.ones(len(graphs), dtype=np.bool_)


def asked_settings(
    profile: DeviceProfile, count: int, batch_size: int, runtime: str | None
) -> list[Setting]:
    """Settings of networks that are asked of a calibrated device, one a network."""
    way = profile.usual_way
    if runtime is not None:
        way = parse_way(runtime).completed(way)
    return [Setting.of(profile.hardware, batch_size, way)] * count


def calibrated(
    predictor: SpacePredictor, profile: DeviceProfile
) -> MeasuredDevice | CalibratedNetworks:
    """Fit a device once, and return it from then on; see `measured_device`."""
    if profile.sha256 not in predictor.calibrated:
        predictor.calibrated[profile.sha256] = measured_device(predictor, profile)
    return predictor.calibrated[profile.sha256]
