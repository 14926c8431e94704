"""Lines of a user's code where a forward pass cannot be read."""

from __future__ import annotations

import linecache
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import torch

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_loading import first_line

__all__ = ["at_user_line", "failure", "refuse"]


def refuse() -> NoReturn:
    """Refuse a module that uses the values of a tensor, naming its line.

    Raises:
        InputError: Always.
    """
    place = at_user_line()
    place = place and f",{place}"
    raise InputError(
        f"what it does depends on values of a tensor{place}; a network is read without values, "
        "so its operators and their shapes have to be the same for all of them"
    )


# PyTorch, and this package: its readers and the builders that have a module read.
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parent.parent))
# File that starts the forward pass.
_START = str(Path(__file__).parent / "torch_graph.py")


def at_user_line() -> str:
    """Words on the innermost line of a forward pass that is not PyTorch's, with its text.

    Empty where the module is made of PyTorch's own alone.
    """
    frame: Any = sys._getframe(1)
    while frame is not None and not _is_users(frame):
        if frame.f_code.co_filename == _START:
            # Lines further out call the reader, and are no part of the module.
            return ""
        frame = frame.f_back
    return "" if frame is None else f" at {_line(frame.f_code.co_filename, frame.f_lineno)}"


def _is_users(frame: Any) -> bool:
    return not frame.f_code.co_filename.startswith((*_LIBRARIES, "<"))


def _line(file: str, number: int) -> str:
    return f"{file}:{number} ({linecache.getline(file, number).strip()[:120]})"


def failure(error: BaseException) -> str:
    """Say in a sentence where a forward pass failed, and why."""
    lines = [
        _line(frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if _is_users(frame)
    ]
    message = f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
    return f"its forward pass fails at {lines[-1]}: {message}" if lines else message
