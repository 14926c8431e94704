"""The error that every bad input raises."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["InputError", "closest"]


class InputError(ValueError):
    """Bad input, told in one sentence that names it and says what would be right.

    The command line prints the sentence and ends with exit code 2; a library user catches it as a
    `ValueError`.
    """


def closest(word: str, choices: Iterable[str], count: int = 3) -> str:
    """The choices spelled most like `word`, as text for an error message.

    Args:
        word: What was given.
        choices: What would have been right; compared without regard to case.
        count: How many to name at most.

    Returns:
        The names joined by commas; the first few if none is close.
    """
    names = list(choices)
    by_lower = {name.lower(): name for name in names}
    found = [by_lower[m] for m in get_close_matches(word.lower(), by_lower, n=count, cutoff=0.4)]
    return ", ".join(found or names[: max(count, 8)])
