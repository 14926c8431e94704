"""Pictures of the front of a study with several objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nasplug.choices import choices
from nasplug.objectives import Objective
from nasplug.pareto import pareto_mask
from nasplug.plots.fronts import ShownFront, draw_pairs, draw_parallel
from nasplug.plots.shown import limited_of, limits_of, shown_values, value_axes
from nasplug.search_spaces import InputError
from nasplug.studies.values import StudyValues
from nasplug.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.study import Study

__all__ = ["pairs", "parallel"]


def parallel(study: Study) -> Figure:
    """Draw the front of a study by parallel coordinates: a line a trial, an axis an objective.

    The better end of every axis is on top. The choices of the report stand out.

    Raises:
        InputError: If the study has one objective, or no feasible trial with finite values.

    Example:
        >>> import optuna
        >>> from nasplug import plots
        >>> study = optuna.create_study(directions=["minimize"] * 3)
        >>> study.optimize(lambda t: (t.suggest_float("x", 0, 1), 1 - t.params["x"], 1), n_trials=3)
        >>> len(plots.parallel(study).axes)
        1
    """
    return draw_parallel(_front_of(study))


def pairs(study: Study) -> Figure:
    """Draw the front of a study among its trials by each pair of its first four objectives.

    A trial of the front may lie inside a panel, as it is better in an objective of another one.

    Raises:
        InputError: If the study has one objective, or no feasible trial with finite values.

    Example:
        >>> import optuna
        >>> from nasplug import plots
        >>> study = optuna.create_study(directions=["minimize"] * 3)
        >>> study.optimize(lambda t: (t.suggest_float("x", 0, 1), 1 - t.params["x"], 1), n_trials=3)
        >>> len(plots.pairs(study).axes)
        3
    """
    return draw_pairs(_front_of(study))


def _front_of(study: Study) -> ShownFront:
    """The front of a study, in the shown units where a search has made the study."""
    values = shown_values(study)
    if len(values.metrics) < 2:
        raise InputError(
            f"study {values.name!r} has one objective, so it has no front; draw "
            "nasplug.plots.hypervolume"
        )
    if not values.feasible.any():
        raise InputError(f"no trial of study {values.name!r} meets all constraints yet")
    limits = limits_of(study)
    limited, others = limited_of(study, values, limits)
    shown = values.values
    met = np.flatnonzero(values.feasible)
    on_front = pareto_mask(values.losses[met])
    rows = met[on_front]
    return ShownFront(
        title=f"{values.name}: front of {counted(len(values.numbers), 'trial')}",
        axes=[*value_axes(values, limits), *limited],
        values=np.hstack([shown, others])[rows],
        choices=_choices(values, shown[rows], [limit.shown for limit in limits]),
        others=shown[met[~on_front]],
        missed=shown[~values.feasible],
    )


def _choices(values: StudyValues, front: np.ndarray, limits: list[str]) -> dict[str, int]:
    """Titles of the choices among a front's rows."""
    objectives = [
        Objective(name, "maximize" if sign < 0 else "minimize", "")
        for name, sign in zip(values.metrics, values.sign, strict=True)
    ]
    texts = [[f"{value:.5g}" for value in row] for row in front]
    return {choice.title: choice.row for choice in choices(front, objectives, texts, limits)}
