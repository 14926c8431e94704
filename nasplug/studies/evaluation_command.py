"""Evaluation by the user's own program: an architecture goes in, metrics come out as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from nasplug._signals import held
from nasplug._waiting import own_environment
from nasplug.search_spaces import InputError
from nasplug.studies.evaluation import Request, TrialFailure

__all__ = ["Command"]

# Placeholders in the words of a command: the text, and paths of files.
ARCH, JSON, ONNX, PARAMS = "{arch}", "{json}", "{onnx}", "{params}"
# Bytes at the end of an output that are kept: metrics and error messages come last.
KEPT_BYTES = 1_000_000
# Bytes after which a program counts as printing without end.
MOST_BYTES = 64_000_000
# Seconds that a program gets after SIGTERM, and for closing its output after its end.
GRACE_SECONDS, CLOSE_SECONDS = 5.0, 1.0
# Lines of the error output that are kept with a failed trial, and characters of each.
_LINES, _LETTERS = 5, 200
_POLL_SECONDS = 0.1

NetworkWriter = Callable[[Request, Path], None]


class Command:
    """Runs a program for each trial.

    The command is split into words as a shell does, but no shell runs it. In its words `{arch}`
    stands for the architecture's text, `{params}` for the trial's parameters as one JSON object,
    `{json}` for the path of a file with the architecture as JSON, and `{onnx}` for the path of its
    network as an ONNX file with random weights. The JSON is on standard input too. The last line of
    standard output that is a JSON object is the answer: `{"accuracy": 93.1, "latency_ms": 4.2}`,
    and `"constraints"` if there are any.

    The program runs in the folder and the environment of its parent, in a process group of its
    own. A trial fails if the program exits with another code than 0, runs for longer than the
    timeout, or prints more than 64 MB or no such line.

    Args:
        command: The program and its arguments, as one text or as a list of words.
        timeout: Seconds that one run may take; None for no limit.

    Raises:
        InputError: If the text cannot be split, there is no such program, or the timeout is not a
            positive number.

    Example:
        >>> import nasplug
        >>> evaluate = nasplug.Command("python train.py --arch {arch}", timeout=3600)
        >>> evaluate.words[1:]
        ('train.py', '--arch', '{arch}')
    """

    name = "command"

    def __init__(self, command: str | Sequence[str], timeout: float | None = None) -> None:
        try:
            words = shlex.split(command) if isinstance(command, str) else [*map(str, command)]
        except ValueError as error:
            raise InputError(f"command {command!r} cannot be split into words ({error})") from None
        if not words:
            raise InputError('the command is empty; write it like "python train.py {arch}"')
        if timeout is not None and not 0 < timeout < float("inf"):
            raise InputError(f"timeout {timeout!r} is not a positive number of seconds")
        self.words = (_program(words[0]), *words[1:])
        self.timeout = timeout
        # Machines may have the program in different folders.
        self.identity = json.dumps([os.path.basename(words[0]), *words[1:]])
        self.write_network: NetworkWriter | None = None
        self._running: set[subprocess.Popen[bytes] | None] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def renewed(self) -> Command:
        """Copy the command for another search, as a stopped command starts no programs any more."""
        return Command(self.words, self.timeout)

    @property
    def wants_network(self) -> bool:
        """Whether the program reads an ONNX file."""
        return any(ONNX in word for word in self.words)

    def __call__(self, request: Request) -> Mapping[str, Any]:
        """Run the program and read the metrics that it prints.

        Raises:
            TrialFailure: If it fails, with the reason and the end of its error output.
            KeyboardInterrupt: If `stop` was called in the meantime.
        """
        try:
            with tempfile.TemporaryDirectory(
                prefix="nasplug-", ignore_cleanup_errors=True
            ) as folder:
                return self._answer(request, Path(folder))
        except OSError as error:
            raise TrialFailure(f"{self.words[0]}: {error.strerror or error}") from error

    def _answer(self, request: Request, folder: Path) -> Mapping[str, Any]:
        description = folder / "architecture.json"
        description.write_text(json.dumps(request.to_json(), indent=2) + "\n", encoding="utf-8")
        network = folder / "network.onnx"
        if self.wants_network and self.write_network is not None:
            try:
                self.write_network(request, network)
            except InputError as error:
                # Other networks may be written, so the study goes on.
                raise TrialFailure(f"no ONNX file: {error}") from error
        texts = {
            ARCH: request.arch.text,
            JSON: str(description),
            ONNX: str(network),
            PARAMS: json.dumps(dict(request.params)),
        }
        words = [_filled(word, texts) for word in self.words]
        with description.open("rb") as stdin, self._process(words, stdin) as process:
            out, err = _Tail(process.stdout), _Tail(process.stderr)
            reason = self._wait(process, out)
            out.close()
            err.close()
        if self._stopped:
            raise KeyboardInterrupt
        if reason is None and process.returncode != 0:
            reason = _ending(process.returncode)
        if reason is not None:
            raise TrialFailure(_explained(reason, err.text()))
        return _last_object(out.text(), err.text())

    @contextlib.contextmanager
    def _process(self, words: Sequence[str], stdin: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        process: subprocess.Popen[bytes] | None = None
        try:
            # What was started is known from then on, whatever comes.
            with held(), self._lock:
                if self._stopped:
                    raise KeyboardInterrupt
                process = subprocess.Popen(
                    words,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=own_environment(),
                    # Its children end with it, and Ctrl-C reaches it through us alone.
                    start_new_session=True,
                )
                self._running.add(process)
            yield process
        except BaseException:
            if process is not None:
                _end(process)
            raise
        finally:
            with self._lock:
                self._running.discard(process)

    def _wait(self, process: subprocess.Popen[bytes], out: _Tail) -> str | None:
        """Wait for the end of a program, and end it if it takes too long or prints too much.

        Returns:
            The reason for ending it, or None if it ended by itself.
        """
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        pause = 0.005
        while process.poll() is None:
            remaining = _POLL_SECONDS if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                _end(process)
                return f"timeout: still running after {self.timeout:g} s"
            if out.total > MOST_BYTES:
                _end(process)
                return f"it printed more than {MOST_BYTES // 1_000_000} MB"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(pause, remaining))
            pause = min(2 * pause, _POLL_SECONDS)
        return None

    def stop(self) -> None:
        """End all running programs, and start no more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            if process is not None:
                _end(process)


class _Tail:
    """Reader of a stream's end, in a thread of its own so that the writer never waits."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self.total = 0
        self._stream = stream
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream, contextlib.suppress(OSError, ValueError):
            while block := os.read(self._stream.fileno(), 65_536):
                self.total += len(block)
                self._kept += block
                if len(self._kept) > 2 * KEPT_BYTES:
                    del self._kept[:-KEPT_BYTES]

    def close(self) -> None:
        """Stop waiting for more output; a child that lives on may hold the stream open."""
        self._thread.join(CLOSE_SECONDS)

    def text(self) -> str:
        """The end of the stream as text."""
        return bytes(self._kept[-KEPT_BYTES:]).decode("utf-8", "replace")


def _program(name: str) -> str:
    """Path of a program, from the search path or else from the working folder.

    Raises:
        InputError: If there is no such program, or it may not be run.
    """
    path = shutil.which(name)
    if path is not None:
        return name if os.path.dirname(name) else path
    # A shell would not find "train.sh" in the working folder, but users write it.
    here = os.path.abspath(os.path.expanduser(name))
    if os.path.isfile(here):
        if os.access(here, os.X_OK):
            return here
        raise InputError(
            f"program {name!r} is not executable; run chmod +x on it, or name its interpreter, "
            f'as in "python {name}"'
        )
    raise InputError(f"program {name!r} was not found, neither on the PATH nor in this folder")


def _filled(word: str, texts: Mapping[str, str]) -> str:
    """Replace placeholders in a word, in one pass: an architecture may hold braces itself."""
    for placeholder, text in texts.items():
        before, match, after = word.partition(placeholder)
        if match:
            return _filled(before, texts) + text + _filled(after, texts)
    return word


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and its children, by SIGTERM and after a while by SIGKILL."""
    try:
        _signal(process, signal.SIGTERM)
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # A child may live on where its parent has ended, and Ctrl-C may come twice.
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _ending(code: int) -> str:
    """Describe a return code: an exit code, or the signal that ended the program."""
    if code > 0:
        return f"exit code {code}"
    try:
        return f"ended by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _explained(reason: str, errors: str) -> str:
    """Append the last lines of the error output to a reason."""
    lines = [line.rstrip()[:_LETTERS] for line in errors.splitlines() if line.strip()]
    return "\n".join([reason, *lines[-_LINES:]])


def _last_object(text: str, errors: str) -> Mapping[str, Any]:
    """Last line that is a JSON object, or the whole text if it is one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for candidate in (*reversed(lines), text):
        if candidate.lstrip().startswith("{"):
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(candidate)
                if isinstance(value, dict):
                    return value
    last = f"the last line is {lines[-1][:_LETTERS]!r}" if lines else "it printed nothing"
    raise TrialFailure(_explained(f"no JSON object on standard output; {last}", errors))
