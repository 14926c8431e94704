"""Predicted latency of one network, with its evidence and the parts of its operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nasplug.predicting.energy import energy_gap, energy_json, energy_note, energy_text
from nasplug.predicting.evidence import LatencyEvidence
from nasplug.predicting.intervals import DIGITS, interval_of, is_usable, magnitude
from nasplug.predicting.intervals import shown as shown_ends
from nasplug.predicting.memory import Memory, file_megabytes, memory_of
from nasplug.predicting.notes import narrowing
from nasplug.predicting.own_network import batch_note, held_precision, precision_note, unknown_note
from nasplug.predictors.features.runtimes import EAGER, parse_way
from nasplug.quantities import QUANTITIES, images_per_second
from nasplug.search_spaces import Graph
from nasplug.text import number_text

if TYPE_CHECKING:
    from nasplug.measurements.nearest import NearMeasurement
    from nasplug.predictors.hardware import Hardware
    from nasplug.predictors.prediction import Prediction

__all__ = ["EXPLAINED", "NetworkPrediction", "OperatorTime"]

# Number of operators that are shown.
EXPLAINED = 12


@dataclass(frozen=True)
class OperatorTime:
    """Part of one operator in a predicted latency.

    Attributes:
        node: Position of the operator in the graph.
        operator: Kind of the operator, such as `"Conv depthwise"`.
        output: Channels × height × width of the output.
        kernel: Side of the window in pixels, 0 without one.
        latency_ms: Part of the latency, in ms.
        share: `latency_ms` divided by the network's predicted latency.
        bound: The operator's limit by the roofline: `"compute"`, `"memory"`, or `"launch"` where
            the time is mostly that of starting it; `""` for one that is computed together with
            another operator.
        mflops: Multiply-accumulates for one image, in millions.
    """

    node: int
    operator: str
    output: str
    kernel: int
    latency_ms: float
    share: float
    bound: str
    mflops: float


@dataclass(frozen=True, eq=False)
class NetworkPrediction:
    """Predicted latency of one network, in ms a forward pass of the batch.

    Attributes:
        mean: Central prediction (the median).
        lower: Lower end of the 90 % interval.
        upper: Upper end of the 90 % interval.
        hardware: The device.
        batch_size: Images a forward pass.
        batch_fixed: Whether the batch can be no other one. If so, the graph and its FLOPs are those
            of the whole.
        unknown_operators: Operators that are not modelled, with their share of the network's bytes.
        evidence: Evidence of the device's latencies: `"measured"`, `"few-shot"` or `"zero-shot"`.
            It is `"measured"`, too, where `learned` is above 0.
        familiar: Whether the network is like the measured ones; on a calibrated device, like those
            of its profile.
        setting: Way that the network is assumed to run in, such as `"tensorrt fp16"`.
        measured_so: Devices that were measured in this setting, at whatever batch size.
        alike: Other settings that get the same prediction, as no measurement tells them apart.
        graph: Graph of the network.
        operators: Parts of the latency, the longest first.
        rest_ms: Time that belongs to no operator.
        held: Images that the file or the example holds.
        source: Holder of those images: `"the file"` or `"the example"`.
        measurements: Published measurements that are nearest to the network in this setting, the
            nearest first; see `nasplug.measured`.
        rests_on: Errors that the interval reflects, in words.
        learned: Networks measured on this device in this setting, at any batch size, that the model
            of the device's class learned from; 0 where the latency is not that model's.
        energy: Predicted energy in J; None where it is not known.

    Example:
        >>> import nasplug
        >>> space = nasplug.space("macro")
        >>> network = space.to_network(space.parse("22222222"))
        >>> latency = nasplug.predict(network, hardware="RTX 3090")
        >>> len(latency.operators) <= len(network), latency.evidence
        (True, 'zero-shot')
    """

    mean: float
    lower: float
    upper: float
    hardware: Hardware
    batch_size: int
    evidence: str
    familiar: bool
    setting: str
    measured_so: tuple[str, ...]
    alike: tuple[str, ...]
    graph: Graph = field(repr=False)
    operators: tuple[OperatorTime, ...] = field(repr=False)
    rest_ms: float
    batch_fixed: bool = False
    unknown_operators: dict[str, float] = field(default_factory=dict)
    held: int = 1
    source: str = "the file"
    measurements: tuple[NearMeasurement, ...] = ()
    rests_on: str = ""
    learned: int = 0
    energy: Prediction | None = field(default=None, repr=False)

    @property
    def images_per_second(self) -> float:
        """Throughput: images of the batch divided by the latency; a fixed batch is one input."""
        return images_per_second(self.mean, 1 if self.batch_fixed else self.batch_size)

    @property
    def memory(self) -> Memory:
        """Memory of the forward pass in this setting: weights, and the peak of activations."""
        images = 1 if self.batch_fixed else self.batch_size
        return memory_of(self.graph, images, parse_way(self.setting))

    @property
    def size_mb(self) -> float:
        """Size of a file of the parameters in this setting's precision, in MB."""
        return file_megabytes(self.graph.total("params"), parse_way(self.setting))

    @property
    def usable(self) -> bool:
        """Whether the interval is narrow enough for the numbers to mean something."""
        return is_usable(self.lower, self.upper)

    def notes(self) -> list[str]:
        """Sentences that a reader of the numbers needs: evidence, likeness, width of interval."""
        priced = 1 if self.batch_fixed else self.batch_size
        name = self.hardware.name
        notes = LatencyEvidence(
            self.evidence,
            name,
            priced,
            self.setting,
            self.learned,
            (self.familiar,),
            self.rests_on if self.familiar else "",
            "" if self.familiar else self.rests_on,
            self.measurements,
            self.measured_so,
            self.alike,
        ).notes()
        about_network = (
            batch_note(self.held, self.batch_size, not self.batch_fixed, self.source),
            None
            if self.evidence == "few-shot"
            else precision_note(held_precision(self.graph), self.hardware, parse_way(self.setting)),
            unknown_note(self.unknown_operators),
        )
        notes += [note for note in about_network if note]
        if self.energy is not None:
            notes.append(energy_note(self.energy.evidence, self.hardware))
        elif gap := energy_gap(self.hardware):
            notes.append(gap)
        if not self.usable:
            notes.append(narrowing(self.evidence, name, "this network", learned=self.learned))
        return notes

    def table(self) -> list[dict[str, str]]:
        """Row of the prediction for a table."""
        batch = f"batch {self.batch_size}"
        if self.batch_fixed:
            size = self.batch_size
            batch = f"first axis fixed to {size}" if size > 1 else "one sample"
        name = f"latency on {self.hardware.name}, {batch}, ms"
        ends = shown_ends({**vars(self), "usable": self.usable}, ".4g")
        costs = {
            "images/s": number_text(self.images_per_second) if self.usable else "",
            "memory MB": QUANTITIES["memory"].cell(self.memory.total),
            "MFLOPs": f"{self.graph.total('flops') / 1e6:,.1f}",
            "params": QUANTITIES["params"].cell(self.graph.total("params")),
            "operators": str(len(self.graph)),
        }
        joules = energy_json(self.energy)
        if joules is not None:
            costs["energy J"] = energy_text(joules)
        return [{"predicted": name, **ends, **costs}]

    def operator_rows(self, count: int = EXPLAINED) -> list[dict[str, Any]]:
        """Rows of the longest operators and of the others, for a table; equal operators share a
        row.

        Operators that take no time, such as a reshape, are among the others.
        """
        groups: dict[tuple[str, str, int, str], list[OperatorTime]] = {}
        for operator in self.operators:
            key = (operator.operator, operator.output, operator.kernel, operator.bound)
            groups.setdefault(key, []).append(operator)
        times = {key: sum(o.latency_ms for o in group) for key, group in groups.items()}
        longest = sorted((key for key in groups if times[key]), key=lambda key: -times[key])[:count]
        rows = []
        for key in longest:
            group, time = groups.pop(key), times[key]
            rows.append(
                {
                    "operator": group[0].operator,
                    "times": str(len(group)),
                    "kernel": str(group[0].kernel or ""),
                    "output": group[0].output,
                    "MFLOPs": f"{sum(operator.mflops for operator in group):.1f}",
                    "ms": self._time(time),
                    "share": f"{time / self.mean:.1%}",
                    "limited by": group[0].bound,
                }
            )
        others = sum(len(group) for group in groups.values())
        other_times = {
            f"{others} others": sum(times[key] for key in groups),
            "outside operators": self.rest_ms,
        }
        empty = dict.fromkeys(rows[0] if rows else (), "")
        for name, time in other_times.items():
            share = f"{time / self.mean:.1%}"
            rows.append({**empty, "operator": name, "ms": self._time(time), "share": share})
        return rows

    def _time(self, time: float) -> str:
        """Write a part of the latency with the precision of the whole."""
        return f"{time:.4g}" if self.usable or not time else magnitude(time)

    def to_json(self, explain: int = 0) -> dict[str, Any]:
        """The prediction as a dictionary for `json.dumps`, with `explain` operators."""
        way = parse_way(self.setting)
        content: dict[str, Any] = {
            "latency_ms": interval_of([self.mean, self.lower, self.upper], "ms"),
            "hardware": self.hardware.name,
            "batch_size": self.batch_size,
            "batch_fixed": self.batch_fixed,
            "evidence": self.evidence,
            "learned": self.learned,
            "familiar": self.familiar,
            "setting": self.setting,
            "runtime": way.runtime or EAGER,
            "precision": way.precision or "fp32",
            "unit": way.unit,
            "threads": way.threads,
            "images_per_second": round(self.images_per_second, DIGITS),
            "mflops": round(self.graph.total("flops") / 1e6, 3),
            "params": int(self.graph.total("params")),
            "energy_j": energy_json(self.energy),
            "memory_mb": round(self.memory.total, DIGITS),
            "size_mb": round(self.size_mb, DIGITS),
            "operators": len(self.graph),
            "unknown_operators": {k: round(v, DIGITS) for k, v in self.unknown_operators.items()},
            "measured": [near.to_json() for near in self.measurements],
            "rests_on": self.rests_on,
            "notes": self.notes(),
        }
        if explain:
            content["explain"] = [
                {k: round(v, DIGITS) if isinstance(v, float) else v for k, v in vars(part).items()}
                for part in self.operators[:explain]
            ]
            content["rest_ms"] = round(self.rest_ms, DIGITS)
        return content
