"""A PostgreSQL server of one's own, and other new storages of studies, for experiments and tests.

    python -m experiments.search.postgres_server

starts one, prints its URL, and stops it on Ctrl-C.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Users that a server may run as where this process is root, which PostgreSQL refuses.
USERS = ("postgres", "nobody")
PASSWORD = "pass word@1"


class NoServer(Exception):
    """There is no PostgreSQL server to start, and why."""


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port: On 127.0.0.1.
        folder: Where its data are.
    """

    port: int
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

    def new_database(self, name: str) -> str:
        """The URL of a database that is made."""
        self.run(f"CREATE DATABASE {name} OWNER tester")
        return self.url(name)


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


def _user() -> int:
    """Number of the user to run the server as."""
    if os.geteuid() != 0:
        return os.geteuid()
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
    user = _user()
    # Short, as a socket's path is limited to about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    # The groups of root are not for the server.
    groups: dict[str, Any] = {"group": 0, "extra_groups": []} if os.geteuid() == 0 else {}

    def call(name: str, *words: str) -> None:
        command = [_binary(name), "-D", str(folder / "data"), *words]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, user=user, **groups
        )
        if done.returncode:
            raise NoServer(f"{name} failed: {done.stderr.strip()[-300:]}")

    try:
        os.chown(folder, user, -1)
        folder.chmod(0o755)
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        words = ["-U", "owner", "--auth-host=scram-sha-256", "--auth-local=trust", "--no-sync"]
        call("initdb", *words, f"--pwfile={secret}", "-E", "UTF8", "--locale=C")
        server = Server(_free_port(), folder)
        options = f"-h 127.0.0.1 -p {server.port} -k {folder} -F"
        options += " -c full_page_writes=off -c max_connections=200"
        call("pg_ctl", "start", "-l", str(folder / "log"), "-o", options)
        try:
            server.run(f"CREATE ROLE tester LOGIN PASSWORD '{PASSWORD}'")
            server.new_database("studies")
            yield server
        finally:
            # At once, without waiting for connections that a killed worker left.
            call("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def new_storages(kind: str) -> Iterator[Callable[[], str]]:
    """A function that makes empty storages of a kind, and gives the path or URL of each.

    Args:
        kind: `"sqlite"`, `"journal"` or `"postgresql"`.
    """
    numbers = itertools.count()
    if kind == "postgresql":
        with postgres_server() as server:
            yield lambda: server.new_database(f"new{next(numbers)}")
        return
    forms = {"sqlite": "sqlite:///{}.db", "journal": "{}.journal"}
    if kind not in forms:
        raise SystemExit(f"unknown storage {kind!r}; there are {', '.join(forms)} and postgresql")
    with tempfile.TemporaryDirectory() as folder:
        yield lambda: forms[kind].format(Path(folder) / str(next(numbers)))


def main() -> None:
    with postgres_server() as server:
        print(server.url(), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
