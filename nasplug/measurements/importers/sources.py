"""All importers by the file or the data set that they read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from nasplug.measurements.importers.boards import read_mlperf, read_mlperf_tiny, read_ncnn
from nasplug.measurements.importers.gpt import read_gpt
from nasplug.measurements.importers.gpu import (
    read_gpu_kernels,
    read_gpu_networks,
    read_gpu_operators,
)
from nasplug.measurements.importers.package_tables import (
    read_accel,
    read_help,
    read_nnlqp,
    read_timm,
)
from nasplug.measurements.importers.phones import read_aihub, read_phone_cores, read_small_phones
from nasplug.measurements.importers.rows import Imported
from nasplug.measurements.importers.small_boards import (
    read_cells,
    read_npus,
    read_openvino,
    read_small_computers,
)

__all__ = ["FILES", "PACKAGE_TABLES", "read_everything"]

FILES: dict[str, Callable[[Path], Imported]] = {
    "gpu_networks.csv.gz": read_gpu_networks,
    "gpu_operators.csv.gz": read_gpu_operators,
    "gpu_gemm_attention_aic.csv.gz": read_gpu_kernels,
    "hwgpt_30000.csv.gz": read_gpt,
    "edge_aihub.csv.gz": read_aihub,
    "edge_qed_mobile.csv.gz": read_phone_cores,
    "edge_phones_small.csv.gz": read_small_phones,
    "edge_ncnn.csv.gz": read_ncnn,
    "edge_mlperf_singlestream.csv.gz": read_mlperf,
    "edge_mlperf_tiny.csv.gz": read_mlperf_tiny,
    "edge_npu_zoos.csv.gz": read_npus,
    "edge_cpu_small.csv.gz": read_small_computers,
    "edge_openvino_intel.csv.gz": read_openvino,
    "edge_nb201_i7_7820x.csv.gz": read_cells,
}
"""File of a folder of measurements -> its importer."""

PACKAGE_TABLES: dict[str, Callable[[], Imported]] = {
    "timm-latency": read_timm,
    "nb201-latency": partial(read_help, "nb201"),
    "fbnet-latency": partial(read_help, "fbnet"),
    "ofa-latency": partial(read_help, "ofa"),
    "nnlqp-nasbench201": read_nnlqp,
    "accel": read_accel,
}
"""Data set of the package -> its importer."""


def read_everything(folder: Path) -> dict[str, Imported]:
    """Read all sources: the files of a folder that `FILES` names, and the package's data sets.

    Raises:
        InputError: If a file is missing or cannot be read, or a data set cannot be fetched.
    """
    parts = {name: read(folder / name) for name, read in FILES.items()}
    return parts | {name: read() for name, read in PACKAGE_TABLES.items()}
