"""Costs of networks that tables and packages state, to tell whether a graph is of that network."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from nasplug import datasets
from nasplug.datasets.network_graphs import KnownNetwork
from nasplug.measurements.importers.rows import Rows
from nasplug.measurements.references import network_reference, sizes

__all__ = ["Stated", "compared", "stated_costs"]

# Relative difference up to which a cost agrees, beyond the rounding of the stated one.
AGREES = 0.02
# Reference -> reason why its costs differ from the stated ones although it is that network.
_NORMS = "the counter of the table has norms and pooling, too"
_FILE = "the stated size is that of a file, with tables of positions written out"
_EXPLAINED = {
    r"timm:(mnasnet|.*efficientnet|mobilenet|ghostnet|resnetv2_.*bit)": ("macs", _NORMS),
    r"timm:vit_d(little|pwee|wee)": ("macs", "the counter of the table lacks a part of attention"),
    r"transformers:apple/mobilevitv2": (
        "macs",
        "the counter of the table lacks products that its compiler joins",
    ),
    r"transformers:apple/mobilevit-small@224": ("macs", "stated for images of 256 pixels"),
    r"transformers:(microsoft/(beit|swin-base)|facebook/(deit-tiny|levit)|snap-research|"
    r"apple/mobilevit-xx)": ("parameters", _FILE),
    r"pytorchcv:(fdmobilenet|mobilenetv3)": ("macs", _NORMS),
    r"paddleclas:GoogLeNet": ("parameters", "the stated ones include heads for training"),
    r"paddleclas:": ("macs", "PaddleClas counts other operations with the products"),
    r"torchvision:(deeplab|fcn|segmentation)": (
        "parameters",
        "the published ones include a head for training",
    ),
}


@dataclass(frozen=True)
class Stated:
    """Costs that a source states of a network.

    Attributes:
        macs: Multiply-accumulates; NaN if they are not stated.
        parameters: Parameters; NaN if they are not stated.
        macs_step: Half a step of what the multiply-accumulates are rounded to.
        parameters_step: The same of the parameters.
    """

    macs: float
    parameters: float
    macs_step: float
    parameters_step: float


def stated_costs(folder: Path | None) -> dict[str, list[Stated]]:
    """Costs by reference: of timm's tables, and of PaddleClas and a study of phones in a folder.

    Args:
        folder: Folder with the files gpu_networks.csv.gz and edge_qed_mobile.csv.gz, or None.
    """
    costs: dict[str, list[Stated]] = defaultdict(list)
    timm = datasets.load("timm-latency").drop_duplicates(["model", "image_size", "gmacs"])
    columns = (timm[name] for name in ("model", "image_size", "gmacs", "params_millions"))
    for model, size, gmacs, millions in zip(*columns, strict=True):
        stated = Stated(gmacs * 1e9, millions * 1e6, 5e6, 5e3)
        costs[f"timm:{model}@{size}"].append(stated)
    if folder is not None:
        for reference, stated in (*_of_phones(folder), *_of_paddle(folder)):
            costs[reference].append(stated)
    return costs


def _of_phones(folder: Path) -> list[tuple[str, Stated]]:
    frame = Rows.read(folder / "edge_qed_mobile.csv.gz").frame
    frame = frame.drop_duplicates(["network_source", "input_shape"])
    columns = (frame[name] for name in ("network_source", "input_shape", "flops", "size_bytes"))
    return [
        (
            network_reference(source, sizes(shape)),
            Stated(float(flops) / 2, float(size) / 4, 0, 0),
        )
        for source, shape, flops, size in zip(*columns, strict=True)
    ]


def _of_paddle(folder: Path) -> list[tuple[str, Stated]]:
    frame = Rows.read(folder / "gpu_networks.csv.gz").frame
    frame = frame[frame["network_source"].str.startswith("paddleclas:")]
    frame = frame.drop_duplicates(["network_source", "input_shape", "attributes"])
    result = []
    columns = (frame[name] for name in ("network_source", "input_shape", "attributes"))
    for source, shape, attributes in zip(*columns, strict=True):
        known = json.loads(attributes or "{}")
        reference = network_reference(source, sizes(shape))
        if known.get("params_M") and reference.startswith("paddleclas:"):
            macs = 1e9 * (known.get("flops_G") or np.nan)
            result.append((reference, Stated(macs, 1e6 * known["params_M"], 5e6, 5e3)))
    return result


@cache
def _published(name: str) -> tuple[float, float, int]:
    """Parameters, multiply-accumulates and side of the image that torchvision publishes."""
    from torchvision import models

    weights = models.get_model_weights(name.rpartition(".")[2])
    for entry in weights:
        crop = getattr(entry.transforms, "keywords", {}).get("crop_size", 0)
        side = crop if isinstance(crop, int) else 0
        return entry.meta["num_params"], entry.meta["_ops"] * 1e9, side
    return np.nan, np.nan, 0


def compared(network: KnownNetwork, stated: list[Stated]) -> dict[str, float | str | bool]:
    """Compare a network with what is stated; the nearest of several statements counts.

    Returns:
        `macs` and `parameters`, relative differences beyond rounding; `agrees`; `explained`, a
        reason if they differ and the network is kept.
    """
    package, _, name = network.reference.partition(":")
    if package == "torchvision":
        parameters, macs, side = _published(name.partition("@")[0])
        same_size = name.endswith(f"@{side}")
        stated = [*stated, Stated(macs if same_size else np.nan, parameters, 5e5, 0)]
    if not stated:
        return {}
    differences = [
        (
            _beyond(network.graph.total("macs"), one.macs, one.macs_step),
            _beyond(network.parameters, one.parameters, one.parameters_step),
        )
        for one in stated
    ]
    macs, parameters = min(differences, key=lambda pair: max(map(abs, pair)))
    off = {
        name for name, value in (("macs", macs), ("parameters", parameters)) if abs(value) > AGREES
    }
    reasons = {
        kind: reason
        for pattern, (kind, reason) in _EXPLAINED.items()
        if re.match(pattern, network.reference)
    }
    explained = off <= set(reasons)
    return {
        "macs": macs,
        "parameters": parameters,
        "agrees": not off,
        "explained": "; ".join(reasons[kind] for kind in sorted(off)) if explained else "",
    }


def _beyond(cost: float, stated: float, step: float) -> float:
    """Relative difference, less what rounding may make; 0 if nothing is stated."""
    if not stated > 0:
        return 0.0
    apart = cost - stated
    return float(np.sign(apart) * max(abs(apart) - step, 0) / stated)
