"""What a search found: as an object, as JSON, as a table, as a report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasplug.candidates import Candidates, Objective
from nasplug.constraints import Constraint
from nasplug.predictors.hardware import Hardware

if TYPE_CHECKING:
    from optuna.study import Study
    from rich.console import Console
    from rich.table import Table

__all__ = ["SearchResult"]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The result of `search`.

    Attributes:
        space: Name of the space.
        hardware: The device, or None.
        dataset: The image set of the accuracy.
        batch_size: Images a forward pass, for the latency.
        seed: The seed.
        n_trials: Trials that count.
        objectives: What was optimised.
        constraints: The limits.
        predictor: `"name"` and `"sha256"` of the predictors, joined by `+` if there are two.
        pareto: The non-dominated feasible architectures by predicted mean, one a canonical id, the
            fastest first; dictionaries of the JSON form.
        trials: Cells of all trials that count, in order; indices into `candidates.cells`.
        seconds: `"total"`, `"predict"` and `"sample"`.
        study: The Optuna study.
        zero_shot: Whether the device has no measurements, so that its latency is predicted from its
            specification alone.
        candidates: The scored space.
    """

    space: str
    hardware: Hardware | None
    dataset: str
    batch_size: int
    seed: int | None
    n_trials: int
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    predictor: Mapping[str, str]
    pareto: list[dict[str, Any]]
    trials: tuple[int, ...] = field(repr=False)
    seconds: Mapping[str, float]
    study: Study = field(repr=False)
    zero_shot: bool
    candidates: Candidates = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The result as a dictionary for `json.dumps`; equal runs differ in `seconds` alone."""
        return {
            "space": self.space,
            "hardware": self.hardware.name if self.hardware else None,
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
            "pareto": self.pareto,
            "seconds": dict(self.seconds),
        }

    def heading(self) -> str:
        """One line that says what was searched."""
        device = f" on {self.hardware.name}, batch {self.batch_size}" if self.hardware else ""
        limits = "".join(f", {c} (probability {c.probability:g})" for c in self.constraints)
        return f"{self.space}, {self.dataset}{device}{limits}: {self.n_trials} trials"

    @property
    def input_side(self) -> int:
        """Side of the input images of the data set, in pixels."""
        return self._side(self.dataset)

    @property
    def latency_side(self) -> int:
        """Side of the input images of the network that the latency is predicted for, in pixels."""
        return self._side(None)

    def _side(self, dataset: str | None) -> int:
        space = self.candidates.space
        graph = space.to_graph(self.candidates.cells[0], dataset)
        return int(graph.attribute("height")[0])

    def notes(self) -> list[str]:
        """What a reader must know of the numbers, a sentence each."""
        notes = []
        if self.hardware is None:
            notes.append("no hardware given: accuracy against FLOPs, no latency")
        elif self.zero_shot:
            notes.append(
                f"zero-shot: {self.hardware.name} has no measurements at batch {self.batch_size}; "
                "latency is predicted from its specification and the intervals are as wide as "
                "leaving one device out showed"
            )
        if self.hardware is not None and self.input_side != self.latency_side:
            notes.append(
                f"latency is that of the network with {self.latency_side} pixel input, on which "
                f"devices were measured; {self.dataset} has {self.input_side} pixel input"
            )
        return notes

    def table(self) -> Table:
        """The numbers of the front as a table for rich, a numbered row an architecture."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
        latency = self.hardware is not None
        # Without the benchmark's tables, or for a device not in them, a column would be empty.
        known = {
            name: any(row["measured"][name] is not None for row in self.pareto)
            for name in ("accuracy", "latency_ms")
        }
        names = ["#", "accuracy %", "measured" if known["accuracy"] else ""]
        names += ["latency ms" if latency else "MFLOPs"]
        names += ["measured" if known["latency_ms"] else "", "params"]
        for name in filter(None, names):
            table.add_column(name, justify="right", no_wrap=True)
        for number, row in enumerate(self.pareto, start=1):
            predicted, measured = row["predicted"], row["measured"]
            cells = [str(number), *_shown(predicted["accuracy"], measured["accuracy"], 2)]
            if latency:
                cells += _shown(predicted["latency_ms"], measured["latency_ms"], 3)
            else:
                cells += [f"{self._flops(row['arch']) / 1e6:.1f}", ""]
            cells.append(f"{row['params'] / 1e6:.2f}M")
            table.add_row(*(c for c, name in zip(cells, names, strict=True) if name))
        return table

    def _flops(self, arch: str) -> float:
        space = self.candidates.space
        cell = space.index(space.parse(arch))
        return float(self.candidates.quantities["flops"].mean[cell])

    def to_text(self, width: int = 120) -> str:
        """The table as plain text.

        Args:
            width: Columns to fold at.
        """
        from io import StringIO

        from rich.console import Console

        stream = StringIO()
        self.show(Console(file=stream, width=width, color_system=None, legacy_windows=False))
        return stream.getvalue()

    def show(self, console: Console) -> None:
        """Print heading, table, architectures and notes to a rich console."""
        console.print(self.heading(), soft_wrap=True, markup=False, highlight=False)
        console.print(self.table())
        # An architecture is as long as a terminal is wide: on its own line it can be copied.
        lines = [f"{number:>3}  {row['arch']}" for number, row in enumerate(self.pareto, start=1)]
        interval = f"in brackets: {self.candidates.interval:.0%} intervals"
        for line in (*lines, "", interval, *self.notes()):
            console.print(line, soft_wrap=True, markup=False, highlight=False)

    def report(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `pareto.png`, `pareto.html` and `result.json` into a folder.

        Raises:
            InputError: If the folder cannot be made or written.
        """
        from nasplug.report import write_report

        return write_report(self, folder)


def _shown(predicted: Mapping[str, float], measured: float | None, digits: int) -> list[str]:
    interval = f"({predicted['lower']:.{digits}f}–{predicted['upper']:.{digits}f})"
    truth = "" if measured is None else f"{measured:.{digits}f}"
    return [f"{predicted['mean']:.{digits}f} {interval}", truth]
