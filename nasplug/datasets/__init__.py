"""Public NAS data sets: fetched once, verified, imported into compact tables, never executed.

`load("nb201-accuracy")` is all that most callers need. Importing this package loads neither pandas
nor torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nasplug.datasets.registry import DataFile, DatasetInfo, info, names
from nasplug.datasets.store import available, fetch, load, verify

if TYPE_CHECKING:
    import pandas as pd

    from nasplug.datasets.nb201 import NB201_DEVICES

__all__ = [
    "NB201_DEVICES",
    "DataFile",
    "DatasetInfo",
    "available",
    "fetch",
    "import_official",
    "info",
    "load",
    "load_official",
    "names",
    "verify",
]


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


def __getattr__(name: str) -> Any:
    # nb201 loads numpy: only when its constant is asked for.
    if name == "NB201_DEVICES":
        from nasplug.datasets.nb201 import NB201_DEVICES

        return NB201_DEVICES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
