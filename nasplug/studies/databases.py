"""Databases that studies are kept in, and what may be wrong with their URL."""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from nasplug.search_spaces import InputError
from nasplug.studies.locks import folder_lock

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["open_database", "without_password"]

# Drivers for PostgreSQL, the best first, and the modules they are.
_POSTGRESQL = {"psycopg": "psycopg", "psycopg2": "psycopg2"}
# Seconds to wait for a server, and after which a connection is made anew.
_TIMEOUT, _RECYCLE = 10, 1800
# Times to make the tables, and what it says that others make them.
_ATTEMPTS = 10
_TOGETHER = (
    r"already exists|UniqueViolation|duplicate key|Duplicate entry|UNIQUE constraint failed"
    r"|database is locked|no such table"
)
# Seconds to wait for another process: for its write, and until it has made the tables.
_BUSY, _LOCKED = 60, 60
# Our lock among those of a PostgreSQL database.
_ADVISORY = 0x6E6173706C7567

# What a server or driver says, and what to do about it.
_REASONS = (
    (r"password authentication failed|no password supplied", "the password or user is wrong"),
    (r'role "(?P<what>[^"]*)" does not exist', "the server has no user {what!r}"),
    (
        r'database "(?P<what>[^"]*)" does not exist',
        "the server has no database {what!r}; make it with createdb",
    ),
    (
        r"could not translate host name|failed to resolve host|Name or service not known",
        "its host is unknown",
    ),
    (
        r"Connection refused|No such file or directory|timeout expired|timed out"
        r"|No route to host|Network is unreachable",
        "no server answers there; start it or correct host and port",
    ),
    (r"starting up|shutting down", "the server is starting or shutting down; try again"),
    (r"too many (clients|connections)", "the server has no connection left; raise max_connections"),
    (r"permission denied", "the user may not make tables there"),
)


def without_password(text: str) -> str:
    """A URL, or a text with URLs in it, with what stands before `@` left out."""
    # A password may hold an @ itself, so all up to the last one of a word goes.
    return re.sub(r"://[^\s'\"]*@", "://…@", text)


def open_database(url: str, heartbeat: int | None, read_only: bool = False) -> BaseStorage:
    """Open a database by URL, making the tables if they are not there.

    Connections are tested before they are used, so that a study outlives a server that drops them.

    Args:
        url: Such as `"postgresql://user:password@host:5432/studies"` or `"sqlite:///study.db"`.
        heartbeat: Seconds between two heartbeats of a trial; None for none.
        read_only: Whether nothing is to be made or written.

    Raises:
        InputError: If it cannot be opened; the password is never in the message.
    """
    from optuna.exceptions import ExperimentalWarning

    shown = without_password(url)
    scheme, _, rest = url.partition("://")
    options: dict[str, Any] = {"pool_pre_ping": True}
    kind = scheme.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        options |= {"pool_recycle": _RECYCLE, "connect_args": {"connect_timeout": _TIMEOUT}}
        url = f"postgresql+{_driver(scheme, shown)}://{rest}"
    try:
        file = _file_of(url) if kind == "sqlite" else None
        if kind == "sqlite":
            options |= {"connect_args": {"timeout": _BUSY}}
        if file is not None and read_only:
            url = _read_only(url, file)
        alone = contextlib.nullcontext() if read_only else _alone(url, file)
        # Filters of warnings come last, as they belong to all threads of a process.
        with alone, warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return _opened(url, options, heartbeat, skip_table_creation=read_only)
    except InputError:
        raise
    except ImportError as error:
        module = error.name or getattr(error.__cause__, "name", None) or "of its scheme"
        raise InputError(
            f"storage {shown!r} needs the database driver {module}, which is not installed"
        ) from None
    except Exception as error:
        # Not chained: what SQLAlchemy raises may quote the URL.
        raise InputError(f"cannot open storage {shown!r} ({_reason(error, url)})") from None


def _file_of(url: str) -> Path | None:
    """The file of a SQLite database; None if it is in memory, or said in a way of SQLite's own."""
    from sqlalchemy.engine import make_url

    name = make_url(url).database
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name)


def _read_only(url: str, file: Path) -> str:
    """The URL for reading a SQLite file that may be written, or may not."""
    if not os.path.isfile(file):
        raise InputError(f"there is no storage {url!r}; give the file of a database that exists")
    if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
        # What a writer left half done is undone by whoever reads next.
        return url
    return f"sqlite:///file:{quote(str(file.absolute()))}?mode=ro&uri=true"


@contextlib.contextmanager
def _alone(url: str, file: Path | None) -> Iterator[None]:
    """Let no other process of ours make the tables of a database meanwhile.

    The lock goes with the process that has it, however it ends. Where there is none, as on some
    network file systems, `_opened` tries again.
    """
    if file is not None:
        with folder_lock(file.absolute().parent):
            yield
    elif url.startswith("postgresql"):
        with _advisory_lock(url):
            yield
    else:
        yield


@contextlib.contextmanager
def _advisory_lock(url: str) -> Iterator[None]:
    """Hold a lock of a PostgreSQL database."""
    import sqlalchemy
    from sqlalchemy.exc import DBAPIError

    options = {"connect_args": {"connect_timeout": _TIMEOUT}, "poolclass": sqlalchemy.NullPool}
    engine = sqlalchemy.create_engine(url, **options)
    with engine.connect() as connection:
        # Of the transaction, not of the session: poolers hand a session on to others.
        with contextlib.suppress(DBAPIError):
            connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{_LOCKED}s'"))
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_xact_lock({_ADVISORY})"))
        yield
        with contextlib.suppress(DBAPIError):
            connection.rollback()


def _opened(
    url: str, options: dict[str, Any], heartbeat: int | None, skip_table_creation: bool = False
) -> BaseStorage:
    from nasplug.studies.heartbeats import GRACE, RetryLost, WatchedDatabase

    grace = None if heartbeat is None else GRACE * heartbeat
    for left in reversed(range(_ATTEMPTS)):
        try:
            return WatchedDatabase(
                url,
                options,
                heartbeat_interval=heartbeat,
                grace_period=grace,
                heartbeat_stale_trial_callback=RetryLost(),
                skip_table_creation=skip_table_creation,
            )
        except Exception as error:
            # Programs of others make the tables at the same time, and some databases have no lock.
            if not left or not re.search(_TOGETHER, str(error)):
                raise
            time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError


def _driver(scheme: str, shown: str) -> str:
    wanted = scheme.partition("+")[2]
    for name, module in _POSTGRESQL.items():
        if wanted in ("", name) and find_spec(module) is not None:
            return name
    if wanted and wanted not in _POSTGRESQL:
        return wanted
    raise InputError(
        f"storage {shown!r} needs the driver {wanted or 'psycopg'}, which is not installed; "
        "install it with pip install 'nasplug[postgresql]'"
    )


def _reason(error: BaseException, url: str) -> str:
    said = str(error)
    for pattern, reason in _REASONS:
        if found := re.search(pattern, said):
            return reason.format(**found.groupdict())
    line = (said.strip().splitlines() or [type(error).__name__])[0]
    line = without_password(line)
    # A driver may quote the password by itself, as it stands in the URL or decoded.
    secret = re.search(r"://[^:/@]*:(.*)@", url)
    for word in (secret[1], unquote(secret[1])) if secret and secret[1] else ():
        line = line.replace(word, "…")
    return f"{line[:200]}; give the URL of a database, the path of a journal file, or memory"
