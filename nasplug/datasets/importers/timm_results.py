"""Importer of timm's result tables: speed of its models on three devices, ImageNet accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from nasplug.datasets.layout import foreign, number, read_csv, shown
from nasplug.datasets.tables import Table

__all__ = ["TIMM_FILES", "import_accuracy", "import_latency"]

TIMM_FILES = {
    "benchmark-infer-amp-nchw-pt113-cu117-rtx3090": ("RTX 3090", "amp nchw pt113 cu117"),
    "benchmark-infer-amp-nchw-pt210-cu121-rtx3090": ("RTX 3090", "amp nchw pt210 cu121"),
    "benchmark-infer-amp-nchw-pt240-cu124-rtx3090": ("RTX 3090", "amp nchw pt240 cu124"),
    "benchmark-infer-amp-nhwc-pt113-cu117-rtx3090": ("RTX 3090", "amp nhwc pt113 cu117"),
    "benchmark-infer-amp-nhwc-pt210-cu121-rtx3090": ("RTX 3090", "amp nhwc pt210 cu121"),
    "benchmark-infer-amp-nhwc-pt240-cu124-rtx3090": ("RTX 3090", "amp nhwc pt240 cu124"),
    "benchmark-infer-amp-nchw-pt240-cu124-rtx4090": ("RTX 4090", "amp nchw pt240 cu124"),
    "benchmark-infer-amp-nchw-pt240-cu124-rtx4090-dynamo": (
        "RTX 4090",
        "amp nchw pt240 cu124 dynamo",
    ),
    "benchmark-infer-amp-nhwc-pt240-cu124-rtx4090": ("RTX 4090", "amp nhwc pt240 cu124"),
    "benchmark-infer-amp-nchw-pt291-cu128-4090": ("RTX 4090", "amp nchw pt291 cu128"),
    "benchmark-infer-amp-nchw-pt291-cu128-4090-dynamo": ("RTX 4090", "amp nchw pt291 cu128 dynamo"),
    "benchmark-infer-fp32-nchw-pt221-cpu-i9_10940x-dynamo": (
        "Core i9-10940X",
        "fp32 nchw pt221 dynamo",
    ),
    "benchmark-infer-fp32-nchw-pt240-cpu-i9_10940x-dynamo": (
        "Core i9-10940X",
        "fp32 nchw pt240 dynamo",
    ),
}
"""File name without `.csv` -> (device, mode: precision, memory layout, PyTorch, CUDA, compiler)."""

# Column of the file -> column of the table; the order differs from file to file.
_SIZE = {"infer_img_size": "image_size"}
_SPEED = {
    "infer_batch_size": "batch_size",
    "infer_step_time": "latency_ms",
    "infer_samples_per_sec": "img/s",
}
_COSTS = {"infer_gmacs": "gmacs", "infer_macts": "macts"}
_PARAMS = {"param_count": "params_millions"}
_LATENCY = _SIZE | _SPEED | _COSTS | _PARAMS
_ACCURACY = {
    "img_size": "image_size",
    "top1": "imagenet_val",
    "top5": "imagenet_val_top5",
    "param_count": "params_millions",
    "crop_pct": "crop",
}
_REST = {"top1_err", "top5_err", "interpolation"}


def _rows(path: Path, columns: list[set[str]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield line and fields of each row, of which there is one for each model and image size."""
    seen = set()
    for line, row in read_csv(path, columns):
        model, size = row["model"], row.get("infer_img_size", row.get("img_size"))
        if not model or not model.isprintable() or (model, size) in seen:
            raise foreign(path, f"line {line} repeats a model or has none: {shown(model)}")
        seen.add((model, size))
        yield f"line {line}", row


def _numbers(
    path: Path, where: str, row: Mapping[str, str], names: Iterable[str], may_lack: bool = False
) -> list[float]:
    """Read the numbers in some columns; NaN if the row may lack them, and lacks them all."""
    names = tuple(names)
    if may_lack and not any(row.get(name) for name in names):
        return [np.nan] * len(names)
    values = []
    for name in names:
        text = row[name].replace(",", "") if name == "param_count" else row[name]
        value = number(text)
        if value is None or value <= 0 or (name.endswith("_size") and not value.is_integer()):
            raise foreign(path, f"{where} has {shown(row[name])} for {name}")
        values.append(value)
    return values


def import_latency(files: Mapping[str, Path]) -> Table:
    """Build one long table of the 13 benchmark files.

    ARGS The `benchmark-infer-*.csv` files, by file name.

    Returns:
        A row for each file, model and image size; `latency_ms` is for one batch. NaN where a model
        was not measured, or its multiply-accumulates (10⁹) and activations (10⁶) are unknown.
    """
    texts, values = [], []
    allowed = [{"model", *_LATENCY}, {"model", *_LATENCY} - set(_COSTS)]
    for stem, (device, mode) in TIMM_FILES.items():
        path = files[f"{stem}.csv"]
        for where, row in _rows(path, allowed):
            texts.append((row["model"], device, mode))
            values.append(
                [
                    *_numbers(path, where, row, _SIZE),
                    *_numbers(path, where, row, _SPEED, may_lack=True),
                    *_numbers(path, where, row, _COSTS, may_lack=True),
                    *_numbers(path, where, row, _PARAMS),
                ]
            )
    return _table(("model", "device", "mode"), texts, _LATENCY, values)


def import_accuracy(files: Mapping[str, Path]) -> Table:
    """Build the table of ImageNet accuracies from `results-imagenet.csv`.

    Returns:
        A row for each trained model and image size: `model` is the architecture as in the latency
        table, `tag` the name of its training, which follows the first dot of timm's name; accuracy
        in percent.
    """
    path = files["results-imagenet.csv"]
    texts, values = [], []
    for where, row in _rows(path, [{"model", *_ACCURACY, *_REST}]):
        accuracies = _numbers(path, where, row, _ACCURACY)
        if max(accuracies[1:3]) > 100:
            raise foreign(path, f"{where} has an accuracy above 100 percent")
        values.append(accuracies)
        model, _, tag = row["model"].partition(".")
        texts.append((model, tag, row["interpolation"]))
    return _table(("model", "tag", "interpolation"), texts, _ACCURACY, values)


def _table(
    names: tuple[str, ...],
    texts: Sequence[tuple[str, ...]],
    columns: Mapping[str, str],
    values: list[list[float]],
) -> Table:
    """Make a table of the texts and the numbers of each row."""
    return Table(
        index=np.arange(len(values)),
        columns=tuple(columns.values()),
        values=np.array(values).reshape(-1, len(columns)),
        texts={name: tuple(row[k] for row in texts) for k, name in enumerate(names)},
        dtypes={"image_size": "int64"},
    )
