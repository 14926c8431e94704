"""Signals at chosen moments of small programs: which code, which sentence, and what is kept."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ALL = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
# Sends the signal to itself, so that the moment is exact.
START = """
import os, signal, sys, time
from nasplug._signals import held, released, run, stoppable

def send(number=None):
    os.kill(os.getpid(), NUMBER if number is None else number)

def wait():
    # Until the signal that was sent is taken; a minute is never waited.
    time.sleep(60)
"""


def ended(
    body: str, number: int = signal.SIGTERM, folder: Path | None = None
) -> tuple[int, str, str]:
    """Exit code, output and errors of a program whose function `program` is run."""
    code = f"NUMBER = {int(number)}\n{START}\n{textwrap.dedent(body)}\nrun(program)\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("number", "code"), ALL)
def test_each_signal_has_its_code_and_the_sentence_of_the_block(number: int, code: int) -> None:
    body = """
    def program():
        try:
            with stoppable(keeps=False):
                with stoppable(lambda: "stopped after 3 of 9"):
                    send()
                    wait()
        except KeyboardInterrupt as error:
            print("nasplug:", error, file=sys.stderr)
            print("kept")
            sys.exit(error.exit_code)
    """
    assert ended(body, number) == (code, "kept\n", "nasplug: stopped after 3 of 9\n")


@pytest.mark.parametrize(
    "made_of_it",
    [
        "sys.exit(0)",
        "sys.exit(1)",
        "raise UnboundLocalError('x')",
        "raise ImportError('numpy')",
        "assert False, 'Should not reach.'",
        "pass",
        "os.close(1)",
    ],
)
def test_whatever_a_library_makes_of_it(made_of_it: str) -> None:
    body = f"""
    def program():
        with stoppable(lambda: "stopped; the same command goes on"):
            try:
                send()
                wait()
            except BaseException:
                {made_of_it}
    """
    assert ended(body) == (143, "", "nasplug: stopped\n")


def test_a_block_that_swallowed_it_is_not_done() -> None:
    body = """
    def program():
        try:
            with stoppable(lambda: "stopped; no predictor was written"):
                try:
                    send()
                    wait()
                except KeyboardInterrupt:
                    pass
        except KeyboardInterrupt as error:
            print(error)
            raise
    """
    assert ended(body)[:2] == (143, "stopped; no predictor was written\n")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("def program():\n    send()\n    wait()", "stopped"),
        ("def program():\n    import argparse\n    send()\n    sys.exit(2)", "stopped"),
        (
            "def program():\n    import atexit\n    atexit.register(send)\n    print(1)",
            "stopped; the work was already complete",
        ),
    ],
)
def test_outside_of_any_block_the_process_ends_at_once(body: str, sentence: str) -> None:
    code, _, errors = ended(body)
    assert (code, errors) == (143, f"nasplug: {sentence}\n")


@pytest.mark.parametrize("code", [0, 2])
def test_without_a_signal_the_code_is_the_programs_own(code: int) -> None:
    assert ended(f"def program():\n    print(1)\n    sys.exit({code})") == (code, "1\n", "")


def test_when_the_interpreter_takes_itself_down_the_code_is_decided() -> None:
    # A module's globals are destroyed long after the functions of atexit.
    body = """
    class Last:
        def __del__(self, kill=os.kill, pid=os.getpid()):
            kill(pid, NUMBER)

    def program():
        sys.modules["keeps it"] = Last()
        print(1)
    """
    assert ended(body) == (0, "1\n", "")


def test_what_is_held_is_done_first(tmp_path: Path) -> None:
    body = """
    def program():
        with stoppable(lambda: "stopped"):
            with held():
                send()
                open("one", "w").close()
                try:
                    with released():
                        open("two", "w").close()
                finally:
                    open("three", "w").close()
            open("four", "w").close()
    """
    assert ended(body, folder=tmp_path)[0] == 143
    assert sorted(os.listdir(tmp_path)) == ["one", "three"]


def test_a_second_signal_does_not_disturb_the_end(tmp_path: Path) -> None:
    body = """
    def program():
        with stoppable(lambda: "stopped"):
            try:
                send()
                wait()
            finally:
                for again in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    send(again)
                open("cleaned", "w").close()
    """
    assert ended(body, folder=tmp_path)[0] == 143
    assert os.listdir(tmp_path) == ["cleaned"]


def test_an_impatient_ctrl_c_breaks_off_what_is_held() -> None:
    body = """
    def program():
        with stoppable(lambda: "stopped"), held():
            print("ready", flush=True)
            while True:
                time.sleep(0.01)
    """
    code = f"{START}\n{textwrap.dedent(body)}\nrun(program)\n"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            for _ in range(3000):
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
                    break
        finally:
            process.kill()
    assert process.returncode == 130


@pytest.mark.parametrize(("keeps", "lines"), [(True, ["imported", "cleaned"]), (False, [])])
def test_an_import_is_left_at_once_or_done(tmp_path: Path, keeps: bool, lines: list[str]) -> None:
    # As an extension does: what is raised meanwhile becomes another error, which is caught.
    (tmp_path / "extension.py").write_text(
        "from __main__ import send\ntry:\n    send()\n    for _ in range(1000): pass\n"
        "except BaseException:\n    raise ImportError\nprint('imported', flush=True)\n"
    )
    body = f"""
    sys.path.insert(0, "")

    def program():
        with stoppable(keeps={keeps}):
            try:
                try:
                    import extension
                except ImportError:
                    print("goes on without it")
                wait()
            finally:
                print("cleaned")
    """
    code, out, errors = ended(body, folder=tmp_path)
    assert (code, out.splitlines(), errors) == (143, lines, "nasplug: stopped\n")


def test_a_script_that_is_imported_is_no_import_to_wait_for(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from __main__ import send, stoppable, wait\n"
        "with stoppable(lambda: 'stopped; as it should'):\n    send()\n    wait()\n"
    )
    body = """
    def program():
        sys.path.insert(0, "")
        try:
            import script
        except KeyboardInterrupt as error:
            print(error)
            raise
    """
    assert ended(body, folder=tmp_path)[:2] == (143, "stopped; as it should\n")


def test_what_a_destructor_cannot_pass_on_comes_again() -> None:
    body = """
    class Held:
        def __del__(self):
            send()

    def program():
        with stoppable(lambda: "stopped"):
            held = Held()
            del held
            wait()
    """
    assert ended(body) == (143, "", "nasplug: stopped\n")


def test_what_nohup_ignores_stays_ignored() -> None:
    body = """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def program():
        with stoppable(lambda: "stopped"):
            send(signal.SIGHUP)
        print("done")
    """
    assert ended(body) == (0, "done\n", "")


ANOTHER = """
import os, signal, sys
from nasplug import _signals

ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
before = [signal.getsignal(number) for number in ALL], sys.unraisablehook
for number in ALL:
    try:
        with _signals.stoppable(lambda: "stopped; nothing is kept"):
            os.kill(os.getpid(), number)
    except KeyboardInterrupt as error:
        print(error)
with _signals.stoppable():
    pass
try:
    with _signals.stoppable():
        raise ZeroDivisionError
except ZeroDivisionError:
    print("passed on")
assert ([signal.getsignal(number) for number in ALL], sys.unraisablehook) == before
"""


def test_in_another_program_all_is_as_before_in_the_end() -> None:
    # In a process of its own, which nothing else has to do with.
    said = subprocess.check_output([sys.executable, "-c", ANOTHER], text=True)
    assert said == "stopped; nothing is kept\n" * 3 + "passed on\n"


def test_the_command_line_takes_them_before_it_loads_anything() -> None:
    code = (
        "import sys, signal\nimport nasplug.cli\nassert 'typer' not in sys.modules\n"
        "from nasplug import _signals\n_signals.run = lambda program: print('taken')\n"
        "nasplug.cli.run = _signals.run\nnasplug.cli.main()\nassert 'typer' not in sys.modules"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "taken\n"


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nasplug", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("nasplug ")
