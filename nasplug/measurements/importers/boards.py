"""Importers of networks on boards and computers by ncnn's users and MLPerf's submitters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from nasplug.measurements.device_names import catalogued, without_setting
from nasplug.measurements.importers.rows import Imported, Rows, each, pairs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_mlperf", "read_mlperf_tiny", "read_ncnn"]

# Longest run over shortest run of a row that is noise.
_NOISY = 3
_POWERSAVE = {"0": "", "1": "little", "2": "big"}
_COMMITS = {
    "mlcommons/inference_results_v0.5": "@f5acb8b",
    "mlcommons/inference_results_v1.1": "@7fc4335",
    "mlcommons/inference_results_v2.0": "@425a0d3",
    "mlcommons/inference_results_v2.1": "@91f7859",
    "mlcommons/inference_results_v3.0": "@1948f9b",
}
_UNITS = {"EdgeTPU": "TPU", "accelerator": "ASIC"}
_FPGAS = "pynq|arty|zedboard|zc706|zybo|cora|VCU128|ZCU106"


_CARDS = "GeForce|Quadro|Tesla|RTX|Radeon RX"
# Boards without a GPU: told to use one, benchncnn ran on the CPU.
_WITHOUT_GPU = "AXERA AX620A|Ingenic T40XP"


def read_ncnn(path: Path) -> Imported:
    """Read the outputs of benchncnn that its users sent in."""
    rows = Rows.read(path)
    is_cpu = rows.has("device", _WITHOUT_GPU)
    rows.frame = rows.frame.assign(
        unit=rows.text("unit").mask(is_cpu, "CPU"),
        runtime=rows.text("runtime").mask(is_cpu, "ncnn"),
    )
    frame = rows.frame
    rows.flag("noisy", frame["max_ms"] > _NOISY * frame["min_ms"])
    # From its fifth network on the GPU of this board answered at once, without computing.
    is_idle = rows.has("device", "Station-M3") & (frame["unit"] == "GPU")
    rows.flag("noisy", is_idle & ~rows.has("network", "_int8"))
    keys = ["chip", "runtime", "threads", "powersave", "network", "note"]
    rows.flag("repeated", frame.duplicated(keys, keep=False))
    gpu = rows.text("note").str.extract(r"vulkan device (.*)", expand=False).fillna("")
    # The heading has the chip of this one in brackets.
    is_short = rows.text("device") == "MacBook Air"
    rows.frame = rows.frame.assign(device=rows.text("device").where(~is_short, frame["chip"]))
    plain = each(rows.text("device"), without_setting)
    settings = rows.text("note").where(rows.has("note", "AVX512"), "")
    rows.flag("virtual GPU", rows.has("device", "Hyper-V") & (rows.text("unit") == "GPU"))
    return rows.imported(
        source="Tencent/ncnn@a4d2ea1",
        hardware=plain.where(~_is_card(gpu) | rows.has("device", "Notebook"), gpu),
        device=pairs(rows.text("device"), gpu, _board_or_card),
        cores=rows.text("powersave").map(_POWERSAVE).where(rows.text("unit") == "CPU", ""),
        version=settings.str.extract(r"\((.*)\)", expand=False).fillna(""),
    )


def _is_card(gpu: pd.Series[str]) -> pd.Series[bool]:
    """Whether a Vulkan device is a card, and no part of the chip that names the row."""
    return gpu.str.contains(_CARDS)


def _board_or_card(device: str, gpu: str) -> str:
    """Name in the catalogue: of the card if one ran the network, else of the board."""
    if "Notebook" in device:
        # Vulkan names a laptop's card as its namesake of a desktop, which is faster.
        return catalogued(device)
    card = gpu.replace("Microsoft Direct3D12 (", "").rstrip(")") if re.search(_CARDS, gpu) else ""
    return catalogued(card, device)


def read_mlperf(path: Path) -> Imported:
    """Read MLPerf Inference, single stream, of seven rounds: one query at a time."""
    rows = Rows.read(path)
    is_closed = rows.text("division") == "closed"
    system = rows.text("device")
    rows.flag("assumed input", rows.has("input_shape", "up to"))
    rows.flag("part of the card", rows.has("chip", "MIG"))
    rows.flag("power limited", system.str.contains("MaxQ") | rows.has("system", "power[.][1-9]"))
    rows.flag("server", system.str.contains("Triton"))
    rows.flag("untuned", (rows.text("submitter") == "cTuning") & rows.has("runtime", "TFLite"))
    unit = rows.text("unit").replace(_UNITS)
    # The GPU of a board's chip goes by the board's name, a card by its own.
    is_gpu = unit.isin(["GPU", "ASIC", "TPU"]) & rows.has("chip", r"\|") & ~rows.has("chip", "Mali")
    chips = rows.text("chip").str.split("|").str
    card = each(chips[-1].str.strip(), without_setting)
    unit = unit.mask(is_gpu & card.str.contains("NVIDIA|Nvidia|Tesla|GeForce"), "GPU")
    # A system may be named after its GPU, of which the time of its CPU is not.
    hardware = each(system, without_setting).where(~is_gpu, card)
    others = chips[0].str.strip().where(~is_gpu, system)
    source = rows.text("source")
    return rows.imported(
        source=source + source.map(_COMMITS).fillna(""),
        hardware=hardware,
        device=pairs(hardware, others, catalogued),
        unit=unit,
        timing=source.map(lambda _: "wall clock"),
        precision=rows.text("precision")
        .map({"fp32": "fp32", "int8": "int8", "as-submitted": "", "fp32-or-as-submitted": ""})
        .where(~is_closed, ""),
    )


def read_mlperf_tiny(path: Path) -> Imported:
    """Read MLPerf Tiny: four small networks on microcontrollers, by their median throughput."""
    rows = Rows.read(path)
    chip = rows.text("chip")
    device = rows.text("device")
    rows.flag("assumed precision", rows.has("precision", "usual"))
    unit = device.map(lambda _: "MCU").mask(device.str.contains(_FPGAS), "FPGA")
    unit = unit.mask(device.str.contains("Snapdragon"), "NPU")
    unit = unit.mask(device.str.contains("RISC-V|K1_BOARD|TinkerV|_BOARD_V"), "CPU")
    hardware = each(chip, lambda text: text.split(" / ")[0].strip()).where(chip != "", device)
    return rows.imported(
        hardware=hardware,
        device=each(hardware, catalogued),
        version=device,
        unit=unit,
        statistic="median",
    )
