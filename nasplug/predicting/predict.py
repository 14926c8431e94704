"""Prediction of the latency of a user's own network, an ONNX file or a PyTorch module."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.measurements.graphs import graph_of
from nasplug.predicting.architecture_predictor import NETWORK_LATENCY
from nasplug.predicting.energy import graph_energy
from nasplug.predicting.evidence import latency_evidence
from nasplug.predicting.known_networks import is_known_name, known_network
from nasplug.predicting.network_prediction import NetworkPrediction, OperatorTime
from nasplug.predicting.own_network import (
    FOLDING_RUNTIMES,
    answered_batch,
    check_known,
    held_precision,
    is_onnx,
    priced,
    read_network,
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
)
from nasplug.search_spaces import Graph, InputError

if TYPE_CHECKING:
    import onnx
    import torch

    from nasplug.predicting.zoo import ArchitecturePredictor
    from nasplug.predictors.hardware import Hardware
    from nasplug.predictors.latency.class_models import Parts

__all__ = ["NetworkPrediction", "answer", "chosen_way", "predict", "settled_way"]


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
        network: Path of an ONNX file, an ONNX model, a PyTorch module or exported program, a
            graph, or a name such as `"timm:resnet50"` of a network whose graph the package has.
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
    device = device_named(hardware)
    is_named = isinstance(network, str) and is_known_name(network)
    is_file = is_named or is_onnx(network)
    way = asked_way(runtime, precision, unit, threads)
    # The predictor computes on the processor, whatever device the caller has made the default.
    with torch.device("cpu"):
        chosen, way = chosen_way(predictor, device, batch_size or 1, way, is_file)
    graph, held, is_free = read_network(
        graph_of(known_network(str(network)).arch_id) if is_named else network,
        example,
        input_shapes,
        input_values,
        batch_size,
        autocast,
        folds=way is not None and way.runtime in FOLDING_RUNTIMES,
    )
    return answer((graph, held, is_free), is_file, device, batch_size, chosen, way)


def answer(
    read: tuple[Graph, int, bool],
    is_file: bool,
    device: Hardware,
    batch_size: int | None,
    predictor: ArchitecturePredictor,
    way: Way | None,
) -> NetworkPrediction:
    """Predict a network that was read; see `predict`.

    Args:
        read: What `read_network` returns.
        is_file: Whether it is an ONNX file, or is run like one.
        device: The device.
        batch_size: Images a forward pass; None for as many as the network holds.
        predictor: A predictor of whole networks.
        way: How the network is run; None on a calibrated device for what was measured there.

    Raises:
        InputError: If the network is fixed to another batch or is mostly of unknown operators, or
            the device cannot run networks so.
    """
    import torch

    graph, held, is_free = read
    batch_size = answered_batch(batch_size, held, is_free, is_file)
    check_known(graph, is_file)
    if way is not None:
        way = settled_way(way, graph, device)
    with torch.device("cpu"):
        # A graph of the whole is one sample.
        predicted = _prediction(predictor, graph, device, batch_size if is_free else 1, way)
    return replace(
        predicted,
        batch_size=batch_size,
        batch_fixed=not is_free,
        held=held,
        source="the file" if is_file else "the example",
    )


def settled_way(way: Way, graph: Graph, device: Hardware) -> Way:
    """The way with the precision that a network holds, where it says none.

    Raises:
        InputError: If the device cannot run networks so.
    """
    if not way.precision:
        way = _as_held(way, held_precision(graph), device)
    check_way(device, way)
    return way


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


def chosen_way(
    predictor: str | os.PathLike[str] | ArchitecturePredictor | None,
    device: Hardware,
    batch_size: int,
    way: Way | None,
    is_deployed: bool,
) -> tuple[ArchitecturePredictor, Way | None]:
    """Predictor of whole networks, and the way to run them, asked for or usual.

    A calibrated device stands for the way that it was measured in: None.
    """
    from nasplug.predicting.zoo import ArchitecturePredictor, load_predictor
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
        if way is not None:
            return predictor, way.completed(measured)
        return predictor, measured if measured.text else None
    way = way or Way()
    if not way.runtime:
        usual = default_way(device, is_deployed, way.unit)
        if not is_deployed or device.kind in ("fpga", "asic"):
            # A processor other than a GPU is usually run as it was measured; whatever a chip runs
            # its compiler has made.
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
    used = runtime or model.setting(sheet, batch_size, runtime).way.text or EAGER
    evidence = latency_evidence(
        predictor, [executed], device, batch_size, latency.evidence, latency.learned
    )
    # The energy of another predictor's latency is not known.
    is_own = predictor.name == NETWORK_LATENCY and not unknown
    energy = graph_energy(executed, device, batch_size, runtime, latency) if is_own else None
    return NetworkPrediction(
        mean,
        lower,
        upper,
        device,
        batch_size,
        evidence.kind,
        evidence.familiar[0],
        used,
        evidence.measured_so,
        model.alike(sheet, batch_size, used),
        graph,
        _operators(executed, parts, mean, sheet, batch_size),
        float(parts.rest_ms),
        unknown_operators=unknown,
        measurements=evidence.measurements,
        rests_on=evidence.rests_on or evidence.rests_on_unlike,
        learned=evidence.learned,
        energy=energy,
    )


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
