"""A device that is calibrated by the measurements of a study, in memory alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from nasplug.arguments import OWN_NETWORKS
from nasplug.calibrating.latency_predictor import latency_predictor
from nasplug.predicting.few_shot import SMALLEST_MS, is_connected, measured_device
from nasplug.predicting.zoo import NETWORK_LATENCY, load_predictor
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks, Run
from nasplug.predictors.latency.few_shot import FEWEST
from nasplug.search_spaces import Graph

__all__ = ["FEWEST", "device_of_study"]

# Measured networks that a device learns from, at most: the last ones.
MOST = 100


def device_of_study(
    hardware: Hardware,
    graphs: Sequence[Graph],
    latencies: Sequence[float],
    runs: Sequence[Run],
    name: str,
) -> tuple[DeviceProfile, tuple[float, float]] | None:
    """Calibrate a device by measured networks; nothing is saved.

    Args:
        hardware: Description of the device, or an earlier calibration of it.
        graphs: The networks.
        latencies: Their latencies in ms.
        runs: Batch size and way of each.
        name: Name of the calibrated device.

    Returns:
        The device, and the typical factors by which it and the data sheet miss a measurement that
        was left out; None with fewer than `FEWEST` usable networks.
    """
    if isinstance(hardware, DeviceProfile):
        # What was measured before the study counts too.
        earlier = hardware.measured
        graphs = [*earlier.graphs, *graphs]
        latencies = [*earlier.latencies.tolist(), *latencies]
        known = earlier.runs or (Run(hardware.batch_size),) * len(earlier.graphs)
        runs = [*known, *runs]
    usable = [
        k
        for k, latency in enumerate(latencies)
        if latency >= SMALLEST_MS and is_connected(graphs[k])
    ][-MOST:]
    if len(usable) < FEWEST:
        return None
    content = {field.name: getattr(hardware, field.name) for field in fields(Hardware)}
    described = Hardware(**{**content, "name": name, "aliases": ()})
    measured = MeasuredNetworks(
        tuple(f"network {k}" for k in usable),
        np.array([latencies[k] for k in usable]),
        tuple(graphs[k] for k in usable),
        tuple(runs[k] for k in usable),
    )
    sizes = [runs[k].batch_size for k in usable]
    batch_size = max(set(sizes), key=sizes.count)
    profile = DeviceProfile(described, OWN_NETWORKS[-1], batch_size, measured)
    base = latency_predictor(load_predictor(NETWORK_LATENCY).space, NETWORK_LATENCY)
    return profile, measured_device(base, profile).left_out().factors
