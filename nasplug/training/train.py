"""Train a predictor on measured architectures and keep it: what `nasplug train` does."""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug._signals import held, stoppable
from nasplug.arguments import checked_count, checked_seed
from nasplug.devices.hardware import hardware as device_named
from nasplug.predicting.zoo import KINDS, ArchitecturePredictor, create_predictor
from nasplug.predictors.capabilities import is_storable
from nasplug.predictors.checkpoint import base_path
from nasplug.predictors.latency.cell_latency import DeviceBatch, LatencyConfig
from nasplug.predictors.published.recipes import NETWORKS
from nasplug.predictors.registry import accepts, create
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.search_spaces import space as space_named
from nasplug.search_spaces.files import sweep, write_text
from nasplug.training.labels import Labels, read_labels

__all__ = ["train"]

Array = NDArray[np.float64]

# The predictors that are published without one; what a search uses needs intervals.
CALIBRATION_SHARE = 0.15


def train(
    model: str,
    data: str,
    space: str | SearchSpace = "nb201",
    *,
    kind: str = "accuracy",
    targets: Sequence[str] = (),
    hardware: str | os.PathLike[str] | None = None,
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
        targets: Columns to learn. A column `cifar10_val` or `cifar10_test` is predicted as
            `cifar10` if the space has that image set; `name=column` predicts it under another name.
            A latency has one column, by default `<device>@<batch size>`.
        hardware: The device of a latency: a name or the path of a .toml file.
        batch_size: Images a forward pass, of a latency.
        train_size: Rows to train on, chosen by the seed; all if None.
        seed: Chooses the rows and seeds the training.
        options: What the predictor is called with.
        out: Path of the checkpoint, with or without its suffix.
        test: Whether to compare predictions with the rows that were not trained on.
        resume_folder: Where the training keeps its state to go on from, if the predictor does so.
        progress: Whether to draw progress bars; by default on a terminal only.

    Returns:
        What was trained on what, `"files"`, and with `test` Kendall's tau-b and the coverage of
        the intervals for each target.

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
        >>> told = nasplug.train("path-gp", "mine.csv", targets=["accuracy"], out="mine")
        >>> told["train_size"], told["files"]
        (60, ['mine.safetensors'])
    """
    where = space_named(space) if isinstance(space, str) else space
    checked_seed(seed)
    if kind not in KINDS:
        raise InputError(f"unknown kind of predictor {kind!r}; there are {', '.join(KINDS)}")
    if out is None and not test:
        raise InputError("nothing would remain of this training; give --out, --test or both")
    device = _device(kind, hardware, batch_size)
    columns = _columns(targets, device, where)
    predictor = _create(model, kind, tuple(columns), where, seed, dict(options or {}))
    base = None if out is None else _writable(out, model, predictor)
    labels = read_labels(data, list(columns.values()), where)
    rows, rest = _split(labels, train_size, seed, test)
    told: dict[str, Any] = {
        "model": model,
        "kind": kind,
        "space": where.name,
        "data": labels.source,
        "sha256": labels.sha256,
        "targets": columns,
        "hardware": None if device is None else device.key,
        "rows": len(labels.archs),
        "train_size": len(rows),
        "seed": seed,
        "options": dict(options or {}),
    }
    extra: dict[str, Any] = {"progress": progress}
    if resume_folder is not None:
        extra["folder"] = _resumable(Path(resume_folder), predictor, told)
    known = inspect.signature(predictor.model.fit).parameters
    extra = {name: value for name, value in extra.items() if name in known}
    print(f"nasplug: training {model} on {len(rows)} rows of {labels.source}", file=sys.stderr)
    started = time.perf_counter()
    files: list[str] = []
    with stoppable(lambda: _stopped(resume_folder, files)):
        predictor.fit(
            [labels.archs[k] for k in rows],
            labels.values[rows],
            None if device is None else [device],
            **extra,
        )
        told["seconds"] = round(time.perf_counter() - started, 3)
        told["test"] = _test(predictor, labels, rest, device) if test else None
        if base is not None:
            with held():
                predictor.save(base, training=told)
                files.append(f"{base}.safetensors")
    told["files"] = files
    return told


def _device(
    kind: str, hardware: str | os.PathLike[str] | None, batch_size: int
) -> DeviceBatch | None:
    if kind == "accuracy":
        if hardware is not None:
            raise InputError("an accuracy does not depend on hardware; give --kind latency")
        return None
    if hardware is None:
        raise InputError("a latency is that of a device; name it with --hw")
    return DeviceBatch(device_named(hardware), checked_count(batch_size, "batch size"))


def _columns(
    targets: Sequence[str], device: DeviceBatch | None, space: SearchSpace
) -> dict[str, str]:
    """Name of each predicted target -> its column in the data."""
    if device is not None:
        if len(targets) > 1:
            raise InputError(f"{len(targets)} targets; a latency has one column, its device's")
        return {"latency": targets[0] if targets else device.key}
    if not targets:
        raise InputError("name the column to learn with --target, such as cifar10_val")
    columns: dict[str, str] = {}
    for target in targets:
        name, equals, column = target.partition("=")
        if not equals:
            stem, _, suffix = target.rpartition("_")
            name = stem if suffix in ("val", "test") and stem in space.tasks else target
            column = target
        if not name or name in columns:
            raise InputError(f"target {target!r} gives the name {name!r}, which is empty or taken")
        columns[name] = column
    return columns


def _create(
    model: str,
    kind: str,
    targets: tuple[str, ...],
    space: SearchSpace,
    seed: int,
    options: dict[str, Any],
) -> ArchitecturePredictor:
    """The predictor, with the options that it takes."""
    if model == "nasplug":
        # Only this way it gets what the package has trained for the space.
        own = _latency_options(options, seed) if kind == "latency" else None
        return create_predictor(
            kind, space, **({"targets": targets, "seed": seed, **options} if own is None else own)
        )
    given = {"kind": kind, "targets": targets, "seed": seed}
    given = {name: value for name, value in given.items() if accepts(model, name)}
    if model in NETWORKS:
        given["calibration_share"] = CALIBRATION_SHARE
    made = ArchitecturePredictor(model, space, create(model, **{**given, **options}))
    if made.kind != kind or tuple(made.targets) != targets:
        raise InputError(
            f"predictor {model!r} predicts {made.kind} under {', '.join(made.targets)}, not {kind} "
            f"under {', '.join(targets)}; it must take kind and targets"
        )
    return made


def _latency_options(options: dict[str, Any], seed: int) -> dict[str, Any]:
    """Fields of `LatencyConfig`, those of its training among them."""
    training = LatencyConfig().training
    names = {f.name for f in fields(training)} - {f.name for f in fields(LatencyConfig)}
    recipe = replace(
        training, seed=seed, **{k: v for k, v in options.items() if k in names - {"seed"}}
    )
    return {**{k: v for k, v in options.items() if k not in names}, "training": recipe}


def _writable(out: str | os.PathLike[str], model: str, predictor: ArchitecturePredictor) -> Path:
    """Check before the training what `save` would only find after it."""
    inner = predictor.model
    if not is_storable(inner):
        raise InputError(f"predictor {model!r} cannot be saved; leave --out out and give --test")
    path = base_path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    if os.path.isdir(path) or not os.access(path.parent, os.W_OK):
        raise InputError(f"cannot write {path}; give the path of a file in a folder of yours")
    # Now, not when the training ends with writing there.
    sweep(path.parent)
    return path


def _split(
    labels: Labels, train_size: int | None, seed: int, test: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on in random order, and the others."""
    total = len(labels.archs)
    size = total if train_size is None else checked_count(train_size, "train size")
    if size > total:
        raise InputError(f"train size {size} is more than the {total} rows of {labels.source}")
    if test and size == total:
        raise InputError(f"no row remains to test on; give a train size below {total}")
    order = np.random.default_rng(seed).permutation(total)
    return order[:size], order[size:]


def _resumable(folder: Path, predictor: ArchitecturePredictor, told: dict[str, Any]) -> Path:
    """The folder, if the predictor uses one and it holds no other training."""
    if "folder" not in inspect.signature(predictor.model.fit).parameters:
        raise InputError(f"predictor {told['model']!r} keeps no state; leave --resume-folder out")
    settings = json.dumps(told, indent=1, sort_keys=True) + "\n"
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
    """What to say on an interruption."""
    if files:
        return f"stopped when the predictor was written to {files[0]}"
    rest = "with --resume-folder a training can go on"
    if resume_folder is not None:
        rest = "the same command goes on from its last state"
    return f"stopped; no predictor was written; {rest}"


def _test(
    predictor: ArchitecturePredictor,
    labels: Labels,
    rows: NDArray[np.int64],
    device: DeviceBatch | None,
) -> dict[str, Any]:
    from scipy.stats import kendalltau

    print(f"nasplug: testing on the other {len(rows)} rows", file=sys.stderr)
    said = predictor.predict(
        [labels.archs[k] for k in rows],
        None if device is None else device.hardware,
        1 if device is None else device.batch_size,
    )
    truth = labels.values[rows]
    inside = (said.lower <= truth) & (truth <= said.upper)
    found: dict[str, Any] = {"rows": len(rows), "interval": said.interval}
    for k, target in enumerate(said.targets):
        tau = float(kendalltau(said.mean[:, k], truth[:, k])[0])
        has_interval = bool(np.isfinite(said.lower[:, k]).all())
        found[target] = {
            "kendall_tau": round(tau, 6) if np.isfinite(tau) else None,
            "coverage": round(float(inside[:, k].mean()), 6) if has_interval else None,
        }
    return found
