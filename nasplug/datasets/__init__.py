"""Public NAS data sets: fetched once, verified, imported into compact tables, never executed.

`load("nb201-accuracy")` is all that most callers need. Importing this package loads neither pandas
nor torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nasplug.datasets.registry import DataFile, DatasetInfo, info, names
from nasplug.datasets.store import (
    available,
    fetch,
    load,
    longest_trained,
    sources,
    tables_of,
    verify,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import pandas as pd

    from nasplug.datasets.nasbench import ModelSpec, NASBench, OutOfDomainError, UnknownCellError
    from nasplug.datasets.nb201 import NB201_DEVICES
    from nasplug.search_spaces.graph import Graph

__all__ = [
    "NB201_DEVICES",
    "DataFile",
    "DatasetInfo",
    "ModelSpec",
    "NASBench",
    "OutOfDomainError",
    "UnknownCellError",
    "available",
    "fetch",
    "import_official",
    "info",
    "load",
    "load_official",
    "longest_trained",
    "names",
    "nnlqp_graphs",
    "read_nnlqp",
    "sources",
    "tables_of",
    "timm_families",
    "timm_graphs",
    "verify",
]

_NASBENCH = ("ModelSpec", "NASBench", "OutOfDomainError", "UnknownCellError")


def import_official(
    path: str | os.PathLike[str],
    trust_sha256: str | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Import the official NAS-Bench-201 `.pth`; see `nasplug.datasets.nb201_official`."""
    from nasplug.datasets import nb201_official

    return nb201_official.import_official(path, trust_sha256, output=output)


def load_official(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the table that `import_official` wrote to its `output`."""
    from nasplug.datasets import nb201_official

    return nb201_official.load_official(path)


def read_nnlqp(folder: str | os.PathLike[str], labels: str | None = None) -> pd.DataFrame:
    """Read a data set in NNLQP's own format; see `nasplug.datasets.nnlqp`."""
    from nasplug.datasets import nnlqp

    return nnlqp.read_nnlqp(folder, labels)


def nnlqp_graphs(
    folder: str | os.PathLike[str],
    onnx_paths: Iterable[str],
    convert: Callable[[Path], Graph] | None = None,
) -> list[Graph]:
    """The graphs of networks in NNLQP's own format; see `nasplug.datasets.nnlqp`."""
    from nasplug.datasets import nnlqp

    return nnlqp.nnlqp_graphs(folder, onnx_paths, convert)


def timm_graphs() -> dict[tuple[str, int], Graph]:
    """Graphs of timm's networks: (model, image size in pixels) as in `timm-latency` -> graph.

    Raises:
        InputError: If they were not built yet, or the file is damaged.
    """
    from nasplug.datasets.timm_networks import networks_path, read_networks

    found = read_networks(networks_path())
    keys = zip(found.models, found.image_sizes, strict=True)
    return dict(zip(keys, found.graphs, strict=True))


def timm_families() -> dict[str, str]:
    """Family of each network that has a graph: model -> module of timm that defines it.

    Raises:
        InputError: As `timm_graphs`.
    """
    from nasplug.datasets.timm_networks import networks_path, read_networks

    found = read_networks(networks_path())
    return dict(zip(found.models, found.families, strict=True))


def __getattr__(name: str) -> Any:
    # These load numpy: only when they are asked for.
    if name == "NB201_DEVICES":
        from nasplug.datasets.nb201 import NB201_DEVICES

        return NB201_DEVICES
    if name in _NASBENCH:
        from nasplug.datasets import nasbench

        return getattr(nasbench, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
