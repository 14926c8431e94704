"""The error that every bad input raises."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["InputError", "closest", "hidden_cause"]

# A full disk or quota, a disk that fails or is read-only, and a network file system that is gone.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}
# Exceptions that the drivers of databases raise for failures that are not their user's.
_DATABASE = {"OperationalError", "InterfaceError"}


class InputError(ValueError):
    """Error for bad input: one sentence that names the input and what would be right.

    The command line prints the sentence and ends with exit code 2; a library user catches it as a
    `ValueError`.
    """


def closest(word: str, choices: Iterable[str], count: int = 3) -> str:
    """The choices spelled most like `word`, as text for an error message.

    Args:
        word: The word that was given.
        choices: The words that would have been right; compared without regard to case.
        count: Number of choices to name at most.

    Returns:
        The names joined by commas; the first few if none is close.
    """
    names = list(choices)
    by_lower = {name.lower(): name for name in names}
    close = [by_lower[m] for m in get_close_matches(word.lower(), by_lower, n=count, cutoff=0.4)]
    return ", ".join(close or names[: max(count, 8)])


def hidden_cause(error: BaseException) -> str | None:
    """Find the message of a disk or database that led to an error.

    A library's clean-up may fail for the same reason and raise an error of its own, which does not
    name the reason; the first error is still in the chain.

    Args:
        error: The exception that was raised in the end.

    Returns:
        A text such as "No space left on device"; None if the error has another cause.
    """
    message, seen = None, set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, OSError) and link.errno in _DISK:
            message = f"{link.strerror}{f': {link.filename}' if link.filename else ''}"
        elif type(link).__name__ in _DATABASE:
            # SQLAlchemy adds the statement and a link to its manual.
            database_text = str(getattr(link, "orig", None) or link).strip()
            message = database_text.splitlines()[0] if database_text else type(link).__name__
        link = link.__cause__ or link.__context__
    return message
