"""How well predictors rank NAS-Bench-201 after learning from few cells.

    python -m experiments.accuracy.predictor_accuracy --models nasplug,nnformer \
        --train-sizes 156,781 --seeds 0,1,2 --dataset cifar10 --json

A model learns the validation accuracies of `default_rng(seed).permutation(15625)[:n]`, chooses
whatever it chooses inside these, and ranks all 15,625 cells, the training cells among them: Kendall
tau-b against validation and test accuracies. One line of JSON a run on stdout. Each finished run is
added to results/predictor_accuracy.jsonl and never repeated; several processes may share the work.
Ctrl-C loses the run at hand, and of a long training only the part since its last saved state.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from experiments.accuracy.recipes import LONGER, recipe
from experiments.common import IMAGE_SETS, RESULTS, RUNS, ZOO, accuracies, cells
from nasplug import InputError, __version__, create_predictor
from nasplug.predictors import Predictor, create, names
from nasplug.predictors.checkpoint import load_checkpoint

KEYS = (
    *("model", "dataset", "train_size", "seed", "tau_val", "tau_test"),
    *("fit_seconds", "cells_per_second", "parameters"),
)
CELLS = 15_625


@dataclass(frozen=True)
class Run:
    """One model, trained once; `encoder` is the SHA-256 of what it was pretrained to, if it was."""

    model: str
    dataset: str
    train_size: int
    seed: int
    options: dict[str, Any] = field(default_factory=dict)
    encoder: str | None = None

    def is_of(self, row: dict[str, Any]) -> bool:
        """Whether a stored row is this run's."""
        return all(row.get(key) == value for key, value in asdict(self).items())

    def folder(self, runs: Path, results: Path) -> Path:
        """Where its claim and its training state lie; another results file is another run."""
        text = json.dumps([asdict(self), str(results.resolve())], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f"{self.model}-{self.dataset}-{self.train_size}-{self.seed}-{digest}"
        return runs / "predictor-accuracy" / name


def encoder_of(model: str) -> str | None:
    """Identifies the pretrained weights in the package; with others a run is another run."""
    file = ZOO / "nb201-encoder.safetensors"
    if model != "nasplug" or not file.exists():
        return None
    return str(load_checkpoint(file).card["sha256"])


def build(run: Run) -> Predictor:
    """The model of a run, not yet trained."""
    options = {"targets": (run.dataset,), "seed": run.seed, **run.options}
    if run.model == "nasplug":
        # Only this way it gets the encoder that the package has for the space.
        made: Predictor = create_predictor("accuracy", "nb201", **options).model
        return made
    return create(run.model, **options)


def measure(run: Run, folder: Path, threads: int) -> dict[str, Any]:
    """Train, rank all cells, compare."""
    folder.mkdir(parents=True, exist_ok=True)
    _, graphs = cells()
    column = IMAGE_SETS.index(run.dataset)
    validation, test = (table[:, column] for table in accuracies())
    chosen = np.random.default_rng(run.seed).permutation(CELLS)[: run.train_size]
    predictor: Any = build(run)
    extra: dict[str, Any] = {"folder": folder / "state", "progress": False}
    known = signature(predictor.fit).parameters
    extra = {name: value for name, value in extra.items() if name in known}
    with stopwatch(folder / "seconds.txt") as seconds:
        predictor.fit([graphs[i] for i in chosen], validation[chosen, None], **extra)
    started = time.perf_counter()
    if hasattr(predictor, "scores"):
        score = predictor.scores(graphs).mean(0)[:, 0]
    else:
        score = predictor.predict(graphs).mean[:, 0]
    scored = time.perf_counter() - started
    return {
        "model": run.model,
        "dataset": run.dataset,
        "train_size": run.train_size,
        "seed": run.seed,
        "tau_val": tau(score, validation),
        "tau_test": tau(score, test),
        "fit_seconds": round(sum(seconds), 3),
        "cells_per_second": round(CELLS / scored, 1),
        "parameters": getattr(predictor, "parameters", None),
        "options": run.options,
        "encoder": run.encoder,
        "version": __version__,
        "threads": threads,
        "date": date.today().isoformat(),
    }


def tau(score: Any, truth: Any) -> float | None:
    """Kendall's tau-b; None if all scores are equal."""
    value = float(kendalltau(score, truth)[0])
    return round(value, 6) if np.isfinite(value) else None


@contextmanager
def stopwatch(file: Path) -> Iterator[list[float]]:
    """Seconds of this block and of the earlier, broken-off tries that it goes on from."""
    seconds = [float(file.read_text())] if file.exists() else []
    started = time.perf_counter()
    try:
        yield seconds
    finally:
        seconds.append(time.perf_counter() - started)
        file.write_text(str(sum(seconds)))


def stored(results: Path, run: Run) -> dict[str, Any] | None:
    """The row of a finished run, if there is one."""
    if not results.exists():
        return None
    for line in results.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            # The end of a line that a crash cut off.
            continue
        if isinstance(row, dict) and run.is_of(row):
            return row
    return None


def append(results: Path, row: dict[str, Any]) -> None:
    """Add a line that is on disk when this returns."""
    results.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(results, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        cut = size and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (("\n" if cut else "") + json.dumps(row) + "\n").encode())
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def claim(folder: Path, wait: bool) -> Iterator[bool]:
    """Hold a run so that no other process does it; false if another one holds it.

    The lock is the process's: it is free again when the process ends, however it ends.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, which is deleted in the end while others may still wait.
    with open(f"{folder}.claim", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def finish(
    run: Run,
    results: Path,
    runs: Path,
    threads: int,
    *,
    wait: bool,
    measure: Callable[[Any, Path, int], dict[str, Any]] = measure,
) -> dict[str, Any] | None:
    """The row of a run, measured if it is not there; None if another process is at it."""
    row = stored(results, run)
    if row is not None:
        return row
    folder = run.folder(runs, results)
    with claim(folder, wait) as ours:
        if not ours:
            return None
        row = stored(results, run)
        if row is None:
            print(f"{run.model}, {run.dataset}, {run.train_size} cells, seed {run.seed}",
                  file=sys.stderr, flush=True)  # fmt: skip
            row = measure(run, folder, threads)
            append(results, row)
        # Training states are large, and nothing goes on from a finished one.
        shutil.rmtree(folder, ignore_errors=True)
    return row


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="nasplug", help="names, joined by commas")
    parser.add_argument("--train-sizes", default="156", help="cells, joined by commas")
    parser.add_argument("--seeds", default="0", help="numbers, joined by commas")
    parser.add_argument("--dataset", default="cifar10", choices=[*IMAGE_SETS, "all"])
    parser.add_argument("--longer", action="store_true", help="more steps, for those in LONGER")
    parser.add_argument("--json", action="store_true", help="lines of JSON, as without it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS / "predictor_accuracy.jsonl")
    parser.add_argument("--runs", type=Path, default=RUNS, help="claims and training states")
    options = parser.parse_args(arguments)
    options.models = options.models.split(",")
    for model in options.models:
        if model not in names():
            parser.error(f"unknown model {model!r}; there are {', '.join(names())}")
        if options.longer and model not in LONGER:
            parser.error(f"--longer is for {', '.join(LONGER)}, not for {model}")
    try:
        options.train_sizes = [int(size) for size in options.train_sizes.split(",")]
        options.seeds = [int(seed) for seed in options.seeds.split(",")]
    except ValueError:
        parser.error("--train-sizes and --seeds are whole numbers, joined by commas")
    if not all(0 < size <= CELLS for size in options.train_sizes):
        parser.error(f"--train-sizes must lie between 1 and {CELLS}")
    if min(options.seeds) < 0 or options.threads < 1:
        parser.error("seeds must not be negative, and threads at least 1")
    return options


def limit_threads(threads: int) -> None:
    """Of torch, and of the libraries under numpy and scikit-learn."""
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    limit_threads(options.threads)
    # A run that is ended from outside notes its seconds too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    datasets = IMAGE_SETS if options.dataset == "all" else (options.dataset,)
    waiting = [
        Run(model, dataset, size, seed, recipe(model, size, options.longer), encoder_of(model))
        for size, seed, dataset, model in product(
            options.train_sizes, options.seeds, datasets, options.models
        )
    ]
    # First what is free; then what other processes are at, when they are done with it.
    for wait in (False, True):
        others = []
        for run in waiting:
            try:
                row = finish(run, options.results, options.runs, options.threads, wait=wait)
            except InputError as error:
                sys.exit(f"{run.model}: {error}")
            if row is None:
                others.append(run)
            else:
                print(json.dumps({key: row[key] for key in KEYS}), flush=True)
        waiting = others


if __name__ == "__main__":
    main()
