"""Assembly of the command line: the commands, their groups, and `--version`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from nasplug.commands import export as exports
from nasplug.commands import lists, predictors
from nasplug.commands import measured as measurements
from nasplug.commands import predict as predictions
from nasplug.commands import report as reports
from nasplug.commands import search as searches

__all__ = ["app"]


# Words that other programs use for an option -> what nasplug calls it, the likeliest first.
_SYNONYMS = {
    "hw": ("hardware", "device", "gpu", "cpu", "machine", "target-device", "hardware-name"),
    "n-trials": ("trials", "num-trials", "iterations", "budget", "max-trials", "n"),
    "n": ("num", "count", "samples", "n-trials"),
    "constraint": ("constraints", "limit", "limits", "max-latency", "max-flops", "max-params"),
    "objective": ("objectives", "metric", "metrics", "direction", "maximize", "minimize"),
    "batch-size": ("batch", "bs", "images"),
    "study-name": ("name", "experiment"),
    "storage": ("database", "db", "journal", "url"),
    "predictor": ("predictors", "checkpoint", "model", "weights"),
    "model": ("predictor", "network", "architecture"),
    "option": ("options", "epochs", "lr", "learning-rate", "config", "set"),
    "space": ("search-space", "benchmark"),
    "dataset": ("image-set", "task", "data"),
    "data": ("dataset", "table", "csv", "input"),
    "measurements": ("data", "csv", "table", "latencies"),
    "train-size": ("size", "n-train", "rows", "samples"),
    "jobs": ("workers", "n-jobs", "parallel", "threads"),
    "out": ("output", "output-dir", "outdir", "save", "path", "folder", "report"),
    "report": ("out", "output", "html", "folder"),
    "export": ("onnx", "out", "output", "save"),
    "proxy": ("quality",),
    "runtime": ("backend", "precision", "engine"),
    "backend": ("runtime", "engine"),
    "seed": ("random-state", "random-seed"),
    "input-shape": ("shape", "input-size", "input"),
    "json": ("format", "as-json"),
    "debug": ("verbose", "traceback"),
    "all": ("every", "full", "rows"),
}
# Type of an option -> its value in the help.
_VALUES = {str: "NAME", Path: "PATH", int: "NUMBER", float: "NUMBER"}


class _Command(TyperCommand):
    """Command whose help names values in words, and that answers wrong option names with right
    ones; an option that takes one value is not taken twice.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hints = typing.get_type_hints(self.callback)
        for param in self.params:
            types = _types(hints[param.name])
            value = next((word for type_, word in _VALUES.items() if type_ in types), None)
            if param.param_type_name == "argument":
                value = str(param.name).upper()
            param.metavar = param.metavar or value

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            *_, order = self.make_parser(ctx).parse_args(args=list(args))
        except Exception as error:
            # The class of the error is typer's own in some versions and click's in others.
            if hasattr(error, "possibilities"):
                error.possibilities = self._likely(getattr(error, "option_name", ""))
            raise
        for param in self.params:
            is_flag = getattr(param, "is_flag", False)
            takes_one = param.param_type_name == "option" and not param.multiple and not is_flag
            times = order.count(param)
            if takes_one and times > 1:
                ctx.fail(f"Option '{param.opts[0]}' is given {times} times; give it once.")
        return super().parse_args(ctx, args)

    def _likely(self, option: str) -> list[str]:
        """Options of this command that a wrong one may stand for."""
        word = option.lstrip("-").replace("_", "-").lower()
        options = [opt for param in self.params for opt in param.opts if opt.startswith("--")]
        meant = [opt for opt in options if word in _SYNONYMS.get(opt.lstrip("-"), ())]
        return meant or get_close_matches(f"--{word}", [*options, "--help"])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options; an argument's type would stand beside its name."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                is_argument = param.param_type_name == "argument"
                sections["Arguments" if is_argument else "Options"].append(
                    (str(param.metavar), record[1]) if is_argument else record
                )
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _types(hint: Any) -> set[Any]:
    """The types that a hint such as `list[str] | None` is made of."""
    return {hint}.union(*(_types(part) for part in typing.get_args(hint)))


class _ListByDefault(TyperGroup):
    """Group of commands that runs `list` if none is named, as in `nasplug hardware nvidia`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def _present_name(name: str) -> str:
    """Name of an option today; commands differed in `--study` and `--study-name` once."""
    return "study-name" if name == "study" else name


_OPTIONS: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    # A wide terminal is used, and not 80 columns of it.
    "context_settings": {"max_content_width": 120, "token_normalize_func": _present_name},
}
app = typer.Typer(name="nasplug", no_args_is_help=True, **_OPTIONS)
hardware_app = typer.Typer(cls=_ListByDefault, **_OPTIONS)
data_app = typer.Typer(cls=_ListByDefault, **_OPTIONS)
for _group, _name, _help in (
    (hardware_app, "hardware", "List the known devices, or show one or this machine."),
    (data_app, "data", "List, fetch, import or verify public data sets."),
):
    # Typer would cut the sentence in the list of commands.
    app.add_typer(_group, name=_name, help=_help, short_help=_help)


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
    """Neural architecture search with predicted quality, and predicted cost on your device."""


def _add(group: typer.Typer, name: str, function: Callable[..., None]) -> None:
    """Add a command; the list of commands shows its whole sentence, which typer would cut."""
    group.command(name, cls=_Command, short_help=inspect.getdoc(function))(function)


for _function in (
    searches.search,
    searches.worker,
    reports.report,
    predictions.predict,
    exports.export,
    predictors.train,
    predictors.measure,
    measurements.measured,
    predictors.calibrate,
    lists.spaces,
):
    _add(app, _function.__name__, _function)
_add(hardware_app, "list", lists.hardware_list)
_add(hardware_app, "show", lists.hardware_show)
_add(data_app, "list", lists.data_list)
_add(data_app, "fetch", lists.data_fetch)
_add(data_app, "import", lists.data_import)
_add(data_app, "verify", lists.data_verify)
