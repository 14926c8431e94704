"""Report of a study in a storage: a page and pictures, written into a folder."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasplug import plots
from nasplug.pareto import hypervolume_of
from nasplug.reports.front_pictures import front_pictures
from nasplug.reports.page import Page, page_html
from nasplug.reports.study_page import study_page
from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import closest
from nasplug.search_spaces.files import atomic_path
from nasplug.studies.checksums import check_trials
from nasplug.studies.storages import open_storage
from nasplug.studies.values import study_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.study import Study

__all__ = [
    "PAGE",
    "StudyReport",
    "draw_page",
    "find_study",
    "write_pictures",
    "write_plots",
    "write_study_report",
    "writing_to",
]

PAGE = "report.html"
# Name of a picture -> function that draws it.
PICTURES = {
    "progress.png": plots.hypervolume,
    "predicted_observed.png": plots.predicted_observed,
    "calibration.png": plots.calibration,
}


@dataclass(frozen=True)
class StudyReport:
    """Written page and pictures of a study.

    Attributes:
        study: Name of the study.
        files: Paths of the files.
        left_out: Name of a file that could not be drawn -> the reason, in a sentence.
        hypervolume: Hypervolume of the feasible trials, as in the JSON of a search; None for one
            objective, and without such a trial.
    """

    study: str
    files: tuple[Path, ...]
    left_out: dict[str, str]
    hypervolume: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as a dictionary for `json.dumps`."""
        return {
            "study": self.study,
            "files": [str(path) for path in self.files],
            "left_out": dict(self.left_out),
            "hypervolume": self.hypervolume,
        }


def find_study(storage: str | os.PathLike[str], name: str | None = None) -> Study:
    """Open a study in a storage that exists; without a name, the only study in it.

    Raises:
        InputError: If there is no such storage or study.
    """
    import optuna

    if storage == "memory":
        raise InputError(
            "the storage memory belongs to one process; give a journal file or the URL of a "
            "database"
        )
    is_url = isinstance(storage, str) and "://" in storage
    # Opening would create the file, and hide a mistyped path.
    if not is_url and not os.path.isfile(Path(storage).expanduser()):
        raise InputError(
            f"the storage {str(storage)!r} does not exist; give a journal file or the URL of a "
            "database"
        )
    opened = open_storage(storage, heartbeat=None, read_only=True)
    names = sorted(optuna.study.get_all_study_names(opened))
    if name is None and len(names) != 1:
        content = (
            f"the storage has several studies: {closest('', names, 'optuna.get_all_study_names')}"
            if names
            else "the storage has no study"
        )
        raise InputError(f"{content}; choose one with --study-name" if names else content)
    chosen = names[0] if name is None else name
    if chosen not in names:
        content = (
            f"it has {closest(chosen, names, 'optuna.get_all_study_names')}"
            if names
            else "it has no study"
        )
        raise InputError(f"the storage has no study {chosen!r}; {content}")
    study = optuna.load_study(
        study_name=chosen, storage=opened, sampler=optuna.samplers.RandomSampler()
    )
    check_trials(study)
    return study


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn failures of writing files of a report into errors that name the folder.

    Raises:
        InputError: If the block raises an OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write the report to {str(folder)!r} ({reason}); give a folder that can be "
            "written"
        ) from error


def _write_picture(path: Path, draw: Callable[[Path], object]) -> str | None:
    """Draw a file of a report, whole or not at all, without raising the errors of libraries.

    Args:
        path: Path of the file.
        draw: Function that writes the picture to a path.

    Returns:
        The reason why it could not be drawn, in a sentence; None if it was drawn.

    Raises:
        InputError: If the folder cannot be created or written.
    """
    with writing_to(path.parent):
        try:
            with atomic_path(path) as temporary:
                draw(temporary)
        except InputError as error:
            return str(error)
        except (OSError, MemoryError):
            raise
        # Drawing libraries raise errors of any kind.
        except Exception as error:
            message = " ".join(str(error).split())[:200] or "no message"
            return f"{path.name} could not be drawn ({type(error).__name__}: {message})"
    return None


def _draw(draw: Callable[[Study], Figure], study: Study, path: Path) -> None:
    draw(study).savefig(path, format="png")


def write_pictures(pictures: Mapping[Path, Callable[[Path], object]]) -> list[Path]:
    """Draw pictures that belong to a result, and warn of those that cannot be drawn.

    Raises:
        InputError: If the folder cannot be created or written.
    """
    drawn = []
    for path, draw in pictures.items():
        reason = _write_picture(path, draw)
        if reason is None:
            drawn.append(path)
        else:
            warnings.warn(f"{reason}; the result itself is complete", stacklevel=3)
    return drawn


def draw_page(make: Callable[[], Page], path: Path) -> None:
    """Write a page, which is put together here so that its failure leaves the pictures."""
    path.write_text(page_html(make()), encoding="utf-8")


def write_study_report(
    study: Study, folder: str | os.PathLike[str], command: str | None = None
) -> StudyReport:
    """Write `report.html`, the pictures of `write_plots`, and those of a front of many objectives.

    Args:
        study: The study.
        folder: Folder for the files; created if it is missing.
        command: The command that writes the report, for the page.

    Raises:
        InputError: If no trial has ended with finite values, or the folder cannot be created or
            written.
    """
    path = Path(folder) / PAGE
    # Made first: a study without values is refused before a folder is created.
    page = study_page(study, command)
    reason = _write_picture(path, partial(draw_page, lambda: page))
    files, left_out = ((path,), {}) if reason is None else ((), {PAGE: reason})
    try:
        plots = write_plots(study, folder)
    except InputError as error:
        if reason is not None:
            raise
        left_out = {name: str(error) for name in PICTURES}
        return StudyReport(study.study_name, files, left_out, _hypervolume(study))
    shown = {}
    if len(page.axes) > 2 and any(row.state == "front" for row in page.rows):
        shown = front_pictures(lambda: page, Path(folder))
    for picture, draw in shown.items():
        reason = _write_picture(picture, draw)
        if reason is None:
            files = (*files, picture)
        else:
            left_out[picture.name] = reason
    return replace(plots, files=files + plots.files, left_out=left_out | plots.left_out)


def write_plots(study: Study, folder: str | os.PathLike[str]) -> StudyReport:
    """Write `progress.png`, `predicted_observed.png` and `calibration.png`, each whole or not.

    Pictures that need more trials than the study has are left out.

    Args:
        study: The study.
        folder: Folder for the files; created if it is missing.

    Raises:
        InputError: If nothing can be drawn, or the folder cannot be created or written.
    """
    target = Path(folder)
    was_there = target.exists()
    files, left_out = [], {}
    for name, draw in PICTURES.items():
        reason = _write_picture(target / name, partial(_draw, draw, study))
        if reason is None:
            files.append(target / name)
        else:
            left_out[name] = reason
    if not files:
        if not was_there:
            target.rmdir()
        raise InputError(next(iter(left_out.values())))
    return StudyReport(study.study_name, tuple(files), left_out, _hypervolume(study))


def _hypervolume(study: Study) -> dict[str, Any] | None:
    values = study_values(study)
    return hypervolume_of(values.metrics, values.values[values.feasible], values.sign)
