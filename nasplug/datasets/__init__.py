"""Public NAS data sets: fetched once, verified, imported into compact tables, never executed.

Most callers need `load("nb201-accuracy")` alone. Importing this package loads neither pandas nor
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.datasets.importers.nb201 import NB201_DEVICES
    from nasplug.datasets.importers.nb201_official import import_official, load_official
    from nasplug.datasets.importers.nnlqp import nnlqp_graphs, read_nnlqp
    from nasplug.datasets.nasbench import ModelSpec, NASBench, OutOfDomainError, UnknownCellError
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


def timm_graphs() -> dict[tuple[str, int], Graph]:
    """Graphs of timm's networks: (model, image size in pixels) as in `timm-latency` -> graph.

    Raises:
        InputError: If the graphs were not built yet, or the file is damaged.
    """
    from nasplug.datasets.importers.timm_networks import networks_path, read_networks

    networks = read_networks(networks_path())
    keys = zip(networks.models, networks.image_sizes, strict=True)
    return dict(zip(keys, networks.graphs, strict=True))


def timm_families() -> dict[str, str]:
    """Family of each network that has a graph: model -> module of timm that defines it.

    Raises:
        InputError: If the graphs were not built yet, or the file is damaged.
    """
    from nasplug.datasets.importers.timm_networks import networks_path, read_networks

    networks = read_networks(networks_path())
    return dict(zip(networks.models, networks.families, strict=True))


_IMPORTERS = "nasplug.datasets.importers"
# Imported on first use, since they load numpy or pandas.
__getattr__ = loader(
    __name__,
    {
        "ModelSpec": "nasplug.datasets.nasbench.api",
        "NASBench": "nasplug.datasets.nasbench.api",
        "NB201_DEVICES": f"{_IMPORTERS}.nb201",
        "OutOfDomainError": "nasplug.datasets.nasbench.api",
        "UnknownCellError": "nasplug.datasets.nasbench.api",
        "import_official": f"{_IMPORTERS}.nb201_official",
        "load_official": f"{_IMPORTERS}.nb201_official",
        "nnlqp_graphs": f"{_IMPORTERS}.nnlqp",
        "read_nnlqp": f"{_IMPORTERS}.nnlqp",
    },
)
