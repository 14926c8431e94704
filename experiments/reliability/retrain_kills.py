"""A training over an older predictor, killed before each system call that touches a file.

    python -m experiments.reliability.retrain_kills [--seed 0]

`nasplug train` writes over a checkpoint, and over the two files of an earlier version. strace ends
it with SIGKILL before each call that makes, writes, syncs, renames or removes something, and after
the last one. What can be read then is the old predictor, the new one, or lost. Temporary files that
are left must be gone after the next start. Needs strace. Writes results/retrain_kills.json.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from experiments.campaign import Options
from experiments.common import write_result
from nasplug import InputError, space
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.search_spaces import files
from nasplug.training.train import train

CALLS = "openat,creat,mkdir,write,pwrite64,ftruncate,fsync,fdatasync,fchmod,chmod,rename,unlink"
ROWS = 60
ROW = re.compile(r"^\d+ +(\w+)\((.*)")


def write_labels(path: Path) -> None:
    """Architectures with accuracies: what they are does not matter here."""
    rng = np.random.default_rng(0)
    nb201 = space("nb201")
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["arch", "acc"])
        rows.writerows((nb201.sample(rng).text, f"{rng.uniform(10, 94):.3f}") for _ in range(ROWS))


def retrain(folder: Path, seed: int) -> None:
    labels = str(folder.parent / "labels.csv")
    train("path-gp", labels, targets=["cifar10=acc"], seed=seed, out=folder / "mine")


def write_pair(file: Path, card_file: Path) -> Path:
    """Write the content of a checkpoint as the two files that earlier versions wrote.

    Args:
        file: The checkpoint; its content may be replaced.
        card_file: The JSON file; the other one goes beside it.
    """
    checkpoint = load_checkpoint(file)
    content = save(checkpoint.tensors)
    card = {**checkpoint.card, "format": "nasplug-predictor-1"}
    del card["checksum"]
    card["sha256"] = hashlib.sha256(content).hexdigest()
    card_file.with_suffix(".safetensors").write_bytes(content)
    card_file.write_text(json.dumps(card, indent=1) + "\n")
    return card_file


def killed(folder: Path, seed: int, log: Path, call: str | None = None, when: int = 0) -> int:
    """Retrain in a process of its own under strace; the status with which it ended."""
    pid = os.fork()
    if pid == 0:
        # Its own copy of what is imported and read; nothing is left to be done before the training.
        os.kill(os.getpid(), signal.SIGSTOP)
        files._swept.clear()
        retrain(folder, seed)
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    words = ["strace", "-f", "-o", str(log), "-e", f"trace={CALLS}", "-p", str(pid)]
    if call is not None:
        words += ["-e", f"inject={call}:signal=SIGKILL:when={when}"]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr is not None
        tracer.stderr.readline()
        os.kill(pid, signal.SIGCONT)
        status = os.waitpid(pid, 0)[1]
        tracer.wait()
    return status


def kill_points(log: Path) -> list[tuple[str, int]]:
    """Calls that change something, each with its number among those of its name."""
    seen: Counter[str] = Counter()
    points = []
    for line in log.read_text().splitlines():
        match = ROW.match(line)
        if match is None:
            continue
        call, arguments = match.groups()
        seen[call] += 1
        changes = call != "openat" or "O_CREAT" in arguments or "O_TRUNC" in arguments
        to_terminal = call == "write" and arguments.startswith(("1,", "2,"))
        if changes and not to_terminal:
            points.append((call, seen[call]))
    return points


def outcome(folder: Path, old: str, new: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            digest = load_checkpoint(folder / "mine").card["sha256"]
        except InputError:
            return "lost"
    return {old: "old", new: "new"}.get(digest, "another")


def tried(name: str, before: Path, folder: Path, seed: int) -> dict[str, Any]:
    """All kill points of a training over the files in `before`."""

    def restore() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)

    log = folder.parent / "log"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = load_checkpoint(before / "mine").card["sha256"]
    restore()
    assert killed(folder, seed, log) == 0
    new = load_checkpoint(folder / "mine").card["sha256"]
    assert old != new
    assert [p.name for p in folder.iterdir()] == ["mine.safetensors"]
    points = kill_points(log)
    counts: Counter[str] = Counter()
    left = swept = 0
    for call, when in points:
        restore()
        status = killed(folder, seed, log, call, when)
        assert os.WIFSIGNALED(status), (call, when, status)
        result = outcome(folder, old, new)
        counts[result] += 1
        temporary = [p for p in folder.iterdir() if p.name.startswith(".")]
        left += bool(temporary)
        # As the next start does.
        files._swept.clear()
        files.sweep(folder)
        swept += bool(temporary) and not any(p.exists() for p in temporary)
        print(f"{name}: before {call} {when}: {result}", file=sys.stderr, flush=True)
    return {
        "kill_points": [f"{call} {when}" for call, when in points],
        **{kind: counts[kind] for kind in ("old", "new", "lost", "another")},
        "left_a_temporary_file": left,
        "swept_at_the_next_start": swept,
    }


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    result = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_labels(root / "labels.csv")
        single, pair = root / "single", root / "pair"
        retrain(single, seed)
        shutil.copytree(single, pair)
        write_pair(pair / "mine.safetensors", pair / "mine.json")
        for kind, before in (("over a checkpoint", single), ("over an earlier pair", pair)):
            result[kind] = tried(kind, before, root / "work", seed + 1)
            print(kind, result[kind], flush=True)
    write_result("retrain_kills", seed=seed, **result)


if __name__ == "__main__":
    main()
