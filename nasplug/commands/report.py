"""Command that draws a study: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasplug.commands.common import Debug, Json, command, complain, print_json

__all__ = ["report"]


@command
def report(
    storage: Annotated[str, typer.Argument(help="Journal file or database URL of the study.")],
    study: Annotated[
        str | None, typer.Option("--study", help="Its name in there; needed if there are several.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures.")] = Path("report"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw how far a study has come, and how well its sampler foresaw the trials."""
    from nasplug.reports.study_report import find_study, write_plots

    plots = write_plots(find_study(storage, study), out)
    if as_json:
        print_json(plots.to_json())
    else:
        for path in plots.files:
            print(path)
    for name, reason in plots.left_out.items():
        complain(f"no {name}: {reason}")
