"""my_command.py: `nasplug neighbors ARCH` lists the architectures that differ in one decision."""

from typing import Annotated

import typer

from nasplug.commands.common import Debug, Json, SpaceName, command, print_rows


@command
def neighbors(
    arch: Annotated[str, typer.Argument(help="An architecture of the space.")],
    space: SpaceName = "nb201",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the neighbors of an architecture."""
    import nasplug

    found = nasplug.space(space)
    others = found.neighbors(found.parse(arch))
    print_rows([{"arch": other.text, "id": other.arch_id} for other in others], as_json)
