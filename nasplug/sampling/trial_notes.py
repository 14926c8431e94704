"""Short texts about a trial for its readers, in a table of trials or a dashboard.

The sampler keeps one object with all numbers in a trial. Dashboards show that as a line of JSON,
and not all of them show constraints, so the numbers that matter are kept as words too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasplug.studies.values import metrics_of, study_signs, values_expected

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["readable", "write_notes"]


def write_notes(study: Study, trial: FrozenTrial, note: Mapping[str, Any]) -> None:
    """Keep the texts of the sampler's `note` as user attributes of a trial that has not ended."""
    from optuna.exceptions import UpdateFinishedTrialError

    # Another worker may have taken the trial for lost, and failed it.
    with contextlib.suppress(UpdateFinishedTrialError):
        for name, text in readable(study, trial, note).items():
            if trial.user_attrs.get(name) != text:
                # A sampler is handed frozen trials, so the storage is the only way to write.
                study._storage.set_trial_user_attr(trial._trial_id, name, text)


def readable(study: Study, trial: FrozenTrial, note: Mapping[str, Any]) -> dict[str, str]:
    """Up to four texts by name, in the units of the study's values; unknown ones are left out.

    `architecture`; `expected`, the values announced before the trial, and `predicted`, those of the
    predictors, both with intervals in brackets; `limits`, met or missed by so much.
    """
    texts = {"architecture": str(note.get("arch", ""))}
    announced = note.get("expected")
    if isinstance(announced, dict):
        rows = values_expected(announced.get("losses"), study_signs(study))
        parts = [
            _interval(name, *row)
            for name, row in zip(metrics_of(study), rows, strict=True)
            if row[0] == row[0]
        ]
        if isinstance(announced.get("feasible"), float):
            parts.append(f"feasible {announced['feasible']:.0%}")
        texts["expected"] = "; ".join(parts)
    predicted = note.get("predicted")
    if isinstance(predicted, dict):
        texts["predicted"] = "; ".join(
            _interval(name, *(float(row[end]) for end in ("mean", "lower", "upper")))
            for name, row in predicted.items()
        )
    if trial.constraints:
        missed = [f"{name} by {over:.4g}" for name, over in trial.constraints.items() if over > 0]
        texts["limits"] = f"violated: {', '.join(missed)}" if missed else "met"
    return {name: text for name, text in texts.items() if text}


def _interval(name: str, mean: float, lower: float, upper: float) -> str:
    return f"{name} {mean:.5g} ({lower:.5g} to {upper:.5g})"
