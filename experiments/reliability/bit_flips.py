"""Flip one bit at a time in each file that nasplug reads back, and see what it does.

    python -m experiments.reliability.bit_flips [--flips 250] [--seed 0]

Makes one whole file of every type, flips one bit at a time at random places, and reads it again:
refused, or read with a warning that damage cannot be seen (files of earlier versions), equal (what
is read is what was written), or silently wrong. The journal is one that a search over NAS-Bench-201
wrote, read as `nasplug report` reads it; each error names the damaged line, or counts as "error of
another line". Needs NASPLUG_MIRROR for a cached data file. Writes results/bit_flips.json.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

import nasplug
from experiments.campaign import Options
from experiments.common import ZOO, write_result
from experiments.reliability.retrain_kills import write_pair
from nasplug import InputError, space
from nasplug.calibrating.measurements import read_latencies
from nasplug.datasets import registry, tables
from nasplug.datasets.download import cached_path, file_status, local_mirror
from nasplug.devices import profiles
from nasplug.devices.hardware import hardware
from nasplug.measuring.record import Measurement, Record
from nasplug.predictors import Hardware
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.features import language
from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks
from nasplug.predictors.training.state import StateFiles, read_state
from nasplug.reports.study_report import find_study
from nasplug.training.labels import read_labels

NB = space("nb201")
ARCHS = [NB[k] for k in range(0, 15_625, 1_563)]  # type: ignore[index]
# The smallest published file: one that is read by its hash, whatever is in it.
DATA = "nb201-latency"


@dataclass(frozen=True, eq=False)
class FileType:
    """A file, and how its content is read.

    Attributes:
        path: Of the file that is damaged.
        read: Gives what counts of it, as something that can be compared.
        protected_by: What is relied on.
        has_lines: Whether an error names the line that is damaged.
    """

    path: Path
    read: Callable[[], Any]
    protected_by: str
    has_lines: bool = False


def arrays_of(tensors: dict[str, Any]) -> dict[str, Any]:
    """Arrays as something that can be compared."""
    return {n: (v.dtype.str, v.shape, v.tobytes()) for n, v in tensors.items()}


def checkpoint(path: Path) -> Any:
    predictor = load_checkpoint(path)
    card = {k: v for k, v in predictor.card.items() if k != "checksum"}
    return arrays_of(predictor.tensors), card


def make_pair(folder: Path) -> Path:
    """The two files that earlier versions wrote, of the smallest predictor of the package."""
    return write_pair(ZOO / "macro-accuracy.safetensors", folder / "pair.json")


def make_profiles(folder: Path) -> tuple[Path, Path]:
    """A device profile, and one as earlier versions wrote them."""
    measured = MeasuredNetworks(
        tuple(a.text for a in ARCHS),
        np.random.default_rng(0).uniform(1, 30, len(ARCHS)),
        tuple(NB.to_graphs(ARCHS)),
    )
    described = {**vars(hardware("Pixel 3")), "name": "my pixel", "aliases": ()}
    profile = DeviceProfile(Hardware(**described), "nb201", 1, measured)
    profiles.write(profile, folder / "profile.json", {"date": "2026-01-01"})
    old = {"format": "nasplug-device-profile-1", **profile.to_json(), "about": {}}
    (folder / "old-profile.json").write_text(json.dumps(old) + "\n")
    return folder / "profile.json", folder / "old-profile.json"


def profile(path: Path) -> Any:
    stored = profiles.read(path)
    return stored.sha256, stored.name, stored.aliases


def described() -> dict[str, Any]:
    """Describe measurements as a campaign does."""
    return {
        "machine": {"processor": "a processor", "logical_cores": 8},
        "runtime": {"name": "onnxruntime", "threads": 1},
        "settings": {"space": "nb201", "batch_size": 1, "seed": 0},
        "reference": {},
        "date": "2026-01-01",
    }


def make_record(folder: Path) -> Path:
    path = folder / "measured.csv"
    record = Record(path, described())
    record.add_reference(5.0, 0.0)
    rng = np.random.default_rng(0)
    for arch in ARCHS:
        a, b, c, d = sorted(float(f"{x:.6g}") for x in rng.uniform(1, 30, 4))
        record.add(Measurement(arch.text, arch.arch_id, "nb201", 1, b, a, d, c, 0.1, 20, 10, 100))
    record.add_reference(5.1, 0.0)
    return path


def measurements(path: Path) -> Any:
    record = Record(path, described())
    record._write = lambda: None  # type: ignore[method-assign]
    if record.repaired:
        # Said by the command, which times the last network again.
        raise InputError("the last line was broken off")
    description = {k: v for k, v in record.description.items() if k != "checksum"}
    return [asdict(row) for row in record.rows.values()], description


def as_latencies(path: Path) -> Any:
    measured = read_latencies(path, NB)
    return [a.text for a in measured.archs], measured.latencies.tolist(), measured.batch_size


def as_labels(path: Path) -> Any:
    labels = read_labels(str(path), ["latency_ms"], NB)
    return [a.text for a in labels.archs], labels.values.tolist()


def make_table(folder: Path) -> Path:
    table = tables.Table(
        index=np.arange(200),
        columns=("a@1", "b@32"),
        values=np.random.default_rng(0).uniform(1, 30, (200, 2)),
        archs=tuple(NB[k].text for k in range(200)),  # type: ignore[index]
        sources={"file": "0" * 64},
    )
    tables.write_table(folder / "table.npz", table)
    return folder / "table.npz"


def table(path: Path) -> Any:
    stored = tables.read_table(path)
    return stored.columns, stored.archs, stored.values.tobytes(), stored.sources, stored.version


def make_state(folder: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    state = {"epoch": 7, "state_dict": {"w": torch.randn(64, 64, generator=generator)}}
    StateFiles().save_checkpoint(state, folder / "last.ckpt")
    return folder / "last.ckpt"


def state(path: Path) -> Any:
    stored = read_state(path)
    return stored["epoch"], stored["state_dict"]["w"].numpy().tobytes()


def data_file() -> Path:
    """A published file in a cache of its own."""
    file = min(registry.info(DATA).files, key=lambda one: one.size)
    path = cached_path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(str(local_mirror()) + "/" + file.key, path)
    return path


def cached() -> Any:
    file = min(registry.info(DATA).files, key=lambda one: one.size)
    if file_status(file) != "ok":
        raise InputError("damaged; it is fetched again")
    return cached_path(file).read_bytes()


def vectors(path: Path) -> Any:
    """Read the shipped vectors of words as the package does."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return arrays_of({name: stored[name] for name in stored.files})
    # Damaged bytes can raise nearly anything in zipfile, zlib and numpy's header parser.
    except Exception as error:
        raise InputError(str(error)) from None


def make_journal(folder: Path, trials: int = 30) -> FileType:
    """The journal of a search whose trials are looked up in the benchmark's table."""
    path = folder / "study.journal"
    nasplug.search(
        "nb201", n_trials=trials, evaluate="table", storage=path, study_name="flips", progress=False
    )
    return FileType(path, lambda: journal(path), "a checksum a trial", has_lines=True)


def journal(path: Path) -> Any:
    study = find_study(path, "flips")
    trials = study.get_trials(deepcopy=False)
    return study.directions, study.user_attrs, study.metric_names, trials


def file_types(folder: Path) -> dict[str, FileType]:
    """Make a file of each type; a file that describes another one lies beside it."""
    whole = folder / "mine.safetensors"
    shutil.copyfile(ZOO / "macro-accuracy.safetensors", whole)
    pair, (own, old) = make_pair(folder), make_profiles(folder)
    record, npz, last = make_record(folder), make_table(folder), make_state(folder)
    texts = folder / "language_vectors.npz"
    shutil.copyfile(Path(language.__file__).with_name(texts.name), texts)
    content = "SHA-256 over all that it holds"
    row = "a checksum a row, over its cells and the names of the columns"
    return {
        "checkpoint": FileType(whole, lambda: checkpoint(whole), "SHA-256 over every byte"),
        "checkpoint of an earlier version, tensors": FileType(
            pair.with_suffix(".safetensors"), lambda: checkpoint(pair), "SHA-256 in its card"
        ),
        "checkpoint of an earlier version, card": FileType(
            pair, lambda: checkpoint(pair), "nothing; each reading warns"
        ),
        "device profile": FileType(own, lambda: profile(own), content),
        "device profile of an earlier version": FileType(
            old, lambda: profile(old), "nothing; each reading warns"
        ),
        "training state": FileType(last, lambda: state(last), "SHA-256 over every byte"),
        "measurements, to go on": FileType(record, lambda: measurements(record), row),
        "measurements, description": FileType(
            record.with_suffix(".json"), lambda: measurements(record), content
        ),
        "measurements, to calibrate": FileType(record, lambda: as_latencies(record), row),
        "measurements, to train": FileType(record, lambda: as_labels(record), row),
        "imported table": FileType(npz, lambda: table(npz), content),
        "shipped text vectors": FileType(texts, lambda: vectors(texts), "zip's CRC-32 a part"),
        "published data file": FileType(data_file(), cached, "the published SHA-256"),
        "study journal": make_journal(folder),
    }


def flip(file: FileType, flips: int, rng: np.random.Generator) -> dict[str, int]:
    """Count flipped bits that were said, had no effect, or were silently wrong."""
    content = file.path.read_bytes()
    beside = {p: p.read_bytes() for p in file.path.parent.iterdir() if p.is_file()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = file.read()
    counts: Counter[str] = Counter()
    for place in rng.choice(8 * len(content), flips, replace=False).tolist():
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        file.path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                content_read = file.read()
            except InputError as error:
                line = content[: place // 8].count(b"\n") + 1
                is_named = not file.has_lines or f"(line {line} " in str(error)
                counts["error" if is_named else "error of another line"] += 1
            else:
                if content_read == right:
                    counts["equal"] += 1
                else:
                    has_warned = any("without" in str(w.message) for w in warned)
                    counts["warning" if has_warned else "silently wrong"] += 1
        for path, before in beside.items():
            path.write_bytes(before)
    names = ["error", "warning", "equal", "silently wrong"]
    names += ["error of another line"] * file.has_lines
    return {"tried": flips, **{name: counts[name] for name in names}}


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--flips", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if local_mirror() is None:
        parser.error("set NASPLUG_MIRROR to a folder with the upstream files")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        os.environ["NASPLUG_CACHE"] = str(Path(name, "cache"))
        rng = np.random.default_rng(options.seed)
        for kind, file in file_types(Path(name)).items():
            counts = flip(file, options.flips, rng)
            results[kind] = {"bytes": file.path.stat().st_size, **counts}
            results[kind]["protected by"] = file.protected_by
            print(kind, counts, flush=True)
    write_result("bit_flips", DATA, seed=options.seed, files=results)


if __name__ == "__main__":
    main()
