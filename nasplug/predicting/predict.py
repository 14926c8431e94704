"""Prediction of the latency of a user's own network, an ONNX file or a PyTorch module."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.predicting.intervals import DIGITS, interval_of, is_usable, magnitude
from nasplug.predicting.intervals import shown as shown_ends
from nasplug.predicting.notes import evidence_note, narrowing, runtime_note
from nasplug.predicting.own_network import (
    FOLDING_RUNTIMES,
    answered_batch,
    batch_note,
    check_known,
    held_precision,
    is_onnx,
    precision_note,
    priced,
    read_network,
    unknown_note,
    unknown_operators,
    widened,
)
from nasplug.predictors.features.runtimes import (
    EAGER,
    Way,
    asked_way,
    check_way,
    computed_precision,
    default_way,
    exists,
    parse_way,
)
from nasplug.search_spaces import Graph, InputError

if TYPE_CHECKING:
    import onnx
    import torch

    from nasplug.measurements.nearest import NearMeasurement
    from nasplug.predicting.zoo import ArchitecturePredictor
    from nasplug.predictors.features.settings import Setting
    from nasplug.predictors.hardware import Hardware
    from nasplug.predictors.latency.class_models import Parts

__all__ = [
    "EXPLAINED",
    "NetworkPrediction",
    "OperatorTime",
    "predict",
]

# Number of operators that are shown.
EXPLAINED = 12
# Number of published measurements beside a prediction.
SHOWN = 3


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

    @property
    def usable(self) -> bool:
        """Whether the interval is narrow enough for the numbers to mean something."""
        return is_usable(self.lower, self.upper)

    def notes(self) -> list[str]:
        """Sentences that a reader of the numbers needs: evidence, likeness, width of interval."""
        runtime = None if self.evidence == "few-shot" else self.setting
        priced = 1 if self.batch_fixed else self.batch_size
        name = self.hardware.name
        notes = [evidence_note(self.evidence, name, priced, runtime, self.learned)]
        notes += [near.sentence for near in self.measurements]
        if self.rests_on and self.familiar:
            notes.append(f"the interval reflects {self.rests_on}")
        if self.alike:
            notes.append(runtime_note(self.setting, self.measured_so, self.alike))
        if not self.familiar and self.evidence == "few-shot":
            notes.append(
                "this network is unlike those that you measured; the prediction rests mostly on "
                "the data sheet, at the scale of your measurements"
            )
        elif not self.familiar:
            rests_on = f"; its interval reflects {self.rests_on}" if self.rests_on else ""
            notes.append(f"this network is unlike those in the training data{rests_on}")
        about_network = (
            batch_note(self.held, self.batch_size, not self.batch_fixed, self.source),
            None
            if self.evidence == "few-shot"
            else precision_note(held_precision(self.graph), self.hardware, parse_way(self.setting)),
            unknown_note(self.unknown_operators),
        )
        notes += [note for note in about_network if note]
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
            "MFLOPs": f"{self.graph.total('flops') / 1e6:,.1f}",
            "params": f"{self.graph.total('params') / 1e6:.2f}M",
            "operators": str(len(self.graph)),
        }
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
            "familiar": self.familiar,
            "setting": self.setting,
            "runtime": way.runtime or EAGER,
            "precision": way.precision or "fp32",
            "unit": way.unit,
            "threads": way.threads,
            "mflops": round(self.graph.total("flops") / 1e6, 3),
            "params": int(self.graph.total("params")),
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


def predict(
    network: str
    | os.PathLike[str]
    | onnx.ModelProto
    | torch.nn.Module
    | torch.export.ExportedProgram
    | Graph,
    example: Any = None,
    *,
    hardware: str | os.PathLike[str] | Hardware,
    batch_size: int | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_values: Mapping[str, Any] | None = None,
    predictor: str | os.PathLike[str] | ArchitecturePredictor | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    unit: str | None = None,
    threads: int | None = None,
    autocast: str | None = None,
) -> NetworkPrediction:
    """Predict how long a forward pass of a network takes on a device.

    Nothing is run: the network is read as a graph of operators.

    Args:
        network: Path of an ONNX file, an ONNX model, a PyTorch module or exported program, or a
            graph.
        example: Input of a PyTorch module: a tensor `(images, …)`, a tuple of arguments, a
            dictionary of keyword arguments, or a tuple of both. Values count for integers and
            truths alone.
        hardware: Device: a name, the path of a .toml file, or a `Hardware`.
        batch_size: Images a forward pass; if left out as many as the example or the ONNX model
            holds, and one for a graph, or where the model leaves its first axis open.
        input_shapes: Shapes of inputs of an ONNX model by name: of those that it leaves open, or
            that are to be others. The name of an only input may be empty.
        input_values: Values of inputs of an ONNX model by name, where they fix shapes or
            conditions, such as `{"sr": 16000}`.
        predictor: A latency predictor to use instead of the package's own.
        runtime: Runtime of the network: `"eager"` (by a framework, operator after operator),
            `"eager nhwc"` (with channels last), `"compiled"`, `"tensorrt"`, `"onnxruntime"`,
            `"openvino"`, `"tflite"`, `"ncnn"`, `"qnn"`, `"core ml"` or another of
            `nasplug.predictors.features.runtimes.RUNTIMES`. Left out, it is the usual one: for an
            ONNX file TensorRT on a GPU of NVIDIA's and ONNX Runtime on other GPUs and on CPUs, for
            a module eager; TensorFlow Lite on a phone or a board, and the vendor's on an NPU.
        precision: Precision of the arithmetic: `"fp32"`, `"tf32"`, `"fp16"`, `"bf16"`, `"int8"` or
            `"int4"`; left out, that of the network's tensors.
        unit: Processor of a phone or a board: `"cpu"`, `"gpu"` or `"npu"`; left out the usual one.
        threads: Threads on a CPU; left out the usual number.
        autocast: Type of PyTorch's automatic mixed precision, `"float16"` or `"bfloat16"`, in which
            a module runs; None for none.

    Raises:
        InputError: If the network cannot be read, is mostly of unknown operators or is fixed to
            another batch, the hardware or the runtime is unknown, the device cannot run networks
            so, or the batch size is no whole number of at least 1.

    Example:
        >>> import nasplug
        >>> space = nasplug.space("macro")
        >>> network = space.to_network(space.parse("22222222"))  # or a file "model.onnx"
        >>> latency = nasplug.predict(network, hardware="RTX 3090", batch_size=8)
        >>> latency.lower < latency.mean < latency.upper
        True
    """
    import torch

    from nasplug.arguments import checked_count
    from nasplug.devices.hardware import hardware as device_named

    if batch_size is not None:
        checked_count(batch_size, "batch size")
    device, is_file = device_named(hardware), is_onnx(network)
    way = asked_way(runtime, precision, unit, threads)
    # The predictor computes on the processor, whatever device the caller has made the default.
    with torch.device("cpu"):
        chosen, way = _chosen(predictor, device, batch_size or 1, way, is_file)
    graph, held, is_free = read_network(
        network,
        example,
        input_shapes,
        input_values,
        batch_size,
        autocast,
        folds=way is not None and way.runtime in FOLDING_RUNTIMES,
    )
    batch_size = answered_batch(batch_size, held, is_free, is_file)
    check_known(graph, is_file)
    if way is not None:
        if not way.precision:
            way = _as_held(way, held_precision(graph), device)
        check_way(device, way)
    with torch.device("cpu"):
        # A graph of the whole is one sample.
        predicted = _prediction(chosen, graph, device, batch_size if is_free else 1, way)
    return replace(
        predicted,
        batch_size=batch_size,
        batch_fixed=not is_free,
        held=held,
        source="the file" if is_file else "the example",
    )


def _as_held(way: Way, held: str, device: Hardware) -> Way:
    """The way with the precision that a network holds.

    Without one where the device, or the runtime for floats, computes in another one, which the
    notes name.
    """
    whole, free = replace(way, precision=held), replace(way, precision="")
    if not exists(device, whole):
        return free
    is_chosen = held == "fp32" and computed_precision(device, whole) == "fp32"
    return free if is_chosen and computed_precision(device, free) != "fp32" else whole


def _chosen(
    predictor: str | os.PathLike[str] | ArchitecturePredictor | None,
    device: Hardware,
    batch_size: int,
    way: Way | None,
    is_deployed: bool,
) -> tuple[ArchitecturePredictor, Way | None]:
    """Predictor of whole networks, and the way to run them, asked for or usual.

    A calibrated device stands for the way that it was measured in: None.
    """
    from nasplug.predicting.zoo import NETWORK_LATENCY, ArchitecturePredictor, load_predictor
    from nasplug.predictors.capabilities import Explains
    from nasplug.predictors.latency.device_profile import DeviceProfile

    if not isinstance(predictor, ArchitecturePredictor):
        # One graph: to import a library for large batches would take longest.
        predictor = load_predictor(predictor or NETWORK_LATENCY, "torch")
    if not isinstance(predictor.model, Explains):
        raise InputError(
            f"predictor {predictor.name!r} cannot read whole networks; {NETWORK_LATENCY} can"
        )
    if isinstance(device, DeviceProfile):
        measured = device.usual_way
        return predictor, way or (measured if measured.text else None)
    way = way or Way()
    if not way.runtime:
        usual = default_way(device, is_deployed, way.unit)
        if not is_deployed:
            # A processor other than a GPU is usually run as it was measured.
            usual = predictor.model.setting(device, batch_size, way.text or None).way
        way = replace(way, runtime=usual.runtime or EAGER)
    return predictor, way


def _prediction(
    predictor: ArchitecturePredictor,
    graph: Graph,
    device: Hardware,
    batch_size: int,
    way: Way | None,
) -> NetworkPrediction:
    """Predict a graph, and explain the prediction by its operators."""
    from nasplug.predicting.few_shot import familiar as is_near
    from nasplug.predictors.latency.device_profile import DeviceProfile

    if way is not None:
        predictor = predictor.in_way(way)
    model, runtime = predictor.model, None if way is None else way.text
    executed = priced(graph)
    sheet = device.hardware if isinstance(device, DeviceProfile) else device
    latency = predictor.predict([executed], device, batch_size)
    mean, lower, upper = (float(getattr(latency, end)[0, 0]) for end in ("mean", "lower", "upper"))
    parts = model.explain(executed, sheet, batch_size, runtime, mean)
    unknown = unknown_operators(graph)
    lower, upper = widened(lower, upper, unknown)
    setting = model.setting(sheet, batch_size, runtime)
    is_profile = isinstance(device, DeviceProfile)
    if isinstance(device, DeviceProfile):
        familiar = bool(is_near(predictor, device, [executed], batch_size, runtime)[0])
    else:
        familiar = bool(model.groups([executed], setting)[0])
    used = runtime or setting.way.text or EAGER
    evidence, learned = latency.evidence, 0
    if evidence == "zero-shot" and hasattr(model, "learned"):
        learned = model.learned(setting)
        evidence = "measured" if learned else evidence
    return NetworkPrediction(
        mean,
        lower,
        upper,
        device,
        batch_size,
        evidence,
        familiar,
        used,
        model.measured_in(used),
        model.alike(sheet, batch_size, used),
        graph,
        _operators(executed, parts, mean, sheet, batch_size),
        float(parts.rest_ms),
        unknown_operators=unknown,
        measurements=() if is_profile else _measurements(executed, setting),
        rests_on="" if is_profile else model.rests_on([executed], setting),
        learned=learned,
    )


def _measurements(graph: Graph, setting: Setting) -> tuple[NearMeasurement, ...]:
    """Published measurements that are nearest to a network in a setting."""
    from nasplug.measurements.nearest import nearest_measurements
    from nasplug.predictors.latency.class_models import told

    whole = replace(told(setting), hardware=setting.hardware, unit=setting.unit)
    return tuple(nearest_measurements(graph, replace(whole, threads=setting.threads), SHOWN))


def _operators(
    graph: Graph, told: Parts, total: float, device: Hardware, batch_size: int
) -> tuple[OperatorTime, ...]:
    """Parts of the operators in the latency, the longest first."""
    from nasplug.predictors.features.operators import operator_kinds
    from nasplug.predictors.features.roofline import roofline_parts

    kinds = operator_kinds(graph)
    compute, memory = roofline_parts(graph, device, batch_size)
    parts, times = [], told.ms
    for k in np.argsort(-times, kind="stable").tolist():
        size = [int(graph.attribute(name)[k]) for name in ("out_channels", "height", "width")]
        ideal = max(compute[k], memory[k])
        bound = "compute" if compute[k] >= memory[k] else "memory"
        # A launch dominates where even a tenth of the promised rate would be faster.
        bound = bound if 10 * ideal >= times[k] else "launch"
        parts.append(
            OperatorTime(
                k,
                kinds[k],
                "×".join(map(str, size)),
                int(graph.attribute("kernel")[k]),
                float(times[k]),
                float(times[k]) / total,
                told.bounds[k] if told.bounds else bound,
                float(graph.attribute("flops")[k]) / 1e6,
            )
        )
    return tuple(parts)
