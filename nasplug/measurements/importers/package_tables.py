"""Measurements of the package's own data sets in the table's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.datasets import load
from nasplug.measurements.importers.rows import Imported, Rows
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_accel", "read_help", "read_nnlqp", "read_timm"]

_HELP = "HayeonLee/HELP@45f70eb"
_TORCH = {"113": "1.13", "210": "2.1.0", "221": "2.2.1", "240": "2.4.0", "291": "2.9.1"}
_TITLES = {"nb201": "NAS-Bench-201 cell", "fbnet": "FBNet network", "ofa": "Once-for-All network"}
_WHOLE_MS = ("Galaxy A50", "Galaxy S7", "Essential PH-1", "Pixel 2")
_COST_MODELS = ("ZC706", "Eyeriss")
_FPGAS = ("ZC706", "ZCU102", "VCK190")
_GPUS = "GTX|RTX|Titan|V100"
# Below this, in ms, a phone's or a board's value is of a cell without a path to its output.
_LEAST_MS = 0.1


def read_timm() -> Imported:
    """Read timm's tables of throughput at large batches, and at batch 1 on a CPU.

    Raises:
        InputError: If the files cannot be fetched.
    """
    frame = load("timm-latency")
    rows = Rows(frame.astype({name: str for name in ("model", "device", "mode")}))
    rows.drop("no latency", rows.frame["latency_ms"].isna())
    mode = rows.text("mode")
    is_amp = mode.str.startswith("amp")
    is_cpu = rows.has("device", "Core")
    rows.flag("autocast", is_amp)
    torch = mode.str.extract(r"pt(\d+)", expand=False).map(_TORCH)
    cuda = mode.str.extract(r"cu(\d\d)(\d)", expand=True)
    size = rows.frame["image_size"].astype(int).astype(str)
    layout = mode.str.contains("nhwc").map({True: "eager nhwc", False: "eager"})
    return rows.imported(
        source="huggingface/pytorch-image-models@aa4b585",
        network=rows.text("model"),
        graph="timm:" + rows.text("model") + "@" + size,
        input="3x" + size + "x" + size,
        batch=rows.frame["batch_size"],
        unit=is_cpu.map({True: "CPU", False: "GPU"}),
        runtime=layout.mask(mode.str.contains("dynamo"), "compiled"),
        version="PyTorch " + torch + (", CUDA " + cuda[0] + "." + cuda[1]).fillna(""),
        precision=is_amp.map({True: "fp16", False: "fp32"}),
        statistic="mean",
    )


def read_help(space: str) -> Imported:
    """Read HELP's latencies of a space: `nb201`, `fbnet` or `ofa`.

    Raises:
        InputError: If the files cannot be fetched.
    """
    wide = load(f"{space}-latency")
    if "arch" not in wide:
        wide = wide.assign(arch=load("nb201-accuracy")["arch"])
    rows = _long(wide)
    device = rows.text("device")
    rows.drop(
        "cells without a path to their output",
        (rows.frame["latency_ms"] < _LEAST_MS) & device.isin(["Pixel 3", "Raspberry Pi 4"]),
    )
    is_gpu = device.str.contains(_GPUS)
    is_model = device.isin(_COST_MODELS)
    rows.flag("cost model", is_model)
    rows.flag("rounded", device.isin(_WHOLE_MS))
    # 3.5 times slower than its twin, the Gold 6240, on this space alone.
    rows.flag("noisy", (device == "Xeon Gold 6226") & (space == "fbnet"))
    rows.flag("assumed batch", ~is_gpu)
    units = {**dict.fromkeys(_FPGAS, "FPGA"), "Eyeriss": "ASIC"}
    unit = device.map(units).fillna(is_gpu.map({True: "GPU", False: "CPU"}))
    in_pytorch = is_gpu | device.str.contains("Xeon")
    return rows.imported(
        source=_HELP,
        network=_TITLES[space],
        graph=f"{space}:" + rows.text("arch"),
        input="3x32x32" if space == "nb201" else "",
        unit=unit,
        runtime=in_pytorch.map({True: "eager", False: ""}),
        precision=in_pytorch.map({True: "fp32", False: ""}),
        timing=is_model.map({True: "estimate", False: ""}),
        statistic="reported",
    )


def read_nnlqp() -> Imported:
    """Read NNLQP's family NAS-Bench-201, whose graphs the file names tell.

    Raises:
        InputError: If the files cannot be fetched.
    """
    rows = _long(load("nnlqp-nasbench201"))
    return rows.imported(
        source="yuny220/NAR-Former-V2@c6cbc83",
        network=_TITLES["nb201"],
        graph="nb201:" + rows.text("arch"),
        input="3x32x32",
        unit="GPU",
        runtime="tensorrt",
        version="TensorRT 7.1",
        precision="fp32",
        timing="reported",
        statistic="reported",
    )


def read_accel() -> Imported:
    """Read Accel-NASBench's latencies on two FPGA boards; its throughputs are no latencies.

    Raises:
        InputError: If the files cannot be fetched.
    """
    rows = _long(load("accel"))
    rows.drop("no latency", rows.frame["latency_ms"].isna())
    rows.flag("assumed batch", rows.text("device").isin(_FPGAS))
    return rows.imported(
        source="afzalxo/Accel-NASBench@4260357",
        network="Accel-NASBench network",
        graph="accel:" + rows.text("arch"),
        unit="FPGA",
        timing="reported",
        statistic="reported",
    )


def _long(wide: pd.DataFrame) -> Rows:
    """A row for each architecture and each column `<device>@<batch>` of a table."""
    with from_extra("data"):
        import pandas as pd

    parts = []
    for column in wide:
        device, _, batch = str(column).partition("@")
        if not batch.isdecimal():
            continue
        part = pd.DataFrame({"arch": wide["arch"], "device": device, "batch": int(batch)})
        parts.append(part.assign(latency_ms=wide[column].astype(float)))
    return Rows(pd.concat(parts, ignore_index=True))
