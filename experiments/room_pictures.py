"""Pictures and a table of the rooms for docs/architecture.md, from the list that a test holds.

    python -m experiments.make_docs

An arrow means that files of one room import files of another. One that other arrows imply is left
out, so that the pictures can be read.
"""

from __future__ import annotations

import ast

from experiments.rooms import GROUNDS, MODULES, ROOMS, imports, room
from experiments.tables import table

__all__ = ["rooms"]

Arrows = dict[str, set[str]]


def rooms() -> str:
    """Three pictures from the outside in, and a table of all rooms in their order."""
    whole = arrows()
    inner = ("predictors", "search_spaces")
    outer = {title: part for part in inner for title in ROOMS if within(title, part)}
    parts = ["### nasplug", picture(joined(whole, outer))]
    for part in inner:
        names = {title: short(title) for title in ROOMS if within(title, part)}
        own = {title: whole[title] & names.keys() for title in names}
        parts += [f"### nasplug.{part}", picture(joined(own, names))]
    rows = [[str(k), title, sentence(title)] for k, title in enumerate(ROOMS, start=1)]
    parts += ["### In order", table(["", "room", "what it is"], rows)]
    return "\n\n".join(parts)


def within(title: str, package: str) -> bool:
    """Whether a room is the package or in it."""
    return title == package or title.startswith(f"{package}:")


def short(title: str) -> str:
    """A room's name inside of its package."""
    return title.partition(": ")[2] or "names of the package"


def arrows() -> Arrows:
    """Room -> the other rooms that its files import."""
    found: Arrows = {title: set() for title in ROOMS}
    for module, file in MODULES.items():
        own = room(module)
        found[own] |= {room(name) for name in imports(file) if name in MODULES} - {own}
    return found


def joined(whole: Arrows, names: dict[str, str]) -> Arrows:
    """The arrows between groups of rooms that share a name; a room without one keeps its own."""
    found: Arrows = {}
    for title, targets in whole.items():
        own = names.get(title, title)
        found.setdefault(own, set()).update({names.get(t, t) for t in targets} - {own})
    return found


def reduced(whole: Arrows) -> Arrows:
    """The arrows without those that a way over another room implies."""

    def reach(title: str) -> set[str]:
        return {t for target in whole[title] for t in {target} | reach(target)}

    return {
        title: {t for t in targets if not any(t in reach(other) for other in targets - {t})}
        for title, targets in whole.items()
    }


def picture(whole: Arrows) -> str:
    """A Mermaid flow chart, the rooms that use others at the top."""
    numbers = {title: f"r{k}" for k, title in enumerate(whole)}
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'    {numbers[title]}["{title}"]' for title in reversed(whole)]
    for title, targets in reversed(reduced(whole).items()):
        lines += [f"    {numbers[title]} --> {numbers[t]}" for t in whole if t in targets]
    return "\n".join([*lines, "```"])


def sentence(title: str) -> str:
    """Sentence on a room, the first one of its docstring."""
    if title in GROUNDS:
        return GROUNDS[title]
    first = ROOMS[title][0]
    name = f"nasplug.{first}".removesuffix(".")
    docstring = ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())
