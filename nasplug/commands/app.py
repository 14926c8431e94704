"""Assembly of the command line: the commands, their groups, and `--version`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nasplug.commands import lists, predictors
from nasplug.commands import predict as predictions
from nasplug.commands import report as reports
from nasplug.commands import search as searches

__all__ = ["app"]


class _ListByDefault(TyperGroup):
    """Group of commands that runs `list` if none is named, as in `nasplug hardware nvidia`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


_OPTIONS: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "add_completion": False,
}
app = typer.Typer(name="nasplug", no_args_is_help=True, **_OPTIONS)
hardware_app = typer.Typer(cls=_ListByDefault, **_OPTIONS)
data_app = typer.Typer(cls=_ListByDefault, **_OPTIONS)
app.add_typer(hardware_app, name="hardware", help="The hardware catalogue: list, show NAME.")
app.add_typer(data_app, name="data", help="Public data sets: list, fetch, import, verify.")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"nasplug {version('nasplug')}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Architecture search that is guided by predicted accuracy and latency."""


for _function in (
    searches.search,
    searches.worker,
    reports.report,
    predictions.predict,
    predictors.train,
    predictors.measure,
    predictors.calibrate,
    lists.spaces,
):
    app.command()(_function)
hardware_app.command("list")(lists.hardware_list)
hardware_app.command("show")(lists.hardware_show)
data_app.command("list")(lists.data_list)
data_app.command("fetch")(lists.data_fetch)
data_app.command("import")(lists.data_import)
data_app.command("verify")(lists.data_verify)
