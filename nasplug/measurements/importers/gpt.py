"""Importer of the language models of HW-GPT-Bench, and the references of their graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nasplug.measurements.importers.rows import Imported, Rows
from nasplug.measurements.references import gpt_reference
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_gpt"]

# Column of the table -> name of the device in the source, its name in the catalogue.
_GPUS = {
    "p100": ("P100", "P100"),
    "v100": ("V100", "V100"),
    "rtx2080": ("RTX 2080", "RTX 2080 Ti"),
    "rtx3080": ("RTX 3080", "RTX 3080"),
    "a40": ("A40", "A40"),
    "a100": ("A100", ""),
    "h100": ("H100", ""),
}
_CPUS = {
    "cpu_meta": "Xeon Gold (Cascade Lake) of HW-GPT-Bench",
    "cpu_mlgpu": "CPU mlgpu of HW-GPT-Bench",
    "cpu_alldlc": "CPU alldlc of HW-GPT-Bench",
    "helix_cpu": "CPU helix of HW-GPT-Bench",
}
# The model of this one is not known, but its kind and its number of cores.
_SHARED_CPU = {"cpu_meta": "Xeon Gold (Cascade Lake)"}
_COLUMNS = ("scale", "embed", "layers", "heads", "mlp", "bias", "params", "macs")
_LENGTH = 1024


def read_gpt(path: Path) -> Imported:
    """Read the forward passes of 30,000 language models on seven GPUs and four CPUs.

    A GPU's time is the sum of its kernels' times, a CPU's time was taken while a profiler ran.
    """
    with from_extra("data"):
        import pandas as pd

    try:
        wide = pd.read_csv(path, dtype={"heads": str, "mlp": str, "scale": str})
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as the table of HW-GPT-Bench ({error})") from error
    missing = [name for name in _COLUMNS if name not in wide]
    if missing:
        raise InputError(f"{path} has no column {missing[0]}; give the table of HW-GPT-Bench")
    # The batch of a scale is what makes its multiply-accumulates.
    batch = wide["macs"] / _macs_of_one(wide)
    wide = wide.assign(
        graph=[
            gpt_reference(*row)
            for row in wide[["embed", "heads", "mlp", "bias"]].itertuples(index=False)
        ],
        batch=batch.round().astype(int),
    )
    parts = []
    for column in (*_GPUS, *_CPUS):
        part = wide[["scale", "graph", "batch"]].assign(column=column)
        parts.append(part.assign(latency_ms=wide[f"{column}_latency_ms"]))
    rows = Rows(pd.concat(parts, ignore_index=True))
    rows.drop("no latency", rows.frame["latency_ms"].isna())
    is_gpu = rows.frame["column"].isin(_GPUS)
    rows.flag("autocast", is_gpu)
    rows.flag("assumed device", rows.frame["column"].isin(["rtx2080", "v100", "p100"]))
    rows.flag("profiled", ~is_gpu)
    rows.flag("noisy", (rows.frame["column"] == "helix_cpu") & (rows.frame["scale"] == "s"))
    columns = rows.frame["column"]
    hardware = {name: text for name, (text, _) in _GPUS.items()} | _CPUS
    devices = {name: device for name, (_, device) in _GPUS.items()} | _SHARED_CPU
    return rows.imported(
        source="automl/HW-GPT-Bench@cfddd10",
        network="GPT " + rows.frame["scale"],
        graph=rows.frame["graph"],
        input=str(_LENGTH),
        hardware=columns.map(hardware),
        device=columns.map(devices).fillna(""),
        unit=is_gpu.map({True: "GPU", False: "CPU"}),
        runtime="eager",
        precision=is_gpu.map({True: "bf16", False: "fp32"}),
        timing=is_gpu.map({True: "kernels", False: "wall clock"}),
        statistic="median",
        threads=is_gpu.map({True: 0, False: 8}),
    )


def _macs_of_one(wide: pd.DataFrame) -> pd.Series[float]:
    """Multiply-accumulates of one sequence, without the products inside of attention."""
    heads = wide["heads"].str.split().map(lambda texts: sum(map(int, texts)))
    ratios = wide["mlp"].str.split().map(lambda texts: sum(map(int, texts)))
    embed = wide["embed"].astype(float)
    return _LENGTH * (50254 * embed + 256 * embed * heads + 3 * embed**2 * ratios)
