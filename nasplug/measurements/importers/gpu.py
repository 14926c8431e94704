"""Importers of networks, operators and kernels on desktop and server GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nasplug.measurements.device_names import catalogued
from nasplug.measurements.importers.rows import Imported, Rows, each, pairs
from nasplug.measurements.references import network_reference, operator_reference, sizes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_gpu_kernels", "read_gpu_networks", "read_gpu_operators"]

_MODES = {
    "training(forward+backward)": "training step",
    "llm prefill+generate": "request",
    "training shapes": "forward",
    "backward_inputs": "backward inputs",
    "backward_weights": "backward weights",
}
# GPUs whose convolutions PyTorch runs in tf32 unless it is told otherwise.
_WITH_TF32 = "A100|A40|A30|H100|H200|L40S|B200|RTX 30|RTX 40"
# A language model of 7 billion parameters cannot answer a request in less on a GH200.
_LEAST_REQUEST_MS = 600
_LARGE_GEMM_MACS = 1e11
_SLOWER_THAN_TWIN = 1.25


def read_gpu_networks(path: Path) -> Imported:
    """Read networks of PyTorch, Paddle, NVIDIA and MLPerf, and requests to language models."""
    rows = Rows.read(path)
    _drop_from_networks(rows)
    _flag_networks(rows)
    shapes = each(rows.text("input_shape"), sizes)
    is_mlperf = rows.has("source", "mlcommons")
    is_pipeline = rows.has("source", "DeepLearningExamples")
    is_request = rows.has("mode", "llm")
    is_torchvision = rows.has("source", "pytorch-gpu-benchmark")
    is_neusight = rows.has("source", "NeuSight")
    is_paddle = rows.has("source", "PaddleClas") & rows.has("runtime", "paddle-lite|mkldnn")
    timing = rows.text("source").map(lambda _: "wall clock")
    for name, where in (
        ("program", is_pipeline | is_request),
        ("wall clock with copies", is_torchvision),
        ("", is_neusight),
    ):
        timing = timing.mask(where, name)
    statistic = rows.text("source").map(lambda _: "mean").mask(is_mlperf | is_torchvision, "median")
    statistic = statistic.mask(is_neusight, "mean of the fastest 5 of 25")
    imported = rows.imported(
        mode=each(rows.text("mode"), lambda mode: _MODES.get(mode, mode)),
        timing=timing,
        statistic=statistic,
        unit=each(rows.text("device"), _unit).mask(is_paddle, "CPU"),
        threads=_threads(rows),
        graph=pairs(rows.text("network_source"), shapes, network_reference),
        device=each(rows.text("device"), catalogued),
    )
    is_compiled = rows.has("note", r"^torch\.compile") & is_neusight
    imported.frame.loc[is_compiled, ["runtime", "version"]] = ["compiled", ""]
    return imported


def _drop_from_networks(rows: Rows) -> None:
    rows.drop(
        "several GPUs ran the network", rows.has("note", "multi-GPU") | rows.has("device", " x4$")
    )
    rows.drop(
        "broken set-up: half precision far slower than single",
        rows.has("source", "aisensiy") & rows.has("note", r"bitahub/GeForce_GTX_1080_Ti.*half")
        | rows.has("source", "aisensiy") & rows.has("note", r"openbayes/GeForce_RTX_2080.*half")
        | rows.has("device", "RX 5700") & (rows.text("precision") == "fp16"),
    )
    rows.drop(
        "the A100 slower than the V100 on the same network",
        (rows.text("name") == "switchxl4") & rows.has("device", "A100"),
    )
    rows.drop(
        "a request faster than the device can answer",
        (rows.text("device") == "GH200 96GB")
        & (rows.text("runtime") == "vLLM")
        & (rows.frame["latency_ms"] < _LEAST_REQUEST_MS),
    )
    rows.drop(
        "the same run as in the table of single-stream results",
        rows.has("source", r"inference_results_v[12]\.1"),
    )


def _flag_networks(rows: Rows) -> None:
    device = rows.text("device")
    rows.flag("assumed batch", rows.has("note", "batch inferred"))
    rows.flag(
        "assumed device",
        rows.has("device", r"not stated|GCD\?") | (device == "V100"),
    )
    rows.flag(
        "assumed input",
        rows.has("input_shape", "shorter") | rows.has("note", "model_list.md"),
    )
    rows.flag("assumed precision", rows.has("precision", r"\?|fp16/bf16|not stated"))
    rows.flag("autocast", rows.has("precision", "amp"))
    rows.flag("part of the card", rows.has("device", "MIG|GCD"))
    rows.flag("power limited", rows.has("note", "MaxQ"))
    rows.flag("server", rows.has("note", "Triton"))
    keys = [
        "source",
        "name",
        "device",
        "runtime",
        "precision",
        "mode",
        "batch",
        "input_shape",
        "note",
    ]
    rows.flag("repeated", rows.frame.duplicated(keys, keep=False))


def _unit(device: str) -> str:
    if device.startswith("CPU ") or device.startswith("Xeon") or "Arm CPU" in device:
        return "CPU"
    if device in ("Adreno660",) or "Jetson" in device:
        return "GPU"
    if device == "SnapDragon888":
        return "CPU"
    is_other = any(name in device for name in ("Gaudi", "Warboy", "DNA-F200", "SAPEON", "Ascend"))
    return "ASIC" if is_other else "GPU"


def _threads(rows: Rows) -> pd.Series[int]:
    threads = rows.text("runtime").str.extract(r"thread=(\d+)", expand=False)
    return threads.fillna("0").astype(int)


def read_gpu_operators(path: Path) -> Imported:
    """Read operators and small networks: NeuSight, KernelBench, DeepBench, and layers of vidur."""
    rows = Rows.read(path)
    rows.drop("a repeat of the same key", rows.has("note", "repeated key"))
    source = rows.text("source")
    is_kernelbench = rows.has("source", "KernelBench")
    is_neusight = rows.has("source", "NeuSight")
    is_vidur = rows.has("source", "vidur")
    has_zeros = is_neusight & rows.text("name").str.contains(
        "conv2d|add|mul|div|pow|relu|gelu|tanh"
    )
    rows.flag("zero inputs", has_zeros)
    rows.flag("rounded", is_vidur & (rows.frame["latency_ms"] < 0.01))
    rows.flag("tf32 convolutions", is_kernelbench & rows.has("device", _WITH_TF32))
    rows.flag("part of the card", rows.has("device", "GCD"))
    timing = source.map(lambda _: "").mask(is_kernelbench, "events")
    statistic = source.map(lambda _: "mean").mask(is_neusight, "mean of the fastest 5 of 25")
    references = pairs(
        rows.text("name").where(~is_kernelbench, rows.text("network_source")),
        rows.text("attributes").where(~is_kernelbench, ""),
        lambda name, sizes_: (
            operator_reference(name, sizes_) if sizes_ else network_reference(name, "")
        ),
    )
    units = each(rows.text("device"), _operator_unit)
    # The rows of a product are its batch, as in the other tables.
    matrix_rows = rows.text("attributes").str.extract(r'^\{"M":(\d+)', expand=False)
    is_linear = is_neusight & (rows.text("name") == "linear")
    batch = rows.frame["batch"].mask(is_linear, matrix_rows.astype(float))
    return rows.imported(
        mode=each(rows.text("mode"), lambda mode: _MODES.get(mode, mode)),
        timing=timing.mask(is_vidur, "kernels"),
        statistic=statistic.mask(is_vidur, "median"),
        graph=references,
        unit=units,
        batch=batch,
        input=each(rows.text("input_shape"), sizes).where(is_kernelbench, ""),
    )


def _operator_unit(device: str) -> str:
    return "CPU" if device.startswith(("Xeon", "Raspberry", "iPhone")) else "GPU"


def read_gpu_kernels(path: Path) -> Imported:
    """Read kernels of GEMM and attention in a CUDA graph, without the time of a launch."""
    rows = Rows.read(path)
    keys = ["device", "runtime", "name", "attributes", "note"]
    rows.drop("a repeat of the same key", rows.frame.duplicated(keys))
    rows.flag("power limited", _slower_than_twin(rows))
    references = pairs(rows.text("name"), rows.text("attributes"), operator_reference)
    return rows.imported(
        timing="kernels",
        statistic="reported",
        graph=references,
        unit="GPU",
        input="",
        version=rows.text("runtime")
        + rows.text("note").map(lambda name: f", {name}" if name else ""),
    )


def _slower_than_twin(rows: Rows) -> pd.Series[bool]:
    """Whether a large GEMM takes longer on a GB200 than on a B200, its equal."""
    frame = rows.frame
    twin = frame[frame["device"] == "B200"].set_index("attributes")["latency_ms"]
    twin = twin[~twin.index.duplicated()]
    numbers = frame["attributes"].str.extract(r'"M":(\d+),"N":(\d+),"K":(\d+)').astype(float)
    is_large = numbers.prod(axis=1, skipna=False) >= _LARGE_GEMM_MACS
    is_slower = frame["latency_ms"] > _SLOWER_THAN_TWIN * frame["attributes"].map(twin)
    return (frame["device"] == "GB200") & is_large & is_slower
