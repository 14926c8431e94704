"""Entry point of the program `nasplug`: it handles signals before it loads anything heavy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nasplug._signals import run
from nasplug._waiting import spin_shortly

if TYPE_CHECKING:
    import typer

    app: typer.Typer

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line.

    Exit code 0 done, 2 wrong usage or bad input, 130 SIGINT, 143 SIGTERM, 129 SIGHUP, 1 other.
    """
    # What is measured runs as it does in the user's own programs.
    if sys.argv[1:2] != ["measure"]:
        spin_shortly()
    run(lambda: __getattr__("app")(prog_name="nasplug"))


def __getattr__(name: str) -> Any:
    if name == "app":
        from nasplug.commands.app import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
