"""The error that every bad input raises."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["InputError", "closest", "hidden_cause"]

# A full disk or quota, a disk that fails or is read-only, and a network file system that is gone.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}
# A longer list of names is left to the command that shows it.
MOST_NAMED = 30
# Exceptions that the drivers of databases raise for failures that are not their user's.
_DATABASE = {"OperationalError", "InterfaceError"}


class InputError(ValueError):
    """Error for bad input: one sentence that names the input and what would be right.

    The command line prints the sentence and ends with exit code 2; a library user catches it as a
    `ValueError`.

    Example:
        >>> import nasplug
        >>> try:
        ...     nasplug.space("nb202")
        ... except nasplug.InputError as error:
        ...     print(error)
        unknown search space 'nb202'; known: nb201, nb101, ...
    """


def closest(word: str, choices: Iterable[str], listed_by: str = "") -> str:
    """All choices, those spelled most like `word` first, as text for an error message.

    Args:
        word: The word that was given.
        choices: The words that would have been right; compared without regard to case.
        listed_by: What shows all choices, such as a command; the text then names a few of more than
            `MOST_NAMED` choices, and this.

    Returns:
        The names joined by commas.
    """
    names = list(choices)
    by_lower = {name.lower(): name for name in names}
    close = [by_lower[match] for match in get_close_matches(word.lower(), by_lower, cutoff=0.4)]
    if len(names) <= MOST_NAMED or not listed_by:
        return ", ".join([*close, *(name for name in names if name not in close)])
    few = close or names[:8]
    return f"{', '.join(few)} and {len(names) - len(few):,} others, listed by {listed_by}"


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
