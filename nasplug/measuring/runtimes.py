"""Runtimes that run a network to be timed: ONNX Runtime, or PyTorch with or without CUDA.

Weights and input come from fixed seeds: a network is run with equal weights on equal images each
time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nasplug.measuring.machine import free_memory
from nasplug.measuring.timing import Stopwatch
from nasplug.search_spaces import InputError
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    import onnx

__all__ = [
    "BACKENDS",
    "DEVICES",
    "OnnxRuntime",
    "Runtime",
    "TorchRuntime",
    "constants",
    "inputs_of",
    "open_runtime",
    "write_value",
]

BACKENDS = ("onnxruntime", "torch")
DEVICES = ("local", "cpu", "cuda")
_INPUT_SEED = 0


class Runtime(Protocol):
    """Protocol of a runtime, which opens networks and runs them one after the other."""

    @property
    def settings(self) -> dict[str, Any]:
        """Name, version, device and all other settings that change a latency; JSON values."""

    def free_memory(self) -> int:
        """Bytes that weights and activations may take."""

    def session(self) -> AbstractContextManager[None]:
        """Set the process up for timing during a block, and restore it afterwards."""

    def load(self, model: onnx.ModelProto) -> Stopwatch:
        """Load a model, and return the function that runs it once and returns the ms."""


def open_runtime(backend: str, hardware: str, threads: int) -> Runtime:
    """Open a runtime on this machine.

    Args:
        backend: One of `BACKENDS`.
        hardware: `"local"` for the fastest device that the backend finds here (with torch a CUDA
            device, else the processor), or `"cpu"` or `"cuda"`.
        threads: Threads that work on one operator, on a processor.

    Raises:
        InputError: If a name is unknown or there is no such device here.
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    if hardware not in DEVICES:
        raise InputError(
            f"hardware {str(hardware)[:80]!r} is not a processor of this machine; run the command "
            "on the device itself, with local, cpu or cuda"
        )
    if backend == "onnxruntime":
        if hardware == "cuda":
            raise InputError(
                "the backend onnxruntime times the CPU only; use the backend torch for a GPU"
            )
        return OnnxRuntime(threads)
    import torch

    has_cuda = torch.cuda.is_available()
    if hardware == "cuda" and not has_cuda:
        raise InputError("PyTorch finds no CUDA device on this machine; use local or cpu")
    return TorchRuntime("cuda" if has_cuda and hardware != "cpu" else "cpu", threads)


# Key in a model's metadata, before the name of an input, of the value with which it is run.
_VALUE = "nasplug.value."


def constants(model: onnx.ModelProto) -> set[str]:
    """Names of a model's weights, which old files list among the inputs."""
    return {
        *(tensor.name for tensor in model.graph.initializer),
        *(sparse.values.name for sparse in model.graph.sparse_initializer),
    }


def write_value(model: onnx.ModelProto, name: str, value: NDArray[Any]) -> None:
    """Write the value with which an input is run into a model's metadata."""
    model.metadata_props.add(key=_VALUE + name, value=json.dumps(value.tolist()))


def inputs_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Fixed values for a model's inputs.

    They are those of `write_value`, else random floats, and zeros for numbers of other types.
    """
    from onnx.helper import tensor_dtype_to_np_dtype

    rng = np.random.default_rng(_INPUT_SEED)
    weights = constants(model)
    written = {entry.key: entry.value for entry in model.metadata_props}
    values: dict[str, NDArray[Any]] = {}
    for value in model.graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        shape = [size.dim_value for size in tensor.shape.dim]
        kind = np.dtype(tensor_dtype_to_np_dtype(tensor.elem_type))
        if _VALUE + value.name in written:
            values[value.name] = np.array(json.loads(written[_VALUE + value.name]), kind)
        elif kind.kind == "f":
            values[value.name] = rng.standard_normal(shape, dtype=np.float32).astype(kind)
        else:
            # Zero is an entry of every vocabulary.
            values[value.name] = np.zeros(shape, kind)
    return values


@contextmanager
def _subnormals_as_zero() -> Iterator[None]:
    """Count subnormal numbers as zero in this thread during a block."""
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class OnnxRuntime:
    """ONNX Runtime on the processor, set up as in a program that runs one network at a time.

    All graph optimisations are on; an operator uses `threads` threads, and operators run one after
    another. Threads that wait for work spin, which is ONNX Runtime's default: otherwise waking them
    would cost small networks up to a multiple of their time. Subnormal numbers count as zero:
    random weights produce them where trained weights do not, and they are many times slower.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @property
    def settings(self) -> dict[str, Any]:
        """Version, execution provider and session options."""
        with from_extra("measure"):
            import onnxruntime  # type: ignore[import-untyped]

        return {
            "backend": "onnxruntime",
            "version": onnxruntime.__version__,
            "device": "cpu",
            "execution_provider": "CPUExecutionProvider",
            "graph_optimization": "all",
            "threads": self.threads,
            "inter_op_threads": 1,
            "allow_spinning": True,
            "subnormals_as_zero": True,
            "precision": "fp32",
        }

    def free_memory(self) -> int:
        """Bytes of free main memory."""
        return free_memory()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Set the treatment of subnormals during a block.

        The option of a session sets it too, but for the first session of a process alone, and for
        good.
        """
        with _subnormals_as_zero():
            yield

    def load(self, model: onnx.ModelProto) -> Stopwatch:
        """Make a session, and return its stopwatch."""
        with from_extra("measure"):
            import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Warnings concern the form of the models, and errors are raised.
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        inputs = inputs_of(model)

        def stopwatch() -> float:
            start = time.perf_counter_ns()
            session.run(None, inputs)
            return (time.perf_counter_ns() - start) / 1e6

        return stopwatch


class TorchRuntime:
    """PyTorch in eager mode, on a CUDA device or on the processor.

    On CUDA a run is timed by two events and awaited. Float32 is computed as float32: TF32 is off.
    cuDNN tries its algorithms in the warm-up and uses the fastest.
    """

    def __init__(self, device: str, threads: int) -> None:
        self.device = device
        self.threads = threads

    @property
    def settings(self) -> dict[str, Any]:
        """Version, device and precision."""
        import torch

        settings: dict[str, Any] = {
            "backend": "torch",
            "version": torch.__version__,
            "device": self.device,
            "mode": "eager",
            "precision": "fp32",
        }
        if self.device == "cpu":
            return {**settings, "threads": self.threads, "subnormals_as_zero": True}
        return {
            **settings,
            "gpu": torch.cuda.get_device_name(),
            "gpu_memory_gb": round(torch.cuda.get_device_properties().total_memory / 1e9),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "cudnn_benchmark": True,
        }

    def free_memory(self) -> int:
        """Free bytes of the device's memory."""
        import torch

        if self.device == "cpu":
            return free_memory()
        # Weights are generated in main memory first.
        return min(torch.cuda.mem_get_info()[0], free_memory())

    @contextmanager
    def session(self) -> Iterator[None]:
        """Set threads, treatment of subnormals and cuDNN's flags during a block."""
        import torch

        if self.device == "cuda":
            with torch.backends.cudnn.flags(
                enabled=True, benchmark=True, deterministic=False, allow_tf32=False
            ):
                yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with _subnormals_as_zero():
                yield
        finally:
            torch.set_num_threads(before)

    def load(self, model: onnx.ModelProto) -> Stopwatch:
        """Make a module, and return its stopwatch."""
        import torch

        from nasplug.measuring.torch_network import TorchNetwork

        inputs = list(inputs_of(model).values())
        if len(inputs) != 1:
            raise InputError(
                "the backend torch cannot run a network with several inputs; use onnxruntime"
            )
        network = TorchNetwork(model).eval().to(self.device)
        image = torch.from_numpy(inputs[0]).to(self.device)

        @torch.inference_mode()
        def on_processor() -> float:
            start = time.perf_counter_ns()
            network(image)
            return (time.perf_counter_ns() - start) / 1e6

        if self.device == "cpu":
            return on_processor
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        @torch.inference_mode()
        def on_cuda() -> float:
            before.record()
            network(image)
            after.record()
            after.synchronize()
            return float(before.elapsed_time(after))

        return on_cuda
