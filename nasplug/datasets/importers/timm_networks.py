"""Graphs of the networks that timm's result tables name, in one file of the cache.

The tables give latencies by a network's name, and only timm knows the network behind it. So the
graphs are built once where timm is installed (experiments.timm.timm_graphs), and read afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.archives import read_arrays, write_arrays
from nasplug.datasets.download import cache_dir
from nasplug.predictors.features.graph_arrays import pack, unpack
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph

__all__ = ["TimmNetworks", "networks_path", "read_networks", "write_networks"]

FORMAT_VERSION = 1
"""Raised when the layout changes; older files are refused."""

_COLUMNS = ("models", "image_sizes", "families", "parameters")

HOW_TO_BUILD = "install timm and run python -m experiments.timm.timm_graphs in nasplug's repository"


@dataclass(frozen=True, eq=False)
class TimmNetworks:
    """Networks of timm; all sequences have one item for each network.

    Attributes:
        models: Names of architectures, as in the table `timm-latency`.
        image_sizes: Side of the one image that the graph is for, in pixels.
        families: Name of the module of timm that defines the model, such as `"resnet"`.
        parameters: Trainable parameters of the module, before anything is folded.
        graphs: Graphs that `nasplug.search_spaces.importers.torch_graph` read.
        made_with: Versions of timm and torch.
    """

    models: tuple[str, ...]
    image_sizes: tuple[int, ...]
    families: tuple[str, ...]
    parameters: tuple[int, ...]
    graphs: tuple[Graph, ...]
    made_with: str


def networks_path() -> Path:
    """Path of the graphs of all networks in the cache, whether or not the file is there."""
    return cache_dir() / "tables" / "timm-graphs.npz"


def write_networks(path: Path, networks: TimmNetworks) -> None:
    """Write networks, at least one, atomically.

    Raises:
        OSError: If the folder cannot be written.
    """
    vocabulary = vocabulary_of(networks.graphs)
    arrays: dict[str, NDArray[Any]] = {
        "version": np.array(FORMAT_VERSION, dtype=np.int64),
        "made_with": np.array(networks.made_with, dtype=np.str_),
        **{name: np.array(getattr(networks, name)) for name in _COLUMNS},
        "vocabulary": np.array(vocabulary, dtype=np.str_),
        **{f"graphs.{name}": array for name, array in pack(networks.graphs, vocabulary).items()},
    }
    write_arrays(path, arrays)


def read_networks(path: Path) -> TimmNetworks:
    """Read a file that `write_networks` wrote.

    Raises:
        InputError: If the file is missing or damaged, or holds something else.
    """
    if not path.is_file():
        raise InputError(f"the graphs of timm's networks are not in {path}; {HOW_TO_BUILD}")
    try:
        arrays, is_whole = read_arrays(path)
        if not is_whole:
            raise InputError(f"{path} was changed after it was written; {HOW_TO_BUILD}")
        if int(arrays["version"]) != FORMAT_VERSION:
            raise InputError(f"{path} was written by another version of nasplug; {HOW_TO_BUILD}")
        packed = {
            name.removeprefix("graphs."): array
            for name, array in arrays.items()
            if name.startswith("graphs.")
        }
        return TimmNetworks(
            **{name: tuple(arrays[name].tolist()) for name in _COLUMNS},
            graphs=tuple(unpack(packed, tuple(arrays["vocabulary"].tolist()))),
            made_with=str(arrays["made_with"]),
        )
    except InputError:
        raise
    # Damaged bytes can raise nearly anything in zipfile, zlib and numpy's header parser.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}); {HOW_TO_BUILD}"
        ) from error
