"""The result of a search whose trials were evaluated by prediction."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.candidates.candidates import Candidates
from nasplug.candidates.measured import measured
from nasplug.objectives import Objective
from nasplug.pareto import pareto_mask
from nasplug.results.result import DIGITS, SearchResult, predicted_ends
from nasplug.searching.config import SearchConfig
from nasplug.studies.trials import finished

if TYPE_CHECKING:
    from optuna.study import Study

    from nasplug.searching.prepare import Prepared

__all__ = ["predicted_result", "shared_fields"]


def predicted_result(
    config: SearchConfig, prepared: Prepared, study: Study, seconds: Mapping[str, float]
) -> SearchResult:
    """The result of a study whose trials were evaluated by prediction.

    Args:
        config: The search.
        prepared: Its sampler and objective.
        study: The study.
        seconds: Seconds that its parts took.
    """
    candidates, objectives = prepared.sampler.candidates, prepared.objectives
    space = candidates.space
    architectures = [space.from_params(trial.params) for trial in finished(study)]
    trials = candidates.indices(architectures)[: config.n_trials]
    front = _front(candidates, trials, objectives)
    # Devices in tables were measured in their usual runtime.
    hardware = None if prepared.runtime else config.hardware
    truths = measured(candidates, front, config.dataset, hardware, config.batch_size)
    pareto = [
        _entry(candidates, k, truth, objectives) for k, truth in zip(front, truths, strict=True)
    ]
    return SearchResult(
        **shared_fields(config, prepared, study, seconds),
        n_trials=len(trials),
        missing=prepared.trials_needed(study, sys.maxsize) - len(finished(study)),
        pareto=pareto,
        trials=tuple(trials),
        front=tuple(front),
    )


def shared_fields(
    config: SearchConfig, prepared: Prepared, study: Study, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """The fields of a `SearchResult` that do not depend on how its trials were evaluated."""
    return {
        "space": config.space.name,
        "hardware": config.hardware,
        "dataset": config.dataset,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "objectives": prepared.objectives,
        "constraints": config.constraints,
        "predictor": prepared.predictor,
        "seconds": seconds,
        "study": study,
        "candidates": prepared.sampler.candidates,
        "runtime": prepared.runtime,
        "measured_so": prepared.measured_so,
        "alike": prepared.alike,
    }


def _front(
    candidates: Candidates, trials: Sequence[int], objectives: Sequence[Objective]
) -> list[int]:
    """Indices of the non-dominated feasible architectures, one of each id, cheapest first."""
    names = [objective.name for objective in objectives]
    sign = np.array([objective.sign for objective in objectives])
    feasible = [k for k in dict.fromkeys(trials) if candidates.feasible[k]]
    if not feasible:
        return []
    # As it will be shown: equal functions may differ in digits that are noise.
    shown = np.round(candidates.means(names)[feasible], DIGITS)
    front = np.array(feasible)[pareto_mask(shown * sign)]
    # The second objective is the cost; between equals the order of the candidates decides.
    order = np.lexsort((front, candidates.means(names)[front, 1]))
    unique = {int(candidates.group[k]): int(k) for k in front[order][::-1]}
    return list(unique.values())[::-1]


def _entry(
    candidates: Candidates,
    index: int,
    truth: dict[str, float | None],
    objectives: Sequence[Objective],
) -> dict[str, Any]:
    arch = candidates.architectures[index]
    familiar = candidates.familiar([index])
    # Where no accuracy is predicted a count is the quality, and belongs to the result.
    names = () if objectives[0].name == "accuracy" else ("flops",)
    counts = {name: int(candidates.quantities[name].mean[index]) for name in ("params", *names)}
    return {
        "arch": arch.text,
        "arch_id": arch.arch_id,
        **counts,
        "predicted": {
            "accuracy": predicted_ends(candidates, "accuracy", index),
            "latency_ms": predicted_ends(candidates, "latency", index),
        },
        "measured": truth,
        **({} if familiar is None else {"familiar": bool(familiar[0])}),
    }
