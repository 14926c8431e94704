"""Progress of a search on stderr: a bar on a terminal, and lines in a pipe or a file."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

__all__ = ["LINE_SECONDS", "Progress"]

# Between two lines where there is no terminal.
LINE_SECONDS = 10.0


class Progress:
    """The phase that a search is in, and the share of it that is done.

    A terminal shows a bar with a spinner. In a pipe or a file the first phase is a line at once,
    and whatever phase is under way is one every ten seconds.

    Args:
        shown: False for nothing but sentences on failures; None is the same as True.
    """

    def __init__(self, shown: bool | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self._shown = shown is not False
        self._bar = None
        if self._shown and console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                TimeElapsedColumn(),
            )
            self._bar = Bar(*columns, console=console, transient=True)
            self._task = self._bar.add_task("", total=None, visible=False)
        self._text = ""
        self._started = time.monotonic()
        self._printing = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()

    def phase(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Show a phase, such as `loading predictors`, or `18 of 100 trials` with its share."""
        is_first, self._text = not self._text, text
        if self._bar is not None:
            self._bar.update(
                self._task, description=text, completed=done, total=total, visible=True
            )
            if total is None:
                # What follows may keep the interpreter from drawing for a while.
                self._bar.refresh()
        elif is_first and self._shown:
            self._print(text)
            threading.Thread(target=self._repeat, name="nasplug progress", daemon=True).start()

    def say(self, sentence: str) -> None:
        """Print a sentence beside the progress."""
        if self._bar is not None:
            self._bar.console.print(f"nasplug: {sentence}", markup=False, highlight=False)
        else:
            self._print(sentence)

    def _repeat(self) -> None:
        while not self._ended.wait(LINE_SECONDS):
            self._print(f"{self._text}, {time.monotonic() - self._started:.0f} s")

    def _print(self, text: str) -> None:
        with self._printing:
            print(f"nasplug: {text}", file=sys.stderr, flush=True)
