"""Timing of many networks on this machine, as `nasplug measure` does it."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import cached_property
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug._signals import held, stoppable
from nasplug.arguments import checked_count, checked_seed, checked_space
from nasplug.measuring.choice import Networks, networks_of
from nasplug.measuring.machine import OtherWork, checked_threads, machine
from nasplug.measuring.onnx_files import networks_of_files
from nasplug.measuring.record import COLUMNS, Measurement, Record
from nasplug.measuring.runtimes import Runtime, open_runtime
from nasplug.measuring.timing import DISTURBED, Effort, checked_effort, time_network
from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.search_spaces import space as space_named
from nasplug.search_spaces.costs import FLOAT_BYTES
from nasplug.search_spaces.graph import ATTRIBUTES, Graph
from nasplug.search_spaces.lazy import from_extra
from nasplug.text import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MeasurementSet", "measure"]

# Space and text of the network that is timed again and again: convolutions of several kinds, a
# few milliseconds on a desktop, and its weights fit into a cache.
REFERENCE = ("nnlqp:squeezenet", "squeezenet1.1")
# The reference is timed after so many networks, or seconds.
REFERENCE_EVERY = (10, 30.0)
_RETRIES = 3
# Cores of other processes from which a note is printed; a desktop's own processes use fewer.
_OTHER_CORES = 0.2
# Copies of the weights while a model is made, written, read and rearranged by a runtime; and of
# the largest operator's input and output.
_WEIGHT_COPIES = 5
_ACTIVATION_COPIES = 3


@dataclass(frozen=True, eq=False)
class MeasurementSet:
    """Measured networks, and a description of the machine and the settings.

    Attributes:
        rows: One row a network, in the order of measuring; all rows of the CSV.
        description: Machine, runtime, settings, versions, and all timings of the reference.
        path: The CSV that holds the rows, or None if no file was asked for.

    Example:
        >>> import nasplug
        >>> effort = {"runs": 2, "warmup": 1, "min_seconds": 0.01, "max_seconds": 0.1}
        >>> measured = nasplug.measure("macro", archs=["00000000"], **effort)
        >>> bool(measured.table["latency_ms"][0] > 0)
        True
    """

    rows: tuple[Measurement, ...]
    description: dict[str, Any]
    path: Path | None

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows as a table with the columns of the CSV."""
        with from_extra("data"):
            import pandas as pd

        return pd.DataFrame([astuple(row) for row in self.rows], columns=list(COLUMNS))

    def summary(self) -> list[dict[str, Any]]:
        """Summarise each family: number of networks, and the range of their latencies in ms."""
        families: dict[str, list[Measurement]] = {}
        for row in self.rows:
            families.setdefault(row.family, []).append(row)
        return [
            {
                "family": family,
                "networks": len(rows),
                "disturbed": sum(row.disturbed for row in rows),
                "failed": sum(bool(row.error) for row in rows),
                **_range([row.latency_ms for row in rows if not row.error]),
            }
            for family, rows in families.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """The description, `"files"`, and the rows with null for unknown values."""
        files = [] if self.path is None else [str(self.path), str(self.path.with_suffix(".json"))]
        rows = [
            {k: None if isinstance(v, float) and isnan(v) else v for k, v in asdict(row).items()}
            for row in self.rows
        ]
        return {**self.description, "files": files, "rows": rows}


def _range(times: Sequence[float]) -> dict[str, float | None]:
    names = ("fastest_ms", "median_ms", "slowest_ms")
    percentiles = np.percentile(times, (0, 50, 100)).tolist() if times else [None] * len(names)
    return dict(zip(names, percentiles, strict=True))


def measure(
    space: str | SearchSpace = "nnlqp",
    n: int | None = None,
    hardware: str = "local",
    *,
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_values: Mapping[str, Any] | None = None,
    batch_size: int = 1,
    threads: int | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    runs: int = Effort.runs,
    warmup: int = Effort.warmup,
    min_seconds: float = Effort.min_seconds,
    max_seconds: float = Effort.max_seconds,
    archs: Sequence[str | Architecture] | None = None,
    backend: str = "onnxruntime",
    retry_disturbed: bool = True,
    keep_disturbed: bool = False,
    progress: bool | None = None,
) -> MeasurementSet:
    """Time networks on this machine.

    A reference network is timed at the start, regularly in between and at the end. A network is
    marked as disturbed if the reference before or after it was off by more than a tenth of its own
    median, and is timed again at the end.

    Every finished network is in `out` at once. Called again with equal arguments, the function goes
    on with the missing networks; with a larger `n` it adds networks.

    Args:
        space: A space that writes its networks as ONNX models, or its name; the networks of
            `nb201` are those of `nnlqp:nasbench201`.
        n: Number of different networks to draw; equal seeds draw equal networks.
        hardware: `"local"`, `"cpu"` or `"cuda"`; local is a CUDA device with the backend torch if
            there is one, else the processor.
        files: ONNX file or files to time instead of networks of the space. Their inputs are random
            numbers, and 0 where they are whole numbers.
        input_shapes: Shapes of inputs that the files leave open, by name; the name of an only input
            may be empty.
        input_values: Values of inputs by name, instead of random numbers or 0.
        batch_size: Images a forward pass; a file that fixes its first axis is timed as it is.
        threads: Threads within an operator; by default one a physical core.
        seed: Seed of the drawing of networks and of their weights.
        out: A .csv; a .json of the same name is written beside it.
        runs: Smallest number of timed runs a network; see `Effort`.
        warmup: Smallest number of untimed runs before them.
        min_seconds: Smallest sum of the timed runs of a network.
        max_seconds: Sum of the timed runs of a network at which they end.
        archs: Networks to time instead of `n` drawn ones, as texts or architectures of the space.
        backend: `"onnxruntime"` or `"torch"`.
        retry_disturbed: Whether to time disturbed networks again at the end, up to three times and
            with twice the runs and seconds; the timing of the calmest machine counts.
        keep_disturbed: Whether networks that stay disturbed are to be used by `calibrate`; they are
            marked in the column `kept`.
        progress: Whether to draw a progress bar; by default on a terminal only.

    Raises:
        InputError: If an argument is unknown or does not fit, `out` holds measurements of another
            machine or of other settings, or a file is no ONNX model; if there are files and none
            of them runs.
        KeyboardInterrupt: On Ctrl-C, SIGTERM or SIGHUP, with a sentence on how to go on.

    Example:
        >>> import nasplug
        >>> effort = {"runs": 2, "warmup": 1, "min_seconds": 0.01, "max_seconds": 0.1}
        >>> measured = nasplug.measure("macro", archs=["00000000"], **effort)
        >>> len(measured.rows), measured.rows[0].arch
        (1, '00000000')
    """
    checked_seed(seed)
    checked_count(batch_size, "batch size")
    effort = checked_effort(runs, warmup, min_seconds, max_seconds)
    runtime = open_runtime(backend, hardware, checked_threads(threads))
    if files:
        if n is not None or archs is not None:
            raise InputError("give either .onnx files or networks of a space, not both")
        listed = [files] if isinstance(files, (str, os.PathLike)) else files
        networks = networks_of_files(listed, batch_size, input_shapes or {}, input_values)
    else:
        if input_shapes or input_values:
            raise InputError(
                "shapes and values of inputs need an .onnx file; give one, or leave them out"
            )
        networks = networks_of(checked_space(space), n, archs, seed, batch_size)
    choice = "drawn" if archs is None and not files else "given"
    settings = {
        "space": networks.source,
        "networks": choice,
        "seed": seed,
        "batch_size": batch_size,
    }
    if input_shapes:
        settings["input_shapes"] = {name: list(shape) for name, shape in input_shapes.items()}
    if input_values:
        settings["input_values"] = {k: np.asarray(v).tolist() for k, v in input_values.items()}
    description = _description(runtime, {**settings, **asdict(effort)})
    record = Record(None if out is None else Path(out), description)
    campaign = _Campaign(networks, runtime, effort, record, progress)
    with stoppable(campaign.stopped):
        campaign.run(retry_disturbed)
        record.keep(keep_disturbed)
    campaign.conclude()
    if files:
        _check_files([record.rows[arch.arch_id] for arch in networks.archs])
    return MeasurementSet(tuple(record.rows.values()), record.description, record.path)


def _check_files(rows: Sequence[Measurement]) -> None:
    """Print why files could not be timed.

    Raises:
        InputError: If none could be timed.
    """
    reasons = [f"{row.arch} cannot be timed: {row.error}" for row in rows if row.error]
    if len(reasons) == len(rows):
        raise InputError("; ".join(reasons))
    for reason in reasons:
        _say(reason)


def _description(runtime: Runtime, settings: dict[str, Any]) -> dict[str, Any]:
    """Describe a campaign: machine, runtime, settings, versions of packages, reference."""
    return {
        "machine": machine(),
        "runtime": runtime.settings,
        "settings": settings,
        "packages": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("nasplug", "numpy", "onnx")},
        },
        "reference": {"space": REFERENCE[0], "arch": REFERENCE[1], "tolerance": DISTURBED},
    }


@dataclass(eq=False)
class _Campaign:
    """Measuring of the networks of one call of `measure`."""

    networks: Networks
    runtime: Runtime
    effort: Effort
    record: Record
    progress: bool | None
    others: OtherWork = field(default_factory=OtherWork)

    def run(self, retry_disturbed: bool) -> None:
        """Time the missing networks, then, unless told not to, the disturbed ones again."""
        wanted, rows = self.networks.archs, self.record.rows
        missing = [arch for arch in wanted if arch.arch_id not in rows]
        self._announce(len(wanted), len(wanted) - len(missing))
        with self.runtime.session():
            self._time_all(missing, "networks")
            self.effort = self.effort.doubled()
            for _ in range(_RETRIES if retry_disturbed else 0):
                again = [arch for arch in wanted if rows[arch.arch_id].disturbed]
                if not again:
                    break
                earlier = {arch.arch_id: rows[arch.arch_id] for arch in again}
                self._time_all(again, "disturbed again")
                with held():
                    self.record.keep_calmest(earlier)

    def _announce(self, total: int, measured_before: int) -> None:
        about = {**self.record.description["machine"], **self.runtime.settings}
        device = (
            about.get("gpu") or f"{about['processor']} with {counted(about['threads'], 'thread')}"
        )
        before_text = f"; {measured_before} of them are measured already" if measured_before else ""
        if self.record.repaired:
            before_text += (
                "; the last line of the file is incomplete, so its network is measured again"
            )
        _say(
            f"timing {counted(total, 'network')} of {self.networks.source} by {about['backend']} "
            f"{about['version']} on {device}{before_text}"
        )

    def _time_all(self, archs: Sequence[Architecture], title: str) -> None:
        """Time networks, with the reference before, between and after them."""
        from tqdm import tqdm

        # None leaves the bar out where stderr is no terminal.
        disable = None if self.progress is None else not self.progress
        every_networks, every_seconds = REFERENCE_EVERY
        networks_since, last_time = 0, time.monotonic()
        if archs:
            self._time_reference()
        for k, arch in enumerate(tqdm(archs, title, unit="", disable=disable), start=1):
            row = self._time(arch)
            with held():
                self.record.add(row)
            networks_since += 1
            if (
                networks_since >= every_networks
                or time.monotonic() - last_time >= every_seconds
                or k == len(archs)
            ):
                self._time_reference()
                networks_since, last_time = 0, time.monotonic()

    def _time_reference(self) -> None:
        space: Any = space_named(REFERENCE[0])
        model = space.to_onnx(space.parse(REFERENCE[1]), 0, 1)
        timing = time_network(self.runtime.load(model), self.effort)
        with held():
            self.record.add_reference(timing.latency_ms, self.others.cores())

    def _time(self, arch: Architecture) -> Measurement:
        began = time.perf_counter()
        family, batch_size = self.networks.family_of(arch), self.networks.batch_size(arch)
        row = Measurement(arch.text, arch.arch_id, family, batch_size)
        try:
            graph = self.networks.graph(arch)
            if graph is not None:
                row.params, row.flops = int(graph.total("params")), int(graph.total("flops"))
                self._check_memory(graph, batch_size)
            model = self.networks.write(arch)
            timing = time_network(self.runtime.load(model), self.effort)
            for name, value in asdict(timing).items():
                # Rounded as in the file, so that a table is equal before and after it is read.
                setattr(row, name, float(f"{value:.6g}") if isinstance(value, float) else value)
        except Exception as error:  # the other networks are timed, whatever happens to one
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            row.error = " ".join(f"{kind}{error}".split())
        row.seconds = round(time.perf_counter() - began, 3)
        return row

    def _check_memory(self, graph: Graph, batch_size: int) -> None:
        params = graph.attributes[:, ATTRIBUTES.index("params")] * FLOAT_BYTES
        activations = graph.attributes[:, ATTRIBUTES.index("bytes")] - params
        needed = _WEIGHT_COPIES * params.sum() + _ACTIVATION_COPIES * batch_size * activations.max()
        free = self.runtime.free_memory()
        if needed > free:
            raise InputError(
                f"weights and activations need up to {needed / 1e9:.1f} GB of memory, and "
                f"{free / 1e9:.1f} GB are free"
            )

    def stopped(self) -> str:
        """Sentence to print on Ctrl-C: the networks that are kept, and the way to go on."""
        wanted = self.networks.archs
        done = sum(arch.arch_id in self.record.rows for arch in wanted)
        if self.record.path is None:
            return "stopped; the measurements are lost, because no output file was given"
        networks = counted(len(wanted), "network")
        return (
            f"stopped; {self.record.path} has {done} of {networks}, and the same command "
            "continues from there"
        )

    def conclude(self) -> None:
        """Print on stderr how many networks were measured, and how far they can be relied on."""
        rows = self.record.rows.values()
        disturbed, failed = sum(r.disturbed for r in rows), sum(bool(r.error) for r in rows)
        times = [timing["latency_ms"] for timing in self.record.timings]
        where_text = "measured" if self.record.path is None else f"in {self.record.path}"
        _say(
            f"{counted(len(rows), 'network')} {where_text}: {disturbed} disturbed, {failed} "
            f"failed; the reference network took {np.median(times):.3g} ms ({min(times):.3g} to "
            f"{max(times):.3g} ms)"
        )
        busy = float(np.mean([timing["other_cores"] for timing in self.record.timings]))
        if busy > _OTHER_CORES:
            # The reference shows changes of load only, not a load that lasts from beginning to end.
            _say(
                f"other processes used {busy:.1f} cores on average; on an idle machine the times "
                "would be shorter"
            )
        if disturbed:
            self._say_disturbed([row for row in rows if row.disturbed])

    def _say_disturbed(self, rows: Sequence[Measurement]) -> None:
        """Print how disturbed rows are, and what becomes of them."""
        shares = [row.deviation for row in rows if not isnan(row.deviation)]
        how_text = (
            f"around them the reference network was up to {max(shares):.0%} off its median"
            if shares
            else "the reference network was not timed after them"
        )
        use_text = (
            "calibrate uses them, as the column kept says"
            if all(row.kept for row in rows)
            else "calibrate leaves them out; run the same command to time them again, or add "
            "--keep-disturbed to use them as they are"
        )
        _say(f"{counted(len(rows), 'network')} disturbed: {how_text}; {use_text}")


def _say(sentence: str) -> None:
    print(f"nasplug: {sentence}", file=sys.stderr)
