"""Export of a front's networks as ONNX files, with an index of them.

Their weights are random, but for networks that were trained.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nasplug.arguments import can_export, onnx_writer
from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.search_spaces.costs import FLOAT_BYTES
from nasplug.search_spaces.files import write_bytes, write_text
from nasplug.text import counted
from nasplug.trained.export import WEIGHTS

__all__ = ["INDEX", "can_export", "check_export", "export"]

INDEX = "index.json"


def check_export(space: SearchSpace, folder: str | os.PathLike[str]) -> None:
    """Check before a search that its networks can be written to a folder.

    Raises:
        InputError: If the space does not write networks, or the folder cannot be created or
            written.
    """
    onnx_writer(space)
    target = Path(folder)
    # The folder is not created yet, as the search may find nothing.
    parent = next(path for path in (target, *target.absolute().parents) if os.path.exists(path))
    with _writing(target):
        if not parent.is_dir():
            raise OSError(0, f"{parent} is a file")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OSError(0, f"{parent} cannot be written")


def export(
    space: SearchSpace,
    archs: Sequence[Architecture],
    rows: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    folder: str | os.PathLike[str],
    seed: int = 0,
) -> list[Path]:
    """Write networks, each whole or not at all, then the index.

    Args:
        space: Their space.
        archs: The networks.
        rows: Their descriptions, as `SearchResult.pareto` has them.
        about: `"space"`, `"dataset"`, `"hardware"` and `"batch_size"` of the search.
        folder: Folder for the files; created if it is missing.
        seed: Seed of the weights.

    Returns:
        Paths of the files, the index last.

    Raises:
        InputError: If the space does not write networks, one is too large for an ONNX file, or the
            folder cannot be written or has too little room.
    """
    target = Path(folder)
    check_export(space, target)
    write = onnx_writer(space)
    with _writing(target):
        target.mkdir(parents=True, exist_ok=True)
    needed = FLOAT_BYTES * sum(row["params"] for row in rows)
    free = shutil.disk_usage(target).free
    if needed > free:
        raise InputError(
            f"the files of {counted(len(rows), 'network')} need {needed / 1e9:.1f} GB, but "
            f"{str(target)!r} has {free / 1e9:.1f} GB left; give a folder with more space"
        )
    networks: list[dict[str, Any]] = []
    paths = []
    random = f"random, seed {seed}"
    for rank, (arch, row) in enumerate(zip(archs, rows, strict=True), start=1):
        # An id of another package's space may hold anything.
        path = target / f"{rank}-{re.sub(r'[^A-Za-z0-9._-]', '_', arch.arch_id)}.onnx"
        model = write(arch, seed, about["batch_size"], about["dataset"])
        content = model.SerializeToString()
        with _writing(target):
            write_bytes(path, content)
        digest = hashlib.sha256(content).hexdigest()
        weights = next((p.value for p in model.metadata_props if p.key == WEIGHTS), random)
        entry = {"rank": rank, "file": path.name, "sha256": digest, "weights": weights}
        networks.append(entry | dict(row))
        paths.append(path)
    kinds = {entry["weights"] for entry in networks}
    weights = kinds.pop() if len(kinds) == 1 else "as each network says"
    index = {**about, "weights": weights, "networks": networks}
    with _writing(target):
        write_text(target / INDEX, json.dumps(index, indent=2) + "\n")
    return [*paths, target / INDEX]


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn an OSError of the block into a sentence on the folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write networks to {str(folder)!r} ({reason}); give a folder that can be "
            "written"
        ) from error
