"""Lines of a builder that draw random numbers or read the clock."""

from __future__ import annotations

import contextlib
import linecache
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from nasplug.search_spaces.builders.recording import is_users

__all__ = ["chance_of"]

# Words of a line that gives other values in each run.
_CHANCE = re.compile(
    r"\b(random|secrets|uuid\d?|urandom|default_rng|rng|generator|rand|randn|randint|randperm"
    r"|bernoulli|multinomial|shuffle|time|time_ns|perf_counter|monotonic|datetime|now|getpid)\b",
    re.IGNORECASE,
)
_SHOWN = 80


def chance_of(run: Callable[[], Any]) -> str:
    """Find the first line of the user's that draws a random number or reads the clock, in a run.

    Args:
        run: Runs the builder; its errors are passed over.

    Returns:
        File, number and text of the line; empty if no line says that it does.
    """
    found: list[str] = []

    def line(frame: Any, event: str, _: Any) -> Any:
        if event == "line" and not found:
            file = frame.f_code.co_filename
            text = linecache.getline(file, frame.f_lineno).partition("#")[0].strip()
            if _CHANCE.search(text):
                place = f"{os.path.basename(file)}, line {frame.f_lineno}"
                found.append(f"{place}: {text[:_SHOWN]}")
        return line

    def call(frame: Any, event: str, argument: Any) -> Any:
        return line if not found and is_users(frame.f_code.co_filename) else None

    earlier = sys.gettrace()
    sys.settrace(call)
    try:
        with contextlib.suppress(Exception, SystemExit):
            run()
    finally:
        sys.settrace(earlier)
    return found[0] if found else ""
