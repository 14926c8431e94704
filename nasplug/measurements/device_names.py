"""Devices of the catalogue by the names that sources of measurements write."""

from __future__ import annotations

import re
from functools import cache

from nasplug.devices.names import meaning

__all__ = ["catalogued", "without_setting"]

# Name that a source writes, without its setting -> device of the catalogue, where the name alone
# does not say it, and the source's other texts do.
_SAME = {
    "V100 SXM 16GB": "V100",
    "V100 SXM 32GB": "V100",
    "V100 SXM": "V100",
    "NVIDIA Tesla V100-PCIE-32GB": "V100 PCIe",
    "NVIDIA RTX3090": "RTX 3090",
    "nVIDIA RTX2080": "RTX 2080",
    "NVIDIA A100-SXM-80GB": "A100 80GB",
    "NVIDIA A100-SXM4-80GB CTS": "A100 80GB",
    "NVIDIA A100_PCIe_80GB": "A100 80GB PCIe",
    # MLPerf v2.0 to v3.0: NVIDIA's own systems.
    "NVIDIA Orin": "Jetson AGX Orin",
    "NVIDIA AGX Xavier": "Jetson AGX Xavier",
    "NVIDIA Xavier NX": "Jetson Xavier NX",
    "NVIDIA Orin NX": "Jetson Orin NX",
    "Jetson Nano B01": "Jetson Nano",
    "Raspberry Pi 4B": "Raspberry Pi 4",
    "Raspberry Pi 4 Model B Broadcom BCM2711B0": "Raspberry Pi 4",
    "Raspberry Pi 4 with Coral": "Raspberry Pi 4",
    "Raspberry Pi 3 Model B+ Broadcom BCM2837B0": "Raspberry Pi 3 Model B+",
    "MacBook Pro (13-inch, M1, 2020)": "Apple M1",
    "MacBook Air (13-inch, M3, 2024)": "Apple M3",
    "Apple MacBook M1 Pro": "Apple M1 Pro",
    "Snapdragon 8 Elite QRD": "Snapdragon 8 Elite",
    "Snapdragon X Elite CRD": "Snapdragon X Elite",
    "Qualcomm Snapdragon X Elite": "Snapdragon X Elite",
    "Coral USB Accelerator": "Edge TPU",
    "AMD Ryzen Threadripper 3970X": "Threadripper 3970X",
    "Intel Core i9-10900X": "",
}
# What sources add to a name: the setting or the host in brackets, the year of a desktop.
_SETTING = re.compile(
    r"\s*\((rpi\d|rpi4coral|odroid|firefly|graviton|velociti|chai|[^()]*(TensorRT|TFLite|Onnxruntime|"
    r"MaxQ|Ada Lovelace)[^()]*)\)|\s+of Desktop(\[[\d-]+\])?|^CPU (?=I)|_(?=i\d)"
)


def without_setting(name: str) -> str:
    """Name of a device without the runtime, the tag of a system, or the year beside it."""
    return " ".join(_SETTING.sub(" ", name).split())


@cache
def catalogued(*names: str) -> str:
    """Name in the catalogue of the first name that stands for one device; empty if none does."""
    for name in names:
        plain = without_setting(name)
        if plain in _SAME:
            return _SAME[plain]
        device = meaning(plain).device if plain else None
        if device is not None:
            return device.name
    return ""
