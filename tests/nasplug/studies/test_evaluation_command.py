"""Programs that evaluate a trial, and all the ways in which they may fail."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nasplug.search_spaces import Architecture, InputError
from nasplug.studies import evaluation_command
from nasplug.studies.evaluation import Request, TrialFailure
from nasplug.studies.evaluation_command import Command

# Braces and quotes in an architecture's text must reach the program as they are.
TEXT = "a b;$(touch oops)'\"{json}|&"
REQUEST = Request(
    Architecture("mine", TEXT, "id-1", 0),
    7,
    {"depth": 2},
    {"space": "mine", "dataset": "digits", "hardware": None, "batch_size": 1, "seed": 5},
    {"accuracy": None, "latency_ms": {"mean": 4.0, "lower": 3.0, "upper": 5.0}},
    {"flops": 10, "params": 2},
)
Make = Callable[..., Command]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A command that runs a script of some lines of Python."""
    monkeypatch.chdir(tmp_path)

    def made(code: str, *words: str, timeout: float | None = 600) -> Command:
        (tmp_path / "train.py").write_text(f"import json, os, sys, time\n{code}\n")
        return Command([sys.executable, "train.py", *words], timeout)

    return made


def failure(command: Command) -> str:
    with pytest.raises(TrialFailure) as caught:
        command(REQUEST)
    return str(caught.value)


def test_it_is_told_the_architecture_in_three_ways(program: Make, tmp_path: Path) -> None:
    command = program(
        "told = json.load(sys.stdin)\n"
        "assert told == json.load(open(sys.argv[2]))\n"
        "told['argument'] = sys.argv[1]\n"
        "json.dump(told, open('told.json', 'w'))\n"
        "print('epoch 1', {'accuracy': 1}, flush=True)\n"
        "print('{\"accuracy\": 1}')\n"
        'print(\'{"accuracy": 93.5, "constraints": {"memory": -1}}\\nbye\')',
        "--arch={arch}",
        "{json}",
    )
    assert command(REQUEST) == {"accuracy": 93.5, "constraints": {"memory": -1}}
    told = json.loads((tmp_path / "told.json").read_text())
    assert told.pop("argument") == f"--arch={TEXT}"
    assert told == REQUEST.to_json()
    assert not (tmp_path / "oops").exists()


def test_a_text_is_split_without_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a script.py").write_text("import sys, json; print(json.dumps({'n': sys.argv}))")
    command = Command(f"{sys.executable} 'a script.py' {{arch}} \"x y\" > $HOME")
    assert command(REQUEST) == {"n": ["a script.py", TEXT, "x y", ">", "$HOME"]}


def test_a_script_of_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.sh"
    script.write_text('#!/bin/sh\ncat > /dev/null\necho "{\\"accuracy\\": 1}"\n')
    with pytest.raises(InputError, match=r"'train.sh' is not executable; run chmod \+x on it"):
        Command("train.sh {arch}")
    script.chmod(0o755)
    assert Command("train.sh {arch}")(REQUEST) == {"accuracy": 1}
    assert Command("./train.sh {arch}")(REQUEST) == {"accuracy": 1}


@pytest.mark.parametrize(
    ("command", "timeout", "said"),
    [
        ("no-such-program {arch}", None, "program 'no-such-program'"),
        ("./no/such {arch}", None, "program './no/such'"),
        ("python 'train.py", None, "cannot be split"),
        ("  ", None, "the command is empty"),
        ("python", 0.0, "timeout 0.0 is not a positive number"),
        ("python", float("nan"), "timeout nan"),
    ],
)
def test_what_cannot_be_run_is_said_at_once(command: str, timeout: float | None, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Command(command, timeout)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError('no data')", ["exit code 1", "ValueError: no data"]),
        ("print('oh', file=sys.stderr); sys.exit(3)", ["exit code 3", "oh"]),
        ("os.abort()", ["ended by signal SIGABRT"]),
        ("pass", ["no JSON object on standard output; it printed nothing"]),
        ("print('93.1')", ["no JSON object", "the last line is '93.1'"]),
        ("print('[93.1]')", ["no JSON object"]),
        ("print('{\"accuracy\": 93.1')", ["no JSON object"]),
        ("print('{' * 200_000)", ["no JSON object"]),
        ("print('[' * 200_000 + '{')", ["no JSON object"]),
        ("sys.stdout.buffer.write(b'\\xff\\xfe')", ["no JSON object"]),
    ],
)
def test_failures_say_why(program: Make, code: str, said: list[str]) -> None:
    told = failure(program(code))
    assert all(part in told for part in said)
    assert len(told) < 1500


def test_metrics_may_fill_several_lines(program: Make) -> None:
    assert program("print(json.dumps({'accuracy': 1, 'x': [1]}, indent=2))")(REQUEST) == {
        "accuracy": 1,
        "x": [1],
    }


def test_a_program_that_does_not_read_and_prints_a_lot(program: Make) -> None:
    code = (
        "for _ in range(3000): print('x' * 1000); print('y' * 1000, file=sys.stderr)\n"
        "print('{\"accuracy\": 1}')"
    )
    assert program(code)(REQUEST) == {"accuracy": 1}


def test_a_program_that_prints_without_end(program: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_command, "MOST_BYTES", 5_000_000)
    assert "it printed more than 5 MB" in failure(program("while True: print('x' * 10000)"))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid: int) -> bool:
    """Whether a process ends soon."""
    until = time.monotonic() + 120
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_alive(pid)


CHILD = (
    "import subprocess\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "open('pid', 'w').write(str(child.pid))\n"
)


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A line of a program after which every timeout is over, and none before."""
    # The program may have come to its line before the first look at the clock.
    started = iter([0.0])
    clock = SimpleNamespace(monotonic=lambda: next(started, 1000.0 * (tmp_path / "late").exists()))
    monkeypatch.setattr(evaluation_command, "time", clock)
    return "open('late', 'w').close()"


def test_a_timeout_ends_the_program_and_its_children(
    program: Make, tmp_path: Path, late: str
) -> None:
    code = f"{CHILD}print('slow', file=sys.stderr, flush=True)\n{late}\ntime.sleep(600)"
    command = program(code, timeout=3)
    assert failure(command).splitlines() == ["timeout: still running after 3 s", "slow"]
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_program_that_ignores_the_request_to_end(
    program: Make, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    monkeypatch.setattr(evaluation_command, "GRACE_SECONDS", 0.5)
    ignores = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)"
    assert "timeout" in failure(program(f"{ignores}\n{late}\ntime.sleep(600)", timeout=2))


def test_a_child_that_stays_does_not_hold_the_answer_up(program: Make, tmp_path: Path) -> None:
    command = program(f"{CHILD}print('{{\"accuracy\": 1}}', flush=True)")
    started = time.monotonic()
    assert command(REQUEST) == {"accuracy": 1}
    # Its child has ten minutes.
    assert time.monotonic() - started < 300
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_stop_ends_what_runs_in_other_threads(program: Make, tmp_path: Path) -> None:
    command = program(f"{CHILD}time.sleep(600)")
    ended: list[BaseException] = []

    def work() -> None:
        try:
            command(REQUEST)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until = time.monotonic() + 300
    while not (tmp_path / "pid").exists() and time.monotonic() < until:
        time.sleep(0.05)
    command.stop()
    thread.join(300)
    assert [type(error) for error in ended] == [KeyboardInterrupt]
    assert gone(int((tmp_path / "pid").read_text()))
    with pytest.raises(KeyboardInterrupt):
        command(REQUEST)


def test_a_folder_that_is_gone_is_a_failure(program: Make, tmp_path: Path) -> None:
    command = program("print('{\"a\": 1}')")
    command.words = (str(tmp_path / "was-here"), *command.words[1:])
    assert "No such file" in failure(command)


def test_the_network_as_onnx(program: Make, tmp_path: Path) -> None:
    command = program("print(json.dumps({'bytes': os.path.getsize(sys.argv[1])}))", "{onnx}")
    assert command.wants_network
    command.write_network = lambda request, path: path.write_bytes(b"x" * 42) and None
    assert command(REQUEST) == {"bytes": 42}
    assert not program("pass", "{json}").wants_network


def test_nothing_is_left_behind(
    program: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    program("print('{\"a\": 1}')", "{json}")(REQUEST)
    failure(program("sys.exit(1)", "{json}"))
    assert list(folder.iterdir()) == []


def test_equal_commands_have_one_identity() -> None:
    one: Any = Command("python train.py {arch}")
    assert one.identity == Command(["python", "train.py", "{arch}"], timeout=3).identity
    assert one.identity != Command("python other.py {arch}").identity
