"""Send signals at random moments of every command, and check how the command ends.

Sends SIGINT, SIGTERM and SIGHUP in turn at random moments of each command's run: from the moment
when it has taken the signals, to the end of its usual duration. Each attempt goes on from what the
one before has left. Afterwards each command runs to its end.

    python -m experiments.reliability.signals          # 200 signals, into results/signals.json
    python -m experiments.reliability.signals --count 12 --only worker predict \
        --out some.json 2>> some.log
    python -m experiments.reliability.signals --merge some.log others.log

An attempt is right if the exit code is 130, 143 or 129, by the signal, stderr ends with one
sentence, without a traceback, and all that was finished before is still there.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.campaign import Options
from experiments.common import write_result
from experiments.nb101.nasbench_load import write_file
from experiments.shared_campaign import read_lines

PROGRAM = [str(Path(sys.executable).with_name("nasplug"))]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a user's program may look like: it has a child, and leaves the numbers of both.
TRAIN = """
import json, os, subprocess, sys, time
told = json.load(sys.stdin)
child = subprocess.Popen(["sleep", "600"])
with open("pids", "a") as file:
    file.write(f"{os.getpid()} {child.pid} ")
time.sleep(0.2)
child.kill()
child.wait()
print(json.dumps({"accuracy": told["costs"]["params"] % 97}))
"""
ALEXNETS = ("--space", "nnlqp:alexnet", "--pool-size", "60")
EVALUATE = ("--evaluate", "command", f"{sys.executable} train.py {{arch}}")
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"


@dataclass
class Case:
    """A command, and what it keeps.

    Attributes:
        name: What it is called in the result.
        words: The command line.
        first: Commands that come before.
        kept: Counts what is finished and kept, in the current folder; raises if it is damaged.
        last: What changes in the words for a run to the end, which is much shorter.
        before: Comes before each attempt.
    """

    name: str
    words: tuple[str, ...]
    first: Sequence[tuple[str, ...]] = ()
    kept: Callable[[], int] = lambda: 0
    last: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None


def trials(storage: str) -> Callable[[], int]:
    """Counts the complete trials of the study in a storage."""

    def counted() -> int:
        import optuna
        from optuna.trial import TrialState

        from nasplug.studies.storages import open_storage

        if not storage.startswith("sqlite") and not Path(storage).exists():
            return 0
        opened = open_storage(storage)
        if "s" not in optuna.study.get_all_study_names(opened):
            return 0
        study = optuna.load_study(study_name="s", storage=opened)
        return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    return counted


def rows() -> int:
    """Counts the networks in a table of measurements."""
    from nasplug.measuring.record import _parsed

    file = Path("latency.csv")
    if not file.exists():
        return 0
    whole, _, _ = file.read_text(encoding="utf-8").rpartition("\n")
    json.loads(Path("latency.json").read_text(encoding="utf-8"))
    return len(_parsed(file, whole + "\n")[0])


def predictor() -> int:
    """Whether a trained predictor is there, and whole."""
    from nasplug import load_predictor

    if not list(Path().glob("mine*")):
        return 0
    load_predictor("./mine.json")
    return 1


def profile() -> int:
    """Whether a calibrated device is there, and whole."""
    from nasplug import hardware

    if not Path("mine-profile.json").exists():
        return 0
    hardware("mine-profile.json")
    return 1


def fetched() -> int:
    """Counts the files in the cache, which is never to hold a part of one."""
    from nasplug.datasets import info
    from nasplug.datasets.download import file_status

    states = Counter(file_status(file) for file in info("accel").files)
    assert not states["damaged"]
    return states["ok"]


def unfetched() -> None:
    """Empty the part of the cache that a fetch fills."""
    from nasplug.datasets import info
    from nasplug.datasets.download import cached_path

    for file in info("accel").files:
        cached_path(file).unlink(missing_ok=True)


def enlarged() -> None:
    """Let a study have more trials than there is time for."""
    import optuna

    from nasplug.searching.config import RECORD
    from nasplug.studies.storages import open_storage

    study = optuna.load_study(study_name="s", storage=open_storage("s.journal"))
    record = study.user_attrs[RECORD]
    if record["n_trials"] < 1000:
        study.set_user_attr(RECORD, {**record, "n_trials": 1000})


def pictures() -> int:
    """Counts the files of a report, of which none is to be empty."""
    files = [path for path in Path("report").glob("*") if not path.name.startswith(".")]
    assert all(path.stat().st_size for path in files)
    return len(files)


def cases() -> list[Case]:
    """All commands."""
    study = ("--storage", "s.journal", "--study-name", "s")
    sqlite = ("--storage", "sqlite:///s.db", "--study-name", "s")
    table = ("search", "--space", "nb201", "--evaluate", "table")
    command = ("search", *ALEXNETS, *EVALUATE)
    last = {"9000": "20", "40": "3"}
    train = ("train", "--data", "nb201-accuracy", "--target", "cifar10_val", "--train-size", "60")
    options = ("--model", "nnformer", "--option", "epochs=60", "--option", "dim=16")
    measure = ("measure", *ALEXNETS[:2], "--threads", "1", "--runs", "3", "--min-seconds", "0")
    return [
        Case("search", ("search", *ALEXNETS, *study, "--n-trials", "9000"), (),
             trials("s.journal"), last),
        Case("search --evaluate table", (*table, *study, "--n-trials", "9000"), (),
             trials("s.journal"), last),
        Case("search in SQLite", ("search", *ALEXNETS, *sqlite, "--n-trials", "9000"), (),
             trials("sqlite:///s.db"), last),
        Case("search --evaluate command", (*command, *study, "--n-trials", "40"), (),
             trials("s.journal"), last),
        Case("search --jobs 2", (*command, *sqlite, "--n-trials", "40", "--jobs", "2"), (),
             trials("sqlite:///s.db"), last),
        Case("search --report --export", ("search", *ALEXNETS, "--storage", "memory", "--n-trials",
             "10", "--report", "report", "--export", "export"), (), pictures),
        Case("worker", ("worker", *study[:2], *EVALUATE, "--n-trials", "40"),
             ((*command, *study, "--n-trials", "1"),), trials("s.journal"), {"40": "3"}, enlarged),
        Case("report", ("report", "s.journal"), ((*table, *study, "--n-trials", "12"),), pictures),
        Case("predict", ("predict", CELL, "--hw", "RTX 3090", "--json")),
        Case("predict a network", ("predict", "resnet18", "--space", "nnlqp", "--hw", "T4")),
        Case("train", (*train, *options, "--out", "mine", "--resume-folder", "state", "--test"),
             (), predictor),
        Case("train the package's own", (*train, "--out", "mine"), (), predictor),
        Case("measure", (*measure, "--n", "40"), (), rows, {"40": "3"}),
        Case("calibrate", ("calibrate", "--hw", "RTX 3090", "--measurements", "own.csv", "--name",
             "mine-profile", "--out", "mine-profile.json"), (), profile),
        Case("calibrate --suggest", ("calibrate", "--suggest", "5")),
        Case("data fetch", ("data", "fetch", "accel"), (), fetched, before=unfetched),
        Case("data import", ("data", "import", "nb101-official", "cells.tfrecord")),
        Case("data verify", ("data", "verify", "accel"), (("data", "fetch", "accel"),)),
        Case("hardware", ("hardware", "show", "RTX 3090", "--json")),
        Case("spaces", ("spaces", "--json")),
    ]  # fmt: skip


def prepare(names: Sequence[str]) -> None:
    """Write what the commands of some cases read."""
    Path("train.py").write_text(TRAIN, encoding="utf-8")
    if "data import" in names:
        write_file(Path("cells.tfrecord"), (108,), 20_000)
    from nasplug import datasets, space

    table, nb201 = datasets.load("nb201-latency"), space("nb201")
    lines = [f'"{nb201[k]}",{table["GTX 1080 Ti@1"].iloc[k]}' for k in range(50, 15_000, 1_500)]  # type: ignore[index]
    Path("own.csv").write_text("arch,latency_ms\n" + "\n".join(lines) + "\n", encoding="utf-8")


def start(words: Sequence[str]) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(words: Sequence[str], check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, check=check)


def has_taken(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("SigCgt"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def left_alive() -> list[int]:
    """Processes of the user's program that still run, which are ended here."""
    alive = []
    file = Path("pids")
    for pid in map(int, file.read_text(encoding="ascii").split() if file.exists() else ()):
        try:
            name = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"train.py" in name or b"sleep" in name:
            alive.append(pid)
            os.kill(pid, signal.SIGKILL)
    file.unlink(missing_ok=True)
    return alive


def attempt(case: Case, number: signal.Signals, moment: float) -> dict[str, Any]:
    """Run a command, send a signal and look at what has come of it."""
    case.before()
    before = case.kept()
    process = start(case.words)
    until = time.monotonic() + 60
    while not has_taken(process.pid) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(moment)
    was_over = process.poll() is not None
    process.send_signal(number)
    sent = time.monotonic()
    try:
        out, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
    seconds = time.monotonic() - sent
    last_line = errors.splitlines()[-1] if errors else ""
    # The interpreter was taking itself down when it came, after all was printed and written.
    was_done = process.returncode == 0 and bool(out)
    row: dict[str, Any] = {
        "case": case.name,
        "signal": number.name,
        "moment": round(moment, 3),
        "seconds_to_end": round(seconds, 3),
        "code": process.returncode,
        "is_over": was_over,
        "is_right_code": was_done or process.returncode == 128 + number,
        "is_one_sentence": (was_done or last_line.startswith("nasplug: stopped"))
        and "Traceback" not in errors and "Exception ignored" not in errors,
        "left_alive": len(left_alive()),
        "lost": 0,
        "damaged": "",
    }  # fmt: skip
    try:
        row["lost"] = max(0, before - case.kept())
    except Exception as error:
        row["damaged"] = f"{type(error).__name__}: {error}"
    if not (row["is_right_code"] and row["is_one_sentence"]):
        row["stderr"] = errors[-2000:]
    return row


def duration(case: Case) -> float:
    """Seconds of a run to the end, in a folder of its own."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for path in here.glob("*"):
            if path.is_symlink():
                Path(folder, path.name).symlink_to(path.resolve())
        os.chdir(folder)
        for words in case.first:
            finish(words)
        case.before()
        began = time.monotonic()
        finish([case.last.get(word, word) for word in case.words])
        os.chdir(here)
    return time.monotonic() - began


def tried(case: Case, count: int, rng: random.Random, first: int) -> list[dict[str, Any]]:
    """Send some signals to a command, then let it end."""
    for words in case.first:
        finish(words)
    seconds = duration(case)
    attempts: list[dict[str, Any]] = []
    over = 0
    while len(attempts) < count and over < 10 * count:
        which = SIGNALS[(first + len(attempts)) % len(SIGNALS)]
        row = attempt(case, which, rng.uniform(0.0, seconds))
        over += row["is_over"]
        if row["is_over"]:
            # It was faster than usual; a signal to what has ended shows nothing.
            continue
        attempts.append(row)
        print(json.dumps(row), file=sys.stderr)
    count_before = case.kept()
    case.before()
    # One more than there are, so that there is something to do.
    words = [
        str(max(count_before + 1, int(case.last[word]))) if word in case.last else word
        for word in case.words
    ]
    done = finish(words, check=False)
    is_whole = done.returncode == 0 and case.kept() >= count_before
    end = {"case": case.name, "goes_on_to_the_end": is_whole, "stderr": done.stderr[-500:]}
    print(json.dumps(end), file=sys.stderr)
    return [*attempts, end]


def early(count: int) -> dict[str, int]:
    """Exit codes of signals that came before the program had taken them, by signal and code."""
    codes: Counter[str] = Counter()
    for k in range(count):
        number = SIGNALS[k % len(SIGNALS)]
        process = start(("spaces",))
        time.sleep(0.04 * k / count)
        taken = has_taken(process.pid)
        process.send_signal(number)
        process.communicate()
        if not taken:
            codes[f"{number.name} {process.returncode}"] += 1
    return dict(sorted(codes.items()))


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--count", type=int, default=200, help="signals in all")
    parser.add_argument("--only", nargs="+", help="cases by name")
    parser.add_argument("--merge", nargs="+", help="only count what earlier runs said on stderr")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a file to write instead of results/signals.json")
    options = parser.parse_args()
    for number in SIGNALS:
        # A shell's background and nohup ignore some, and the commands would inherit that.
        signal.signal(number, signal.SIG_DFL)
    if options.merge:
        # What runs of this script wrote to stderr.
        lines = [row for name in options.merge for row in read_lines(Path(name)) if "case" in row]
    else:
        lines = experiment(options.count, options.seed, options.only)
    data = ("nb201-accuracy", "nb201-latency", "accel")
    write_result(options.out or "signals", *data, **counts(lines))


def experiment(count: int, seed: int, only: Sequence[str] | None) -> list[dict[str, Any]]:
    """Try all commands, or some, in a folder of their own."""
    chosen = [case for case in cases() if only is None or case.name in only]
    share = [count // len(chosen) + (k < count % len(chosen)) for k in range(len(chosen))]
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "XDG_STATE_HOME": f"{folder}/state",
            "XDG_DATA_HOME": f"{folder}/data",
            "NASPLUG_CACHE": f"{folder}/cache",
            "OMP_NUM_THREADS": "1",
        }
        os.chdir(folder)
        prepare([case.name for case in chosen])
        for case, signals in zip(chosen, share, strict=True):
            case_folder = Path(folder, case.name.replace(" ", "-"))
            case_folder.mkdir()
            os.chdir(case_folder)
            for name in ("train.py", "own.csv", "cells.tfrecord"):
                case_folder.joinpath(name).symlink_to(Path(folder, name))
            rows += tried(case, signals, rng, len(rows))
        early_ones = {"case": "before it has taken the signals", "codes": early(30)}
        print(json.dumps(early_ones), file=sys.stderr)
        os.chdir("/")
    return [*rows, early_ones]


def counts(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The counts that matter, and what they count."""
    attempts = [row for row in lines if "signal" in row]
    last = [row["goes_on_to_the_end"] for row in lines if "goes_on_to_the_end" in row]
    before = sum((Counter(row.get("codes", {})) for row in lines), Counter())
    ends = sorted(row["seconds_to_end"] for row in attempts)
    return {
        "tried": len(attempts),
        "right_codes": sum(row["is_right_code"] for row in attempts),
        "wrong_codes": sum(not row["is_right_code"] for row in attempts),
        "came_when_all_was_done": sum(row["code"] == 0 for row in attempts),
        "one_sentence": sum(row["is_one_sentence"] for row in attempts),
        "lost": sum(row["lost"] for row in attempts),
        "damaged": sum(bool(row["damaged"]) for row in attempts),
        "programs_left": sum(row["left_alive"] for row in attempts),
        "commands": len({row["case"] for row in attempts}),
        "go_on_to_the_end": sum(last),
        "do_not_go_on": len(last) - sum(last),
        "median_seconds_to_end": ends[len(ends) // 2],
        "most_seconds_to_end": ends[-1],
        "codes": dict(sorted(Counter(f"{o['signal']} {o['code']}" for o in attempts).items())),
        "codes_before_it_has_taken_the_signals": dict(sorted(before.items())),
        "attempts": list(lines),
    }


if __name__ == "__main__":
    main()
