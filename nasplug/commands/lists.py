"""Commands that list spaces, devices and data sets: spaces, hardware and data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasplug._signals import STOPPED, stoppable
from nasplug.commands.common import (
    Debug,
    Json,
    cell,
    command,
    complain,
    print_json,
    print_rows,
    print_table,
)

__all__ = [
    "data_fetch",
    "data_import",
    "data_list",
    "data_verify",
    "hardware_list",
    "hardware_show",
    "spaces",
]


@command
def spaces(as_json: Json = False, debug: Debug = False) -> None:
    """List the search spaces."""
    from nasplug.commands.listings import spaces as rows

    print_rows(rows(), as_json)


@command
def hardware_list(
    word: Annotated[str | None, typer.Argument(help="Show what contains this word.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List your calibrated devices and the catalogue, or what in them contains a word."""
    from nasplug.commands.listings import devices

    rows, damaged = devices(word)
    print_rows(rows, as_json)
    for sentence in damaged:
        complain(sentence)


@command
def hardware_show(
    name: Annotated[str, typer.Argument(help="Name, alias, or path of a .toml file.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show all that is known of one device."""
    from nasplug.commands.listings import specification

    row = specification(name)
    if as_json:
        print_json(row)
    else:
        print_table([{"field": key, "value": cell(value)} for key, value in row.items()])


@command
def data_list(as_json: Json = False, debug: Debug = False) -> None:
    """List the data sets."""
    from nasplug.commands.listings import datasets

    print_rows(datasets(), as_json)


@command
def data_fetch(
    name: Annotated[str, typer.Argument(help="Data set; see nasplug data list.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Download a data set, check it and import it."""
    from nasplug import datasets

    with stoppable(lambda: f"{STOPPED}; whole files are kept, the same command gets the others"):
        paths = datasets.fetch(name)
    print_rows([{"file": str(path)} for path in paths], as_json)


@command
def data_import(
    name: Annotated[str, typer.Argument(help="Data set that is downloaded by hand.")],
    path: Annotated[Path, typer.Argument(help="The file.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Read and check a file that was downloaded by hand, such as NAS-Bench-101's, and keep it."""
    from nasplug.commands.listings import importing

    with stoppable(lambda: f"{STOPPED}; the same command reads the file anew"):
        row = importing(name, path)
    print_rows([row], as_json)


@command
def data_verify(
    name: Annotated[str, typer.Argument(help="Data set; see nasplug data list.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check the cached files of a data set; exit code 1 if one is not as it should be."""
    from nasplug.commands.listings import verification

    rows = verification(name)
    print_rows(rows, as_json)
    if any(row["status"] != "ok" for row in rows):
        raise typer.Exit(1)
