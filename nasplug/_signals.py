"""Signals that end a process: SIGINT, SIGTERM and SIGHUP end what is under way as Ctrl-C does.

The first signal raises `KeyboardInterrupt` in the main thread, at a moment when that does no harm.
Libraries turn the exception into others (SystemExit, ImportError, an error in a clean-up that it
broke off) or drop it. Therefore the signal is kept here, and decides how a block and the process
end.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

__all__ = ["STOPPED", "Interruption", "held", "released", "run", "stoppable"]

STOPPED = "stopped"
_SIGNALS = [
    signal.Signals(getattr(signal, name))
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]
_ALARM = getattr(signal, "SIGALRM", None)
# A second Ctrl-C counts from here on: terminals and wrappers send one twice.
_IMPATIENT_SECONDS = 1.0
# Delay until a signal is raised again: short if it could not be raised, long in case it was lost.
_SOON_SECONDS, _LATER_SECONDS = 0.05, 10.0
_IMPORTS = "<frozen importlib._bootstrap"


class _State:
    """State of the signals of this process."""

    def __init__(self) -> None:
        self.is_installed = False
        # Whether the process is ours to end, and the sentence on it.
        self.is_ours = False
        self.sentence = STOPPED
        # The first signal that came, and its time.
        self.received: int | None = None
        self.since = 0.0
        # Number of blocks that may be ended by an exception; without any, our process ends at once.
        self.blocks = 0
        # Number of blocks that have something to keep, for which the end of an import is awaited.
        self.keeping = 0
        # Number of imports around the first block.
        self.imports = 0
        self.held = 0
        self.is_pending = False


_state = _State()


class Interruption(KeyboardInterrupt):
    """Exception that `stoppable` raises: a sentence, and the exit code of the signal that came.

    Attributes:
        exit_code: 128 plus the number of the signal.
    """

    def __init__(self, sentence: str = STOPPED) -> None:
        super().__init__(sentence)
        self.exit_code = _exit_code()


def _exit_code() -> int:
    return 128 + int(_state.received or signal.SIGINT)


def run(program: Callable[[], None]) -> NoReturn:
    """Run a program to the end of the process, whose exit code is that of the first signal, if any.

    A signal before the program has begun, or after it has ended, ends the process at once; signals
    during the interpreter's own shutdown are ignored.

    Raises:
        SystemExit: With the program's own code.
    """
    _state.is_ours = True
    _install()
    # The function that is registered first is called last.
    atexit.register(_ignore)
    code: Any = 0
    try:
        program()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        _state.received = _state.received or signal.SIGINT
    except BaseException:
        if _state.received is None:
            raise
    if _state.received is not None:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
        # A program that ended with the right code has printed its sentence.
        _leave("" if code == _exit_code() else STOPPED)
    if code == 0:
        _state.sentence = "stopped; the work was already complete"
    sys.exit(code)


@contextlib.contextmanager
def stoppable(sentence: Callable[[], str] = lambda: STOPPED, keeps: bool = True) -> Iterator[None]:
    """Let signals end a block by an `Interruption`, even if the block turns them into other errors.

    Args:
        sentence: Makes the sentence on what was kept and how to go on; that of an inner block wins.
        keeps: Whether the block has anything to keep, and is therefore not left within an import.

    Raises:
        Interruption: If a signal came, or `KeyboardInterrupt` was raised in the block.
    """
    with _installed():
        if not _state.blocks:
            _state.imports = _imports(sys._getframe())
        _state.blocks += 1
        _state.keeping += keeps
        inner_sentence = ""
        try:
            yield
        except KeyboardInterrupt as error:
            inner_sentence = str(error)
        except BaseException:
            if not _was_interrupted():
                raise
        else:
            if not _was_interrupted():
                return
        finally:
            _state.blocks -= 1
            _state.keeping -= keeps
        raise Interruption(inner_sentence or _sentence(sentence))


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Put an interruption off to the end of a block, or to the next `released` block in it.

    Serves work that must not be broken off half-way; an impatient second Ctrl-C breaks it off.
    """
    if not _in_main_thread():
        yield
        return
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
        _raise_pending()


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Let interruptions through again, within a `held` block."""
    if not _in_main_thread():
        yield
        return
    before = _state.held
    try:
        _state.held = 0
        _raise_pending()
        yield
    finally:
        _state.held = before


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _was_interrupted() -> bool:
    return _state.received is not None and _in_main_thread()


def _raise_pending() -> None:
    if _state.is_pending and not _state.held:
        _state.is_pending = False
        raise KeyboardInterrupt


def _sentence(sentence: Callable[[], str]) -> str:
    # The interrupted work may be in a state in which the sentence cannot be made.
    with contextlib.suppress(BaseException):
        return sentence()
    return STOPPED


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    """Handle the signals during a block of a program that is not ours."""
    if _state.is_installed or not _in_main_thread():
        yield
        return
    hook = sys.unraisablehook
    before = _install()
    try:
        yield
    finally:
        _again(0)
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        vars(_state).update(vars(_State()))


def _install() -> dict[int, Any]:
    """Handle the signals that would end the process, and return the earlier handlers.

    Signals that are ignored, as under nohup or in a background job, stay ignored.
    """
    _state.is_installed = True
    before: dict[int, Any] = {}
    for number in [*_SIGNALS, *([] if _ALARM is None else [_ALARM])]:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = signal.signal(number, _interrupt)
    hook = sys.unraisablehook

    def again_if_lost(lost: Any) -> None:
        # The exception was raised in a destructor or a callback, which cannot pass it on.
        if _state.received is not None and issubclass(lost.exc_type, KeyboardInterrupt):
            _again(_SOON_SECONDS)
        else:
            hook(lost)

    sys.unraisablehook = again_if_lost
    return before


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal: raise `KeyboardInterrupt`, now or once it does no harm."""
    now = time.monotonic()
    if _state.received is None:
        _state.received, _state.since = number, now
    elif number not in (_ALARM, signal.SIGINT):
        return  # the process is ending already
    waited = now - _state.since
    if number == signal.SIGINT and 0 < waited < _IMPATIENT_SECONDS:
        return
    is_late = waited >= (_LATER_SECONDS if number == _ALARM else _IMPATIENT_SECONDS)
    if _state.is_ours and not _state.blocks:
        _leave(_state.sentence)
    if _state.held and not is_late:
        _state.is_pending = True
        _again(_LATER_SECONDS)
    elif _imports(frame) > _state.imports:
        # Extensions turn exceptions in an import into others, or crash; libraries swallow them.
        if _state.is_ours and not _state.keeping:
            _leave(STOPPED)
        _again(_SOON_SECONDS)
    else:
        _state.is_pending = False
        _again(_LATER_SECONDS)
        raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> int:
    """Count the frames of imports around a frame."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith(_IMPORTS)
        frame = frame.f_back
    return count


def _again(seconds: float) -> None:
    if _ALARM is not None and signal.getsignal(_ALARM) is _interrupt:
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _ignore() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _leave(sentence: str) -> NoReturn:
    """End the process at once: nothing that runs at an interpreter's end may change the code."""
    _ignore()
    if sentence:
        # Not by `print`, which may be the interrupted call itself.
        with contextlib.suppress(OSError):
            os.write(2, f"nasplug: {sentence}\n".encode())
    os._exit(_exit_code())
