"""Read pickles, bare or in `torch.save` zip files, without running anything that they name.

A pickle is a program: it may name any function and call it. Here a pickle can reach the few
harmless stand-ins below only, and only those that the caller allows by name.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from nasplug.datasets.download import is_lfs_pointer
from nasplug.search_spaces.errors import InputError

__all__ = ["NUMPY_SCALARS", "ORDERED_DICT", "load_pickle", "load_pickle_zip"]

ORDERED_DICT = frozenset({"collections.OrderedDict"})
"""Names to allow for ordered dictionaries."""

NUMPY_SCALARS = frozenset(
    {"numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
    | {"_codecs.encode"}  # pickle protocol 2 has no bytes: it encodes text instead
)
"""Names to allow for numpy numbers (bool, int, float), which are read as numpy scalars."""

_MAX_MEMBERS = 64
_MEMO_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_REFUSED = {
    "PERSID": "a persistent id (a tensor)",
    "BINPERSID": "a persistent id (a tensor)",
    "EXT1": "an extension code",
    "EXT2": "an extension code",
    "EXT4": "an extension code",
    "NEXT_BUFFER": "an out-of-band buffer",
    "EMPTY_SET": "a set",
    "FROZENSET": "a set",
}
# Unequal integers of this size may have one hash; a dictionary of such keys takes hours to fill.
_MAX_KEY = 1 << 60
# Kinds of items on the stack; a large integer, or a tuple, is refused as a key.
_KEY, _NO_KEY, _MARK = "key", "no key", "mark"
_MEMO_GETS = {"GET", "BINGET", "LONG_BINGET"}


def _stand_ins() -> dict[str, Callable[..., Any]]:
    """Stand-ins for the allowed names; made anew for each load, as a pickle may write to them."""
    import numpy as np

    class PlainDtype:
        """Description of a plain dtype; numpy's own class would accept objects too."""

        __slots__ = ("code",)

        def __init__(self, code: str, *_flags: object) -> None:
            self.code = code

        def __setstate__(self, state: tuple[Any, ...]) -> None:
            order = state[1]
            self.code = (order if order in {"<", ">"} else "") + self.code

    def scalar(kind: PlainDtype, content: bytes) -> Any:
        dtype = np.dtype(kind.code)
        if dtype.kind not in "biuf" or not len(content) == dtype.itemsize <= 8:
            raise pickle.UnpicklingError("a numpy value that is not a plain number")
        return np.frombuffer(content, dtype)[0]

    def encode(text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise pickle.UnpicklingError("text in an unexpected encoding")
        return text.encode("latin1")

    def ordered() -> OrderedDict[Any, Any]:
        # A pickle sets its keys as it does for plain dictionaries, and `_check_keys` checks both.
        return OrderedDict()

    return {
        "collections.OrderedDict": ordered,
        "numpy.dtype": PlainDtype,
        "numpy.core.multiarray.scalar": scalar,
        "numpy._core.multiarray.scalar": scalar,
        "_codecs.encode": encode,
    }


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, path: Path, allowed: Collection[str]) -> None:
        super().__init__(io.BytesIO(content))
        self._path = path
        self._allowed = {k: v for k, v in _stand_ins().items() if k in allowed}

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if full_name not in self._allowed:
            raise InputError(
                f"{self._path} was not loaded: it needs the Python object {full_name!r}, but "
                "plain data needs none; use the published file"
            )
        return self._allowed[full_name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a persistent id")


def _read_file(path: Path, max_bytes: int) -> bytes:
    """Read the content of a file that is no larger than expected."""
    _check_file_size(path, max_bytes)
    return path.read_bytes()


def _check_file_size(path: Path, max_bytes: int) -> None:
    if path.stat().st_size > max_bytes:
        raise InputError(
            f"{path} is larger than the expected {max_bytes:,} bytes; use the published file"
        )


def _read_member(path: Path, max_bytes: int) -> bytes:
    """Read the content of the one `data.pkl`, once the declared sizes are found sane."""
    _check_file_size(path, max_bytes)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        if len(members) > _MAX_MEMBERS or total > max_bytes:
            raise InputError(
                f"{path} declares {len(members)} members of {total:,} bytes unpacked, more than "
                f"{_MAX_MEMBERS} members or {max_bytes:,} bytes; use the published file"
            )
        pickles = [m for m in members if m.filename.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise InputError(
                f"{path} has {len(pickles)} members named data.pkl instead of one; use the "
                "published file"
            )
        with archive.open(pickles[0]) as stream:
            return stream.read(max_bytes)


def _scan(content: bytes, path: Path) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """Yield a pickle's opcodes; refuse those that data never needs or that fill the memory."""
    for count, (opcode, argument, _position) in enumerate(pickletools.genops(content)):
        if opcode.name in _REFUSED:
            raise InputError(
                f"{path} holds {_REFUSED[opcode.name]}, and nasplug reads plain data only; use "
                "the published file"
            )
        # The unpickler allocates its memo up to the largest index: a few bytes could claim 64 GB.
        if opcode.name in _MEMO_PUTS and (not isinstance(argument, int) or argument > count):
            raise InputError(f"{path} holds a damaged pickle (a memo index out of order)")
        yield opcode, argument


def _check_keys(code: Iterable[tuple[pickletools.OpcodeInfo, Any]], path: Path) -> None:
    """Refuse dictionary keys that could be chosen to collide, by simulating the stack."""
    stack: list[str] = []
    memo: list[str] = []
    for opcode, argument in code:
        name = opcode.name
        if name in _MEMO_GETS:
            stack.append(memo[int(argument)])
            continue
        if name in _MEMO_PUTS or name == "MEMOIZE":
            index = len(memo) if argument is None else int(argument)
            # `_scan` has bounded the index.
            memo += [_KEY] * (index + 1 - len(memo))
            memo[index] = stack[-1]
            continue
        after_mark: list[str] = []
        if pickletools.markobject in opcode.stack_before:
            while stack[-1] != _MARK:
                after_mark.append(stack.pop())
            stack.pop()
            after_mark.reverse()
            fixed = opcode.stack_before.index(pickletools.markobject)
        else:
            fixed = len(opcode.stack_before)
        arguments = [stack.pop() for _ in range(fixed)][::-1]
        keys = {
            "SETITEMS": after_mark[::2],
            "DICT": after_mark[::2],
            "SETITEM": arguments[1:2],
        }.get(name, [])
        if _NO_KEY in keys:
            raise InputError(
                f"{path} holds a dictionary whose keys are neither strings nor numbers below 2 to "
                "the power of 60; use the published file"
            )
        for output in opcode.stack_after:
            if output is pickletools.markobject:
                stack.append(_MARK)
            elif name == "DUP":
                stack.append(arguments[0])
            else:
                stack.append(_KEY if _is_key(output, argument) else _NO_KEY)


def _is_key(output: pickletools.StackObject, argument: Any) -> bool:
    if isinstance(argument, int) and not isinstance(argument, bool):
        return abs(argument) < _MAX_KEY
    return output not in (pickletools.pytuple, pickletools.pyset, pickletools.pyfrozenset)


def load_pickle_zip(
    path: str | os.PathLike[str],
    allowed: Collection[str] = (),
    max_bytes: int = 64 << 20,
) -> Any:
    """Read the object in a `torch.save` zip file that holds no tensors, without torch.

    Args:
        path: The file: a zip archive with one member named `data.pkl`.
        allowed: Globals that the pickle may name beside Python's literals: names of `ORDERED_DICT`
            and `NUMPY_SCALARS`. Nothing is imported for them.
        max_bytes: Largest size of the file and of its unpacked members.

    Returns:
        The object: numbers, text, bytes, lists, tuples, dictionaries.

    Raises:
        InputError: If the file is missing, truncated or damaged, is no such archive, is larger than
            allowed, or asks for anything but plain data; the sentence names the refused global.
    """
    return _loaded(path, allowed, max_bytes, _read_member, "torch.save zip file")


def load_pickle(
    path: str | os.PathLike[str],
    allowed: Collection[str] = (),
    max_bytes: int = 64 << 20,
) -> Any:
    """Read the object in a bare pickle file.

    Args:
        path: The file.
        allowed: Globals that the pickle may name, as for `load_pickle_zip`.
        max_bytes: Largest size of the file.

    Returns:
        The object: numbers, text, bytes, lists, tuples, dictionaries.

    Raises:
        InputError: If the file is missing, truncated or damaged, is larger than allowed, or asks
            for anything but plain data; the sentence names the refused global.
    """
    return _loaded(path, allowed, max_bytes, _read_file, "pickle")


def _loaded(
    path: str | os.PathLike[str],
    allowed: Collection[str],
    max_bytes: int,
    read: Callable[[Path, int], bytes],
    kind: str,
) -> Any:
    unknown = set(allowed) - ORDERED_DICT - NUMPY_SCALARS
    if unknown:
        raise InputError(f"cannot allow {sorted(unknown)}: only ORDERED_DICT and NUMPY_SCALARS")
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the file to read")
    try:
        if is_lfs_pointer(path):
            raise InputError(f"{path} is a git-LFS pointer, not the data; run `git lfs pull` there")
        content = read(path, max_bytes)
        _check_keys(_scan(content, path), path)
        return _Unpickler(content, path, allowed).load()
    except (InputError, MemoryError):
        raise
    # Damaged bytes can raise nearly any exception in zipfile and pickle.
    except Exception as error:
        raise InputError(
            f"{path} is not a readable {kind} ({type(error).__name__}: {error}); it "
            "may be truncated: fetch it again"
        ) from error
