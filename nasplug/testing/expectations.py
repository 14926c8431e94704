"""Expectations that hold under `python -O` too, and fail with one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nasplug.search_spaces import InputError

__all__ = ["expect", "expect_refusal"]


def expect(holds: object, sentence: str) -> None:
    """Raise an `AssertionError` with a sentence unless a promise holds."""
    if not holds:
        raise AssertionError(sentence)


def expect_refusal(call: Callable[[], Any], what: str) -> None:
    """Check that a call, with bad input of this description, raises an `InputError` of one line."""
    try:
        answer = call()
    except InputError as error:
        text = str(error)
        expect(text and "\n" not in text, f"the error for {what} is not one sentence: {text!r}")
    except Exception as error:
        raise AssertionError(
            f"{what} raises {type(error).__name__} instead of InputError: {error}"
        ) from error
    else:
        raise AssertionError(f"{what} is accepted and returns {answer!r}; raise InputError")
