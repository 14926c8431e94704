"""Waiting of OpenMP's threads in the command line: they spin a short while, and then sleep.

By default they spin long. On a machine that does other work too, that keeps those that they wait
for from running: a search took four times as long.
"""

from __future__ import annotations

import os

__all__ = ["own_environment", "spin_shortly"]

# Of GNU's OpenMP, which torch brings; as fast as its default on an idle machine.
_SPINS = "GOMP_SPINCOUNT", "2000"
_added: list[str] = []


def spin_shortly() -> None:
    """Let threads sleep after a short wait; OpenMP reads this once, when torch is loaded.

    What the user chose stays.
    """
    name, count = _SPINS
    if not {name, "OMP_WAIT_POLICY"} & set(os.environ):
        os.environ[name] = count
        _added.append(name)


def own_environment() -> dict[str, str]:
    """The user's own environment, for programs of the user's."""
    return {name: value for name, value in os.environ.items() if name not in _added}
