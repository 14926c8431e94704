"""The published labels of NNLQP's first part: 20,000 networks, ten families, one GPU.

The ONNX files are not published with the labels. One family does not need them: the file name of a
NAS-Bench-201 network is a code of its cell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nasplug.datasets.importers.nb201 import N_ARCHS as N_CELLS
from nasplug.datasets.importers.nb201 import read_index
from nasplug.datasets.importers.nnlqp import Label, label_table, parse_labels
from nasplug.datasets.layout import foreign, read_text
from nasplug.datasets.tables import Table

__all__ = ["CODE_OPS", "cell_of_code", "import_labels", "import_nasbench201"]

N_LABELS = 20_000
N_OF_FAMILY, N_TEST = 2_000, 200

CODE_OPS = ("none", "avg_pool_3x3", "nor_conv_3x3", "nor_conv_1x1", "skip_connect")
"""The operation that each digit of a file number to base 5 stands for."""

_LABELS = "gt_stage.txt"
_FILE = re.compile(r"onnx/nasbench201/(0|[1-9]\d{0,4})\.onnx", re.ASCII)
_EDGES = 6


def cell_of_code(code: int) -> str | None:
    """The NAS-Bench-201 cell whose network is `onnx/nasbench201/<code>.onnx`.

    The six digits of the code to base 5, the most significant first, are the operations of the
    edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3, the order of an architecture string. The rule is inferred:
    it is the only assignment of operations and edges that makes the 2,000 published cells valid,
    and the operations that it gives explain their latencies (R² 0.97).

    Args:
        code: The number in the file name, which is not the index of the benchmark.

    Returns:
        The architecture string, or None if the number is no code of a cell.
    """
    if not 0 <= code < N_CELLS:
        return None
    ops = []
    for _ in range(_EDGES):
        code, digit = divmod(code, len(CODE_OPS))
        ops.append(CODE_OPS[digit])
    a, b, c, d, e, f = reversed(ops)
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def _read_labels(path: Path) -> list[Label]:
    labels = parse_labels(read_text(path), str(path))
    if [label.graph_id for label in labels] != list(range(1, N_LABELS + 1)):
        raise foreign(path, f"its {len(labels):,} lines are not numbered from 1 to {N_LABELS:,}")
    for label in labels:
        if (label.batch_size, label.platform_id) != (1, 1) or label.stage not in {"train", "test"}:
            raise foreign(
                path, f"line {label.graph_id} is not for batch 1 on platform 1 with a stage"
            )
    return labels


def import_labels(files: Mapping[str, Path]) -> Table:
    """Build the table of all published labels from `gt_stage.txt`.

    Returns:
        20,000 rows with the columns of `nasplug.datasets.importers.nnlqp.label_table`.
    """
    return label_table(_read_labels(files[_LABELS]))


def import_nasbench201(files: Mapping[str, Path]) -> Table:
    """Build the table of the NAS-Bench-201 networks from `gt_stage.txt` and `str_arch2idx.pt`.

    Returns:
        2,000 rows in the order of the file, numbered by the official index of their cells:
        milliseconds for one image on a GTX 1660 with TensorRT 7.1 in fp32, and the official stage.
    """
    path = files[_LABELS]
    index = {arch: i for i, arch in enumerate(read_index(files["str_arch2idx.pt"]))}
    archs, stages, rows = [], [], []
    for label in _read_labels(path):
        if label.model_type != "nasbench201":
            continue
        name = _FILE.fullmatch(label.onnx_path)
        cell = cell_of_code(int(name[1])) if name else None
        if name is None or cell is None:
            raise foreign(path, f"line {label.graph_id} does not name a cell by its code")
        archs.append(cell)
        stages.append(label.stage)
        rows.append([index[cell], label.graph_id, int(name[1]), label.latency_ms])
    if len(set(archs)) != N_OF_FAMILY or len(rows) != N_OF_FAMILY or stages.count("test") != N_TEST:
        raise foreign(path, f"expected {N_OF_FAMILY:,} cells of nasbench201, {N_TEST} for testing")
    values = np.array(rows)
    return Table(
        index=values[:, 0].astype(np.int64),
        columns=("GTX 1660@1", "nb201_index", "graph_id", "file_code"),
        values=values[:, [3, 0, 1, 2]],
        archs=tuple(archs),
        texts={"stage": tuple(stages)},
        dtypes=dict.fromkeys(("nb201_index", "graph_id", "file_code"), "int64"),
    )
