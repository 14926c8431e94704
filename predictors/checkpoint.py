"""Checkpoints: one safetensors file whose metadata hold everything else, as a JSON card.

Nothing in the file is executed when it is read. Earlier versions kept the card in a second file,
`<path>.json`; such pairs are read, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces import InputError
from nasplug.search_spaces.files import write_bytes

if TYPE_CHECKING:
    import torch

    Model = TypeVar("Model", bound=torch.nn.Module)

__all__ = [
    "FORMAT",
    "Checkpoint",
    "base_path",
    "joined",
    "load_checkpoint",
    "load_model",
    "read_config",
    "restoring",
    "save_checkpoint",
]

Config = TypeVar("Config")

FORMAT = "nasplug-predictor-2"
PAIR_FORMAT = "nasplug-predictor-1"
MAX_CARD_BYTES = 1 << 20
MAX_TENSOR_BYTES = 1 << 30
CARD_KEYS = ("format", "predictor", "config", "sha256")
# In place of the checksum while it is made and checked; it covers every other byte of the file.
_UNKNOWN = "0" * 64


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Content of a checkpoint file.

    Attributes:
        tensors: Arrays by name.
        card: The JSON card: `format`, `predictor`, `config`, `sha256` of the tensors alone, which
            is the identity of a predictor, and what the trainer wrote about data, training and
            quality.
    """

    tensors: dict[str, NDArray[Any]]
    card: dict[str, Any]

    def section(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The tensors whose names start with `prefix.`, without it."""
        return {
            name[len(prefix) + 1 :]: value
            for name, value in self.tensors.items()
            if name.startswith(prefix + ".")
        }


def base_path(path: str | os.PathLike[str]) -> Path:
    """The path of a checkpoint without its suffix."""
    base = Path(path)
    return base.with_suffix("") if base.suffix in (".safetensors", ".json") else base


def save_checkpoint(
    path: str | Path, tensors: Mapping[str, NDArray[Any]], card: Mapping[str, Any]
) -> None:
    """Write `<path>.safetensors`, whole or not at all; the path may have the suffix.

    The card must have `predictor` and `config`; `format`, `sha256` and `checksum` are added. A card
    that an earlier version wrote beside the file is removed.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    full = {
        **card,
        "format": FORMAT,
        "sha256": hashlib.sha256(save(arrays)).hexdigest(),
        "checksum": _UNKNOWN,
    }
    content = save(arrays, {"card": json.dumps(full)})
    checksum = hashlib.sha256(content).hexdigest()
    base = base_path(path)
    write_bytes(f"{base}.safetensors", _with_checksum(content, _UNKNOWN, checksum))
    beside = Path(f"{base}.json")
    # The new file is read without it, also if the process ends here.
    if _is_card_of_a_pair(beside):
        beside.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and check every byte of it.

    Args:
        path: Path without a suffix, or with that of the file, or of the card of a pair.

    Raises:
        InputError: If a file is missing, too large, damaged, or not one of ours.
    """
    base = base_path(path)
    file = base.with_name(base.name + ".safetensors")
    content = _read(file, MAX_TENSOR_BYTES)
    text = _card_text(content)
    if text is None:
        return _load_pair(file, content, base.with_name(base.name + ".json"))
    card = _checked_card(text, f"the card in {file}", FORMAT)
    checksum = str(card.get("checksum"))
    unsealed = _with_checksum(content, checksum, _UNKNOWN)
    if hashlib.sha256(unsealed).hexdigest() != checksum:
        raise InputError(
            f"{file} is damaged (its content does not match its checksum); restore it from its "
            "source, or train again"
        )
    return Checkpoint(_tensors(content, file), card)


def joined(parts: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays of several parts under the names by which `Checkpoint.section` finds them."""
    return {f"{part}.{name}": v for part, arrays in parts.items() for name, v in arrays.items()}


def read_config(kind: type[Config], stored: Mapping[str, Any]) -> Config:
    """A dataclass as a card holds it: JSON turned its tuples into lists; fields may be some, too.

    Raises:
        AttributeError, KeyError, TypeError: If these are no fields of it.
    """
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    for name, hint in get_type_hints(kind).items():
        if isinstance(hint, type) and is_dataclass(hint):
            values[name] = read_config(hint, stored[name])
    return kind(**values)


@contextmanager
def restoring(what: str, source: str = "card") -> Iterator[None]:
    """Tell every error of making something from a card, or from options, in one sentence.

    Args:
        what: What should be described, such as `"a cell-gp"`.
        source: What describes it.

    Raises:
        InputError: If card or arrays do not fit: a field that is absurd can raise nearly anything
            in what it configures.
        MemoryError: If memory is short, which is not the card's fault.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # torch has no type of its own for it on a CPU.
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise MemoryError(f"not enough memory for {what}; free some memory") from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"the {source} does not describe {what}: {reason}") from error


def load_model(build: Callable[[], Model], weights: Mapping[str, NDArray[Any]]) -> Model:
    """A model with stored weights.

    Raises:
        InputError: If names or shapes are not the model's.
    """
    import torch

    # First without memory, so that a card cannot ask for more than what is stored.
    with torch.device("meta"), _unfilled():
        wanted = {name: tuple(value.shape) for name, value in build().state_dict().items()}
    stored = {name: value.shape for name, value in weights.items()}
    wrong = next((n for n in {**wanted, **stored} if wanted.get(n) != stored.get(n)), None)
    if wrong is not None:
        raise InputError(
            "the stored weights do not fit the model of the card: "
            f"{wrong} is {stored.get(wrong, 'missing')}, not {wanted.get(wrong, 'there')}"
        )
    with torch.random.fork_rng(devices=[]):
        model = build()
    model.load_state_dict({name: torch.from_numpy(v.copy()) for name, v in weights.items()})
    model.eval()
    return model


def _unfilled() -> AbstractContextManager[Any]:
    """Leave out the first values of tensors; to fill one without memory imports a compiler."""
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            # Functions that work in place, such as `normal_`, with or without the mode's tensor.
            name = getattr(func, "__name__", "")
            if name.endswith("_") and not name.endswith("__"):
                return args[0] if args else kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    return Unfilled()


def _with_checksum(content: bytes, old: str, new: str) -> bytes:
    """The file with another checksum in its card; unchanged where the old one is not in it."""
    before, entry, after = content.partition(
        f'\\"checksum\\": \\"{old}\\"'.encode(errors="replace")
    )
    return before + (entry and entry.replace(old.encode(), new.encode())) + after


def _card_text(content: bytes) -> str | None:
    """The card in the header of a file; None if there is none, whatever the file is."""
    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + min(size, len(content))])
        text = header["__metadata__"]["card"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return text if isinstance(text, str) else None


def _load_pair(file: Path, content: bytes, card_file: Path) -> Checkpoint:
    """A checkpoint of an earlier version, whose card lies beside it."""
    if not card_file.is_file():
        raise InputError(
            f"{file} has no card, and {card_file.name} is not beside it; the file is damaged, or "
            "not a predictor of nasplug"
        )
    try:
        text = _read(card_file, MAX_CARD_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{card_file} is not the JSON card of a nasplug predictor") from None
    card = _checked_card(text, str(card_file), PAIR_FORMAT)
    digest = hashlib.sha256(content).hexdigest()
    if digest != card["sha256"]:
        raise InputError(
            f"{file} is damaged or belongs to another card: its SHA-256 is {digest[:12]}…, but "
            f"the card has {str(card['sha256'])[:12]}…; restore both files from their source"
        )
    tensors = _tensors(content, file)
    warnings.warn(
        f"{card_file} was written by an earlier version without a checksum, so damage would go "
        "unnoticed; load_predictor(path).save(path) in Python writes one file with a checksum "
        "instead of the two",
        stacklevel=3,
    )
    return Checkpoint(tensors, card)


def _checked_card(text: str, where: str, wanted: str) -> dict[str, Any]:
    try:
        if len(text) > MAX_CARD_BYTES:
            raise ValueError
        card = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{where} is not the JSON card of a nasplug predictor") from None
    form = card.get("format") if isinstance(card, dict) else type(card).__name__
    if form != wanted:
        raise InputError(f"{where} has format {str(form)[:50]!r}; this version reads {wanted!r}")
    for key in CARD_KEYS:
        if key not in card:
            raise InputError(
                f"{where} lacks the key {key!r}, which every card of a nasplug predictor has"
            )
    checked: dict[str, Any] = card
    return checked


def _tensors(content: bytes, file: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(content))
    # A type that numpy does not have is a KeyError.
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{file} is not a safetensors file ({error})") from None


def _is_card_of_a_pair(path: Path) -> bool:
    try:
        text = _read(path, MAX_CARD_BYTES).decode("utf-8")
        return bool(json.loads(text)["format"] == PAIR_FORMAT)
    except (InputError, ValueError, RecursionError, KeyError, TypeError):
        return False


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise InputError(f"{path} has {path.stat().st_size} bytes, over the limit of {limit}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except MemoryError:
        raise MemoryError(f"not enough memory to read {path}; free some memory") from None
