"""Report of a search with evaluated trials: a page, a picture of its values, and JSON."""

from __future__ import annotations

import contextlib
import json
import os
from functools import cache, partial
from pathlib import Path

import numpy as np

from nasplug.plots.drawing import BLUE, GREY, RED, finish, heading
from nasplug.reports.front_pictures import front_pictures
from nasplug.reports.reported import ReportedSearch
from nasplug.reports.search_page import observed_page
from nasplug.reports.study_report import PAGE, draw_page, write_pictures, write_plots, writing_to
from nasplug.search_spaces import InputError
from nasplug.search_spaces.files import write_text
from nasplug.search_spaces.lazy import from_extra
from nasplug.studies.trials import finished

__all__ = ["write_report"]

PICTURE, RESULT = "trials.png", "result.json"


def write_report(
    result: ReportedSearch, folder: str | os.PathLike[str], command: str | None = None
) -> list[Path]:
    """Write `report.html`, `trials.png`, `result.json` and the pictures of the study.

    Each file is whole or absent. The first picture shows the front and all trials by their first
    two objectives; with one objective it shows the value of each trial, and the best so far.

    Args:
        result: Result of the search.
        folder: Folder for the files; created if it is missing.
        command: The command that writes the report, for the page.

    Returns:
        Paths of the files.

    Raises:
        InputError: If the folder cannot be created or written.
    """
    target = Path(folder)
    # Written before the pictures, which a library may fail to draw.
    with writing_to(target):
        write_text(target / RESULT, json.dumps(result.to_json(), indent=2) + "\n")
    make, has_front = cache(partial(observed_page, result, command)), bool(result.pareto)
    paths = write_pictures(
        {
            target / PAGE: partial(draw_page, make),
            target / PICTURE: partial(_draw, result),
            **(front_pictures(make, target) if has_front and len(result.objectives) > 2 else {}),
        }
    )
    # Without enough trials for any picture of the study there is none.
    with contextlib.suppress(InputError):
        paths += write_plots(result.study, target).files
    return [*paths, target / RESULT]


def _draw(result: ReportedSearch, path: Path) -> None:
    """Draw the trials by their first two objectives, or by number and the only objective."""
    # Not by pyplot, which would choose a window system and keep global state.
    with from_extra("plots"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    trials = finished(result.study)[: result.n_trials]
    values = np.array([trial.values for trial in trials], np.float64)
    feasible = np.array([all(v <= 0 for v in trial.constraints.values()) for trial in trials], bool)
    front = {row["trial"] for row in result.pareto}
    in_front = np.array([trial.number in front for trial in trials], bool)
    objectives = result.objectives
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    if len(objectives) == 1:
        x, y = np.arange(1.0, len(trials) + 1), values[:, 0]
        sign = objectives[0].sign
        best = np.minimum.accumulate(np.where(feasible, y * sign, np.inf)) * sign
        plot.step(x, best, where="post", color=BLUE, label="best so far")
        labels = "trial", objectives[0].name
    else:
        x, y = values[:, 1], values[:, 0]
        order = np.flatnonzero(in_front)[np.argsort(x[in_front])]
        plot.scatter(x[order], y[order], s=48, color=BLUE, label="front", zorder=3)
        labels = objectives[1].name, objectives[0].name
    plot.scatter(
        x[feasible], y[feasible], s=16, color=GREY, label=f"{len(trials)} trials", zorder=1
    )
    if not feasible.all():
        plot.scatter(
            x[~feasible],
            y[~feasible],
            s=16,
            marker="x",
            color=RED,
            label="violates a constraint",
            zorder=1,
        )
    plot.set_xlabel(labels[0], fontsize=12)
    plot.set_ylabel(labels[1], fontsize=12)
    heading(figure, result.heading())
    finish(plot)
    figure.savefig(path, dpi=150, format="png")
