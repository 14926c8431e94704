"""Names that were meant, and causes behind other errors."""

from __future__ import annotations

import errno

import pytest

from nasplug.search_spaces.errors import closest, hidden_cause

NAMES = ("alpha", "beta", "Gamma", "delta")


@pytest.mark.parametrize(
    ("word", "count", "text"),
    [
        ("alhpa", 1, "alpha"),
        ("GAMMA", 1, "Gamma"),
        ("zzz", 3, "alpha, beta, Gamma, delta"),
        ("", 3, "alpha, beta, Gamma, delta"),
    ],
)
def test_closest_names(word: str, count: int, text: str) -> None:
    assert closest(word, NAMES, count) == text


def test_no_more_names_than_a_sentence_holds() -> None:
    assert closest("?", map(str, range(100))) == "0, 1, 2, 3, 4, 5, 6, 7"


def raised(*errors: Exception) -> Exception:
    """The last of several errors, each raised while the one before was handled."""
    try:
        if len(errors) > 1:
            raise raised(*errors[:-1])
        raise errors[-1]
    except Exception as error:
        if error is not errors[-1]:
            errors[-1].__context__ = error
        return errors[-1]


def test_the_first_cause_of_the_disk_is_told() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "a.journal")
    assert hidden_cause(full) == "No space left on device: a.journal"
    assert hidden_cause(raised(full, RuntimeError("closed"))) == (
        "No space left on device: a.journal"
    )


def test_the_first_line_of_a_database_is_told() -> None:
    class OperationalError(Exception):
        orig = "disk is full\nSQL: INSERT"

    assert hidden_cause(raised(OperationalError(), ValueError("later"))) == "disk is full"


def test_other_errors_hide_nothing() -> None:
    assert hidden_cause(raised(OSError(errno.ENOENT, "absent"), ValueError("x"))) is None
    circle = ValueError("x")
    circle.__context__ = KeyError("y")
    circle.__context__.__context__ = circle
    assert hidden_cause(circle) is None
