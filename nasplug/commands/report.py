"""Command that shows a study: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasplug.commands.common import (
    Debug,
    Json,
    StudyName,
    command,
    command_line,
    complain,
    print_json,
)

__all__ = ["report"]


@command
def report(
    storage: Annotated[str, typer.Argument(help="Journal file or database URL of the study.")],
    study: StudyName = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for report.html and the plots.")
    ] = Path("report"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a report of a study: a page and plots of its front, progress and expected values."""
    from nasplug.reports.study_report import find_study, write_study_report

    written = write_study_report(find_study(storage, study), out, command_line())
    if as_json:
        print_json(written.to_json())
    else:
        for path in written.files:
            print(path)
    for name, reason in written.left_out.items():
        complain(f"{name} was not written: {reason}")
