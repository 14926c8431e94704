"""The result of a study that has ended, kept in the study so that it need not be scored again.

A kept result is data alone. It counts while the study has the same settings and trials, and this
machine the same tables of measurements; a damaged or older one is ignored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections import Counter
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.study import Study

from nasplug import datasets
from nasplug.arguments import is_registered
from nasplug.results.observed_result import ObservedResult
from nasplug.results.result import SearchResult
from nasplug.results.scored import Facts, Scored
from nasplug.searching.config import SearchConfig
from nasplug.searching.outcome import common_fields, scored_again
from nasplug.searching.prepare import Prepared
from nasplug.studies.progress import Progress

__all__ = ["KEPT", "keep_result", "kept_result"]

# User attribute of a study with its result.
KEPT = "nasplug:result"
# Fields of a result that are kept beside its facts: of every search, and of an observed one.
_FIELDS = ("n_trials", "pareto", "missing", "measured_so", "alike")
_OBSERVED = ("failed", "infeasible")


def keep_result(result: SearchResult, config: SearchConfig, prepared: Prepared) -> None:
    """Keep the result of a search in its study.

    Left out where settings do not tell all: for a space of one's own, and for a predictor without
    a checksum.
    """
    if not _is_told_by_settings(config, prepared):
        return
    names = _FIELDS + (_OBSERVED if isinstance(result, ObservedResult) else ())
    content = {
        "wanted": config.n_trials,
        "trials": _trials(result.study),
        "tables": _tables(config),
        "facts": dataclasses.asdict(result.facts),
        "fields": {name: getattr(result, name) for name in names},
    }
    content = json.loads(json.dumps(content))
    record = {**content, "sha256": _digest(content)}
    if result.study.user_attrs.get(KEPT) != record:
        # The result is known, even if there is no room left to keep it.
        with contextlib.suppress(OSError, StorageInternalError):
            result.study.set_user_attr(KEPT, record)


def kept_result(
    study: Study,
    config: SearchConfig,
    prepared: Prepared,
    started: float,
    progress: bool | None = None,
) -> SearchResult | None:
    """The result that a study keeps; None if there is none that is whole and of today.

    Args:
        study: A study with the settings of the search.
        config: The arguments of the search.
        prepared: The search; its candidates are scored when the result needs them.
        started: `time.perf_counter()` at the beginning of the call.
        progress: False to show none while candidates are scored; see `search`.
    """
    record = study.user_attrs.get(KEPT)
    if not isinstance(record, dict) or not _is_told_by_settings(config, prepared):
        return None
    content = {key: value for key, value in record.items() if key != "sha256"}
    if record.get("sha256") != _digest(content):
        return None
    bound = {"wanted": config.n_trials, "trials": _trials(study), "tables": _tables(config)}
    if any(content.get(key) != value for key, value in bound.items()):
        return None
    try:
        return _result(study, config, prepared, content, started, progress)
    except (KeyError, TypeError, AttributeError):
        return None


def _result(
    study: Study,
    config: SearchConfig,
    prepared: Prepared,
    content: dict[str, Any],
    started: float,
    progress: bool | None,
) -> SearchResult:
    facts = content["facts"]
    sequences = {name: tuple(facts[name]) for name in ("notes", "latency_notes", "familiar")}
    sequences["values"] = tuple(map(tuple, facts["values"]))
    fields = {
        **{name: content["fields"][name] for name in _FIELDS},
        "facts": Facts(**(facts | sequences)),
        "measured_so": tuple(content["fields"]["measured_so"]),
        "alike": tuple(content["fields"]["alike"]),
    }
    archs = [row["arch"] for row in fields["pareto"]]

    def score() -> Scored:
        with Progress(progress) as shown:
            prepared.score(shown)
            return scored_again(config, prepared, study, archs)

    fields["score"] = score
    seconds = {"total": round(time.perf_counter() - started, 3), "predict": 0.0, "sample": 0.0}
    fields |= common_fields(config, prepared, study, seconds)
    if config.is_predicted:
        return SearchResult(**fields)
    return ObservedResult(
        **fields,
        **{name: content["fields"][name] for name in _OBSERVED},
        evaluate=config.evaluation_kind,
        observed_in=str(prepared.observed_in),
    )


def _is_told_by_settings(config: SearchConfig, prepared: Prepared) -> bool:
    is_known = all(predictor.sha256 for predictor in prepared.predictors.values())
    return is_known and is_registered(config.space)


def _trials(study: Study) -> dict[str, int]:
    """The number of trials in each state."""
    return dict(Counter(trial.state.name for trial in study.get_trials(deepcopy=False)))


def _tables(config: SearchConfig) -> list[str]:
    """Tables with measured values of the space that are at hand."""
    names = {
        name
        for quantity in ("accuracy", "latency")
        for name in datasets.tables_of(config.space.name, quantity)
    }
    return sorted(name for name in names if datasets.available(name))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
