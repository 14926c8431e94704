"""The files in which a training keeps its state: whole, and with a checksum over every byte."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch

from nasplug.search_spaces import InputError
from nasplug.search_spaces.files import write_bytes
from nasplug.search_spaces.lazy import from_extra

with from_extra("train"):
    from lightning.pytorch.plugins.io import TorchCheckpointIO

__all__ = ["StateFiles", "read_state"]

# Before the SHA-256 of what `torch.save` wrote, which follows: torch itself checks nothing.
_MAGIC = b"nasplug-training-state-1\n"
_DIGEST = 32
# What an earlier version's file begins with, which is that of `torch.save` alone.
_ZIP = b"PK\x03\x04"


def read_state(path: str | Path) -> dict[str, Any]:
    """The state in a file, on the processor.

    Raises:
        InputError: If the file cannot be read, or is damaged.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    start = len(_MAGIC) + _DIGEST
    digest, state = content[len(_MAGIC) : start], content[start:]
    if content.startswith(_ZIP):
        state = content
        warnings.warn(
            f"{path} was written by an earlier version without a checksum, so damage would go "
            "unnoticed",
            stacklevel=2,
        )
    elif not content.startswith(_MAGIC) or hashlib.sha256(state).digest() != digest:
        raise InputError(
            f"{path} is damaged or not a training state; remove its folder to start the training "
            "again"
        )
    loaded: dict[str, Any] = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
    return loaded


class StateFiles(TorchCheckpointIO):
    """Reader and writer of the states of a training, for Lightning."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a state, whole or not at all."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        content = buffer.getvalue()
        write_bytes(path, _MAGIC + hashlib.sha256(content).digest() + content)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a state; nothing in it is run, whatever is asked for."""
        return read_state(path)
