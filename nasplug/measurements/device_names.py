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
    # This phone has two chips, by region; the one that was measured has Samsung's.
    "Samsung Galaxy S10": "Exynos 9820",
    "Samsung Galaxy S23 Ultra": "Galaxy S23",
    "Snapdragon 8 Elite Gen 5 QRD": "Snapdragon 8 Elite Gen 5",
    "Snapdragon 855 (Arm CPU)": "Snapdragon 855",
    "Snapdragon 855 phone": "Snapdragon 855",
    "Qualcomm SM8150-AC Snapdragon 855+": "Snapdragon 855 Plus",
    "Qualcomm MSM8994 Snapdragon 810": "Snapdragon 810",
    "Qualcomm MSM8996 Pro Snapdragon 821": "Snapdragon 821",
    "Qualcomm MSM8998 Snapdragon 835": "Snapdragon 835",
    "Qualcomm MSM6150 Snapdragon 675": "Snapdragon 675",
    "Qualcomm SDM660 Snapdragon 660": "Snapdragon 660",
    "Mi-6": "Snapdragon 835",
    "小米 Max3": "Snapdragon 636",
    "Adreno660": "Snapdragon 888",
    "Rockchip RK3588 (Cortex-A76 2.4GHz x 4 + Cortex-A55 1.8GHz x 4)": "RK3588",
    "Rockchip RK3588 (Quad Core A76 2.4GHz + Quad Core A55 1.8GHz)": "RK3588",
    "Rockchip RK3288-CG.W": "RK3288",
    "Station-M3/ROC-RK3588S-PC": "RK3588S",
    "Station-M2/ROC-RK3566-PC": "RK3566",
    "Rock3A, Rockchip RK3568 (Cortex-A55 2.0GHz x 4) ubuntu 20.04": "RK3568",
    "Arduino UNO Q - QRB2210": "Dragonwing QRB2210",
    "AMD Ryzen 5700g": "Ryzen 7 5700G",
    "nVIDIA RTX A3000 of Notebook": "RTX A3000 Laptop",
    "nVIDIA RTX2060 of Notebook": "RTX 2060 Laptop",
    # MLPerf v0.7, of a time without cards of 80 GB, and NVIDIA's names before v2.0.
    "NVIDIA A100-SXM4": "A100 40GB",
    "NVIDIA A100-PCIe": "A100 40GB PCIe",
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
