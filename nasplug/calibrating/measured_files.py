"""Networks of a table of latencies that are the user's own ONNX files, as `nasplug measure` timed
them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasplug.arguments import ONNX_FILES
from nasplug.measuring.onnx_files import content_id
from nasplug.predictors.features.runtimes import Way
from nasplug.search_spaces import Architecture, Graph, InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.importers.onnx_loading import parse_model
from nasplug.text import shown_path

__all__ = ["MeasuredFiles", "file_network", "is_file"]

# Backend of `nasplug measure` -> runtime.
_RUNTIMES = {"onnxruntime": "onnxruntime", "torch": "eager"}


@dataclass(frozen=True)
class _Listed:
    """File as a row of a table names it.

    Attributes:
        path: Path in the table.
        content: End of the network's id, which tells the file's content; empty if there is no id.
        line: Table and line, for messages.
    """

    path: str
    content: str
    line: str


def is_file(text: str) -> bool:
    """Whether an architecture's text in a table is the path of an ONNX file."""
    return text.lower().endswith(".onnx")


def file_network(path: str, arch_id: str, line: str) -> Architecture:
    """Network of the file that a row names; `arch_id` is empty in a table without that column."""
    text = arch_id or path
    return Architecture(ONNX_FILES, text, text, _Listed(path, arch_id.rpartition("-")[2], line))


class MeasuredFiles:
    """Files that a table names, by their paths or beside the table.

    Attributes:
        way: How `nasplug measure` ran the networks, as far as its description tells.

    Args:
        table: Path of the table; None for one that is in no file.
        description: Description of the measurements; None reads the one beside the table.
    """

    def __init__(self, table: Path | None, description: Mapping[str, Any] | None) -> None:
        self._folder = None if table is None else table.parent
        if description is None and table is not None:
            description = _read(table.with_suffix(".json"))
        self._shapes = _given(description, "input_shapes")
        self._values = _given(description, "input_values")
        self.way = _way(description)

    def graphs(self, archs: Sequence[Architecture]) -> dict[str, Graph]:
        """Read the graphs of networks, by the networks' texts.

        A file that was measured again after a change has several networks; those of its earlier
        contents are left out.

        Raises:
            InputError: If a file is missing, has changed since it was measured, or cannot be read.
        """
        paths = {arch: self._find(_listed(arch)) for arch in archs}
        up_to_date = {_listed(arch).path for arch, path in paths.items() if path is not None}
        graphs = {}
        for arch, path in paths.items():
            listed = _listed(arch)
            if path is not None:
                graphs[arch.text] = self._graph(path, listed.line)
            elif listed.path not in up_to_date:
                raise InputError(
                    f"{listed.line}: {shown_path(Path(listed.path))} has changed since it was "
                    "measured; measure it again, or remove the line"
                )
        return graphs

    def _find(self, listed: _Listed) -> Path | None:
        """Path of the file that was measured; None if the file there has another content."""
        path = Path(listed.path)
        beside = [] if self._folder is None else [self._folder / path, self._folder / path.name]
        existing = [file for file in (path, *beside) if file.is_file()]
        if not existing:
            raise InputError(
                f"{listed.line}: there is no file {shown_path(path)}, nor one beside the table; "
                "calibrate reads the files that were measured: put it there, or remove the line"
            )
        try:
            same = (file for file in existing if listed.content in ("", content_id(file)))
            return next(same, None)
        except OSError as error:
            raise InputError(
                f"{listed.line}: {shown_path(path)} cannot be read ({error.strerror})"
            ) from None

    def _graph(self, path: Path, line: str) -> Graph:
        """Read a file as a graph, with the shapes that it was measured with."""
        try:
            inputs = {value.name for value in parse_model(path, shown_path(path)).graph.input}
            # The only input of a file may go without a name.
            shapes = {k: shape for k, shape in self._shapes.items() if k in inputs or not k}
            values = {name: value for name, value in self._values.items() if name in inputs}
            return onnx_graph(path, input_shapes=shapes, input_values=values)
        except InputError as error:
            # A calibration takes no shapes.
            reason, advice, _ = str(error).partition("; give its shape")
            where = "; the .json that nasplug measure wrote beside the table has the shape"
            raise InputError(f"{line}: {reason}{where * bool(advice)}") from None


def _listed(arch: Architecture) -> _Listed:
    assert isinstance(arch.key, _Listed)
    return arch.key


def _read(path: Path) -> Mapping[str, Any] | None:
    """Description beside a table; None if there is none, as for a table of other programs."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _way(description: Mapping[str, Any] | None) -> Way:
    """Runtime and threads that a description of `nasplug measure` tells."""
    runtime = (description or {}).get("runtime")
    told = runtime if isinstance(runtime, dict) else {}
    threads, on_cpu = told.get("threads"), told.get("device", "cpu") == "cpu"
    known = threads if isinstance(threads, int) and threads > 0 and on_cpu else 0
    return Way(_RUNTIMES.get(str(told.get("backend")), ""), threads=known)


def _given(description: Mapping[str, Any] | None, setting: str) -> dict[str, Any]:
    """Shapes or values of inputs, by name, with which files were measured."""
    settings = (description or {}).get("settings")
    given = settings.get(setting) if isinstance(settings, dict) else None
    return given if isinstance(given, dict) else {}
