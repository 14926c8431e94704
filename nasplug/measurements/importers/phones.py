"""Importers of networks on phones and on the chips of phones: AI Hub, core grids, small tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from nasplug.measurements.importers.rows import Imported, Rows, each, pairs
from nasplug.measurements.references import network_reference, sizes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_aihub", "read_phone_cores", "read_small_phones"]

_AIHUB = {
    "qualcomm/ai-hub-models v0.47.0": "qualcomm/ai-hub-models@b61a009",
    "qualcomm/ai-hub-models v0.39.1": "qualcomm/ai-hub-models@feecc9e",
    "qualcomm/ai-hub-models v0.30.5": "qualcomm/ai-hub-models@4341d5d",
}
# Some networks fall back to the CPU and take minutes.
_LONGEST_MS = 10_000
# Standard deviation over mean of runs that differed much.
_NOISY = 0.2
_SIZES = {"large": "big", "med": "medium", "small": "little"}
_QED = "qed-usc/mobile-ml-benchmark@40ba833"
_SMALL = {
    "PaddlePaddle/Paddle-Lite": "PaddlePaddle/Paddle-Lite@3d329c9",
    "PaddlePaddle/PaddleClas": "PaddlePaddle/PaddleClas@d178931",
    "alibaba/MNN": "alibaba/MNN@4d40bdb",
    "vladimir-chernykh/coreml-model-zoo": "vladimir-chernykh/coreml-model-zoo@69a05b3",
}
_FEW_STEPS = 10


def read_aihub(path: Path) -> Imported:
    """Read Qualcomm's AI Hub: networks and parts of networks on Snapdragon chips."""
    rows = Rows.read(path)
    rows.drop("a copy of another device's rows", rows.has("note", "COPY of"))
    rows.drop("longer than 10 s: the network fell back", rows.frame["latency_ms"] > _LONGEST_MS)
    rows.flag("proxy", rows.has("note", "proxy device") | rows.has("device", "Proxy"))
    rows.flag("fallback", rows.has("note", "[ng]pu=.*cpu=|npu=.*gpu="))
    release = rows.text("source").str.extract(r"(v[\d.]+)$", expand=False)
    shapes = each(rows.text("input_shape"), lambda text: sizes(text, has_batch=False))
    graphs = pairs(rows.text("network_source"), each(shapes, _plain_size), network_reference)
    versions = rows.text("runtime").where(rows.has("runtime", "qnn_"), "")
    return rows.imported(
        source=rows.text("source").map(_AIHUB),
        version=("AI Hub " + release + " " + versions).str.strip(),
        input=shapes,
        graph=graphs.where(~_is_part(rows), ""),
        timing="reported",
        statistic="reported",
    )


def _is_part(rows: Rows) -> pd.Series[bool]:
    """Whether a row is of one part of a model that has several, such as an encoder."""
    parts = rows.frame.groupby("network_source")["network"].transform("nunique")
    return rows.has("network", "/") & (parts > 1)


def _plain_size(shape: str) -> str:
    """Height and width of a text such as "720p (720x1280)"; empty if it has none."""
    match = re.fullmatch(r"(?:\w+ \()?(\d+x\d+)\)?", shape)
    return f"3x{match[1]}" if match else ""


def read_phone_cores(path: Path) -> Imported:
    """Read networks on phones, by number and size of the CPU's cores, and on their GPUs."""
    rows = Rows.read(path)
    rows.flag("noisy", rows.frame["std_ms"] > _NOISY * rows.frame["latency_ms"])
    rows.flag("assumed device", rows.text("device") == "Motorola One Fusion")
    rows.flag("assumed input", rows.text("input_shape") == "")
    return rows.imported(source=_QED, cores=each(rows.text("cores"), _cores))


def _cores(text: str) -> str:
    """Cores in words: `1large2med` is `1 big + 2 medium`."""
    return " + ".join(
        f"{count} {_SIZES[size]}" for count, size in re.findall(r"(\d+)([a-z]+)", text)
    )


def read_small_phones(path: Path) -> Imported:
    """Read small tables of phones: Paddle-Lite, PaddleClas, MNN and Core ML."""
    rows = Rows.read(path)
    is_core_ml = rows.has("source", "coreml")
    frame = rows.frame
    precision = rows.text("precision")
    # Core ML runs a network of fp32 in fp16 on the GPU and the Neural Engine.
    on_cpu = precision.where(~is_core_ml | (rows.text("unit") != "CPU"), "fp32")
    rows.frame = frame.assign(precision=on_cpu.where(~is_core_ml | (on_cpu == "fp32"), "fp16"))
    rows.flag("sparse weights", rows.has("network", "sparse"))
    rows.flag("rounded", is_core_ml & (frame["latency_ms"] < _FEW_STEPS))
    rows.flag("assumed precision", precision.str.contains("?", regex=False) | is_core_ml)
    repository = rows.text("source").str.extract(r"^([^/]+/[^/ ]+)", expand=False)
    return rows.imported(
        source=repository.map(_SMALL),
        cores=rows.text("note").map({"big core": "1 big"}).fillna(""),
    )
