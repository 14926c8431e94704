"""Command that writes networks: export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from nasplug.commands.common import (
    Debug,
    Example,
    SpaceName,
    code_written,
    command,
    complain,
    space_of,
)
from nasplug.search_spaces.errors import InputError
from nasplug.text import counted

if TYPE_CHECKING:
    from nasplug.search_spaces import Architecture, SearchSpace

__all__ = ["export"]

TIMM = "timm"


@command
def export(
    architectures: Annotated[
        list[str],
        Argument(
            help="Architecture strings of the space, as search and predict print them, names of "
            "its published networks, or indices; or names such as timm:resnet50.a1_in1k."
        ),
    ],
    space: SpaceName = "nb201",
    example: Example = None,
    code: Annotated[
        bool,
        Option(
            "--code",
            help="Write PyTorch modules that can be trained, and train.py, which trains one, "
            "instead of ONNX files.",
        ),
    ] = False,
    dataset: Annotated[
        str | None, Option(help="Image set of the networks, which has the classes.")
    ] = None,
    out: Annotated[Path, Option(help="Folder for the files.")] = Path("networks"),
    debug: Debug = False,
) -> None:
    """Write networks as ONNX files with random weights, or as code that trains."""
    from nasplug.results.export import export_code, export_networks

    opened, archs = _architectures(architectures, space, example)
    if code:
        paths = export_code(opened, archs, out, dataset)
        complain(code_written(paths, out))
    else:
        paths = export_networks(opened, archs, out, dataset)
        # Those of timm have timm's weights, if these can be had.
        weights = "" if opened.name == TIMM else " with random weights"
        complain(f"wrote {counted(len(paths), 'network')}{weights} to {out}")
    for path in paths:
        print(path)


def _architectures(
    texts: Sequence[str], space: str, example: str | None
) -> tuple[SearchSpace, list[Architecture]]:
    """Space and architectures of texts; names such as `timm:resnet50.a1_in1k` name their space.

    Raises:
        InputError: If a text is no architecture, or they are of several spaces.
    """
    from nasplug.predicting.known_networks import checked_architecture, is_known_name

    packages = {text.partition(":")[0] if is_known_name(text) else None for text in texts}
    if len(packages) > 1:
        raise InputError(
            "names such as timm:resnet50.a1_in1k and architectures of a space cannot be written "
            "together; give them in two commands"
        )
    package = packages.pop()
    if package not in (None, TIMM):
        raise InputError(
            f"{texts[0][:80]!r} is built by a function of {package}, which is itself the code that "
            "trains"
        )
    opened = space_of(space if package is None else TIMM, example)
    prefix = "" if package is None else f"{TIMM}:"
    return opened, [
        checked_architecture(opened, text.removeprefix(prefix)) for text in dict.fromkeys(texts)
    ]
