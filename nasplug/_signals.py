"""Signals that end a process: SIGINT, SIGTERM and SIGHUP end what is under way as Ctrl-C does.

The first one raises `KeyboardInterrupt` in the main thread, where that does no harm. Libraries make
other things of it: SystemExit, ImportError, an error in a clean-up that it broke off, or nothing.
Which signal came is therefore kept here, and decides how a block and the process end.
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
# Until a signal is raised again: soon where it could not be, and in case it was lost.
_SOON_SECONDS, _LATER_SECONDS = 0.05, 10.0
_IMPORTS = "<frozen importlib._bootstrap"


class _State:
    """What is known of the signals of this process."""

    def __init__(self) -> None:
        self.is_installed = False
        # Whether the process is ours to end, and how that is said.
        self.is_ours = False
        self.sentence = STOPPED
        # The first signal that came, and when.
        self.received: int | None = None
        self.since = 0.0
        # Blocks that may be ended by an exception; without one our process ends at once.
        self.blocks = 0
        # Blocks that have something to keep, so that even an import is awaited.
        self.keeping = 0
        # Imports that the first block is part of itself.
        self.imports = 0
        self.held = 0
        self.is_pending = False


_state = _State()


class Interruption(KeyboardInterrupt):
    """What `stoppable` raises: the sentence, and the exit code of the signal that came.

    Attributes:
        exit_code: 128 and the number of the signal.
    """

    def __init__(self, sentence: str = STOPPED) -> None:
        super().__init__(sentence)
        self.exit_code = _exit_code()


def _exit_code() -> int:
    return 128 + int(_state.received or signal.SIGINT)


def run(program: Callable[[], None]) -> NoReturn:
    """Run a program to the end of the process, whose exit code is that of the first signal, if any.

    A signal that comes before the program has begun, or after it, ends the process at once; when
    the interpreter takes itself down none counts any more.

    Raises:
        SystemExit: With the program's own code.
    """
    _state.is_ours = True
    _install()
    # What is registered first comes last.
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
        # What ended with the right code has said so.
        _leave("" if code == _exit_code() else STOPPED)
    if code == 0:
        _state.sentence = "stopped when all was done"
    sys.exit(code)


@contextlib.contextmanager
def stoppable(said: Callable[[], str] = lambda: STOPPED, keeps: bool = True) -> Iterator[None]:
    """Let the signals end a block by an `Interruption`, whatever the block makes of them.

    Args:
        said: The sentence on what was kept and how to go on; that of an inner block counts.
        keeps: Whether there is anything to keep, so that the block is not left within an import.

    Raises:
        Interruption: If a signal came, or `KeyboardInterrupt` was raised in the block.
    """
    with _installed():
        if not _state.blocks:
            _state.imports = _imports(sys._getframe())
        _state.blocks += 1
        _state.keeping += keeps
        within = ""
        try:
            yield
        except KeyboardInterrupt as error:
            within = str(error)
        except BaseException:
            if not _was_interrupted():
                raise
        else:
            if not _was_interrupted():
                return
        finally:
            _state.blocks -= 1
            _state.keeping -= keeps
        raise Interruption(within or _said(said))


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Put an interruption off to the end of a block, or to the next `released` one in it.

    For what must not be broken off half-way; an impatient second Ctrl-C breaks it off.
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


def _said(said: Callable[[], str]) -> str:
    # What was interrupted may be in no state to tell.
    with contextlib.suppress(BaseException):
        return said()
    return STOPPED


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    """Take the signals, for a block of a program that is not ours."""
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
    """Take the signals that would end the process, and return what was there before.

    Those that are ignored, as nohup and shells in the background have it, stay so.
    """
    _state.is_installed = True
    before: dict[int, Any] = {}
    for number in [*_SIGNALS, *([] if _ALARM is None else [_ALARM])]:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = signal.signal(number, _interrupt)
    hook = sys.unraisablehook

    def again_if_lost(lost: Any) -> None:
        # Raised in a destructor or a callback, which cannot pass it on.
        if _state.received is not None and issubclass(lost.exc_type, KeyboardInterrupt):
            _again(_SOON_SECONDS)
        else:
            hook(lost)

    sys.unraisablehook = again_if_lost
    return before


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, now or when it does no harm; the handler of all signals."""
    now = time.monotonic()
    if _state.received is None:
        _state.received, _state.since = number, now
    elif number not in (_ALARM, signal.SIGINT):
        return  # it is ending already
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
        # Extensions turn exceptions into others there, or crash, and libraries do without them.
        if _state.is_ours and not _state.keeping:
            _leave(STOPPED)
        _again(_SOON_SECONDS)
    else:
        _state.is_pending = False
        _again(_LATER_SECONDS)
        raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> int:
    """How many frames of imports one is within."""
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
        # Not by `print`, which may be what was interrupted.
        with contextlib.suppress(OSError):
            os.write(2, f"nasplug: {sentence}\n".encode())
    os._exit(_exit_code())
