"""Lines of a result in a terminal: the choices, and the front as a table."""

from __future__ import annotations

from collections.abc import Sequence

from nasplug.choices import Choice

__all__ = ["ROWS", "choice_lines", "table_lines"]

# Rows of a front that are shown unless all are asked for.
ROWS = 12


def choice_lines(choices: Sequence[Choice], archs: Sequence[str]) -> list[str]:
    """Title and values of each choice, its architecture, which can be copied, and the reason.

    Args:
        choices: The choices; their rows are counted from 0, and shown from 1.
        archs: Texts of the front's architectures.
    """
    lines = []
    for choice in choices:
        title = f"{choice.title} (row {choice.row + 1}): {choice.values}"
        lines += [title, f"  {archs[choice.row]}", f"  {choice.reason}"]
    return [*lines, ""] if lines else []


def table_lines(
    columns: Sequence[tuple[str, Sequence[str]]],
    archs: Sequence[str],
    rows: Sequence[int],
    width: int,
) -> list[str]:
    """A table whose rows are numbered as in the whole front.

    Args:
        columns: Heading and cells of each column, a cell for each row of the front.
        archs: Texts of the front's architectures; beside the cells if all fit, and else below.
        rows: Rows to show.
        width: Characters in a line.
    """
    numbered = [("#", [str(k + 1) for k in range(len(archs))]), *columns]
    table = [[heading, *(cells[k] for k in rows)] for heading, cells in numbered]
    padded = [[cell.rjust(max(map(len, column))) for cell in column] for column in table]
    head, *lines = _folded(padded, width)
    shown = [archs[k] for k in rows]
    if len(head) == 1 and len(head[0]) + 2 + max(map(len, shown), default=0) <= width:
        beside = [f"{line[0]}  {arch}" for line, arch in zip(lines, shown, strict=True)]
        return [f"{head[0]}  architecture", *beside]
    indent = " " * (len(padded[0][0]) + 2)
    pairs = zip(lines, shown, strict=True)
    return [*head, *(text for line, arch in pairs for text in (*line, indent + arch))]


def _folded(columns: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Lines of each row of a table: more than one where its columns do not fit the width.

    Args:
        columns: Cells of each column, of equal width; the first column numbers the rows.
        width: Characters in a line.
    """
    number = len(columns[0][0])
    parts: list[list[Sequence[str]]] = [[columns[0]]]
    room = width - number
    for column in columns[1:]:
        room -= len(column[0]) + 2
        if room < 0:
            # Lines below the first one are indented by the number of the row.
            parts.append([[" " * number] * len(column)])
            room = width - number - len(column[0]) - 2
        parts[-1].append(column)
    joined = [["  ".join(cells) for cells in zip(*part, strict=True)] for part in parts]
    return [list(lines) for lines in zip(*joined, strict=True)]
