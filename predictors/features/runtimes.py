"""Ways to run a network: runtime, precision, processor and threads, as words and as one text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

from nasplug.predictors.hardware import UNITS, Hardware, on_unit
from nasplug.search_spaces import InputError

__all__ = [
    "EAGER",
    "PRECISIONS",
    "RUNTIMES",
    "Way",
    "asked_way",
    "check_way",
    "computed_precision",
    "default_way",
    "exists",
    "is_on_gpu",
    "known_way",
    "parse_way",
    "renamed_key",
    "way_name",
]

# A framework's usual way, operator after operator, in fp32.
EAGER = "eager"
# What a user may ask for; the first is a framework's usual way, operator after operator.
RUNTIMES = (
    *(EAGER, "eager nhwc", "compiled", "compiled graphs", "tensorrt", "paddle tensorrt"),
    *("onnxruntime", "openvino", "tflite", "pytorch mobile", "ncnn", "ncnn vulkan", "armnn"),
    *("paddle lite", "mnn", "mnn vulkan", "qnn", "onnxruntime qnn", "core ml", "rknn"),
    *("tflite edge tpu", "hailort", "drp-ai", "pulsar2", "openexplorer", "cloud ai"),
)
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8", "int8", "int4", "w8a16")
# Names in sentences, where they differ from the words of users.
_NAMES = {
    "eager nhwc": "eager with channels last",
    "compiled": "torch.compile",
    "compiled graphs": "torch.compile with CUDA graphs",
    "tensorrt": "TensorRT",
    "paddle tensorrt": "Paddle with TensorRT",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "tflite": "TensorFlow Lite",
    "pytorch mobile": "PyTorch Mobile",
    "ncnn vulkan": "ncnn with Vulkan",
    "armnn": "Arm NN",
    "paddle lite": "Paddle Lite",
    "mnn": "MNN",
    "mnn vulkan": "MNN with Vulkan",
    "qnn": "Qualcomm QNN",
    "onnxruntime qnn": "ONNX Runtime with QNN",
    "core ml": "Core ML",
    "rknn": "RKNN",
    "tflite edge tpu": "TensorFlow Lite on an Edge TPU",
    "hailort": "HailoRT",
    "drp-ai": "DRP-AI",
    "pulsar2": "Pulsar2",
    "openexplorer": "OpenExplorer",
    "cloud ai": "the Cloud AI SDK",
}
# Texts of earlier versions -> runtime and precision.
_EARLIER = {
    "float32": ("eager", "fp32"),
    "amp": ("eager", "fp16"),
    "amp nhwc": ("eager nhwc", "fp16"),
    "amp compiled": ("compiled", "fp16"),
    "amp tensorrt": ("tensorrt", "fp16"),
}
# Runtimes of one maker's devices: pattern of the vendor, and its name in a sentence.
_MAKERS = {
    "tensorrt": ("nvidia", "NVIDIA GPUs"),
    "paddle tensorrt": ("nvidia", "NVIDIA GPUs"),
    "core ml": ("apple", "Apple devices"),
    "qnn": ("qualcomm|snapdragon", "Qualcomm chips"),
    "onnxruntime qnn": ("qualcomm|snapdragon", "Qualcomm chips"),
    "rknn": ("rockchip", "Rockchip NPUs"),
    "tflite edge tpu": ("google", "Edge TPUs"),
    "hailort": ("hailo", "Hailo chips"),
    "drp-ai": ("renesas", "Renesas NPUs"),
    "pulsar2": ("axera", "AXERA NPUs"),
    "openexplorer": ("d-robotics|horizon", "D-Robotics NPUs"),
    "cloud ai": ("cloud ai", "Cloud AI cards"),
}
# Processors that a runtime runs on, as `_place` names them. A phone's CPU has eager PyTorch, since
# phones were measured so.
_CPUS, _EVERY_GPU = ("cpu", "phone cpu"), ("gpu", "board gpu", "laptop gpu", "mobile gpu")
_FRAMEWORK = (*_CPUS, "gpu", "board gpu", "laptop gpu", "chip")
_OF_MAKER = (*_CPUS, "laptop gpu", "mobile gpu", "npu", "chip")
_PLACES = {
    EAGER: _FRAMEWORK,
    "eager nhwc": _FRAMEWORK,
    "compiled": ("cpu", "gpu", "board gpu", "laptop gpu", "chip"),
    "compiled graphs": ("gpu", "board gpu"),
    "tensorrt": ("gpu", "board gpu", "npu"),
    "paddle tensorrt": ("gpu", "board gpu"),
    "onnxruntime": (*_CPUS, *_EVERY_GPU, "npu"),
    "openvino": ("cpu", "gpu", "laptop gpu", "npu", "chip"),
    "tflite": (*_CPUS, "board gpu", "laptop gpu", "mobile gpu", "npu"),
    "pytorch mobile": (*_CPUS, "board gpu", "mobile gpu"),
    "ncnn": _CPUS,
    "ncnn vulkan": _EVERY_GPU,
    "armnn": (*_CPUS, "board gpu", "mobile gpu"),
    "paddle lite": (*_CPUS, "mobile gpu", "npu"),
    "mnn": _CPUS,
    "mnn vulkan": _EVERY_GPU,
    "qnn": _OF_MAKER,
    "onnxruntime qnn": _OF_MAKER,
    "core ml": _OF_MAKER,
    **dict.fromkeys(("rknn", "drp-ai", "pulsar2", "openexplorer"), ("npu", "chip")),
    **dict.fromkeys(("tflite edge tpu", "hailort", "cloud ai"), ("npu", "chip")),
}
# Maker or name of an NPU -> its runtime; the first that fits.
_NPU_RUNTIMES = (
    *(("cloud ai", "cloud ai"), ("qualcomm|snapdragon", "qnn"), ("apple", "core ml")),
    *(("rockchip", "rknn"), ("hailo", "hailort"), ("gaudi|goya|greco", "compiled")),
    *(("intel", "openvino"), ("amd ", "onnxruntime"), ("nvidia", "tensorrt")),
    *(("renesas", "drp-ai"), ("axera", "pulsar2"), ("d-robotics", "openexplorer")),
    ("edge tpu", "tflite edge tpu"),
)
# Runtimes that compute floats in fp16 where the processor can, and those that do so on GPUs.
_HALF = frozenset({"ncnn", "ncnn vulkan", "mnn", "mnn vulkan"})
_HALF_ON_GPUS = frozenset({"tflite", "pytorch mobile", "core ml", "paddle lite"})
# Precisions of ncnn on Vulkan, which leaves networks in int8 to the CPU.
_VULKAN = ("", "fp32", "fp16")
_UNIT = re.compile(r"\b(cpu( (big|medium|little))?|gpu|npu)\b")
_THREADS = re.compile(r"\b(\d+) threads\b")


@dataclass(frozen=True)
class Way:
    """Runtime, precision, processor and threads in which networks are run.

    Attributes:
        runtime: One of `RUNTIMES`, or `""` for the usual one.
        precision: One of `PRECISIONS`, or `""` for that of the network.
        unit: Processor of the device, as `on_unit` names it; `""` for the usual one.
        threads: Threads on a CPU; 0 for the usual number.
    """

    runtime: str = ""
    precision: str = ""
    unit: str = ""
    threads: int = 0

    @property
    def text(self) -> str:
        """All of it in one text, which `parse_way` reads, such as `"tensorrt fp16"`."""
        threads = f"{self.threads} threads" if self.threads else ""
        words = (self.runtime, self.precision, self.unit, threads)
        return " ".join(word for word in words if word)

    def completed(self, usual: Way) -> Way:
        """The way with runtime, unit and threads of a usual one, where it says nothing of them.

        Threads count on the usual unit alone.
        """
        if self.runtime or (self.unit and self.unit != usual.unit):
            return self
        threads = self.threads or usual.threads
        return replace(self, runtime=usual.runtime or EAGER, unit=usual.unit, threads=threads)

    @property
    def plain(self) -> Way:
        """Way without the words of a framework's usual way, `"eager"` and `"fp32"`.

        A runtime that would choose fp16 keeps the word.
        """
        is_usual = self.precision == "fp32" and not _chooses_half(self.runtime, self.unit)
        return replace(
            self,
            runtime="" if self.runtime == EAGER else self.runtime,
            precision="" if is_usual else self.precision,
        )


def _chooses_half(runtime: str, kind: str) -> bool:
    """Whether a runtime computes floats in fp16 where a unit of this kind can."""
    return runtime in _HALF or (kind == "gpu" and runtime in _HALF_ON_GPUS)


@cache
def parse_way(text: str) -> Way:
    """Read a `Way.text`, or a runtime of an earlier version, such as `"amp nhwc"`."""
    words = " ".join(text.lower().split())
    threads, unit = _THREADS.search(words), _UNIT.search(words)
    words = " ".join(_UNIT.sub("", _THREADS.sub("", words)).split())
    if words in _EARLIER:
        runtime, precision = _EARLIER[words]
    else:
        named = [word for word in words.split() if word in PRECISIONS]
        runtime = " ".join(word for word in words.split() if word not in PRECISIONS)
        precision = named[0] if named else ""
    return Way(runtime, precision, unit[0] if unit else "", int(threads[1]) if threads else 0)


def renamed_key(key: str) -> str:
    """`Setting.key` in today's words; those of earlier versions say "amp nhwc"."""
    name, _, rest = key.rpartition("@")
    batch, _, way = rest.partition(" ")
    return f"{name}@{batch} {parse_way(way).plain.text}".strip()


def known_way(text: str) -> Way:
    """Read a text as `parse_way` does.

    Raises:
        InputError: If the runtime is none of `RUNTIMES`.
    """
    way = parse_way(text)
    if way.runtime and way.runtime not in RUNTIMES:
        raise InputError(f"unknown runtime {text!r}; known: {', '.join(RUNTIMES)}")
    return way


def asked_way(
    runtime: str | None = None,
    precision: str | None = None,
    unit: str | None = None,
    threads: int | None = None,
) -> Way | None:
    """The way that a user's words mean; None where nothing was said.

    Raises:
        InputError: If a word is unknown, or of an earlier version, or the number of threads is not
            positive.
    """
    if runtime is None and precision is None and unit is None and threads is None:
        return None
    words, number, part = (
        _word(runtime, "runtime"),
        _word(precision, "precision"),
        _word(unit, "unit"),
    )
    if words in _EARLIER:
        new, own = _EARLIER[words]
        raise InputError(
            f"runtime {runtime!r} has new words: runtime {new!r} with precision {number or own!r} "
            f'(on the command line --runtime "{new}" --precision {number or own})'
        )
    if number and number not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if part and not _UNIT.fullmatch(part):
        raise InputError(f"unknown unit {unit!r}; known: {', '.join(UNITS)}, cpu big, cpu little")
    if threads is not None and (isinstance(threads, bool) or threads < 1):
        raise InputError(f"threads must be a whole number of at least 1, not {threads!r}")
    # The text of a result, such as "tensorrt fp16", says more than the runtime.
    way = known_way(words)
    return Way(way.runtime, number or way.precision, part or way.unit, threads or way.threads)


def _word(text: str | None, name: str) -> str:
    if text is not None and not isinstance(text, str):
        raise InputError(f"{name} must be a text, not {type(text).__name__}")
    return " ".join((text or "").lower().split())


def is_on_gpu(hardware: Hardware, way: Way) -> bool:
    """Whether networks run on a GPU."""
    return _kind(hardware, way) == "gpu"


def _kind(hardware: Hardware, way: Way) -> str:
    """Unit that networks run on, one of `UNITS`."""
    if way.unit:
        return way.unit.split()[0]
    if hardware.kind == "gpu" or (hardware.kind == "edge" and _is(hardware, "nvidia")):
        return "gpu"
    return "npu" if hardware.kind in ("fpga", "asic") else "cpu"


def _is(hardware: Hardware, pattern: str) -> bool:
    return re.search(pattern, f"{hardware.vendor} {hardware.name}".lower()) is not None


def default_way(hardware: Hardware, deployed: bool = False, unit: str = "") -> Way:
    """The usual way to run networks on a device.

    Args:
        hardware: The device.
        deployed: Whether networks are ONNX files, and not modules of a framework.
        unit: Processor of the device; empty for the usual one.

    Returns:
        TensorRT for an ONNX file on an NVIDIA GPU, else ONNX Runtime on a GPU or the CPU of a
        server or desktop; a framework's usual way for a module there. TensorFlow Lite on phones and
        boards. On an NPU the maker's runtime, where it has one here; else TensorFlow Lite on a
        system on a chip, and on a chip of its own what its compiler makes.
    """
    kind = _kind(hardware, Way(unit=unit))
    if kind == "npu":
        other = "compiled" if _place(hardware, kind) == "chip" else "tflite"
        runtimes = (word for maker, word in _NPU_RUNTIMES if _is(hardware, maker))
        return Way(next(runtimes, other), unit=unit)
    # A board with an x86 processor is a small desktop.
    is_mobile = hardware.kind in ("phone", "edge") and not _is(hardware, "nvidia|amd |intel")
    if is_mobile:
        return Way("core ml" if kind == "gpu" and _is(hardware, "apple") else "tflite", unit=unit)
    if not deployed:
        return Way(unit=unit)
    on_nvidia = kind == "gpu" and _is(hardware, "nvidia")
    return Way("tensorrt" if on_nvidia else "onnxruntime", unit=unit)


def check_way(hardware: Hardware, way: Way) -> None:
    """Refuse a way that does not exist on a device.

    Raises:
        InputError: With what can be had there.
    """
    kind = _kind(hardware, way)
    part = on_unit(hardware, way.unit, way.threads)
    name = hardware.name
    if way.threads and kind != "cpu":
        raise InputError(f"threads are for a CPU, and networks run on the {kind.upper()} of {name}")
    maker = _MAKERS.get(way.runtime)
    if maker and not _is(hardware, maker[0]):
        raise InputError(
            f"{_NAMES[way.runtime]} runs on {maker[1]} alone; {_instead(hardware, way.unit)}"
        )
    if not _runs(hardware, kind, way.runtime):
        raise InputError(
            f"{way_name(way.runtime)} does not run on the {kind.upper()} of {name}; "
            f"{_instead(hardware, way.unit)}"
        )
    precision = way.precision
    if way.runtime == "ncnn vulkan" and precision not in _VULKAN:
        raise InputError(
            f"{_NAMES[way.runtime]} computes nothing in {precision}; there is fp32 and fp16, and "
            "ncnn computes int8 on the CPU"
        )
    known = _precisions(part, kind, _place(hardware, kind))
    if precision and precision not in known:
        raise InputError(
            f"{name} computes nothing in {precision} on its {kind.upper()}; there is "
            f"{', '.join(word for word in PRECISIONS if word in known)}"
        )


def exists(hardware: Hardware, way: Way) -> bool:
    """Whether a way exists on a device, see `check_way`."""
    try:
        check_way(hardware, way)
    except InputError:
        return False
    return True


def _place(hardware: Hardware, kind: str) -> str:
    """Kind of a processor together with that of its device, as `_PLACES` has them."""
    if kind == "cpu":
        return "phone cpu" if hardware.kind == "phone" else "cpu"
    if kind == "npu":
        return "chip" if hardware.kind in ("fpga", "asic") else "npu"
    if hardware.kind == "edge" and _is(hardware, "nvidia"):
        return "board gpu"
    is_laptop = hardware.kind == "cpu" or _is(hardware, "amd |intel")
    return "gpu" if hardware.kind == "gpu" else "laptop gpu" if is_laptop else "mobile gpu"


def _runs(hardware: Hardware, kind: str, runtime: str) -> bool:
    """Whether a runtime, or none in particular, runs on a unit of a device."""
    if runtime == "openvino" and kind != "cpu" and not _is(hardware, "intel"):
        return False
    return not runtime or _place(hardware, kind) in _PLACES[runtime]


def _instead(hardware: Hardware, unit: str = "") -> str:
    usual = [default_way(hardware, told, unit).runtime or EAGER for told in (False, True)]
    where = f" on its {unit.split(maxsplit=1)[0].upper()}" if unit else ""
    return f"for {hardware.name} there is {' or '.join(dict.fromkeys(usual))}{where}"


def _precisions(part: Hardware, kind: str, place: str) -> set[str]:
    """Precisions in which a processor computes, or holds its weights."""
    known = {"fp32", "fp16", *part.peak_tflops}
    if kind == "cpu":
        known |= {"bf16", "int8", "int4"} | {"w8a16"}
    elif kind == "npu":
        known |= {"int8", "w8a16"}
    elif place in ("gpu", "board gpu"):
        # Weights alone are so: they are unpacked as they are read, and arithmetic is in fp16.
        known |= {"int4", "w8a16"}
    if kind == "gpu" and not part.peak_tflops.keys() > {"fp32"}:
        # A description with one figure does not say what else there is.
        known |= {"tf32", "bf16", "int8"}
    return known


def computed_precision(hardware: Hardware, way: Way) -> str:
    """Precision in which a way computes; an NPU computes floats in fp16, or in what it has.

    So do GPUs of phones and boards, ncnn and MNN, unless they are told otherwise.
    """
    precision, kind = way.precision or "fp32", _kind(hardware, way)
    if not way.precision and _chooses_half(way.runtime, kind):
        peaks = on_unit(hardware, way.unit, way.threads).peak_tflops
        return "fp16" if "fp16" in peaks else "fp32"
    if precision == "fp32" and kind == "npu":
        peaks = on_unit(hardware, way.unit, way.threads).peak_tflops
        # fp32 of a processor without it is the figure of what stands for it.
        faster = (name for name in ("fp16", "bf16", "int8") if peaks.get(name, 0) >= peaks["fp32"])
        return next(faster, precision)
    return precision


def way_name(text: str) -> str:
    """Name of a way in a sentence, such as `"TensorRT, fp16"` for `"tensorrt fp16"`."""
    way = parse_way(text)
    parts = [_NAMES.get(way.runtime, way.runtime) or EAGER]
    if way.precision:
        parts.append(way.precision)
    if way.unit:
        kind, _, cluster = way.unit.partition(" ")
        parts.append(f"on the {f'{cluster} cores' if cluster else kind.upper()}")
    if way.threads:
        parts.append("1 thread" if way.threads == 1 else f"{way.threads} threads")
    return ", ".join(parts)
