"""The result of a study whose trials were evaluated by a table, a program or a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasplug.candidates.measured import measured
from nasplug.results.observed_result import ObservedResult
from nasplug.results.result import DIGITS, predicted_ends
from nasplug.searching.config import SearchConfig
from nasplug.searching.observed import front, observed
from nasplug.searching.predicted_outcome import shared_fields
from nasplug.searching.prepare import Prepared
from nasplug.studies.evaluation import METRICS
from nasplug.studies.trials import counts_as_failed, finished

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["observed_result"]


def observed_result(
    config: SearchConfig, prepared: Prepared, study: Study, seconds: Mapping[str, float]
) -> ObservedResult:
    """The result of a study whose trials were evaluated.

    Args:
        config: The search.
        prepared: Its sampler and objective.
        study: The study.
        seconds: Seconds that its parts took.
    """
    candidates = prepared.sampler.candidates
    trials = finished(study)[: config.n_trials]
    space = candidates.space
    indices = candidates.indices([space.from_params(trial.params) for trial in trials])
    index_of = {trial.number: index for trial, index in zip(trials, indices, strict=True)}
    best = front(trials, prepared.objectives)
    best_indices = [index_of[trial.number] for trial in best]
    # Devices in tables were measured in their usual runtime.
    hardware = None if prepared.runtime else config.hardware
    truths = measured(candidates, best_indices, config.dataset, hardware, config.batch_size)
    failed = [t for t in study.get_trials(deepcopy=False) if counts_as_failed(t)]
    return ObservedResult(
        **shared_fields(config, prepared, study, seconds),
        n_trials=len(trials),
        pareto=[
            _entry(prepared, trial, index, truth)
            for trial, index, truth in zip(best, best_indices, truths, strict=True)
        ],
        trials=tuple(indices),
        front=tuple(best_indices),
        evaluate=config.evaluation_kind,
        observed_in=str(prepared.observed_in),
        failed=len(failed),
        infeasible=sum(any(v > 0 for v in trial.constraints.values()) for trial in trials),
    )


def _entry(
    prepared: Prepared, trial: FrozenTrial, index: int, truth: dict[str, float | None]
) -> dict[str, Any]:
    candidates = prepared.sampler.candidates
    arch = candidates.architectures[index]
    return {
        # As it was tried: equal functions share an index in a pool, which may be spelled otherwise.
        "arch": candidates.space.from_params(trial.params).text,
        "arch_id": arch.arch_id,
        **{name: int(candidates.quantities[name].mean[index]) for name in ("params", "flops")},
        "trial": trial.number,
        "observed": {name: round(value, DIGITS) for name, value in observed(trial).items()},
        "predicted": {
            METRICS[name]: predicted_ends(candidates, name, index)
            for name in ("accuracy", "latency")
        },
        "measured": truth,
    }
