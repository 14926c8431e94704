"""Training of a predictor on measured architectures, its test, and its checkpoint."""

from __future__ import annotations

import inspect
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug._signals import held, stoppable
from nasplug.arguments import checked_count, checked_seed, checked_space, is_registered
from nasplug.devices.hardware import hardware as device_named
from nasplug.predicting.zoo import KINDS, ArchitecturePredictor, create_predictor
from nasplug.predictors.capabilities import is_storable
from nasplug.predictors.checkpoint import base_path
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.cell_latency import LatencyConfig
from nasplug.predictors.published.recipes import NETWORKS
from nasplug.predictors.registry import accepts, create
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.search_spaces.files import sweep, write_text
from nasplug.text import counted
from nasplug.training.labels import Labels, check_data, check_data_space, read_labels

__all__ = ["train"]

Array = NDArray[np.float64]

# Share of the rows held out for intervals. The published networks hold out none by default, and
# without intervals a search cannot use them.
CALIBRATION_SHARE = 0.15
# Parameters of a predictor that `train` has arguments for.
ARGUMENTS = {"kind": "--kind", "targets": "--target", "seed": "--seed"}


def train(
    model: str,
    data: str | os.PathLike[str],
    space: str | SearchSpace = "nb201",
    *,
    kind: str = "accuracy",
    targets: str | Sequence[str] = (),
    hardware: str | os.PathLike[str] | Hardware | None = None,
    batch_size: int = 1,
    train_size: int | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    test: bool = False,
    resume_folder: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Train a predictor, and keep it in files or test it or both.

    Args:
        model: A name of `nasplug.predictors.names()`.
        data: A data set's name or the path of a CSV file; see `read_labels`.
        space: The space of the architectures, or its name.
        kind: `"accuracy"` (percent) or `"latency"` (ms, on one device).
        targets: Column to learn, or columns. A column `cifar10_val` or `cifar10_test` is predicted
            as `cifar10` if the space has that image set; `name=column` predicts it under another
            name. A latency has one column, by default `<device>@<batch size>`.
        hardware: Device of a latency: a name or the path of a .toml file.
        batch_size: Images a forward pass, of a latency.
        train_size: Rows to train on, chosen by the seed; all if None.
        seed: Chooses the rows and seeds the training.
        options: Keyword arguments of the predictor.
        out: Path of the checkpoint, with or without its suffix.
        test: Whether to compare predictions with the rows that were not trained on.
        resume_folder: Folder for the state of the training, so that it can go on when it was
            interrupted; only for predictors that keep one.
        progress: Whether to draw progress bars; by default on a terminal only.

    Returns:
        The training's settings and data, `"files"`, and with `test` Kendall's tau-b and the
        coverage of the intervals for each target.

    Raises:
        InputError: If an argument names nothing known, does not fit, or a row cannot be read.
        KeyboardInterrupt: On Ctrl-C, SIGTERM or SIGHUP, with a sentence on what remains.

    Example:
        >>> import numpy as np
        >>> import pandas as pd
        >>> import nasplug
        >>> space, generator = nasplug.space("nb201"), np.random.default_rng(0)
        >>> archs = [space.sample(generator).text for _ in range(60)]
        >>> table = pd.DataFrame({"arch": archs, "accuracy": np.linspace(80, 94, 60)})
        >>> table.to_csv("mine.csv")  # stands for your own measurements
        >>> record = nasplug.train("path-gp", "mine.csv", targets=["accuracy"], out="mine")
        >>> record["train_size"], record["files"]
        (60, ['mine.safetensors'])
    """
    # In the order of the command's options, so that the first wrong one is named.
    check_data(data)
    _check_model(model)
    opened = checked_space(space)
    check_data_space(data, opened)
    if kind not in KINDS:
        raise InputError(f"unknown kind of predictor {kind!r}; known: {', '.join(KINDS)}")
    targets = (targets,) if isinstance(targets, str) else targets
    columns = _columns(targets, opened) if kind == "accuracy" else _latency_column(targets)
    device = _device(kind, hardware, batch_size)
    if device is not None:
        columns = columns or {"latency": device.key}
    if train_size is not None:
        checked_count(train_size, "train size")
    checked_seed(seed)
    settings = _checked_options(options)
    if out is None and not test:
        raise InputError("this training would leave no result; give --out, --test or both")
    predictor = _create(model, kind, tuple(columns), opened, seed, settings)
    base = None if out is None else _writable(out, model, predictor)
    labels = read_labels(data, list(columns.values()), opened)
    train_rows, test_rows = _split(labels, train_size, seed, test)
    record: dict[str, Any] = {
        "model": model,
        "kind": kind,
        "space": opened.name,
        "data": labels.source,
        "sha256": labels.sha256,
        "targets": columns,
        "hardware": None if device is None else device.key,
        "rows": len(labels.archs),
        "train_size": len(train_rows),
        "seed": seed,
        "options": settings,
    }
    extra = _fit_options(predictor, progress, resume_folder, record)
    source = f"{counted(len(train_rows), 'row')} of {labels.source}"
    print(f"nasplug: training {model} on {source}", file=sys.stderr)
    files: list[str] = []
    with stoppable(lambda: _stopped(resume_folder, files)):
        started = time.perf_counter()
        archs = [labels.archs[k] for k in train_rows]
        devices = None if device is None else [device]
        predictor.fit(archs, labels.values[train_rows], devices, **extra)
        record["seconds"] = round(time.perf_counter() - started, 3)
        record["test"] = _test(predictor, labels, test_rows, device) if test else None
        if base is not None:
            with held():
                predictor.save(base, training=record)
                files.append(f"{base}.safetensors")
    return {**record, "files": files}


def _fit_options(
    predictor: ArchitecturePredictor,
    progress: bool | None,
    resume_folder: str | os.PathLike[str] | None,
    record: Mapping[str, Any],
) -> dict[str, Any]:
    """Options that a predictor's `fit` takes: a progress bar, a folder to resume from."""
    options: dict[str, Any] = {"progress": progress}
    if resume_folder is not None:
        options["folder"] = _resumable(Path(resume_folder), predictor, record)
    accepted = inspect.signature(predictor.model.fit).parameters
    return {name: value for name, value in options.items() if name in accepted}


def _device(
    kind: str, hardware: str | os.PathLike[str] | Hardware | None, batch_size: int
) -> Setting | None:
    if kind == "accuracy":
        if hardware is not None:
            raise InputError(
                "an accuracy does not depend on the device; give --kind latency, or leave the "
                "device out"
            )
        checked_count(batch_size, "batch size")
        return None
    if hardware is None:
        raise InputError("a latency belongs to a device; name it with --hw")
    device = device_named(hardware)
    return Setting(device, checked_count(batch_size, "batch size"))


def _checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if options is not None and not isinstance(options, Mapping):
        raise InputError(f"options must be a dictionary such as {{'epochs': 100}}, not {options!r}")
    for name in options or ():
        if name in ARGUMENTS:
            raise InputError(f"{name!r} is not an option; give it as {ARGUMENTS[name]}")
    return dict(options or {})


def _latency_column(targets: Sequence[str]) -> dict[str, str]:
    """The target of a latency -> its column in the data; empty for the device's own column."""
    if len(targets) > 1:
        raise InputError(
            f"there are {len(targets)} targets, but a latency has one; give one column"
        )
    return dict(zip(["latency"], targets, strict=False))


def _columns(targets: Sequence[str], space: SearchSpace) -> dict[str, str]:
    """Name of each predicted accuracy -> its column in the data."""
    if not targets:
        raise InputError("name the column to learn with --target, such as cifar10_val")
    columns: dict[str, str] = {}
    for target in targets:
        name, equals, column = target.partition("=")
        if not equals:
            stem, _, suffix = target.rpartition("_")
            name = stem if suffix in ("val", "test") and stem in space.tasks else target
            column = target
            # A space of one's own, such as that of a function, has one accuracy of any name.
            if len(targets) == len(space.tasks) == 1 and not is_registered(space):
                name = space.tasks[0]
        if not name or name in columns:
            raise InputError(f"the name {name!r} of target {target!r} is empty or already used")
        columns[name] = column
    return columns


def _check_model(model: str) -> None:
    """Check that a predictor of that name is installed, and can be imported."""
    if not isinstance(model, str):
        raise InputError(f"model must be the name of a predictor such as 'nasplug', not {model!r}")
    accepts(model, "kind")


def _create(
    model: str,
    kind: str,
    targets: tuple[str, ...],
    space: SearchSpace,
    seed: int,
    options: dict[str, Any],
) -> ArchitecturePredictor:
    """Create the predictor with the options that it takes."""
    if model == "nasplug":
        # `create_predictor` adds the encoder that the package has pretrained for the space.
        if kind == "latency":
            return create_predictor(kind, space, **_latency_options(options, seed))
        return create_predictor(kind, space, **{"targets": targets, "seed": seed, **options})
    arguments = {"kind": kind, "targets": targets, "seed": seed}
    arguments = {name: value for name, value in arguments.items() if accepts(model, name)}
    if model in NETWORKS:
        arguments["calibration_share"] = CALIBRATION_SHARE
    predictor = ArchitecturePredictor(model, space, create(model, **{**arguments, **options}))
    if predictor.kind != kind or tuple(predictor.targets) != targets:
        raise InputError(
            f"predictor {model!r} predicts {predictor.kind} with the targets "
            f"{', '.join(predictor.targets)}, not {kind} with {', '.join(targets)}; it must take "
            "kind and targets"
        )
    return predictor


def _latency_options(options: dict[str, Any], seed: int) -> dict[str, Any]:
    """Turn flat options into fields of `LatencyConfig`: those of its recipe go to `training`."""
    training = LatencyConfig().training
    names = {f.name for f in fields(training)} - {f.name for f in fields(LatencyConfig)}
    recipe = replace(training, seed=seed, **{k: v for k, v in options.items() if k in names})
    return {**{k: v for k, v in options.items() if k not in names}, "training": recipe}


def _writable(out: str | os.PathLike[str], model: str, predictor: ArchitecturePredictor) -> Path:
    """Path of the checkpoint, checked now: `save` would fail only after hours of training."""
    if not is_storable(predictor.model):
        raise InputError(f"predictor {model!r} cannot be saved; leave --out out and give --test")
    path = base_path(out)
    if path.is_dir():
        raise InputError(f"cannot write {path}; give a file in a folder that you may write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Some folders, such as /proc, take no files although their permissions allow it.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}); give a file in a folder that you may write"
        ) from None
    # Remove what interrupted runs left, now and not after the training.
    sweep(path.parent)
    return path


def _split(
    labels: Labels, train_size: int | None, seed: int, test: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the rows into those to train on, in random order, and the others."""
    total = len(labels.archs)
    size = total if train_size is None else train_size
    if size > total:
        raise InputError(
            f"train size {size} is more than the {counted(total, 'row')} of {labels.source}"
        )
    if test and size == total:
        raise InputError(f"no row is left to test on; give a train size below {total}")
    order = np.random.default_rng(seed).permutation(total)
    return order[:size], order[size:]


def _resumable(folder: Path, predictor: ArchitecturePredictor, record: Mapping[str, Any]) -> Path:
    """Check that the predictor keeps its state, and that the folder holds no other training."""
    if "folder" not in inspect.signature(predictor.model.fit).parameters:
        raise InputError(
            f"predictor {record['model']!r} cannot be resumed; leave --resume-folder out"
        )
    settings = json.dumps(record, indent=1, sort_keys=True) + "\n"
    file = folder / "settings.json"
    try:
        if not file.exists():
            write_text(file, settings)
        elif file.read_text(encoding="utf-8") != settings:
            raise InputError(f"{folder} holds a training with other settings; give another folder")
    except OSError as error:
        raise InputError(f"cannot use {folder}: {error.strerror}") from None
    return folder


def _stopped(resume_folder: str | os.PathLike[str] | None, files: Sequence[str]) -> str:
    """Message of an interruption: what is kept, and how to go on."""
    if files:
        return f"stopped; the predictor was already written to {files[0]}"
    advice = "a training with --resume-folder can be continued"
    if resume_folder is not None:
        advice = "the same command continues from its last state"
    return f"stopped; no predictor was written; {advice}"


def _test(
    predictor: ArchitecturePredictor,
    labels: Labels,
    rows: NDArray[np.int64],
    device: Setting | None,
) -> dict[str, Any]:
    """Compare predictions of some rows with their labels: rank correlation and coverage."""
    from scipy.stats import kendalltau

    print(f"nasplug: testing on the other {counted(len(rows), 'row')}", file=sys.stderr)
    prediction = predictor.predict(
        [labels.archs[k] for k in rows],
        None if device is None else device.hardware,
        1 if device is None else device.batch_size,
    )
    truth = labels.values[rows]
    inside = (prediction.lower <= truth) & (truth <= prediction.upper)
    scores: dict[str, Any] = {"rows": len(rows), "interval": prediction.interval}
    for k, target in enumerate(prediction.targets):
        tau = float(kendalltau(prediction.mean[:, k], truth[:, k])[0])
        has_interval = bool(np.isfinite(prediction.lower[:, k]).all())
        scores[target] = {
            "kendall_tau": round(tau, 6) if np.isfinite(tau) else None,
            "coverage": round(float(inside[:, k].mean()), 6) if has_interval else None,
        }
    return scores
