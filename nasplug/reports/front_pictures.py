"""Pictures of a page's front of three and more objectives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nasplug.plots.fronts import ShownFront, draw_pairs, draw_parallel
from nasplug.reports.page import Page, State

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["front_pictures"]


def front_pictures(make: Callable[[], Page], folder: Path) -> dict[Path, Callable[[Path], object]]:
    """Functions that draw `parallel.png` and `pairs.png` of a page, by their paths.

    Args:
        make: Function that puts the page together; it is called when a picture is drawn.
        folder: Folder of the pictures.
    """
    pictures = {"parallel.png": draw_parallel, "pairs.png": draw_pairs}
    return {folder / name: partial(_save, make, draw) for name, draw in pictures.items()}


def _save(make: Callable[[], Page], draw: Callable[[ShownFront], Figure], path: Path) -> None:
    draw(_shown_front(make())).savefig(path, format="png")


def _shown_front(page: Page) -> ShownFront:
    """The front of a page as pictures show it."""
    front = [k for k, row in enumerate(page.rows) if row.state == "front"]
    unknown = [np.nan] * len(page.limited)
    values = [[*page.rows[k].values, *(page.rows[k].limited or unknown)] for k in front]

    def of(state: State) -> np.ndarray:
        rows = [row.values for row in page.rows if row.state == state]
        return np.array(rows, np.float64).reshape(-1, len(page.axes))

    return ShownFront(
        title=page.heading,
        axes=[*page.axes, *page.limited],
        values=np.array(values, np.float64).reshape(len(front), -1),
        choices={c.title: front.index(c.row) for c in page.choices if c.row in front},
        others=of("met"),
        missed=of("missed"),
        scored=np.array(page.scored, np.float64).reshape(-1, len(page.axes)),
    )
