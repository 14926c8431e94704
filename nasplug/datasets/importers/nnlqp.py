"""Reader of NNLQP's format: a label file beside a folder of ONNX networks (ModelTC/NNLQP)."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from nasplug.datasets.layout import number, read_text, shown
from nasplug.datasets.tables import Table
from nasplug.search_spaces.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from nasplug.search_spaces.graph import Graph

__all__ = ["PLATFORMS", "Label", "label_table", "nnlqp_graphs", "parse_labels", "read_nnlqp"]

LABEL_FILES = ("gt_stage.txt", "gt.txt")
"""Names of the label file, in order of preference."""

PLATFORMS: dict[int, tuple[str, str]] = {
    1: ("gpu-gtx1660-trt7.1-fp32", "GTX 1660"),
    2: ("cpu-openppl-fp32", "Xeon Gold 6246"),
    9: ("hi3559A-nnie11-int8", "Hi3559A"),
    10: ("gpu-T4-trt7.1-fp32", "T4"),
    12: ("gpu-T4-trt7.1-int8", "T4"),
    13: ("gpu-P4-trt7.1-fp32", "P4"),
    14: ("gpu-P4-trt7.1-int8", "P4"),
    16: ("hi3519A-nnie12-int8", "Hi3519A"),
    18: ("atlas300-acl-fp16", "Atlas 300"),
    23: ("mul270-neuware-int8", "MLU270"),
}
"""Platform id -> (NNLQP's name: device, runtime and precision; device of the catalogue)."""

STAGES = ("train", "val", "test")

_FORM = "GraphID OnnxPath BatchSize Latency ModelType PlatformId [Stage]"
_FIELDS = (6, 7)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class Label:
    """Line of a label file.

    Attributes:
        graph_id: NNLQP's number of the measurement.
        onnx_path: Path of the network below the folder, with forward slashes.
        batch_size: Images a forward pass.
        latency_ms: Milliseconds for one batch, above 0.
        model_type: The family of the network, such as "alexnet".
        platform_id: A key of `PLATFORMS`, or another number.
        stage: One of `STAGES`, or empty if the file names no stage.
    """

    graph_id: int
    onnx_path: str
    batch_size: int
    latency_ms: float
    model_type: str
    platform_id: int
    stage: str


def _is_onnx_path(text: str) -> bool:
    """Whether a text is a relative path that ends in `.onnx` and cannot leave its folder."""
    # On Windows a backslash separates folders too, and a colon names a drive.
    if not text.isprintable() or "\\" in text or ":" in text:
        return False
    path = PurePosixPath(text)
    return path.suffix == ".onnx" and not path.is_absolute() and ".." not in path.parts


def _parse_line(line: str, n_fields: int | None) -> Label | str:
    """Parse the label on a line, or name its fault in words."""
    fields = line.split()
    if len(fields) not in _FIELDS or n_fields not in {None, len(fields)}:
        expected = "6 or 7" if n_fields is None else f"{n_fields} as on the first line"
        return f"has {len(fields)} fields instead of {expected} ({_FORM})"
    graph, path, batch, latency, family, platform = fields[:6]
    stage = fields[6] if len(fields) == 7 else ""
    milliseconds = number(latency) or 0.0
    checks = (
        ("GraphID", graph, _WHOLE.fullmatch(graph), "a whole number"),
        ("OnnxPath", path, _is_onnx_path(path), "the path of an .onnx file below the folder"),
        ("BatchSize", batch, _WHOLE.fullmatch(batch) and int(batch), "a whole number above 0"),
        ("Latency", latency, milliseconds > 0, "a number of milliseconds above 0"),
        ("ModelType", family, family.isprintable(), "a printable word"),
        ("PlatformId", platform, _WHOLE.fullmatch(platform), "a whole number"),
        ("Stage", stage, stage in STAGES or len(fields) == 6, f"one of {', '.join(STAGES)}"),
    )
    for name, text, valid, expected in checks:
        if not valid:
            return f"has {shown(text)} for {name}, which must be {expected}"
    return Label(int(graph), path, int(batch), milliseconds, family, int(platform), stage)


def parse_labels(text: str, where: str) -> list[Label]:
    """Read the lines of a label file; empty lines at its end do not count.

    Args:
        text: The content, lines separated by line feeds.
        where: Name of the file in messages.

    Raises:
        InputError: If a line has another form, or there is no line; the message names the line.
    """
    labels: list[Label] = []
    n_fields = None
    for k, line in enumerate(text.rstrip().split("\n") if text.strip() else [], 1):
        label = _parse_line(line, n_fields)
        if isinstance(label, str):
            raise InputError(f"{where}, line {k} {label}")
        n_fields = n_fields or len(line.split())
        labels.append(label)
    if not labels:
        raise InputError(f"{where} is empty; each of its lines must be {_FORM}")
    return labels


def label_table(labels: Sequence[Label]) -> Table:
    """Make a table of labels, a row a line.

    Beside the fields of `Label`, the texts `platform` and `device` are those of `PLATFORMS`, or
    empty for another platform.
    """
    platforms = [PLATFORMS.get(label.platform_id, ("", "")) for label in labels]
    return Table(
        index=np.arange(len(labels)),
        columns=("graph_id", "batch_size", "latency_ms", "platform_id"),
        values=np.array(
            [[row.graph_id, row.batch_size, row.latency_ms, row.platform_id] for row in labels],
            dtype=np.float64,
        ),
        texts={
            "onnx_path": tuple(label.onnx_path for label in labels),
            "model_type": tuple(label.model_type for label in labels),
            "stage": tuple(label.stage for label in labels),
            "platform": tuple(platform for platform, _ in platforms),
            "device": tuple(device for _, device in platforms),
        },
        dtypes=dict.fromkeys(("graph_id", "batch_size", "platform_id"), "int64"),
    )


def _label_file(folder: Path, labels: str | None) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder that holds gt.txt and onnx/")
    names = LABEL_FILES if labels is None else (labels,)
    paths = [folder / name for name in names if (folder / name).is_file()]
    if not paths:
        raise InputError(f"{folder} has no file {' or '.join(names)}, which holds NNLQP's labels")
    return paths[0]


class _Networks:
    """Finder of networks below a folder; links must not lead out of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = os.path.realpath(folder)
        # Resolved once a folder: a data set has thousands of networks in few folders.
        self._real_parents: dict[str, str] = {}

    def find(self, onnx_path: str, where: str) -> Path | None:
        """Find the file of a network; None if it is missing."""
        path = self._folder / onnx_path
        parent = str(path.parent)
        if parent not in self._real_parents:
            self._real_parents[parent] = os.path.realpath(parent)
        real = os.path.join(self._real_parents[parent], path.name)
        if os.path.islink(real):
            real = os.path.realpath(real)
        if os.path.commonpath([self._root, real]) != self._root:
            raise InputError(
                f"{where}: {shown(onnx_path)} is a link that leads out of {self._folder}"
            )
        return path if os.path.isfile(real) else None


def read_nnlqp(folder: str | os.PathLike[str], labels: str | None = None) -> pd.DataFrame:
    """Read a data set in NNLQP's format: `gt_stage.txt` or `gt.txt`, and the networks it names.

    The networks are searched for, not opened; `nnlqp_graphs` reads them.

    Args:
        folder: The folder with the label file, to which the paths of the networks are relative.
        labels: Name of the label file, if it is not one of `LABEL_FILES`.

    Returns:
        A row a line: `onnx_path`, `model_type`, `stage` (empty if the file has none), `platform`
        and `device` (empty for platforms that NNLQP did not publish), `graph_id`, `batch_size`,
        `latency_ms` (of one batch), `platform_id`, and `has_onnx`: whether the network is there.

    Raises:
        InputError: If there is no label file, a line has another form, or a network would lie
            outside the folder; the message names file and line.

    Warns:
        UserWarning: If networks are missing; the warning counts them and names the first line.

    Example:
        >>> from nasplug import InputError, datasets
        >>> try:
        ...     datasets.read_nnlqp("nowhere")
        ... except InputError as error:
        ...     print(error)
        nowhere is not a folder; give the folder that holds gt.txt and onnx/
    """
    folder = Path(folder)
    path = _label_file(folder, labels)
    rows = parse_labels(read_text(path), str(path))
    networks = _Networks(folder)
    has_onnx = [
        networks.find(label.onnx_path, f"{path}, line {line}") is not None
        for line, label in enumerate(rows, 1)
    ]
    if not all(has_onnx):
        first = has_onnx.index(False)
        warnings.warn(
            f"{path}: the ONNX files of {has_onnx.count(False):,} of {len(rows):,} lines are "
            f"missing, the first on line {first + 1}: {rows[first].onnx_path}",
            stacklevel=2,
        )
    frame = label_table(rows).to_frame()
    frame["has_onnx"] = has_onnx
    return frame


def nnlqp_graphs(
    folder: str | os.PathLike[str],
    onnx_paths: Iterable[str],
    convert: Callable[[Path], Graph] | None = None,
) -> list[Graph]:
    """Convert networks of a data set that `read_nnlqp` read.

    Args:
        folder: The folder that `read_nnlqp` was given.
        onnx_paths: The column `onnx_path` of its table, or some of it.
        convert: Function that reads one ONNX file; the default is `importers.onnx_graph`.

    Returns:
        The graph of each path, for one image; equal paths share one graph.

    Raises:
        InputError: If a file is missing, lies outside the folder, or cannot be converted.

    Example:
        >>> from pathlib import Path
        >>> from nasplug.datasets import nnlqp_graphs
        >>> from nasplug.search_spaces import Graph
        >>> Path("network.onnx").touch()
        >>> nnlqp_graphs(".", ["network.onnx"], convert=lambda path: Graph((path.stem,), ()))
        [Graph(ops=('network',), edges=())]
    """
    if convert is None:
        from nasplug.search_spaces.importers.onnx_graph import onnx_graph

        convert = onnx_graph
    folder = Path(folder)
    networks = _Networks(folder)
    graphs: dict[str, Graph] = {}
    paths = list(onnx_paths)
    for text in paths:
        if text in graphs:
            continue
        if not _is_onnx_path(text):
            raise InputError(f"{shown(text)} is not the path of an .onnx file in {folder}")
        network = networks.find(text, str(folder))
        if network is None:
            raise InputError(f"{folder / text} is missing; use only the rows with has_onnx")
        graphs[text] = convert(network)
    return [graphs[text] for text in paths]
