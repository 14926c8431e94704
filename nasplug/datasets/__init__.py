"""Public NAS data sets: fetched once, verified, imported into compact tables, never executed.

Most callers need `load("nb201-accuracy")` alone. Importing this package loads neither pandas nor
torch.

Example:
    >>> from nasplug import datasets
    >>> datasets.info("nb201-latency").space
    'nb201'
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
        InputError: If the file that the package ships is damaged.

    Example:
        >>> from nasplug import datasets
        >>> len(datasets.timm_graphs()[("resnet18", 224)])
        51
    """
    from nasplug.datasets.network_graphs import shipped_network_graphs

    networks = shipped_network_graphs()
    return {key: networks.graph(name) for key, name in _timm_references().items()}


def timm_families() -> dict[str, str]:
    """Family of each network that has a graph: model -> module of timm that defines it.

    Raises:
        InputError: If the file that the package ships is damaged.

    Example:
        >>> from nasplug import datasets
        >>> datasets.timm_families()["resnet18"]
        'resnet'
    """
    from nasplug.datasets.network_graphs import shipped_network_graphs

    networks = shipped_network_graphs()
    return {model: networks.family(name) for (model, _), name in _timm_references().items()}


def _timm_references() -> dict[tuple[str, int], str]:
    from nasplug.datasets.network_graphs import shipped_network_graphs

    result = {}
    for reference in shipped_network_graphs().references:
        package, _, name = reference.partition(":")
        model, _, size = name.partition("@")
        if package == "timm":
            result[model, int(size)] = reference
    return result


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
