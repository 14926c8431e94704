"""Calibrated devices: latency predictors of the package adapted by a few measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nasplug.arguments import ONNX_FILES
from nasplug.devices.catalogue import catalogue
from nasplug.predictors.capabilities import KnowsDevices, reads_networks
from nasplug.predictors.features.operators import operator_kinds
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.predictors.latency.known_devices import PredictedDevices
from nasplug.predictors.latency.measured_device import Likeness, MeasuredDevice, all_alike
from nasplug.predictors.statistics.familiarity import Familiarity
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
    "calibrated",
    "device_columns",
    "draw",
    "drawn",
    "expands",
    "familiar",
    "is_connected",
    "known_devices",
    "likeness",
    "likeness_of_files",
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
    calibrated: dict[str, MeasuredDevice]

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
    model: Any, hardware: Hardware, batch_size: int, graphs: Sequence[Graph]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predict latencies from a data sheet: log-latencies in log ms, and half-widths of their 90 %
    intervals, each of shape `(graphs,)`."""
    try:
        prediction = model.predict(graphs, hardware, batch_size)
    except InputError:
        center = model.log_latency(graphs, [Setting(hardware, batch_size)])[:, 0]
        return center, np.full(len(graphs), UNTOLD)
    return np.log(prediction.mean[:, 0]), np.log(
        prediction.upper[:, 0] / prediction.lower[:, 0]
    ) / 2


def measured_device(predictor: SpacePredictor, profile: DeviceProfile) -> MeasuredDevice:
    """Fit the device of a profile to its measurements.

    Raises:
        InputError: If the predictor does not read the profile's networks.
    """
    asked, measured = predictor.space, profile.measured
    of_files = profile.space == ONNX_FILES
    space = asked if of_files else space_named(profile.space)
    reads_both = reads_networks(predictor.model) and (of_files or space.whole_networks)
    if (of_files or space.name != asked.name) and not reads_both:
        measured_on = ONNX_FILES if of_files else f"networks of space {space.name}"
        raise InputError(
            f"device {profile.name} was calibrated with {measured_on}, which say too little about "
            f"{asked.name}; calibrate it for {asked.name} under another name"
        )
    devices = known_devices(predictor, profile, profile.batch_size, [space, asked])
    device = MeasuredDevice(
        DeviceTransfer(devices),
        lambda graphs: promise(predictor.model, profile, profile.batch_size, graphs),
        likeness_of_files(measured.graphs, asked)
        if of_files
        else likeness(space, measured.archs, asked),
    )
    device.fit(profile.measured.graphs, profile.measured.latencies)
    return device


def predict_few_shot(
    predictor: SpacePredictor,
    profile: DeviceProfile,
    graphs: Sequence[Graph],
    batch_size: int,
) -> Prediction:
    """Predict latencies on a calibrated device, by a predictor of latencies on several devices.

    Raises:
        InputError: If the profile is of another batch size, or of other networks.
    """
    if batch_size != profile.batch_size:
        raise InputError(
            f"device {profile.name} was calibrated at batch size {profile.batch_size}, not "
            f"{batch_size}; use that batch size, or calibrate the device again under another name"
        )
    return calibrated(predictor, profile).predict(graphs)


def calibrated(predictor: SpacePredictor, profile: DeviceProfile) -> MeasuredDevice:
    """Fit a device once, and return it from then on; see `measured_device`."""
    if profile.sha256 not in predictor.calibrated:
        predictor.calibrated[profile.sha256] = measured_device(predictor, profile)
    return predictor.calibrated[profile.sha256]


@lru_cache(maxsize=8)
def familiar(space: SearchSpace) -> Familiarity:
    """Make the test of whether whole networks are like those of a space's families."""
    archs, graphs = draw(space)
    families = [space.family_of(arch) for arch in archs]
    kinds = sorted({kind for graph in graphs for kind in operator_kinds(graph)})
    return Familiarity.of(graphs, families, kinds)


def likeness(space: SearchSpace, archs: Sequence[str], asked: SearchSpace) -> Likeness:
    """Make the test of whether graphs are like the measured networks `archs` of a space.

    Networks of `asked`, the space of those to predict, count as known too.
    """
    if not space.whole_networks:
        return all_alike
    families = list(dict.fromkeys(space.family_of(space.parse(text)) for text in archs))
    return _likeness(familiar(space), families, asked)


def likeness_of_files(graphs: Sequence[Graph], asked: SearchSpace) -> Likeness:
    """Make the test of whether graphs are like those of measured files, which are one family."""
    kinds = sorted({kind for graph in graphs for kind in operator_kinds(graph)})
    test = Familiarity.of(graphs, [ONNX_FILES] * len(graphs), kinds)
    # Files of equal costs would reach nothing but themselves.
    test = replace(test, reaches=np.maximum(test.reaches, 1.0))
    return _likeness(test, [ONNX_FILES], asked)


def _likeness(measured: Familiarity, families: Sequence[str], asked: SearchSpace) -> Likeness:
    """Make the test of whether graphs are like some families; see `likeness`."""
    of_asked = familiar(asked) if asked.whole_networks else measured
    tests = [measured] if of_asked is measured else [measured, of_asked]

    def tell(graphs: Sequence[Graph]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        nearest = np.min([test.distance(graphs) for test in tests], axis=0)
        return measured.distance(graphs, families) <= 1, nearest

    return tell
