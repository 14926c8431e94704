"""Result of a search whose trials were evaluated by a table, a program or a function."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasplug.arrays import Array
from nasplug.objectives import COSTS
from nasplug.predicting.intervals import magnitude
from nasplug.quantities import QUANTITIES, quantity_named
from nasplug.results.result import SearchResult
from nasplug.results.steps import export_steps, with_option
from nasplug.search_spaces import Architecture
from nasplug.studies.trials import FAILURE, counts_as_failed
from nasplug.text import counted

__all__ = ["ObservedResult"]

# Evidence of a latency -> note on the predicted latencies before the first trial.
_BEGINS = {
    "measured": "the search starts from predicted latencies (measured: the predictor learned from "
    "measurements on {0})",
    "learned": "the search starts from predicted latencies (measured: the predictor learned from "
    "{1} networks measured on {0})",
    "few-shot": "the search starts from predicted latencies (few-shot: the predictor is calibrated "
    "with a few measurements on {0})",
    "zero-shot": "the search starts from predicted latencies (zero-shot: {0} was not measured)",
}
# Significant digits of a metric in the table.
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class ObservedResult(SearchResult):
    """Result of `search` with `evaluate`.

    It differs from `SearchResult` in `pareto`, which has the feasible trials that no other feasible
    trial dominates, by the values of the study, in order of the last objective. Each row has beside
    `predicted` also `trial`, its number, and `observed`, its metrics.

    Attributes:
        evaluate: `"table"`, `"command"` or `"function"`.
        observed_in: Source of the values, in words.
        failed: Number of trials that failed.
        infeasible: Number of trials that violate a constraint.
    """

    evaluate: str = "table"
    observed_in: str = ""
    failed: int = 0
    infeasible: int = 0

    @property
    def proxy(self) -> str | None:
        """None, as qualities are observed."""
        return None

    def to_json(self) -> dict[str, Any]:
        """The result as a dictionary for `json.dumps`; equal runs differ in `seconds` alone."""
        content = super().to_json()
        evaluation = {name: getattr(self, name) for name in ("evaluate", "observed_in", "failed")}
        keys = list(content)
        before = keys[: keys.index("objectives")]
        return {key: content[key] for key in before} | evaluation | content

    def heading(self) -> str:
        """One line with the search's space, device, constraints, trials and source of values."""
        failed = f", and {self.failed} failed" if self.failed else ""
        heading = super().heading()
        if self.evaluate != "table":
            # The images that a program trains on are unknown here.
            heading = heading.replace(f"{self.space}, {self.dataset}", self.space, 1)
        return f"{heading}{failed}; values: {self.observed_in}"

    def notes(self, brief: bool = False) -> list[str]:
        """Notes on the meaning of the numbers, each a sentence; `brief` makes no difference."""
        objectives = " and ".join(f"{o.name} ({o.direction})" for o in self.objectives)
        notes = [f"objectives: {objectives}"]
        told = self._metrics()
        predicted = [n for n in told if any(_shown(row, n)[:1] == "~" for row in self.pareto)]
        if predicted:
            notes.append(
                "numbers with ~ are predicted, because the trial reported no "
                f"{', '.join(predicted)}"
            )
        if self.hardware is not None and self.evidence is not None:
            learned = self.facts.learned
            kind = "learned" if learned else self.evidence
            notes.append(_BEGINS[kind].format(self.hardware.name, learned))
        if predicted:
            notes += self._wide()
        notes += self.facts.notes
        if self.infeasible:
            notes.append(
                f"{self.infeasible} of {counted(self.n_trials, 'trial')} violate a constraint and "
                "are left out"
            )
        if not self.pareto:
            notes.append(
                "no trial meets every constraint; run more trials, or loosen the constraints"
            )
        if not self.facts.whole:
            notes.append("the space is too large to list, so better networks may exist")
        elif self.facts.size < self._size():
            notes.append(
                f"the search covers the {self.facts.size:,} architectures of {self.space} that "
                "the table has"
            )
        if self.failed:
            notes.append(
                f"each failed trial has its reason in the user attribute {FAILURE!r}; the last "
                f"one: {self._last_failure()}"
            )
        return notes

    def _front_architectures(self) -> list[Architecture]:
        """The architectures of the front as they were tried: equal functions may share an index."""
        params = {t.number: t.params for t in self.study.get_trials(deepcopy=False)}
        return [self.searched.from_params(params[row["trial"]]) for row in self.pareto]

    def _size(self) -> int:
        """Number of architectures of the space; a huge number if it cannot be listed."""
        from nasplug.search_spaces import FiniteSpace
        from nasplug.studies.evaluation_table import Members

        space = self.searched.space if isinstance(self.searched, Members) else self.searched
        return len(space) if isinstance(space, FiniteSpace) else 1 << 62

    def _last_failure(self) -> str:
        """Reason of the last failed trial, on one line."""
        failed = [trial for trial in self.study.trials if counts_as_failed(trial)]
        reasons = [trial.user_attrs[FAILURE] for trial in failed]
        return " / ".join(str(reasons[-1]).splitlines()) if reasons else "no reason"

    def columns(self) -> list[tuple[str, list[str]]]:
        """Trial, objectives, limited metrics, parameters, and perhaps the test accuracy."""
        names = self._metrics()
        columns = [("trial", [str(row["trial"]) for row in self.pareto])]
        columns += [(_heading(name), [_shown(row, name) for row in self.pareto]) for name in names]
        if "params" not in names:
            columns.append(("params", [f"{row['params'] * 1e-6:.2f}M" for row in self.pareto]))
        tests = [row["measured"]["accuracy"] for row in self.pareto]
        observed = [row["observed"].get("accuracy") for row in self.pareto]
        # A column of its own only if the trials observed another accuracy.
        if self.evaluate == "table" and any(tests) and tests != observed:
            columns.append(("test accuracy", ["" if t is None else f"{t:.2f}" for t in tests]))
        return columns

    def _metrics(self) -> list[str]:
        """Names of the metrics that are shown: those of objectives and limits."""
        limited = [QUANTITIES[constraint.name].key for constraint in self.constraints]
        return list(dict.fromkeys([*(objective.name for objective in self.objectives), *limited]))

    def _legend(self) -> list[str]:
        return []

    def _extent(self) -> str:
        return counted(self.n_trials, "trial")

    def _front_values(self) -> Array:
        values = {t.number: t.values for t in self.study.get_trials(deepcopy=False)}
        front = [values[row["trial"]] for row in self.pareto]
        return np.array(front, np.float64).reshape(len(front), len(self.objectives))

    def _text(self, name: str, row: Mapping[str, Any], k: int) -> str:
        unit = next(objective.unit for objective in self.objectives if objective.name == name)
        return f"{_shown(row, name)}{_unit(unit)}"

    def next_steps(self, command: str | None = None) -> list[str]:
        """Sentences on what a reader may do with the result; commands can be pasted.

        Args:
            command: The command that searches; None for steps in Python.
        """
        more = 2 * max(self.n_trials, 1)
        again = f"the same call with n_trials={more}"
        if command is not None:
            again = with_option(command, "--n-trials", str(more))
        steps = [f"more trials of this study: {again}", *export_steps(self.searched, command)]
        if command is not None and " --report" in command:
            return steps
        if command is None:
            return [*steps, 'a page with the result: result.report("report")']
        return [*steps, f"a page with the result: {with_option(command, '--report', 'report')}"]

    def report(self, folder: str | os.PathLike[str], command: str | None = None) -> list[Path]:
        """Write `report.html`, `trials.png`, `result.json`, and the pictures of `nasplug report`.

        Args:
            folder: Folder for the files; created if it is missing.
            command: The command that writes the report, for the page to show.

        Raises:
            InputError: If the folder cannot be made or written.
        """
        from nasplug.reports.observed_report import write_report

        return write_report(self, folder, command)


def _heading(metric: str) -> str:
    kind = quantity_named(metric)
    # Names without a unit may be the program's own.
    is_known = metric == "accuracy" or (kind is not None and metric not in QUANTITIES)
    return kind.heading if kind is not None and is_known else metric


def _unit(unit: str) -> str:
    """A unit after a number; a count has none."""
    return "" if unit in ("", "count") else f" {unit}"


def _shown(row: Mapping[str, Any], metric: str) -> str:
    """Text of a metric: as observed, or else as predicted, which `~` marks."""
    if metric in row["observed"]:
        return f"{row['observed'][metric]:.{_SHOWN}g}"
    if metric in COSTS:
        return f"{row[metric] * 1e-6:.2f}M"
    if metric in row:
        return f"{row[metric]:.{_SHOWN}g}"
    predicted = row["predicted"].get(metric)
    if predicted is None:
        return ""
    usable = predicted.get("usable", True)
    return f"~{predicted['mean']:.{_SHOWN}g}" if usable else f"~{magnitude(predicted['mean'])}"
