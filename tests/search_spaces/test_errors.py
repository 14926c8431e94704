"""Names that were meant, and causes behind other errors."""

from __future__ import annotations

import errno

import pytest

from nasplug.search_spaces.errors import closest, hidden_cause

NAMES = ("alpha", "beta", "Gamma", "delta")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("alhpa", "alpha, Gamma, delta, beta"),
        ("GAMMA", "Gamma, alpha, beta, delta"),
        ("zzz", "alpha, beta, Gamma, delta"),
        ("", "alpha, beta, Gamma, delta"),
    ],
)
def test_all_names_are_given_the_closest_first(word: str, text: str) -> None:
    assert closest(word, NAMES) == text
    assert closest(word, NAMES, "nasplug data list") == text


def test_a_long_list_says_where_the_others_are() -> None:
    names = [f"name-{k}" for k in range(100)]
    assert closest("?", names).count(",") == 99
    text = closest("name-42", names, "nasplug data list")
    assert text.startswith("name-42, ")
    assert text.endswith(" and 97 others, listed by nasplug data list")
    assert "and 92 others" in closest("?", names, "nasplug data list")


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
