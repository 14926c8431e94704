"""Registry of public data sets: read from `registry.toml`, looked up by name."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from nasplug.search_spaces.errors import InputError, closest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["UPSTREAM", "DataFile", "DatasetInfo", "info", "names"]

UPSTREAM = "https://raw.githubusercontent.com"
"""Server of every file, unless `NASPLUG_MIRROR` names a mirror."""


@dataclass(frozen=True)
class DataFile:
    """Upstream file at a fixed commit.

    Attributes:
        url: Address of the file at the source.
        sha256: SHA-256 of the content, as 64 hex digits.
        size: Size in bytes.

    Example:
        >>> from nasplug import datasets
        >>> file = datasets.info("macro").files[0]
        >>> file.name, file.size
        ('nas-bench-macro_cifar10.json', 1178821)
    """

    url: str
    sha256: str
    size: int

    @property
    def key(self) -> str:
        """Path of the file in a mirror and in the cache: `<owner>/<repo>/<commit>/<path>`."""
        return self.url.removeprefix(UPSTREAM + "/")

    @property
    def name(self) -> str:
        """The last part of the file's path."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class DatasetInfo:
    """Entry of the registry: one data set, its files, licence and citation.

    Attributes:
        name: The name that `nasplug.datasets.load` takes.
        space: The search space of its architectures; empty if they belong to none.
        description: Content of the data set, with units.
        licence: The licence that it is published under.
        citation: The works to cite, one a line.
        files: The upstream files; empty if the user must download the data by hand.
        manual: Instructions for the download by hand, if there are no files.
        shipped: Name of the file of the package that holds it, if nothing must be downloaded.

    Example:
        >>> from nasplug import datasets
        >>> entry = datasets.info("macro")
        >>> entry.space, len(entry.files)
        ('macro', 1)
    """

    name: str
    space: str
    description: str
    licence: str
    citation: str
    files: tuple[DataFile, ...] = ()
    manual: str = ""
    shipped: str = ""

    @property
    def size(self) -> int:
        """Size of all files of the data set together, in bytes."""
        if self.shipped:
            return Path(__file__).with_name(self.shipped).stat().st_size
        return sum(file.size for file in self.files)


@cache
def _registry() -> dict[str, DatasetInfo]:
    text = resources.files(__package__).joinpath("registry.toml").read_text(encoding="utf-8")
    entries = {}
    for entry in tomllib.loads(text)["dataset"]:
        files = tuple(DataFile(**file) for file in entry.pop("file", ()))
        entries[entry["name"]] = DatasetInfo(files=files, **entry)
    return entries


def names() -> list[str]:
    """The names of all data sets, in the order of the registry.

    Example:
        >>> from nasplug import datasets
        >>> datasets.names()[:2]
        ['nb201-accuracy', 'nb201-latency']
    """
    return list(_registry())


def info(name: str) -> DatasetInfo:
    """Look up one data set.

    Args:
        name: Name of the data set, such as "nb201-accuracy".

    Returns:
        The data set's entry in the registry.

    Raises:
        InputError: If no data set has that name.

    Example:
        >>> from nasplug import datasets
        >>> datasets.info("nb201-accuracy").space
        'nb201'
    """
    entries = _registry()
    if name not in entries:
        raise InputError(f"unknown data set {name!r}; known: {closest(name, entries)}")
    return entries[name]
