"""Export of networks as ONNX files, those of a front with an index of them, and as code.

The weights of ONNX files are random, but for networks that were trained.
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

from nasplug.arguments import can_export, checked_dataset, onnx_writer
from nasplug.results.code import TRAINING, check_code, codes, training_program
from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.search_spaces.costs import FLOAT_BYTES
from nasplug.search_spaces.files import write_bytes, write_text
from nasplug.text import counted
from nasplug.trained.export import WEIGHTS

__all__ = [
    "INDEX",
    "can_export",
    "check_export",
    "check_folder",
    "export",
    "export_code",
    "export_networks",
]

INDEX = "index.json"


def check_export(space: SearchSpace, folder: str | os.PathLike[str], code: bool = False) -> None:
    """Check before a search that its networks can be written to a folder.

    Args:
        space: Their space.
        folder: Folder for the files.
        code: Whether their code is written, too.

    Raises:
        InputError: If the space does not write networks or code, or the folder cannot be created or
            written.
    """
    onnx_writer(space)
    if code:
        check_code(space)
    check_folder(folder)


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Check that files can be written to a folder.

    Raises:
        InputError: If the folder cannot be created or written.
    """
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
    code: bool = False,
) -> list[Path]:
    """Write networks, each whole or not at all, then the index, then their code.

    Args:
        space: Their space.
        archs: The networks.
        rows: Their descriptions, as `SearchResult.pareto` has them.
        about: `"space"`, `"dataset"`, `"hardware"` and `"batch_size"` of the search.
        folder: Folder for the files; created if it is missing.
        seed: Seed of the weights.
        code: Whether to write the code of the networks, too; see `export_code`.

    Returns:
        Paths of the ONNX files, then of the index, then of the code.

    Raises:
        InputError: If the space does not write networks or code, one is too large for an ONNX file,
            a file of the code's name is there with other content, or the folder cannot be written
            or has too little room.
    """
    target = Path(folder)
    check_export(space, target, code)
    write = onnx_writer(space)
    files = codes(space, archs, about["dataset"]) if code else []
    _check_unchanged(target, dict(files))
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
        path = target / f"{rank}-{_file_name(arch)}.onnx"
        model = write(arch, seed, about["batch_size"], about["dataset"])
        content = model.SerializeToString()
        with _writing(target):
            write_bytes(path, content)
        digest = hashlib.sha256(content).hexdigest()
        weights = next((p.value for p in model.metadata_props if p.key == WEIGHTS), random)
        entry = {"rank": rank, "file": path.name, "sha256": digest, "weights": weights}
        if code:
            entry["code"] = files[rank - 1][0]
        networks.append(entry | dict(row))
        paths.append(path)
    kinds = {entry["weights"] for entry in networks}
    weights = kinds.pop() if len(kinds) == 1 else "as each network says"
    index = {**about, "weights": weights, "networks": networks}
    with _writing(target):
        write_text(target / INDEX, json.dumps(index, indent=2) + "\n")
    written = export_code(space, archs, target, about["dataset"]) if code else []
    return [*paths, target / INDEX, *written]


def export_code(
    space: SearchSpace,
    archs: Sequence[Architecture],
    folder: str | os.PathLike[str],
    dataset: str | None = None,
) -> list[Path]:
    """Write the code of networks, and a program `train.py` that trains them.

    A file that is there with the same content stays, as does any `train.py`.

    Args:
        space: Their space.
        archs: The networks, at least one.
        folder: Folder for the files; created if it is missing.
        dataset: Image set of the networks; the first of the space if it is left out.

    Returns:
        Paths of the code of each network, and of `train.py` if it was written.

    Raises:
        InputError: If the space does not write code, a file is there with other content, or the
            folder cannot be written.
    """
    target = Path(folder)
    dataset = checked_dataset(space, dataset)
    first, *others = codes(space, archs, dataset)
    files = dict([first, *others])
    check_folder(target)
    _check_unchanged(target, files)
    if not (target / TRAINING).exists():
        files[TRAINING] = training_program(space, dataset, *first)
    with _writing(target):
        for name, text in files.items():
            write_text(target / name, text)
    return [target / name for name in files]


def export_networks(
    space: SearchSpace,
    archs: Sequence[Architecture],
    folder: str | os.PathLike[str],
    dataset: str | None = None,
) -> list[Path]:
    """Write networks as ONNX files for one image, each named by the id of its architecture.

    Args:
        space: Their space.
        archs: The networks.
        folder: Folder for the files; created if it is missing.
        dataset: Image set of the networks; the first of the space if it is left out.

    Returns:
        Paths of the files.

    Raises:
        InputError: If the space does not write networks, a file is there with other content, or the
            folder cannot be written or has too little room.
    """
    target = Path(folder)
    dataset = checked_dataset(space, dataset)
    check_export(space, target)
    write = onnx_writer(space)
    paths = []
    for arch in archs:
        path = target / f"{_file_name(arch)}.onnx"
        content = write(arch, 0, 1, dataset).SerializeToString()
        _check_unchanged(target, {path.name: content})
        with _writing(target):
            write_bytes(path, content)
        paths.append(path)
    return paths


def _file_name(arch: Architecture) -> str:
    # An id of another package's space may hold anything.
    return re.sub(r"[^A-Za-z0-9._-]", "_", arch.arch_id)


def _check_unchanged(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Check that no file would be replaced by another one.

    Raises:
        InputError: If a file of one of these names has another content.
    """
    for name, content in contents.items():
        path = folder / name
        expected = content.encode("utf-8") if isinstance(content, str) else content
        with _writing(folder):
            is_other = path.exists() and (path.is_dir() or path.read_bytes() != expected)
        if is_other:
            raise InputError(
                f"{str(path)!r} is there and differs from what would be written; move it away, or "
                "give another folder"
            )


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
