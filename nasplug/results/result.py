"""Result of a search: its data, and these as JSON, table, notes, report and ONNX files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.arrays import Array
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.constraints import Constraint
from nasplug.choices import Choice, choices, telling_rows
from nasplug.objectives import MFLOPS, PROXIES, Objective
from nasplug.pareto import hypervolume_of
from nasplug.predicting.intervals import DIGITS, interval_of, is_usable, shown
from nasplug.predicting.measured_accuracy import HasAccuracies
from nasplug.predicting.notes import limit_note, narrowing
from nasplug.predicting.structure_accuracy import NAME, STRUCTURE_NOTE
from nasplug.predictors.features.runtimes import way_name
from nasplug.predictors.hardware import Hardware
from nasplug.quantities import QUANTITIES, on_device, without_device
from nasplug.results.lines import ROWS, choice_lines, table_lines
from nasplug.results.scored import Facts, Scored
from nasplug.results.steps import calibration_step, export_steps, training_step
from nasplug.search_spaces import Architecture, SearchSpace, names
from nasplug.text import counted

if TYPE_CHECKING:
    from optuna.study import Study
    from rich.console import Console

__all__ = ["DIGITS", "SearchResult", "predicted_ends"]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Result of `search`.

    Attributes:
        space: Name of the space.
        hardware: Device of the latency, the first one of several; or None.
        dataset: Image set of the accuracy.
        batch_size: Images a forward pass, for the latency.
        seed: Seed of the search.
        n_trials: Number of trials that count.
        objectives: Quantities that were optimised.
        constraints: Limits on quantities.
        predictor: `"name"` and `"sha256"` of the predictors, joined by `+` if there are two; None
            without any.
        pareto: The non-dominated feasible architectures by predicted mean, one a canonical id, the
            fastest first; dictionaries of the JSON form.
        seconds: `"total"`, `"predict"` and `"sample"`.
        study: The Optuna study.
        searched: The space, or the part of it that a table has.
        facts: Facts on the candidates.
        score: Gives the candidates, which a finished study does not need; see `candidates`.
        runtime: Runtime of the networks, for the latency; None for the predictor's usual one.
        measured_so: Devices that were measured in this runtime.
        alike: Other runtimes that get the same predictions.
        missing: Points of the predicted front that no trial has.
        call: The call of `search` in Python; empty if it is not known.

    Example:
        >>> import nasplug
        >>> result = nasplug.search("nb201", n_trials=5, storage="memory")
        >>> [objective.name for objective in result.objectives]
        ['accuracy', 'flops']
        >>> len(result.pareto) <= 5
        True
    """

    space: str
    hardware: Hardware | None
    dataset: str
    batch_size: int
    seed: int | None
    n_trials: int
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    predictor: Mapping[str, str | None]
    pareto: list[dict[str, Any]]
    seconds: Mapping[str, float]
    study: Study = field(repr=False)
    searched: SearchSpace = field(repr=False)
    facts: Facts = field(repr=False)
    score: Callable[[], Scored] = field(repr=False)
    runtime: str | None = None
    measured_so: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    missing: int = 0
    call: str = ""
    others: tuple[Hardware, ...] = ()

    @cached_property
    def _scored(self) -> Scored:
        return self.score()

    @property
    def candidates(self) -> Candidates:
        """Architectures that were scored before the trials.

        A study that had ended before this call scores them when they are first read, in seconds.
        """
        return self._scored.candidates

    @property
    def trials(self) -> tuple[int, ...]:
        """Indices into `candidates.architectures` of all trials that count, in order."""
        return self._scored.trials

    @property
    def front(self) -> tuple[int, ...]:
        """Indices into `candidates.architectures` of `pareto`, in its order."""
        return self._scored.front

    @property
    def devices(self) -> tuple[Hardware, ...]:
        """All devices of the search."""
        return () if self.hardware is None else (self.hardware, *self.others)

    @property
    def evidence(self) -> str | None:
        """Source of the predicted latency, as in `Prediction`; None without hardware."""
        return self.facts.evidence

    @property
    def zero_shot(self) -> bool:
        """Whether the latency is predicted from the device's specification alone."""
        return self.evidence == "zero-shot"

    @property
    def proxy(self) -> str | None:
        """Count that stands for quality if no accuracy is known, `"flops"` or `"params"`."""
        return next((o.name for o in self.objectives if o in PROXIES.values()), None)

    @property
    def quality(self) -> str | None:
        """Sentence on a proxy, or on an accuracy that rests on other networks; None otherwise."""
        if self.proxy is None:
            return STRUCTURE_NOTE if NAME in str(self.predictor["name"]).split("+") else None
        word = QUANTITIES[self.proxy].words
        return f"quality is a proxy: {word} (no {self.searched.quality} predictor for this space)"

    @property
    def accuracy_source(self) -> str | None:
        """Source of measured accuracies, in a space of trained networks; None where predicted."""
        space = self.searched
        return space.accuracy_source if isinstance(space, HasAccuracies) else None

    def to_json(self) -> dict[str, Any]:
        """The result as a dictionary for `json.dumps`; equal runs differ in `seconds` alone."""
        quality = {} if self.quality is None else {"quality": self.quality}
        return {
            "space": self.space,
            "hardware": self.hardware.name if self.hardware else None,
            **({"devices": [device.name for device in self.devices]} if self.others else {}),
            "seed": self.seed,
            "n_trials": self.n_trials,
            "objectives": [
                {"name": o.name, "direction": o.direction, "unit": o.unit} for o in self.objectives
            ],
            "constraints": [
                {"name": c.name, "bound": c.bound, "unit": c.unit, "probability": c.probability}
                for c in self.constraints
            ],
            "predictor": dict(self.predictor),
            **quality,
            "latency": self.facts.latency,
            **self.facts.latency_on,
            "pareto": self.pareto,
            "hypervolume": hypervolume_of(
                [objective.name for objective in self.objectives],
                self._front_values(),
                np.array([objective.sign for objective in self.objectives]),
            ),
            "seconds": dict(self.seconds),
        }

    def heading(self) -> str:
        """One line with the search's space, image set, device, constraints and extent."""
        names = " and ".join(device.name for device in self.devices)
        device = f" on {names}, batch {self.batch_size}" if names else ""
        device += f", {way_name(self.runtime)}" if self.runtime else ""
        limits = "".join(
            f", {c.shown}" + f" (probability {c.probability:g})" * QUANTITIES[c.name].is_risky
            for c in self.constraints
        )
        quality = "" if self.quality is None else f"; {self.quality}"
        return f"{self.space}, {self.dataset}{device}{limits}: {self._extent()}{quality}"

    def _extent(self) -> str:
        """Words on the share of the predicted front that was tried."""
        trials, size = counted(self.n_trials, "trial"), self.facts.size
        if self.missing:
            front = self.n_trials + self.missing
            return f"{trials}; --n-trials {front} gives the whole predicted front"
        if self.facts.whole:
            return f"the predicted front of all {size:,} architectures"
        return f"the predicted front of a pool of {size:,} networks"

    @property
    def input_side(self) -> int:
        """Side of the input images of the data set, in pixels."""
        return self.facts.input_side

    @property
    def latency_side(self) -> int:
        """Side of the input images of the network that the latency is predicted for, in pixels."""
        return self.facts.latency_side

    def notes(self, brief: bool = False) -> list[str]:
        """Notes on the meaning of the numbers, each a sentence.

        Args:
            brief: Whether one sentence on the evidence of the latencies is enough, as where an
                axis says that only their order of magnitude is known.
        """
        notes = []
        if self.quality is not None:
            notes.append(f"{self.quality}; the search maximizes it within the limits")
        if not self.facts.whole:
            notes.append(
                f"the search scored {self.facts.size:,} networks, not the whole space: random "
                "ones, then mutations of the best; better ones may exist"
            )
        notes += self.facts.notes
        if self.accuracy_source is not None:
            notes.append(f"accuracies are measured, not predicted: {self.accuracy_source}")
        unfamiliar = sum(not row.get("familiar", True) for row in self.pareto)
        if unfamiliar:
            notes.append(
                f"{unfamiliar} of the {len(self.pareto)} architectures are unlike those in the "
                "training data: their accuracies are extrapolations, with wider intervals"
            )
        names = [QUANTITIES[o.name].words for o in self.objectives]
        if self.hardware is None and [o.name for o in self.objectives][1:] in (
            ["flops"],
            ["params"],
        ):
            notes.append(f"no device was given, so the objectives are {' and '.join(names)}")
        notes += self.facts.latency_notes[: 1 if brief else None]
        notes += [] if brief else self._wide()
        if self.hardware is not None and self.input_side != self.latency_side:
            notes.append(
                f"latencies are for inputs of {self.latency_side} pixels, which were measured; "
                f"{self.dataset} has {self.input_side} pixels"
            )
        return notes

    def _wide(self) -> list[str]:
        """Note on latencies with unusably wide intervals, if the front has any."""
        notes, limits = [], []
        for device in self.devices:
            latency = on_device("latency", device.name) if self.others else "latency"
            ends = [row["predicted"].get(QUANTITIES[latency].key) for row in self.pareto]
            if all(interval is None or interval["usable"] for interval in ends):
                continue
            facts = self.facts.latency_on.get(latency) or {}
            kind = facts.get("evidence", self.evidence)
            learned = facts.get("learned", self.facts.learned)
            assert kind is not None
            sentence = narrowing(kind, device.name, "these networks", self.space, learned)
            notes.append(
                f"{sentence}; the order of the latencies is far more certain than their size"
            )
            limits += [limit.shown for limit in self.constraints if limit.name == latency]
        return notes + ([limit_note(limits)] if limits else [])

    def columns(self) -> list[tuple[str, list[str]]]:
        """Heading of each column of the front's table, and its cells in the order of `pareto`.

        Objectives come first, then the quantities that are bounded, and others that rows have.
        """
        names = [o.name for o in self.objectives] + [c.name for c in self.constraints]
        others = [n for n in ("throughput", "memory", "size") if self._has(n)]
        return [
            c for name in dict.fromkeys([*names, *others, "params"]) for c in self._columns(name)
        ]

    def _has(self, name: str) -> bool:
        """Whether the rows of the front have a quantity."""
        key = QUANTITIES[name].key
        return bool(self.pareto) and key in (self.pareto[0] | self.pareto[0]["predicted"])

    def _columns(self, name: str) -> list[tuple[str, list[str]]]:
        """Heading and cells of a quantity's column, and of its measured values if there are any."""
        kind = QUANTITIES[name]
        if not kind.is_risky:
            proxy = " (proxy)" if name == self.proxy else ""
            return [(f"{kind.heading}{proxy}", [kind.cell(v) for v in self._counts(name)])]
        key, heading, digits = kind.key, kind.heading, kind.digits
        if name == "accuracy" and self.accuracy_source is not None:
            return [(heading, [f"{row['measured'][key]:.{digits}f}" for row in self.pareto])]
        shown = [_interval(row["predicted"][key], digits, name) for row in self.pareto]
        columns = [(heading, shown)]
        truths = [row["measured"].get(key) for row in self.pareto]
        # Without the benchmark's tables, or for a device not in them, a column would be empty.
        if any(truth is not None for truth in truths):
            cells = ["" if truth is None else f"{truth:.{digits}f}" for truth in truths]
            columns.append(("measured", cells))
        return columns

    def _front_architectures(self) -> list[Architecture]:
        """The architectures of the front, in the order of `pareto`."""
        return [self.searched.parse(row["arch"]) for row in self.pareto]

    def to_text(self, width: int = 120, every: bool = False) -> str:
        """The text that `show` prints.

        Args:
            width: Characters in a line; an architecture may be longer.
            every: Whether all rows of the front are shown, and not twelve at most.
        """
        from io import StringIO

        from rich.console import Console

        stream = StringIO()
        console = Console(file=stream, width=width, color_system=None, legacy_windows=False)
        self.show(console, every)
        return stream.getvalue()

    def show(self, console: Console, every: bool = False, command: str | None = None) -> None:
        """Print heading, choices, the front as a table, notes and next steps to a rich console.

        Args:
            console: Where to print; an architecture stands beside its numbers if the line has room
                for it, and else below them.
            every: Whether all rows of the front are shown, and not twelve at most.
            command: The command that searches, for the next steps.
        """
        choices, count = self.choices(), len(self.pareto) if every else ROWS
        shown = telling_rows(
            self._front_values(), self.objectives, {choice.row for choice in choices}, count
        )
        archs = [row["arch"] for row in self.pareto]
        lines = [self.heading(), "", *choice_lines(choices, archs)]
        lines += table_lines(self.columns(), archs, shown, console.width)
        if len(shown) < len(archs):
            lines.append(f"{len(shown)} of {len(archs)} rows; --all shows all rows")
        steps = ["next steps:", *(f"  {step}" for step in self.next_steps(command))]
        for line in (*lines, "", *self._legend(), *self.notes(), "", *steps):
            console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _legend(self) -> list[str]:
        """Sentences on how the cells of the table are written."""
        names = {objective.name for objective in self.objectives}
        interval = f"numbers in brackets are {self.facts.interval:.0%} intervals"
        names |= {constraint.name for constraint in self.constraints}
        memory = f"memory: {QUANTITIES['memory'].about}, computed from the graph"
        legend = [MFLOPS] * ("flops" in names) + [memory] * self._has("memory")
        is_risky = any(QUANTITIES[name].is_risky for name in names)
        return legend + [interval] * is_risky

    def next_steps(self, command: str | None = None) -> list[str]:
        """Sentences on what a reader may do with the result; commands can be pasted.

        Args:
            command: The command that searches; None for steps in Python.
        """
        steps = []
        # A space of one's own has no name that another process could open.
        is_installed = self.space.partition(":")[0] in names()
        if is_installed and self.hardware is not None and self._is_narrowed_by_measurements:
            steps.append(calibration_step(self.space))
        steps += export_steps(self.searched, command)
        if self.call:
            steps.append(f"in Python: {self.call}")
        if self.accuracy_source is not None and self.pareto:
            name = self.pareto[-1]["arch"].partition("@")[0]
            steps.insert(0, f"timm.create_model({name!r}, pretrained=True) loads a trained network")
        elif command is not None:
            steps.append(training_step(command, self.searched.quality))
        return steps

    @property
    def _is_narrowed_by_measurements(self) -> bool:
        """Whether the intervals of the latencies are not those of measured networks."""
        if self.evidence != "measured":
            return self.evidence == "zero-shot"
        return bool(self.facts.learned) or not all(self.facts.familiar)

    def choices(self) -> list[Choice]:
        """Up to three rows of the front that a reader may take; see `nasplug.choices`.

        They are the fastest within 1 % of the best, a compromise, and the most accurate within the
        limits. `Choice.row` is a position in `pareto`.
        """
        texts = [
            [self._text(objective.name, row, k) for objective in self.objectives]
            for k, row in enumerate(self.pareto)
        ]
        limits = [c.shown for c in self.constraints]
        return choices(self._front_values(), self.objectives, texts, limits)

    def _front_values(self) -> Array:
        """Values of the objectives of the rows of `pareto`, `(rows, objectives)`."""
        values = np.array(self.facts.values, np.float64)
        return values.reshape(len(self.pareto), len(self.objectives))

    def _counts(self, name: str) -> Array:
        """A counted quantity of the rows of `pareto`, `(rows,)`."""
        names = [objective.name for objective in self.objectives]
        if name in names:
            return np.asarray(self._front_values()[:, names.index(name)])
        return np.array([row[QUANTITIES[name].key] for row in self.pareto], np.float64)

    def _text(self, name: str, row: Mapping[str, Any], k: int) -> str:
        """Value of an objective in the front's k-th row, with its unit."""
        kind = QUANTITIES[name]
        if not kind.is_risky:
            return kind.text(self._counts(name)[k])
        ends = row["predicted"][kind.key]
        if without_device(name) in ("latency", "throughput"):
            mean = shown(ends, f".{kind.digits}f")["mean"]
            is_number = ends.get("usable", is_usable(ends["lower"], ends["upper"]))
            return f"{mean}{kind.text_unit}" if is_number else f"{mean} of{kind.text_unit}"
        return kind.text(ends["mean"])

    def report(self, folder: str | os.PathLike[str], command: str | None = None) -> list[Path]:
        """Write `report.html`, `pareto.png`, `result.json` and `progress.png` into a folder.

        The page needs no network. The last picture is left out if no trial meets the limits.

        Args:
            folder: Folder for the files; created if it is missing.
            command: The command that writes the report, for the page to show.

        Raises:
            InputError: If the folder cannot be created or written.
        """
        from nasplug.reports.search_report import write_report

        return write_report(self, folder, command)

    def export(
        self, folder: str | os.PathLike[str], seed: int = 0, code: bool = False
    ) -> list[Path]:
        """Write each network of the front as an ONNX file with random weights, and `index.json`.

        The files are `<rank>-<arch_id>.onnx`, for the image set and the batch size of the search.
        The index has architecture, predictions and SHA-256 of each file. A NAS-Bench-201 cell is
        written as the benchmark's network of fifteen cells.

        With `code`, the file `<arch_id>.py` of each network defines it as a PyTorch module that can
        be trained, and `train.py` trains one. A `train.py` that is there stays as it is.

        Args:
            folder: Folder for the files; created if it is missing.
            seed: Seed of the weights.
            code: Whether to write the code of the networks, too.

        Returns:
            Paths of the ONNX files, then of the index, then of the code.

        Raises:
            InputError: If the space does not write networks or code, a file of the code's name is
                there with other content, or the folder cannot be written or has too little room.
        """
        from nasplug.results.export import export

        about = {
            "space": self.space,
            "dataset": self.dataset,
            "hardware": self.hardware.name if self.hardware else None,
            "batch_size": self.batch_size,
        }
        archs = self._front_architectures()
        return export(self.searched, archs, self.pareto, about, folder, seed, code)


def _interval(predicted: Mapping[str, float], digits: int, name: str) -> str:
    form = f".{digits}f"
    texts = {end: f"{value:{form}}" for end, value in predicted.items()}
    is_timed = without_device(name) in ("latency", "throughput")
    ends = shown(predicted, form) if is_timed else texts
    return f"{ends['mean']} ({ends['lower']}–{ends['upper']})"


def predicted_ends(candidates: Candidates, name: str, index: int) -> dict[str, Any] | None:
    """Mean and ends of a predicted quantity of one candidate; None if it is not predicted."""
    quantity = candidates.quantities.get(name)
    if quantity is None:
        return None
    ends = [float(end[index]) for end in (quantity.mean, quantity.lower, quantity.upper)]
    return interval_of(ends, QUANTITIES[name].unit)
