"""Graphs of a builder's networks on disk, so that each is read once on a machine.

The folder of a builder is named by all that decides its networks: the source of its module and of
the modules of the user's that it imports, the numbers and texts that it reads from outside, the
example, and the versions of this package and of torch. A file holds many networks as arrays and
JSON; nothing that is read is run. Files that cannot be read are passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import json
import os
import shutil
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from optuna.distributions import distribution_to_json, json_to_distribution

from nasplug.search_spaces.builders.tree import Path
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.files import cache_dir, write_bytes
from nasplug.search_spaces.graph import ATTRIBUTES, Graph

__all__ = ["GraphCache", "Member", "identity_of"]

# Files of a builder from which on they are joined, and folders of builders that are kept.
MOST_FILES, MOST_BUILDERS = 24, 40
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True, eq=False)
class Member:
    """A setting of a builder with its network.

    Attributes:
        path: The suggestions with their values.
        digest: Digest of the network.
        graph: Graph of the network.
    """

    path: Path
    digest: str
    graph: Graph


class GraphCache:
    """The networks of one builder on disk.

    Args:
        identity: All that decides the networks, see `identity_of`; None to keep nothing.
    """

    def __init__(self, identity: str | None) -> None:
        self._folder = None
        self._read: set[str] = set()
        if identity is not None:
            digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
            self._folder = cache_dir() / "builders" / digest

    def load(self) -> Iterable[Member]:
        """Yield the networks of files that were not read before."""
        for path in self._files():
            if path.name not in self._read:
                self._read.add(path.name)
                # What is damaged, or was removed in the meantime, is built again.
                with contextlib.suppress(Exception):
                    yield from _members(path.read_bytes())

    def clear(self) -> None:
        """Remove all networks."""
        for path in self._files():
            with contextlib.suppress(OSError):
                path.unlink()

    def _files(self) -> list[FilePath]:
        if self._folder is None:
            return []
        try:
            files = list(self._folder.iterdir())
        except OSError:
            return []
        return sorted(p for p in files if p.suffix == ".npz" and p.name[0] != ".")

    def save(self, members: Iterable[Member]) -> None:
        """Write networks to a file of their own; a disk that cannot be written is passed over."""
        batch = list(members)
        if self._folder is None or not batch:
            return
        with contextlib.suppress(OSError):
            if not self._folder.is_dir():
                _remove_old(self._folder.parent)
            files = self._files()
            if len(files) >= MOST_FILES:
                joined = {_key(m.path): m for path in files for m in _read_members(path)}
                batch = list((joined | {_key(m.path): m for m in batch}).values())
            else:
                files = []
            content = _content(batch)
            name = f"{hashlib.sha256(content).hexdigest()[:24]}.npz"
            self._read.add(name)
            write_bytes(self._folder / name, content)
            for path in files:
                if path.name != name:
                    path.unlink(missing_ok=True)


def _read_members(path: FilePath) -> list[Member]:
    try:
        return list(_members(path.read_bytes()))
    except Exception:
        return []


def _remove_old(folder: FilePath) -> None:
    """Remove the folders of the builders that were written longest ago."""
    with contextlib.suppress(OSError):
        folders = sorted(
            (p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime
        )
        for path in folders[: max(0, len(folders) - MOST_BUILDERS + 1)]:
            shutil.rmtree(path, ignore_errors=True)


def _key(path: Path) -> str:
    return json.dumps([[name, value] for name, _, value in path])


def _content(members: list[Member]) -> bytes:
    """The bytes of a file: JSON beside the arrays of all graphs, one after the other."""
    domains: dict[str, int] = {}
    rows = []
    for member in members:
        graph = member.graph
        rows.append(
            {
                "path": [
                    [name, domains.setdefault(distribution_to_json(domain), len(domains)), value]
                    for name, domain, value in member.path
                ],
                "digest": member.digest,
                "ops": graph.ops,
                "edges": len(graph.edges),
                "types": graph.types,
                "weight_types": graph.weight_types,
                "weights": graph.weight_bytes is not None,
            }
        )
    text = json.dumps({"domains": list(domains), "members": rows})
    graphs = [member.graph for member in members]
    edges = [np.array(g.edges, np.int32).reshape(-1, 2) for g in graphs]
    weights = [g.weight_bytes for g in graphs if g.weight_bytes is not None]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        json=np.frombuffer(text.encode(), np.uint8),
        edges=np.concatenate(edges),
        attributes=np.concatenate([g.attributes for g in graphs]),
        weights=np.concatenate([*weights, np.zeros(0)]),
    )
    return file.getvalue()


def _members(content: bytes) -> Iterable[Member]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        text = json.loads(arrays["json"].tobytes())
        edges, attributes, weights = arrays["edges"], arrays["attributes"], arrays["weights"]
    domains = [json_to_distribution(domain) for domain in text["domains"]]
    edge = node = weight = 0
    for row in text["members"]:
        count = len(row["ops"])
        rows = attributes[node : node + count].astype(np.float64)
        pairs = [(int(a), int(b)) for a, b in edges[edge : edge + row["edges"]]]
        own = weights[weight : weight + count].astype(np.float64) if row["weights"] else None
        if rows.shape != (count, len(ATTRIBUTES)) or not np.isfinite(rows).all():
            raise InputError("the file is damaged")
        graph = Graph(
            tuple(map(str, row["ops"])),
            tuple(pairs),
            rows,
            types=tuple(map(str, row["types"])),
            weight_types=tuple(map(str, row["weight_types"])),
            weight_bytes=own,
        )
        path = tuple((str(name), domains[k], value) for name, k, value in row["path"])
        yield Member(path, str(row["digest"]), graph)
        edge, node = edge + row["edges"], node + count
        weight += count if row["weights"] else 0


def identity_of(function: Callable[..., Any], example: str) -> str | None:
    """Text of all that decides the networks of a builder; None if that cannot be told.

    It cannot where the function is an object with a state of its own, or reads objects from around
    it.
    """
    parts: list[Any] = [version("nasplug"), version("torch"), example]
    while isinstance(function, partial):
        parts += [function.args, function.keywords]
        function = function.func
    if not isinstance(function, types.FunctionType):
        return None
    # A variable from around a function may not be set yet, a source may be no text.
    with contextlib.suppress(ValueError, OSError):
        return _identity(function, parts)
    return None


def _identity(function: types.FunctionType, parts: list[Any]) -> str | None:
    outside = inspect.getclosurevars(function)
    values = {name: v for name, v in outside.globals.items() if not _has_source(v)}
    parts += [function.__qualname__, function.__defaults__, function.__kwdefaults__]
    parts += [dict(outside.nonlocals), values, _sources(function)]
    texts = [_text(part) for part in parts]
    return None if None in texts else repr(texts)


def _text(value: Any) -> str | None:
    """Text that is equal for equal values, in every process; None if there is none."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, (types.FunctionType, type)):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        value = sorted(value.items(), key=lambda item: str(item[0]))
    elif not isinstance(value, (tuple, list)):
        return None
    texts = [_text(part) for part in value]
    return None if None in texts else repr(texts)


def _has_source(value: Any) -> bool:
    kinds = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
    return isinstance(value, kinds)


def _sources(function: types.FunctionType) -> Any:
    """Sources of a function's module, and of the modules of the user's that it imports.

    An object without a text if the function has no file.
    """
    first = sys.modules.get(function.__module__)
    file = inspect.getsourcefile(function)
    if file is None or not os.path.isfile(file):
        return object()
    sources = {os.path.abspath(file): FilePath(file).read_text(encoding="utf-8")}
    waiting = [first] if first is not None else []
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module.__name__ in seen:
            continue
        seen.add(module.__name__)
        path = getattr(module, "__file__", None)
        if module is not first:
            if path is None or not _is_users(path) or module.__name__.startswith("nasplug"):
                continue
            sources[os.path.abspath(path)] = FilePath(path).read_text(encoding="utf-8")
        for value in list(vars(module).values()):
            is_module = isinstance(value, types.ModuleType)
            name = value.__name__ if is_module else getattr(value, "__module__", None)
            if _has_source(value) and name in sys.modules:
                waiting.append(sys.modules[name])
    return [sources[name] for name in sorted(sources)]


def _is_users(path: str) -> bool:
    """Whether a file is code of the user's, not of a package or of Python."""
    if not path.endswith(".py") or not os.path.isfile(path):
        return False
    folders = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")]
    whole = os.path.abspath(path)
    return "site-packages" not in whole and not any(whole.startswith(f) for f in folders)
