"""A PostgreSQL server of one's own, in a temporary folder, for experiments and tests.

    python -m experiments.search.postgres_server

starts one, prints its URL, and stops it on Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Users that a server may run as where this process is root, which PostgreSQL refuses.
USERS = ("postgres", "nobody")
PASSWORD = "pass word@1"
START_SECONDS = 60


class NoServer(Exception):
    """There is no PostgreSQL server to start, and why."""


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port: On 127.0.0.1.
        pid: Of its main process.
        folder: Where its data are.
    """

    port: int
    pid: int
    folder: Path

    def url(self, database: str = "studies", user: str = "tester", password: str = PASSWORD) -> str:
        """The URL of a database, for SQLAlchemy."""
        from urllib.parse import quote

        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str) -> str:
        """Run a statement as the owner of the server, in its own database `postgres`."""
        command = [_binary("psql"), "-h", str(self.folder), "-p", str(self.port), "-U", "owner"]
        command += ["-d", "postgres", "-Atc", statement]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()


def _binary(name: str) -> str:
    path = shutil.which(name)
    if path:
        return path
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not places:
        raise NoServer(
            f"no PostgreSQL server: {name} is neither on PATH nor in /usr/lib/postgresql"
        )
    return str(places[-1])


def _user() -> int | None:
    """Number of the user to run the server as; None for this one."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise NoServer(f"a PostgreSQL server refuses to run as root, and there is no user {USERS}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def postgres_server() -> Iterator[Server]:
    """Start a server with an empty database `studies`, and stop it at the end.

    Raises:
        NoServer: If there is none to start.
    """
    initdb, postgres, user = _binary("initdb"), _binary("postgres"), _user()
    _binary("psql")
    # Short, as a socket's path is limited to about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    process = None
    try:
        if user is not None:
            os.chown(folder, user, -1)
        folder.chmod(0o755)
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = folder / "data"
        process_options: dict[str, Any] = {"cwd": folder}
        if user is not None:
            process_options |= {"user": user, "group": 0, "extra_groups": []}
        command = [initdb, "-D", str(data), "-U", "owner", "--auth-host=scram-sha-256"]
        command += ["--auth-local=trust", f"--pwfile={secret}", "--no-sync", "-E", "UTF8"]
        command += ["--locale=C"]
        made = subprocess.run(
            command, capture_output=True, text=True, check=False, **process_options
        )
        if made.returncode:
            raise NoServer(f"initdb failed: {made.stderr.strip()[-300:]}")
        port = _free_port()
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
        options += ["-c", "full_page_writes=off", "-c", "max_connections=200"]
        command = [postgres, "-D", str(data), *options]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, **process_options)
        server = Server(port, process.pid, folder)
        _wait(server, process)
        quoted = PASSWORD.replace("'", "''")
        server.run(f"CREATE ROLE tester LOGIN PASSWORD '{quoted}'")
        server.run("CREATE DATABASE studies OWNER tester")
        yield server
    finally:
        if process is not None and process.poll() is None:
            # At once, without waiting for connections that a killed worker left.
            process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise NoServer(f"postgres did not start: {(server.folder / 'log').read_text()[-300:]}")
        with contextlib.suppress(subprocess.CalledProcessError):
            server.run("SELECT 1")
            return
        time.sleep(0.1)


def main() -> None:
    with postgres_server() as server:
        print(server.url(), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
