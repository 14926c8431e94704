"""Choice of the networks to time: drawn from a space, or given as texts."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nasplug.arguments import checked_count, onnx_writer
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace
from nasplug.text import check_row

if TYPE_CHECKING:
    import onnx

__all__ = ["Networks", "chosen", "networks_of", "read_archs"]

# Number of draws in succession without a new network after which a space counts as exhausted.
_MOST_REPEATS = 10_000


@dataclass(frozen=True, eq=False)
class Networks:
    """Networks to time, and how each is described and written.

    Attributes:
        source: Name of the space that they are from, or `"ONNX files"`.
        archs: The different networks.
        family_of: Function from a network to its family, the row in a summary.
        batch_size: Function from a network to the images of a forward pass.
        graph: Function from a network to its graph; None if it has none.
        write: Function from a network to the ONNX model that is run.
    """

    source: str
    archs: Sequence[Architecture]
    family_of: Callable[[Architecture], str]
    batch_size: Callable[[Architecture], int]
    graph: Callable[[Architecture], Graph | None]
    write: Callable[[Architecture], onnx.ModelProto]


def networks_of(
    space: SearchSpace,
    n: int | None,
    archs: Sequence[str | Architecture] | None,
    seed: int,
    batch_size: int,
) -> Networks:
    """Choose networks of a space: `n` drawn ones, or the given ones, with weights of a seed.

    Raises:
        InputError: If the space does not write networks, or for the reasons of `chosen`.
    """
    write = onnx_writer(space)
    return Networks(
        space.name,
        chosen(space, n, archs, seed),
        space.family_of,
        lambda _: batch_size,
        space.to_graph,
        lambda arch: write(arch, seed, batch_size, None),
    )


def chosen(
    space: SearchSpace, n: int | None, archs: Sequence[str | Architecture] | None, seed: int
) -> list[Architecture]:
    """Choose the different networks to time: `n` drawn ones, or the given ones.

    Raises:
        InputError: If not exactly one of `n` and `archs` is given, a text is no architecture of the
            space, or the space has fewer than `n` networks.
    """
    if (n is None) == (archs is None):
        raise InputError(
            "no networks to time were given; give their number (--n), architectures of the "
            "space, or .onnx files"
        )
    if archs is not None:
        parsed = [space.parse(arch) if isinstance(arch, str) else arch for arch in archs]
        for arch in parsed:
            space.validate(arch)
        if not parsed:
            raise InputError("the list of architectures is empty; give at least one")
        return list({arch.arch_id: arch for arch in parsed}.values())
    assert n is not None
    checked_count(n, "number of networks")
    rng = np.random.default_rng(seed)
    drawn: dict[str, Architecture] = {}
    repeats = 0
    while len(drawn) < n:
        arch = space.sample(rng)
        repeats = repeats + 1 if arch.arch_id in drawn else 0
        if repeats > _MOST_REPEATS:
            raise InputError(
                f"space {space.name} yielded only {len(drawn)} different networks; ask for at "
                f"most {len(drawn)} instead of {n}"
            )
        drawn.setdefault(arch.arch_id, arch)
    return list(drawn.values())


def read_archs(path: str | os.PathLike[str]) -> list[str]:
    """Read architectures from a file: one a line, or the column `arch` of a .csv.

    Raises:
        InputError: If the file cannot be read or holds no architecture.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text; write one architecture per line") from None
    if file.suffix == ".csv":
        rows = list(csv.reader(lines))
        header = rows[0] if rows else []
        if "arch" not in header:
            raise InputError(f"{file} has no column arch; its first line must name one")
        for number, row in enumerate(rows[1:], 2):
            if len(row) == len(header):
                check_row(header, row, f"{file}, row {number}")
        column = header.index("arch")
        lines = [row[column] for row in rows[1:] if len(row) > column]
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise InputError(f"{file} has no architectures; write one per line")
    return texts
