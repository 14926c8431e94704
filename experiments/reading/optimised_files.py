"""Read networks before and after ONNX Runtime optimised them or made their numbers narrower.

    nice -n 19 python -m experiments.reading.optimised_files

Needs timm and onnxruntime (CPU). Networks of timm with random weights are exported; each version of
them is a file that ONNX Runtime's own tools write. A version has the FLOPs and the parameters of
the exported file, and bytes by its types. The ratios go into results/optimised_files.json.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from experiments.campaign import Options
from experiments.common import write_result
from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers import onnx_graph

__all__ = ["NETWORKS", "VERSIONS"]

NETWORKS = (
    *("resnet18", "mobilenetv3_small_100", "efficientnet_lite0", "ghostnet_100", "convnext_atto"),
    *("vit_tiny_patch16_224", "deit3_small_patch16_224", "swin_tiny_patch4_window7_224"),
)
SEED = 0
INPUT, SIDE = "x", 224


def export(name: str, path: Path) -> None:
    """Write a network of timm with random weights, no two of which are equal."""
    import timm

    torch.manual_seed(SEED)
    module = timm.create_model(name).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.1)
    image = torch.zeros(1, 3, SIDE, SIDE)
    torch.onnx.export(module, (image,), path, dynamo=False, opset_version=17, input_names=[INPUT])


def optimised(level: str, source: Path, target: Path) -> None:
    """Write what ONNX Runtime runs at a level of its optimiser."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def narrowed(source: Path, target: Path) -> None:
    """Write the network in half precision, with inputs and outputs as before."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


class _Images:
    """Images by which scales are chosen."""

    def __init__(self) -> None:
        pixels = np.random.default_rng(SEED).random((1, 3, SIDE, SIDE), np.float32)
        self._images: Iterator[dict[str, Any]] = iter([{INPUT: pixels}])

    def get_next(self) -> dict[str, Any] | None:
        """The next image, None at the end."""
        return next(self._images, None)


def quantised(form: str, source: Path, target: Path) -> None:
    """Write the network on integers whose scales are fixed beforehand."""
    from onnxruntime.quantization import QuantFormat, quantize_static

    quantize_static(source, target, _Images(), quant_format=getattr(QuantFormat, form))


def quantised_as_it_runs(source: Path, target: Path) -> None:
    """Write the network with weights of integers, and scales that are chosen as it runs."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target)


def four_bits(source: Path, target: Path) -> None:
    """Write the network with matrices of 4 bits."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=32)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target))


VERSIONS: dict[str, Callable[[Path, Path], None]] = {
    "fused operators": partial(optimised, "ORT_ENABLE_EXTENDED"),
    "fused operators, channels in blocks": partial(optimised, "ORT_ENABLE_ALL"),
    "half precision": narrowed,
    "8 bits, changes of the type around operators": partial(quantised, "QDQ"),
    "8 bits, operators on integers": partial(quantised, "QOperator"),
    "8 bits, scales chosen as it runs": quantised_as_it_runs,
    "matrices of 4 bits": four_bits,
}


def compared(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Each version of a network against the exported file."""
    source = folder / f"{name}.onnx"
    export(name, source)
    exported = onnx_graph(source)
    for title, write in VERSIONS.items():
        target = folder / f"{name}.version.onnx"
        write(source, target)
        row: dict[str, Any] = {"network": name, "version": title}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                graph = onnx_graph(target)
            except InputError as error:
                yield row | {"refused": str(error).replace(str(folder), "")}
                continue
        ratios = {
            cost: graph.total(cost) / exported.total(cost) for cost in ("flops", "params", "bytes")
        }
        yield row | ratios | {"not_modelled": [str(w.message) for w in caught]}


def main() -> None:
    Options(__doc__).parse_args()
    logging.disable(logging.CRITICAL)
    rows = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in NETWORKS:
            for row in compared(name, Path(folder)):
                print(row, flush=True)
                rows.append(row)
    packages = {name: version(name) for name in ("onnxruntime", "timm", "onnx")}
    write_result("optimised_files", seed=SEED, packages=packages, rows=rows)


if __name__ == "__main__":
    main()
