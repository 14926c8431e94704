"""The pictures of a study in a storage, written into a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasplug import plots
from nasplug.predictors.files import atomic_path
from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import closest
from nasplug.studies.checksums import check_trials
from nasplug.studies.storages import open_storage

if TYPE_CHECKING:
    from optuna.study import Study

__all__ = ["StudyReport", "find_study", "write_plots", "writing_to"]

# Name of a picture -> what draws it.
PICTURES = {
    "progress.png": plots.hypervolume,
    "predicted_observed.png": plots.predicted_observed,
    "calibration.png": plots.calibration,
}


@dataclass(frozen=True)
class StudyReport:
    """What was written.

    Attributes:
        study: Name of the study.
        files: The pictures.
        left_out: Name of a picture that could not be drawn -> why, in a sentence.
    """

    study: str
    files: tuple[Path, ...]
    left_out: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for `json.dumps`."""
        return {
            "study": self.study,
            "files": [str(path) for path in self.files],
            "left_out": dict(self.left_out),
        }


def find_study(storage: str | os.PathLike[str], name: str | None = None) -> Study:
    """A study in a storage that exists; the only one if no name is given.

    Raises:
        InputError: If there is no such storage or study.
    """
    import optuna

    if storage == "memory":
        raise InputError("memory holds no study of another process; give a journal file or a URL")
    is_url = isinstance(storage, str) and "://" in storage
    # Opening would make it, and hide a mistyped path.
    if not is_url and not os.path.isfile(Path(storage).expanduser()):
        raise InputError(
            f"there is no storage {str(storage)!r}; give a journal file or the URL of a database"
        )
    opened = open_storage(storage, heartbeat=None, read_only=True)
    names = sorted(optuna.study.get_all_study_names(opened))
    if name is None and len(names) != 1:
        said = f"the storage has {', '.join(names[:8])}" if names else "the storage has no study"
        raise InputError(f"{said}; name one with --study" if names else said)
    chosen = names[0] if name is None else name
    if chosen not in names:
        there = f"it has {closest(chosen, names)}" if names else "it has none"
        raise InputError(f"there is no study {chosen!r} in the storage; {there}")
    study = optuna.load_study(
        study_name=chosen, storage=opened, sampler=optuna.samplers.RandomSampler()
    )
    check_trials(study)
    return study


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Write files of a report.

    Raises:
        InputError: If that fails; it names the folder.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write the report to {str(folder)!r} ({reason}); give a folder to write in"
        ) from error


def write_plots(study: Study, folder: str | os.PathLike[str]) -> StudyReport:
    """Write `progress.png`, `predicted_observed.png` and `calibration.png`, each whole or not.

    Those that the study says too little for are left out.

    Args:
        study: The study.
        folder: Where to; made if it is missing.

    Raises:
        InputError: If nothing can be drawn, or the folder cannot be made or written.
    """
    target = Path(folder)
    files, left_out = [], {}
    for name, draw in PICTURES.items():
        try:
            figure = draw(study)
        except InputError as error:
            left_out[name] = str(error)
            continue
        with writing_to(target):
            target.mkdir(parents=True, exist_ok=True)
            with atomic_path(target / name) as temporary:
                figure.savefig(temporary, format="png")
        files.append(target / name)
    if not files:
        raise InputError(next(iter(left_out.values())))
    return StudyReport(study.study_name, tuple(files), left_out)
