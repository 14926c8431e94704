"""Importers of networks on NPUs, small computers and Intel's processors, and of cells on a CPU."""

from __future__ import annotations

from pathlib import Path

from nasplug.measurements.device_names import catalogued
from nasplug.measurements.importers.rows import Imported, Rows, each

__all__ = ["read_cells", "read_npus", "read_openvino", "read_small_computers"]

_NPUS = {
    "renesas-rz/rzv_drp-ai_tvm": "renesas-rz/rzv_drp-ai_tvm@a557552",
    "AXERA-TECH/ax-samples": "AXERA-TECH/ax-samples@2d08c3c",
    "D-Robotics/rdk_model_zoo": "D-Robotics/rdk_model_zoo@be4f89b",
}
_COMPUTERS = {
    "opencv/opencv_zoo": "opencv/opencv_zoo@966be4c",
    "ispcojp/ai_inference_device_benchmark": "ispcojp/ai_inference_device_benchmark@4b85a7a",
}
# Fewer whole milliseconds than this are a few steps of the resolution.
_FEW_STEPS = 10
# Computers with many cores, on which PyTorch's times are erratic.
_MANY_CORES = "265KF|10900X"


def read_npus(path: Path) -> Imported:
    """Read vendors' tables of NPUs: Renesas, AXERA and RDK; throughputs of others are left out."""
    rows = Rows.read(path)
    is_renesas = rows.has("source", "renesas")
    is_untuned = rows.has("runtime", "CPU only")
    rows.flag("untuned", is_untuned)
    rows.flag("rounded", is_renesas & (rows.frame["latency_ms"] < _FEW_STEPS))
    rows.flag("assumed precision", is_renesas)
    cores = rows.text("note").str.extract(r"@(\d) Core", expand=False)
    return rows.imported(
        source=rows.text("source").map(_NPUS),
        hardware=rows.text("device"),
        cores=cores.map(lambda count: f"{count} of the NPU", na_action="ignore").fillna(""),
        timing="reported",
        statistic="reported",
    )


def read_small_computers(path: Path) -> Imported:
    """Read networks of timm on computers, and OpenCV's models on boards, with their preparation."""
    rows = Rows.read(path)
    is_opencv = rows.has("source", "opencv")
    runtime = rows.text("runtime").replace({"CPU": "PyTorch CPU", "GPU": "PyTorch GPU"})
    rows.frame = rows.frame.assign(runtime=runtime)
    is_pytorch = runtime.str.contains("Torch") & (rows.text("unit") == "CPU")
    rows.flag("noisy", is_pytorch & rows.has("device", _MANY_CORES))
    rows.flag("assumed precision", rows.has("precision", "default"))
    # "Intel Core Ultra 7 265KF / RTX 4090": the computer, and the card in it.
    is_card = (rows.text("unit") == "GPU") & rows.has("chip", " / ")
    chip = rows.text("chip").str.split(" / ").str
    hardware = rows.text("device").where(is_opencv, chip[0]).where(~is_card, chip[-1])
    return rows.imported(
        source=rows.text("source").map(_COMPUTERS),
        hardware=hardware,
        device=each(hardware, catalogued),
        timing=is_opencv.map({True: "program", False: "wall clock"}),
        statistic=is_opencv.map({True: "median", False: "reported"}),
    )


def read_openvino(path: Path) -> Imported:
    """Read Intel's table of OpenVINO: latencies of one stream."""
    rows = Rows.read(path)
    rows.flag("two sockets", rows.has("device", "2 sockets"))
    rows.flag("assumed input", rows.has("input_shape", "not in the file"))
    sockets = rows.text("device").str.replace(" (2 sockets)", "", regex=False)
    rows.frame = rows.frame.assign(device=sockets)
    return rows.imported(
        source="openvinotoolkit/openvino@16867e9", timing="reported", statistic="reported"
    )


def read_cells(path: Path) -> Imported:
    """Read the cells of NAS-Bench-201 that LatBench measured on a Core i7-7820X."""
    rows = Rows.read(path)
    return rows.imported(
        source="zheng-ningxin/brp-nas@53313d8",
        network="NAS-Bench-201 cell",
        graph="nb201:" + rows.text("arch_str"),
        input="3x32x32",
        hardware="Core i7-7820X",
        device="Core i7-7820X",
        unit="CPU",
        runtime="tensorflow",
        precision="fp32",
        timing="",
        statistic="reported",
    )
