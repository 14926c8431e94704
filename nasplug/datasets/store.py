"""Data sets by name: files in the cache, tables of the files, frames of the tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nasplug.datasets.download import (
    cache_dir,
    cached_path,
    fetch_files,
    file_status,
    local_mirror,
)
from nasplug.datasets.registry import DatasetInfo, info, names
from nasplug.search_spaces.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from nasplug.datasets.measurements import MeasurementTable
    from nasplug.datasets.tables import Table

__all__ = [
    "available",
    "fetch",
    "keep",
    "load",
    "longest_trained",
    "sources",
    "tables_of",
    "verify",
]

# Data sets of a space that are not named after it.
_FURTHER = {
    "nb101": ("nb101-official", "nb101-small"),
    **{f"gpt:{scale}": (f"gpt-{scale}",) for scale in ("s", "m", "l")},
}
_LANGUAGE_MODELS = "gpt_networks.npz"
_EPOCHS = "epochs"


def _table_path(entry: DatasetInfo) -> Path:
    return cache_dir() / "tables" / f"{entry.name}.npz"


def _with_files(name: str) -> DatasetInfo:
    entry = info(name)
    if entry.shipped:
        raise InputError(f"{name} is a part of the package; nothing needs to be fetched")
    if not entry.files:
        raise InputError(f"{name} cannot be fetched: {entry.manual}")
    return entry


def _sources(entry: DatasetInfo) -> dict[str, str]:
    return {file.key: file.sha256 for file in entry.files}


def _read(entry: DatasetInfo) -> Table | None:
    """Read the table in the cache; None if it is missing, of other files or of another version."""
    from nasplug.datasets.tables import FORMAT_VERSION, read_table

    path = _table_path(entry)
    if not path.is_file():
        return None
    table = read_table(path)
    is_current = table.version == FORMAT_VERSION and dict(table.sources) == _sources(entry)
    return table if is_current else None


def _build(entry: DatasetInfo, progress: bool | None) -> Table:
    """Import the upstream files, fetching missing ones, and keep the table in the cache."""
    from nasplug.datasets.importers import (
        accel,
        ecnas,
        gpt_runs,
        help_networks,
        macro,
        nb201,
        nnlqp_published,
        timm_results,
    )

    importers: dict[str, Callable[[Mapping[str, Path]], Table]] = {
        "nb201-accuracy": nb201.import_accuracy,
        "nb201-latency": nb201.import_latency,
        "fbnet-latency": help_networks.import_fbnet,
        "ofa-latency": help_networks.import_ofa,
        "accel": accel.import_accel,
        "macro": macro.import_macro,
        "timm-latency": timm_results.import_latency,
        "timm-accuracy": timm_results.import_accuracy,
        "nnlqp-labels": nnlqp_published.import_labels,
        "nnlqp-nasbench201": nnlqp_published.import_nasbench201,
        "nb101-small": ecnas.import_means,
        "ecnas-4v": ecnas.import_runs,
        "ecnas-5v": ecnas.import_runs,
        "ecnas-hardware": ecnas.import_hardware,
        **{
            f"gpt-{scale}-perplexity": partial(gpt_runs.import_perplexity, scale=scale)
            for scale in gpt_runs.BATCHES
        },
        "gpt-s-h100": gpt_runs.import_gpu,
        "gpt-s-cpu": gpt_runs.import_cpu,
    }
    paths = fetch_files(entry.files, entry.name, progress)
    table = importers[entry.name]({path.name: path for path in paths})
    table = replace(table, sources=_sources(entry))
    keep(entry.name, table)
    return table


def keep(name: str, table: Table) -> None:
    """Write the table of a data set to the cache.

    Raises:
        InputError: If the cache cannot be written.
    """
    from nasplug.datasets.tables import write_table

    path = _table_path(info(name))
    try:
        write_table(path, table)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error}); set NASPLUG_CACHE to a folder that can be written"
        ) from error


def _imported(entry: DatasetInfo) -> Table:
    """Read the table of a data set whose file was downloaded by hand."""
    from nasplug.datasets.tables import FORMAT_VERSION, read_table

    path = _table_path(entry)
    if not path.is_file():
        raise InputError(f"{entry.name} cannot be fetched: {entry.manual}")
    table = read_table(path)
    if table.version != FORMAT_VERSION:
        raise InputError(f"{path} was written by another version of nasplug; {entry.manual}")
    return table


def _load(entry: DatasetInfo) -> Table:
    try:
        table = _read(entry)
    except InputError as damage:
        try:
            return _build(entry, None)
        except InputError as reason:
            raise InputError(f"{damage}; importing it again failed: {reason}") from reason
    return _build(entry, None) if table is None else table


def load(name: str) -> pd.DataFrame:
    """Load a data set, fetching and importing it first if needed.

    A file that must be downloaded by hand has to be imported before.

    Args:
        name: One of `names()`; `info(name).description` describes its content, with units.

    Returns:
        A frame with the texts first (`arch` is the benchmark's own string), then the numbers.
        Latencies are in milliseconds per batch; a column for one device is named
        `<device>@<batch>`. The index, named "index", counts architectures as the source does, or
        the rows of a long table.

    Raises:
        InputError: If the name is unknown, or a file cannot be fetched or read.

    Example:
        >>> from nasplug import InputError, datasets
        >>> try:
        ...     datasets.load("nb201-acuracy")
        ... except InputError as error:
        ...     print(error)
        unknown data set 'nb201-acuracy'; known: nb201-accuracy, ...
    """
    entry = info(name)
    if entry.shipped:
        return _shipped(entry).to_frame()
    return (_load(entry) if entry.files else _imported(entry)).to_frame()


def tables_of(space: str, quantity: str) -> list[str]:
    """Names of the data sets that may hold a quantity of a space, the best one first.

    A data set that must be downloaded by hand is among them once it was imported.

    Args:
        space: Name of the space.
        quantity: Name of the quantity, such as `"accuracy"`.

    Example:
        >>> from nasplug import datasets
        >>> datasets.tables_of("nb201", "accuracy")
        ['nb201-accuracy']
    """
    candidates = (f"{space}-{quantity}", space, *_FURTHER.get(space, ()))
    return [
        name for name in candidates if name in names() and (info(name).files or available(name))
    ]


def longest_trained(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the longest training, where a table has the column `epochs`; else the whole table.

    Example:
        >>> import pandas as pd
        >>> from nasplug import datasets
        >>> table = pd.DataFrame({"arch": ["a", "a"], "epochs": [12, 200]})
        >>> datasets.longest_trained(table)["epochs"].tolist()
        [200]
    """
    if _EPOCHS in table.columns:
        result: pd.DataFrame = table[table[_EPOCHS] == table[_EPOCHS].max()]
        return result
    return table


def sources(name: str) -> dict[str, str]:
    """SHA-256 of each file that a data set is read from, by its path in a mirror or its name.

    Raises:
        InputError: If the name is unknown, or the data set must be imported by hand and was not.

    Example:
        >>> from nasplug import datasets
        >>> [len(sha256) for sha256 in datasets.sources("macro").values()]
        [64]
    """
    entry = info(name)
    if entry.shipped:
        content = Path(__file__).with_name(entry.shipped).read_bytes()
        return {entry.shipped: hashlib.sha256(content).hexdigest()}
    return _sources(entry) if entry.files else dict(_imported(entry).sources)


def fetch(name: str, progress: bool | None = None) -> list[Path]:
    """Fetch the files of a data set into the cache, replacing damaged ones, and import them.

    Args:
        name: The data set.
        progress: Whether to draw a progress bar on stderr; None draws it on a terminal only.

    Returns:
        The upstream files in the cache.

    Raises:
        InputError: If the name is unknown, or a file cannot be fetched or read.

    Example:
        >>> from nasplug import InputError, datasets
        >>> try:
        ...     datasets.fetch("nb101")
        ... except InputError as error:
        ...     print(error)
        unknown data set 'nb101'; known: nb101-small, nb101-official, ...
    """
    entry = _with_files(name)
    paths = fetch_files(entry.files, entry.name, progress)
    if _table_status(entry) != "ok":
        _build(entry, progress)
    return paths


def available(name: str) -> bool:
    """Whether `load(name)` needs no network.

    True if the package holds it, if the imported table is in the cache, or if every file is in the
    cache or in the folder that `NASPLUG_MIRROR` names; files are compared by size only.

    Raises:
        InputError: If the name is unknown, or `NASPLUG_MIRROR` is no folder and no URL.

    Example:
        >>> from nasplug import datasets
        >>> datasets.available("macro")  # nothing was fetched yet
        False
    """
    entry = info(name)
    if entry.shipped:
        return True
    if not entry.files:
        try:
            _imported(entry)
        except InputError:
            return False
        return True
    if _table_status(entry) == "ok":
        return True
    mirror = local_mirror()
    return all(
        any(
            path.is_file() and path.stat().st_size == file.size
            for path in (cached_path(file), *([mirror / file.key] if mirror else []))
        )
        for file in entry.files
    )


def _table_status(entry: DatasetInfo) -> str:
    if not _table_path(entry).is_file():
        return "missing"
    try:
        return "stale" if _read(entry) is None else "ok"
    except InputError:
        return "damaged"


def _shipped(entry: DatasetInfo) -> Table | MeasurementTable:
    """The table of a data set that the package holds."""
    if entry.shipped == _LANGUAGE_MODELS:
        from nasplug.datasets.gpt_networks import gpt_table

        return gpt_table(entry.space.removeprefix("gpt:"))
    from nasplug.datasets.measurements import shipped_measurements

    return shipped_measurements()


def _shipped_status(entry: DatasetInfo) -> str:
    try:
        _shipped(entry)
    except InputError:
        return "damaged"
    return "ok"


def verify(name: str) -> list[tuple[str, str]]:
    """Check the files and the table of a data set in the cache, by size and hash.

    Returns:
        (file, status) of each upstream file, by its path in a mirror, and last of the imported
        table (`tables/<name>.npz`). A status is "ok", "missing" or "damaged"; for the table also
        "stale": made from other files or by another version, `load` builds it again.

    Raises:
        InputError: If the name is unknown, or the data set has no files to check.

    Example:
        >>> from nasplug import datasets
        >>> datasets.verify("macro")[-1]  # nothing was fetched yet
        ('tables/macro.npz', 'missing')
    """
    entry = info(name)
    if entry.shipped:
        return [(entry.shipped, _shipped_status(entry))]
    entry = _with_files(name)
    statuses = [(file.key, file_status(file)) for file in entry.files]
    return [*statuses, (f"tables/{entry.name}.npz", _table_status(entry))]
