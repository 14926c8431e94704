"""The result of a study whose trials were evaluated by a table, a program or a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasplug.candidates.measured import measured
from nasplug.results.observed_result import ObservedResult
from nasplug.results.result import DIGITS, predicted_ends
from nasplug.searching.observed import front, observed
from nasplug.searching.plan import Plan, kind_of
from nasplug.searching.predicted_outcome import what_was_searched
from nasplug.searching.prepare import Prepared
from nasplug.studies.evaluation import METRICS
from nasplug.studies.trials import counts_as_failed, finished

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["observed_result"]


def observed_result(
    plan: Plan, ready: Prepared, study: Study, seconds: Mapping[str, float]
) -> ObservedResult:
    """The result of a study whose trials were evaluated.

    Args:
        plan: The search.
        ready: What was prepared for it.
        study: The study.
        seconds: What it took.
    """
    candidates = ready.sampler.candidates
    trials = finished(study)[: plan.n_trials]
    space = candidates.space
    cells = candidates.positions([space.from_params(trial.params) for trial in trials])
    place = {trial.number: cell for trial, cell in zip(trials, cells, strict=True)}
    best = front(trials, ready.goals)
    device = None if ready.runtime else plan.device
    truths = measured(
        candidates, [place[t.number] for t in best], plan.dataset, device, plan.batch_size
    )
    failed = [t for t in study.get_trials(deepcopy=False) if counts_as_failed(t)]
    return ObservedResult(
        **what_was_searched(plan, ready, study, seconds),
        n_trials=len(trials),
        pareto=[
            _entry(ready, trial, place[trial.number], truth)
            for trial, truth in zip(best, truths, strict=True)
        ],
        trials=tuple(cells),
        evaluate=kind_of(plan),
        observed_in=str(ready.observed_in),
        failed=len(failed),
        infeasible=sum(any(v > 0 for v in trial.constraints.values()) for trial in trials),
    )


def _entry(
    ready: Prepared, trial: FrozenTrial, cell: int, truth: dict[str, float | None]
) -> dict[str, Any]:
    candidates = ready.sampler.candidates

    arch = candidates.cells[cell]
    return {
        # What was tried: equal functions share a cell in a pool, and it may be spelled otherwise.
        "arch": candidates.space.from_params(trial.params).text,
        "arch_id": arch.arch_id,
        **{name: int(candidates.quantities[name].mean[cell]) for name in ("params", "flops")},
        "trial": trial.number,
        "observed": {name: round(value, DIGITS) for name, value in observed(trial).items()},
        "predicted": {
            METRICS[name]: predicted_ends(candidates, name, cell)
            for name in ("accuracy", "latency")
        },
        "measured": truth,
    }
