"""Predictors of latency, for cells and whole networks, on measured and on unmeasured devices.

The room knows features, layers, models, statistics and training. `cell_latency` reads cells of
NAS-Bench-201, `network_latency` any network, `one_device` learns a single device, and
`few_shot` a new device from a few measurements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.predictors.features.settings import DeviceBatch, Setting
    from nasplug.predictors.latency.cell_latency import LatencyConfig, LatencyPredictor
    from nasplug.predictors.latency.device_profile import DeviceProfile
    from nasplug.predictors.latency.few_shot import DeviceTransfer
    from nasplug.predictors.latency.network_latency import NetworkLatency, NetworkLatencyConfig
    from nasplug.predictors.latency.one_device import LatencyGP

__all__ = [
    "DeviceBatch",
    "DeviceProfile",
    "DeviceTransfer",
    "LatencyConfig",
    "LatencyGP",
    "LatencyPredictor",
    "NetworkLatency",
    "NetworkLatencyConfig",
    "Setting",
]

# A device profile is read, in a search's options too, without torch.
__getattr__ = loader(
    __name__,
    {
        "DeviceBatch": "nasplug.predictors.features.settings",
        "DeviceProfile": "nasplug.predictors.latency.device_profile",
        "DeviceTransfer": "nasplug.predictors.latency.few_shot",
        "LatencyConfig": "nasplug.predictors.latency.cell_latency",
        "LatencyGP": "nasplug.predictors.latency.one_device",
        "LatencyPredictor": "nasplug.predictors.latency.cell_latency",
        "NetworkLatency": "nasplug.predictors.latency.network_latency",
        "NetworkLatencyConfig": "nasplug.predictors.latency.network_latency",
        "Setting": "nasplug.predictors.features.settings",
    },
)
