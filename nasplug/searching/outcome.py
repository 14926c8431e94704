"""The result of a study, from its trials and the candidates that they chose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from nasplug.candidates.candidates import Candidates
from nasplug.candidates.measured import measured
from nasplug.objectives import Objective
from nasplug.pareto import pareto_mask
from nasplug.predicting.energy import energy_note
from nasplug.predicting.evidence import LatencyEvidence, latency_evidence
from nasplug.predicting.measured_accuracy import HasAccuracies
from nasplug.quantities import QUALITIES, QUANTITIES, without_device
from nasplug.results.observed_result import ObservedResult
from nasplug.results.result import DIGITS, SearchResult, predicted_ends
from nasplug.results.scored import Scored, facts_of
from nasplug.searching.config import SearchConfig
from nasplug.searching.observed import front, observed
from nasplug.searching.prepare import Prepared
from nasplug.studies.trials import counts_as_failed, finished

__all__ = ["common_fields", "result_of", "scored_again"]


def result_of(
    config: SearchConfig, prepared: Prepared, study: Study, seconds: Mapping[str, float]
) -> SearchResult:
    """The result of a study; `seconds` is the time that the parts of the search took."""
    candidates, objectives = prepared.sampler.candidates, prepared.objectives
    trials, indices = _trials(config, candidates, study)
    best: list[FrozenTrial] = []
    if config.is_predicted:
        best_indices = _predicted_front(candidates, indices, objectives)
    else:
        best = front(trials, objectives)
        index_of = {trial.number: index for trial, index in zip(trials, indices, strict=True)}
        best_indices = [index_of[trial.number] for trial in best]
    # Devices in tables were measured in their usual runtime.
    devices = () if prepared.runtime else config.devices
    truths = measured(candidates, best_indices, config.dataset, devices, config.batch_size)
    evidence = _latency_evidence(config, prepared, candidates, best_indices)
    notes = _energy_notes(candidates, best)
    scored = Scored(candidates, tuple(indices), tuple(best_indices))
    fields = common_fields(config, prepared, study, seconds) | {
        "n_trials": len(indices),
        "score": lambda: scored,
        "measured_so": prepared.measured_so,
        "alike": prepared.alike,
    }
    if prepared.front is not None:
        values = candidates.means([objective.name for objective in objectives])[best_indices]
        entries = zip(best_indices, truths, strict=True)
        return SearchResult(
            **fields,
            pareto=[
                _predicted_entry(candidates, k, truth, objectives, extra)
                for (k, truth), extra in zip(
                    entries, _extras(candidates, best_indices), strict=True
                )
            ],
            missing=prepared.front.missing(trial.values for trial in trials),
            facts=facts_of(
                candidates, config.dataset, tuple(map(tuple, values.tolist())), evidence, notes
            ),
        )
    return ObservedResult(
        **fields,
        pareto=[
            _observed_entry(candidates, trial, k, truth, extra)
            for trial, k, truth, extra in zip(
                best, best_indices, truths, _extras(candidates, best_indices), strict=True
            )
        ],
        facts=facts_of(candidates, config.dataset, evidence=evidence, notes=notes),
        evaluate=config.evaluation_kind,
        observed_in=str(prepared.observed_in),
        failed=sum(counts_as_failed(trial) for trial in study.get_trials(deepcopy=False)),
        infeasible=sum(any(v > 0 for v in trial.constraints.values()) for trial in trials),
    )


def _latency_evidence(
    config: SearchConfig, prepared: Prepared, candidates: Candidates, front: Sequence[int]
) -> dict[str, LatencyEvidence]:
    """The evidence behind each latency of a front, by its name; of any candidate if it is empty."""
    evidence: dict[str, LatencyEvidence] = {}
    for name, (kind, learned) in candidates.scores.evidence_on.items():
        device = candidates.device_of(name)
        if kind is None or device is None or without_device(name) != "latency":
            continue
        graphs = candidates.timed_graphs(front or [0])
        predictor = prepared.predictors["latency"]
        found = latency_evidence(predictor, graphs, device, config.batch_size, kind, learned)
        # Of a whole front, measurements of other networks elsewhere say little.
        near = [m for m in found.measurements if m.setting.hardware.name == device.name]
        evidence[name] = replace(found, measurements=tuple(near))
    return evidence


def _energy_notes(candidates: Candidates, trials: Sequence[FrozenTrial]) -> tuple[str, ...]:
    """A sentence on each predicted energy, unless all trials of an observed front told it."""
    evidence = candidates.scores.evidence_on
    energies = [name for name in evidence if without_device(name) == "energy"]
    if trials:
        told = set.intersection(*(set(observed(trial)) for trial in trials))
        energies = [name for name in energies if QUANTITIES[name].key not in told]
    return tuple(
        energy_note(kind, device)
        for name in energies
        if (kind := evidence[name][0]) is not None
        and (device := candidates.device_of(name)) is not None
    )


def common_fields(
    config: SearchConfig, prepared: Prepared, study: Study, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Fields of a result that are known without the candidates."""
    return {
        "space": config.space.name,
        "hardware": config.hardware,
        "others": config.devices[1:],
        "dataset": config.dataset,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "objectives": prepared.objectives,
        "constraints": config.constraints,
        "predictor": prepared.predictor,
        "seconds": seconds,
        "study": study,
        "searched": prepared.sampler.space,
        "runtime": prepared.runtime,
    }


def scored_again(
    config: SearchConfig, prepared: Prepared, study: Study, archs: Sequence[str]
) -> Scored:
    """The candidates of a study that has ended, and the indices of its trials and its front.

    Args:
        config: The arguments of the search.
        prepared: The search, whose candidates are scored here.
        study: The study.
        archs: Texts of the architectures on its front.
    """
    candidates = prepared.sampler.candidates
    _, indices = _trials(config, candidates, study)
    best = candidates.indices([candidates.space.parse(text) for text in archs])
    return Scored(candidates, tuple(indices), tuple(best))


def _trials(
    config: SearchConfig, candidates: Candidates, study: Study
) -> tuple[list[FrozenTrial], list[int]]:
    """The trials that count, and the indices of their architectures."""
    trials = finished(study)
    # Those beyond the number may be candidates that the others were chosen with.
    indices = candidates.indices([candidates.space.from_params(trial.params) for trial in trials])
    return trials[: config.n_trials], indices[: config.n_trials]


def _predicted_front(
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
    best = np.array(feasible)[pareto_mask(shown * sign)]
    # The second objective is the cost; between equals the order of the candidates decides.
    cost = min(1, len(names) - 1)
    order = np.lexsort((best, candidates.means(names)[best, cost] * sign[cost]))
    unique = {int(candidates.group[k]): int(k) for k in best[order][::-1]}
    return list(unique.values())[::-1]


def _predicted_entry(
    candidates: Candidates,
    index: int,
    truth: Mapping[str, Any],
    objectives: Sequence[Objective],
    extra: Mapping[str, float],
) -> dict[str, Any]:
    """The row of an architecture; `extra` has exact quantities by their keys."""
    arch = candidates.architectures[index]
    familiar = candidates.familiar([index])
    # Where no accuracy is predicted a count is the quality, and belongs to the result.
    has_flops = objectives[0].name not in QUALITIES
    has_flops |= any(c.name == "flops" for c in candidates.constraints)
    return {
        "arch": arch.text,
        "arch_id": arch.arch_id,
        **_counts(candidates, index, ("params", "flops") if has_flops else ("params",)),
        **extra,
        "predicted": _predicted(candidates, index),
        "measured": truth,
        **({} if familiar is None else {"familiar": bool(familiar[0])}),
    }


def _observed_entry(
    candidates: Candidates,
    trial: FrozenTrial,
    index: int,
    truth: Mapping[str, Any],
    extra: Mapping[str, float],
) -> dict[str, Any]:
    return {
        # As it was tried: equal functions share an index in a pool, which may be spelled otherwise.
        "arch": candidates.space.from_params(trial.params).text,
        "arch_id": candidates.architectures[index].arch_id,
        **_counts(candidates, index, ("params", "flops")),
        **extra,
        "trial": trial.number,
        "observed": {name: round(value, DIGITS) for name, value in observed(trial).items()},
        "predicted": _predicted(candidates, index),
        "measured": truth,
    }


def _counts(candidates: Candidates, index: int, names: Sequence[str]) -> dict[str, int]:
    return {name: int(candidates.quantities[name].mean[index]) for name in names}


def _extras(candidates: Candidates, indices: Sequence[int]) -> list[dict[str, float]]:
    """Memory and file size of candidates by their keys, as far as the search has to do with them.

    Trained networks are a start of fine-tuning, whose memory is shown in any case.
    """
    is_trained = isinstance(candidates.space, HasAccuracies)
    wanted = [n for n in ("memory", "size") if n in candidates.quantities]
    if is_trained and "memory" not in wanted:
        wanted.append("memory")
    columns = {QUANTITIES[name].key: candidates.exactly(name, indices) for name in wanted}
    return [
        {key: round(float(values[k]), DIGITS) for key, values in columns.items()}
        for k in range(len(indices))
    ]


def _predicted(candidates: Candidates, index: int) -> dict[str, Any]:
    """Predictions by their keys: quality and latency in any case, and all others that are known.

    Of several devices the first one's are there without its name, too.
    """
    names = ["accuracy", candidates.space.quality, "latency"]
    names += [
        name
        for name in candidates.quantities
        if without_device(name) in ("latency", "throughput", "energy")
    ]
    return {
        QUANTITIES[name].key: predicted_ends(candidates, name, index)
        for name in dict.fromkeys(names)
    }
