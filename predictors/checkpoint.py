"""Checkpoints: tensors in safetensors, everything else in a JSON card beside them.

Nothing in either file is executed when it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.files import write_bytes, write_text
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    import torch

__all__ = [
    "FORMAT",
    "Checkpoint",
    "config_fields",
    "load_checkpoint",
    "load_weights",
    "save_checkpoint",
]

FORMAT = "nasplug-predictor-1"
MAX_CARD_BYTES = 1 << 20
MAX_TENSOR_BYTES = 1 << 30
CARD_KEYS = ("format", "predictor", "config", "sha256")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        tensors: Arrays by name.
        card: The JSON card: `format`, `predictor`, `config`, `sha256` of the tensor file, and what
            the trainer wrote about data, training and quality.
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


def save_checkpoint(
    path: str | Path, tensors: Mapping[str, NDArray[Any]], card: Mapping[str, Any]
) -> None:
    """Write `<path>.safetensors` and `<path>.json`, each whole or not at all.

    Args:
        path: Path without a suffix.
        tensors: Arrays by name.
        card: Must have `predictor` and `config`; `format` and `sha256` are added.
    """
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    full = {
        "format": FORMAT,
        **card,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_bytes(f"{path}.safetensors", content)
    write_text(f"{path}.json", json.dumps(full, indent=1) + "\n")


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and check that its two files belong together.

    Args:
        path: Path without a suffix, or of either file.

    Raises:
        InputError: If a file is missing, too large, damaged, or not one of ours.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    base = Path(path)
    if base.suffix in (".safetensors", ".json"):
        base = base.with_suffix("")
    card_file = base.with_name(base.name + ".json")
    tensor_file = base.with_name(base.name + ".safetensors")
    try:
        text = _read(card_file, MAX_CARD_BYTES).decode("utf-8")
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{card_file} is no JSON card of a nasplug predictor") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise InputError(f"{card_file} has format {found!r}; this version reads {FORMAT!r}")
    for key in CARD_KEYS:
        if key not in card:
            raise InputError(f"{card_file} lacks the key {key!r} of a nasplug predictor's card")
    content = _read(tensor_file, MAX_TENSOR_BYTES)
    found = hashlib.sha256(content).hexdigest()
    if found != card["sha256"]:
        raise InputError(
            f"{tensor_file} is damaged or belongs to another card: its SHA-256 is {found[:12]}…, "
            f"the card says {str(card['sha256'])[:12]}…; restore both files from their source"
        )
    try:
        tensors = load(content)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{tensor_file} is no safetensors file ({error})") from None
    return Checkpoint(dict(tensors), card)


def config_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration as a card holds them: JSON turned its tuples into lists."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}


def load_weights(model: torch.nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Put stored weights into a model.

    Raises:
        InputError: If names or shapes are not the model's.
    """
    import torch

    try:
        model.load_state_dict({name: torch.from_numpy(v.copy()) for name, v in weights.items()})
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise InputError(f"the stored weights do not fit the model of the card: {first}") from None
    model.eval()


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise InputError(f"{path} has {path.stat().st_size} bytes, over the limit of {limit}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
