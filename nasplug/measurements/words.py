"""Words for runtimes and precisions: what sources write, in one vocabulary."""

from __future__ import annotations

import re
from functools import cache

from nasplug.text import shortened

__all__ = ["PRECISIONS", "RUNTIMES", "precision_of", "runtime_of"]

# Pattern in lower case -> runtime; the first that fits counts, so that those which run on another
# one stand before it. The rest of the text is the version.
_RUNTIMES = (
    (r"edgecortix mera", "mera"),
    (r"tensorrt-llm", "tensorrt-llm"),
    (r"paddle.*tensorrt", "paddle tensorrt"),
    (r"tensorflow.*tensorrt", "tensorflow tensorrt"),
    (r"tensorrt", "tensorrt"),
    (r"deepspeed", "deepspeed"),
    (r"llama\.cpp", "llama.cpp"),
    (r"vllm", "vllm"),
    (r"sglang", "sglang"),
    (r"armnn", "armnn"),
    (r"edgetpu|coral", "tflite edge tpu"),
    (r"tflite|tensorflow[ -]lite", "tflite"),
    (r"tensorflow.*xla", "tensorflow xla"),
    (r"^tf|tensorflow", "tensorflow"),
    (r"paddle-lite", "paddle lite"),
    (r"paddle", "paddle"),
    (r"pytorch mobile", "pytorch mobile"),
    (r"inductor_(reduce-overhead|max-autotune$)", "compiled graphs"),
    (r"inductor|torch\.compile inductor", "compiled"),
    (r"torch\.compile cudagraphs", "eager graphs"),
    (r"deepsparse", "deepsparse"),
    (r"precompiled_qnn_onnx", "onnxruntime qnn"),
    (r"qnn", "qnn"),
    (r"onnx|^ort\b|\(ort\)", "onnxruntime"),
    (r"openvino", "openvino"),
    (r"ncnn-vulkan", "ncnn vulkan"),
    (r"ncnn", "ncnn"),
    (r"mnn vulkan", "mnn vulkan"),
    (r"mnn", "mnn"),
    (r"core ml", "core ml"),
    (r"opencv", "opencv"),
    (r"drp-ai", "drp-ai"),
    (r"rknn", "rknn"),
    (r"pulsar", "pulsar2"),
    (r"openexplorer", "openexplorer"),
    (r"hailo", "hailort"),
    (r"mxnet", "mxnet"),
    (r"pplnn", "pplnn"),
    (r"furiosa", "furiosa"),
    (r"cloud ai", "cloud ai"),
    (r"snapdragon neural|snpe", "snpe"),
    (r"plumerai", "plumerai"),
    (r"hale\b|hardware-aware lowering", "hale"),
    (r"sapeon", "sapeon"),
    (r"rbln", "rbln"),
    (r"sima sdk", "sima"),
    (r"synapse", "synapse"),
    (r"keras", "keras"),
    (r"stedge-ai", "x-cube-ai"),
    (r"x-cube-ai", "x-cube-ai"),
    (r"tvm", "tvm"),
    (r"pytorch|torch", "eager"),
    (r"vendor library", "vendor library"),
)
RUNTIMES = tuple(dict.fromkeys(word for _, word in _RUNTIMES))
"""Runtimes that have a word of their own; others keep the source's name, in lower case."""

PRECISIONS = {
    "fp64": "fp64",
    "fp32": "fp32",
    "fp32 (default)": "fp32",
    "fp32?": "fp32",
    "fp16 storage": "fp32",
    "tf32": "tf32",
    "fp32(tf32?)": "tf32",
    "fp16": "fp16",
    "fp16?": "fp16",
    "fp16(amp)": "fp16",
    "fp16(mixed)": "fp16",
    "fp16/bf16": "fp16",
    "bf16": "bf16",
    "int8": "int8",
    "int8?": "int8",
    "int8 (usual)": "int8",
    "int8 (default)": "int8",
    "w8a8": "int8",
    "int4": "int4",
    "w8a16": "w8a16",
    "w16a16": "int16",
    "float": "fp16",
    "fp32-or-fp16": "float",
    "fp32/fp16": "float",
    "w8a8_mixed_int16": "mixed",
    "w8a16_mixed_int16": "mixed",
    "w8a8_mixed_fp16": "mixed",
    "w8a16_mixed_fp16": "mixed",
    "mixed_with_float": "mixed",
    "int8 (some layers 4/16 bit)": "mixed",
    "gguf (precision not stated)": "",
    "as-submitted": "",
    "fp32-or-as-submitted": "",
    "": "",
}
"""Precision as sources write it -> the table's word; empty where it is not known."""

_VERSION = re.compile(r"\d")
_WITHOUT_VERSION = {"pytorch eager", "precompiled_qnn_onnx", "hailo sdk"}
_MOST_SHOWN = 60


@cache
def runtime_of(text: str) -> tuple[str, str]:
    """Word for a runtime and the rest of a source's text, which names versions and settings."""
    plain = " ".join(text.split())
    lower = plain.lower()
    for pattern, word in _RUNTIMES:
        if re.search(pattern, lower):
            says_more = _VERSION.search(plain) or len(plain) > len(word) + 2
            has_version = says_more and lower not in _WITHOUT_VERSION
            return word, shortened(plain, _MOST_SHOWN) if has_version else ""
    return ("", plain) if re.fullmatch(r"(cuda|jetpack)[ \d.]*", lower) else (lower, "")


def precision_of(text: str) -> str:
    """The table's word for a precision.

    Raises:
        KeyError: If the source's word is none that is known.
    """
    return PRECISIONS[text.strip()]
