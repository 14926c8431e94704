"""Expectations that hold under `python -O` too, and fail with one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nasplug.search_spaces import InputError

__all__ = ["expect", "expect_refusal"]


def expect(holds: object, sentence: str) -> None:
    """Check a promise.

    Args:
        holds: Whether it is kept.
        sentence: The promise, for the error.

    Raises:
        AssertionError: If it is not kept.
    """
    if not holds:
        raise AssertionError(sentence)


def expect_refusal(call: Callable[[], Any], what: str) -> None:
    """Check that bad input is refused by an `InputError` of one line.

    Args:
        call: Hands the bad input over.
        what: The bad input, for the error.

    Raises:
        AssertionError: If it is accepted, or refused in another way.
    """
    try:
        answer = call()
    except InputError as error:
        text = str(error)
        expect(text and "\n" not in text, f"{what} is refused without one sentence: {text!r}")
    except Exception as error:
        raise AssertionError(
            f"{what} raises {type(error).__name__}, not an InputError: {error}"
        ) from error
    else:
        raise AssertionError(f"{what} is accepted and gives {answer!r}; raise an InputError")
