"""Runs of a user's function that builds networks, which leave the process as it was."""

from __future__ import annotations

import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.utils._device as torch_device
from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode

__all__ = ["Builder", "undisturbed"]


class Builder:
    """A user's function, which is run for its network alone.

    Args:
        function: Takes a trial, and returns a network.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        # Warnings of its runs, of which each is shown once.
        self.warned: set[tuple[str, str, int]] = set()
        self._is_virtual = True

    def __call__(self, trial: Any, seed: int | None = None) -> Any:
        """Run the function on torch's meta device, where tensors need no memory.

        A function that reads values of tensors cannot run there, and runs on the CPU from then on.

        Args:
            trial: The trial that the function asks.
            seed: Seed of all random generators; None leaves their state.
        """
        with undisturbed(seed, self.warned):
            if self._is_virtual:
                asked = len(trial.suggestions)
                try:
                    with torch.device("meta"):
                        return self.function(trial)
                except (NotImplementedError, RuntimeError) as error:
                    if "meta" not in str(error).lower():
                        raise
                    del trial.suggestions[asked:]
                    trial.params.clear()
                self._is_virtual = False
            return self.function(trial)


class _Process:
    """Settings of the process that a builder may change: random numbers, types, threads, output.

    Attributes:
        warnings: Warnings since then, which are not shown yet.
    """

    def __init__(self) -> None:
        self._catching = warnings.catch_warnings(record=True)
        caught = self._catching.__enter__()
        assert caught is not None
        self.warnings: list[warnings.WarningMessage] = caught
        warnings.simplefilter("always")
        self._drawn = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002 - it is kept, not used
        self._torch = torch.random.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self._type, self._threads = torch.get_default_dtype(), torch.get_num_threads()
        self._output = sys.stdout
        self._quiet = _Quiet(sys.stdout)
        sys.stdout = self._quiet

    def restore(self) -> None:
        """Give the process what it had."""
        self._catching.__exit__(None, None, None)
        if sys.stdout is self._quiet:
            sys.stdout = self._output
        random.setstate(self._drawn)
        np.random.set_state(self._numpy)  # noqa: NPY002
        torch.random.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
        torch.set_default_dtype(self._type)
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)


class _DefaultDevice:
    """The default device of this thread.

    `torch.set_default_device` within another device's context cannot be undone by itself.
    """

    def __init__(self) -> None:
        self._modes = _get_current_function_mode_stack()
        self._current, self._context = torch_device.CURRENT_DEVICE, self._set()

    @staticmethod
    def _set() -> Any:
        return getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)

    def restore(self) -> None:
        """Give the thread its default device again, if another one was set."""
        if self._set() is self._context:
            return
        torch._GLOBAL_DEVICE_CONTEXT.device_context = self._context
        torch_device.CURRENT_DEVICE = self._current
        for _ in _get_current_function_mode_stack():
            _pop_mode()
        for mode in self._modes:
            _push_mode(mode)


class _Quiet:
    """A stream that drops what builders print, since a command may print JSON there."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, unless this thread runs a builder."""
        if _thread.depth:
            return len(text)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Thread(threading.local):
    """Number of builders that this thread runs, one within the other."""

    depth = 0


class _Blocks:
    """The blocks that are under way in all threads.

    Attributes:
        count: Their number.
        before: The process as it was before the first of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self.before: _Process | None = None

    def enter(self) -> None:
        """Begin one more."""
        with self._lock:
            if not self.count:
                self.before = _Process()
            self.count += 1

    def leave(self) -> list[warnings.WarningMessage]:
        """End one; the last one restores the process, and gives the warnings to be shown."""
        with self._lock:
            self.count -= 1
            if self.count:
                return []
            assert self.before is not None
            self.before.restore()
            caught, self.before = self.before.warnings, None
            return caught


_thread = _Thread()
_blocks = _Blocks()


@contextmanager
def undisturbed(
    seed: int | None = None, warned: set[tuple[str, str, int]] | None = None
) -> Iterator[None]:
    """Leave the process as it was before a block, whatever a builder does in it.

    That is true of the random generators, of torch's default type and device, of its threads and of
    gradients. What the block prints is dropped, and its warnings are shown at its end. Of blocks in
    several threads, the last one restores what all share.

    Args:
        seed: Seed of all random generators for the block; None leaves their state.
        warned: Text, file and line of warnings that were shown, which are not shown again.
    """
    _blocks.enter()
    _thread.depth += 1
    has_gradients, device = torch.is_grad_enabled(), _DefaultDevice()
    try:
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - builders draw from it
            torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.set_grad_enabled(has_gradients)
        device.restore()
        _thread.depth -= 1
        caught = _blocks.leave()
    _show(caught, set() if warned is None else warned)


def _show(caught: list[warnings.WarningMessage], warned: set[tuple[str, str, int]]) -> None:
    """Show warnings that were not shown before."""
    for warning in caught:
        key = (str(warning.message), warning.filename, warning.lineno)
        if key not in warned:
            warned.add(key)
            warnings.warn_explicit(warning.message, warning.category, *key[1:])
