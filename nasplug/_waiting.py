"""Waiting of OpenMP's threads in the command line: they sleep, where by default they spin.

On a machine that does other work too, spinning threads keep those that they wait for from running:
a search took four times as long.
"""

from __future__ import annotations

import os

__all__ = ["own_environment", "sleep_while_waiting"]

_POLICY = "OMP_WAIT_POLICY"
_added: list[str] = []


def sleep_while_waiting() -> None:
    """Let threads sleep while they wait; OpenMP reads this once, when torch is loaded.

    A policy that the user chose stays.
    """
    if _POLICY not in os.environ:
        os.environ[_POLICY] = "PASSIVE"
        _added.append(_POLICY)


def own_environment() -> dict[str, str]:
    """The user's own environment, for programs of the user's."""
    return {name: value for name, value in os.environ.items() if name not in _added}
