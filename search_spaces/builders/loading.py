"""Builders by the path of their file, as a command line names them."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

from nasplug.search_spaces.builders.recording import failure_of
from nasplug.search_spaces.errors import InputError, closest

__all__ = ["load_builder"]


def load_builder(text: str) -> Callable[[Any], Any]:
    """Import the file of a text such as `my_net.py:build`, and return its function.

    The file is run as a module of its name, and finds modules that lie beside it.

    Raises:
        InputError: If there is no such file or function, or the file cannot be run.
    """
    path, _, name = text.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise InputError(f"{text!r} names no function; write it like my_net.py:build")
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path!r} with a function {name!r}")
    whole = os.path.abspath(path)
    module = _module(whole)
    function = getattr(module, name, None)
    if not callable(function):
        near = closest(name, [n for n, v in vars(module).items() if callable(v) and n[0] != "_"])
        raise InputError(f"{path} has no function {name!r}; it has {near}")
    return function  # type: ignore[no-any-return]


def _module(path: str) -> Any:
    """The module of a file, imported once."""
    stem = os.path.basename(path).removesuffix(".py")
    loaded = sys.modules.get(stem)
    if loaded is not None and os.path.abspath(getattr(loaded, "__file__", None) or "") == path:
        return loaded
    # A file may have the name of a package that is loaded already.
    name = stem if loaded is None else f"{stem}_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise InputError(str(failure_of(error, os.path.basename(path)))) from error
    return module
