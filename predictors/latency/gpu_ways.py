"""Ways of running a network on a GPU: what a runtime fuses, and what a precision reaches there."""

from __future__ import annotations

import re
from typing import NamedTuple

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.fused_operators import FUSIONS

__all__ = [
    "GPU_SETTINGS",
    "Rates",
    "boost_of",
    "fusion_of",
    "gpu_precision",
    "gpu_setting",
    "node_of",
    "rates_of",
]

# How a network is run, as far as measurements of several GPUs tell it apart.
GPU_SETTINGS = (
    *("framework", "framework graphs", "channels last", "compiled", "compiled graphs"),
    *("tensorrt", "paddle tensorrt", "onnxruntime"),
)
_ENGINES = frozenset(GPU_SETTINGS[5:])
_FUSIONS = {"compiled": FUSIONS[1], "compiled graphs": FUSIONS[1]}
# Precision -> bytes of an activation and of a weight; int4 is unpacked as it is read.
_BYTES = {
    **{"fp32": (4.0, 4.0), "tf32": (4.0, 4.0), "fp16": (2.0, 2.0), "bf16": (2.0, 2.0)},
    **{"int8": (1.0, 1.0), "fp8": (1.0, 1.0), "int4": (2.0, 0.5), "w8a16": (2.0, 1.0)},
}
_AS_FP16 = frozenset({"int4", "w8a16", "float"})
# How much faster than ordinary units AMD's matrix cores are in fp32, where the sheet has no tf32.
_MATRIX_FP32 = {"CDNA": 2.0, "CDNA 2": 2.0}
# Clock that cards of players mostly reach, GHz, which their sheets do not promise; and the most
# that they go beyond the sheet.
_REACHED = {
    "Maxwell": 1.3,
    "Pascal": 1.85,
    "Volta": 1.75,
    "Turing": 1.85,
    "Ampere": 1.9,
    "Ada": 2.73,
}
_MOST_BOOST = 1.2
# Structure width of the process that GPUs of a microarchitecture are made in, nm; of others by the
# year since when it is usual.
_NODES = {
    **{"Maxwell": 28.0, "Pascal": 16.0, "Volta": 12.0, "Turing": 12.0, "Ampere": 8.0, "Ada": 5.0},
    **{"Hopper": 5.0, "Blackwell": 5.0, "Vega": 14.0, "RDNA": 7.0, "RDNA 2": 7.0, "RDNA 3": 5.0},
    **{"CDNA": 7.0, "CDNA 2": 6.0, "CDNA 3": 5.0},
}
_USUAL_NODES = {2022: 5.0, 2020: 8.0, 0: 14.0}
_PLAYERS = re.compile(r"(GeForce )?(GTX|RTX) \d*[1-9]0( Ti| Super| Ti Super)?|Titan .*")


def gpu_setting(column: Setting) -> str:
    """One of `GPU_SETTINGS`: how a column's runtime runs networks on a GPU."""
    words = set(column.runtime.split())
    if words & {"tensorrt", "tensorrt-llm"}:
        return "paddle tensorrt" if words & {"paddle", "tensorflow"} else "tensorrt"
    if "onnxruntime" in words:
        return "onnxruntime"
    if words & {"compiled", "dynamo", "tflite", "xla"}:
        return "compiled graphs" if "graphs" in words else "compiled"
    if "graphs" in words:
        return "framework graphs"
    return "channels last" if "nhwc" in words else "framework"


def fusion_of(setting: str) -> str:
    """One of `FUSIONS`: what one of `GPU_SETTINGS` puts into one kernel."""
    return FUSIONS[2] if setting in _ENGINES else _FUSIONS.get(setting, FUSIONS[0])


def gpu_precision(column: Setting) -> str:
    """The precision that a column asks for; `"fp32"` where it says nothing."""
    word = column.precision or ("fp16" if column.is_half else "fp32")
    return word if word in _BYTES or word in _AS_FP16 else "fp32"


class Rates(NamedTuple):
    """Rates of a precision on a GPU, by its data sheet.

    Attributes:
        ran: The precision that is computed in, where the GPU or the runtime lacks what was asked.
        convolutions: Peak of convolutions, 1e12 operations a second.
        products: Peak of matrix products, likewise.
        tensor: Whether convolutions run on tensor cores.
        tensor_products: Whether products do.
        number_bytes: Bytes of an activation.
        weight_bytes: Bytes of a weight.
        is_halved: Whether tensor cores that sum in fp32 are half as fast as the peak says.
        is_emulated: Whether numbers are converted to what the units know.
    """

    ran: str
    convolutions: float
    products: float
    tensor: bool
    tensor_products: bool
    number_bytes: float
    weight_bytes: float
    is_halved: bool = False
    is_emulated: bool = False


def rates_of(hardware: Hardware, precision: str, setting: str) -> Rates:
    """Rates of one of the precisions in one of `GPU_SETTINGS`.

    A framework computes products of floats in full precision and convolutions in TF32 where there
    is TF32, an engine both in TF32. Without units for it, bfloat16 runs as float16 on tensor cores
    and as fp32 elsewhere; int8 runs in engines, and as float16 in frameworks.
    """
    peaks, plain = hardware.peak_tflops, hardware.peak_tflops["fp32"]
    asked = "fp16" if precision in _AS_FP16 else precision
    bytes_of = _BYTES.get(precision, _BYTES[asked])
    half = max(peaks.get("fp16", plain), plain)
    has_tensor = half > 2.02 * plain
    if asked in ("int8", "fp8"):
        fast = max(peaks.get("int8", 0.0), peaks.get(asked, 0.0), half)
        if setting in _ENGINES and fast > half:
            return Rates(asked, fast, fast, has_tensor, has_tensor, *bytes_of)
        asked, bytes_of = "fp16", (_BYTES["fp16"] if setting not in _ENGINES else bytes_of)
    if asked == "bf16" and "bf16" not in peaks and not has_tensor:
        asked, bytes_of = "fp32", _BYTES["bf16"]
        return Rates(asked, plain, plain, False, False, *bytes_of, False, True)
    if asked in ("fp16", "bf16"):
        emulated = asked == "bf16" and "bf16" not in peaks
        rates = Rates("fp16" if emulated else asked, half, half, has_tensor, has_tensor, *bytes_of)
        return rates._replace(is_halved=has_tensor and _is_halved(hardware), is_emulated=emulated)
    tf32 = max(peaks.get("tf32", plain), plain)
    knows = "tf32" in peaks
    both = knows and (asked == "tf32" or setting in _ENGINES)
    products = tf32 if both else plain * _MATRIX_FP32.get(hardware.microarchitecture, 1.0)
    convolutions = tf32 if knows else products
    return Rates("tf32" if knows else "fp32", convolutions, products, knows, both, *bytes_of)


def boost_of(hardware: Hardware) -> float:
    """Factor by which a card's clock goes beyond that of its data sheet."""
    reached = _REACHED.get(hardware.microarchitecture, 0.0)
    if not _PLAYERS.fullmatch(hardware.name) or not hardware.clock_ghz:
        return 1.0
    return min(max(reached / hardware.clock_ghz, 1.0), _MOST_BOOST)


def node_of(hardware: Hardware) -> float:
    """Structure width of the process that a GPU is made in, nm."""
    usual = next(nm for year, nm in _USUAL_NODES.items() if hardware.year >= year)
    return _NODES.get(hardware.microarchitecture, usual)


def _is_halved(hardware: Hardware) -> bool:
    """Whether tensor cores sum in fp32 at half of their peak, as those of GeForce cards do."""
    peaks = hardware.peak_tflops
    if "bf16" in peaks:
        return peaks["bf16"] < 0.75 * peaks["fp16"]
    name = hardware.name.removeprefix("GeForce ")
    return hardware.microarchitecture == "Turing" and name.startswith("RTX 20")
