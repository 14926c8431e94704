"""Databases as storages of studies, opened by URL, with clear sentences for bad URLs."""

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

# Driver for PostgreSQL, the best first -> its module.
_POSTGRESQL = {"psycopg": "psycopg", "psycopg2": "psycopg2"}
# Seconds to wait for a server, and seconds after which a connection is opened anew.
_TIMEOUT, _RECYCLE = 10, 1800
# Attempts at creating the tables, and errors that mean that another process creates them.
_ATTEMPTS = 10
_TOGETHER = (
    r"already exists|UniqueViolation|duplicate key|Duplicate entry|UNIQUE constraint failed"
    r"|database is locked|no such table"
)
# Seconds to wait for another process: for its write, and until it has created the tables.
_BUSY, _LOCKED = 60, 60
# Number of our lock among the advisory locks of a PostgreSQL database.
_ADVISORY = 0x6E6173706C7567

# Pattern in the message of a server or driver -> reason and advice for the user.
_REASONS = (
    (r"password authentication failed|no password supplied", "the password or user is wrong"),
    (r'role "(?P<what>[^"]*)" does not exist', "the server has no user {what!r}"),
    (
        r'database "(?P<what>[^"]*)" does not exist',
        "the server has no database {what!r}; make it with createdb",
    ),
    (
        r"could not translate host name|failed to resolve host|Name or service not known",
        "the host is unknown",
    ),
    (
        r"Connection refused|No such file or directory|timeout expired|timed out"
        r"|No route to host|Network is unreachable",
        "no server answers at this address; start it, or correct host and port",
    ),
    (r"starting up|shutting down", "the server is starting or shutting down; try again"),
    (
        r"too many (clients|connections)",
        "the server has no free connection; raise its max_connections",
    ),
    (r"permission denied", "the user may not create tables"),
)


def without_password(text: str) -> str:
    """Replace user and password in all URLs of a text by `…`."""
    # A password may hold an @ itself, so everything up to the last @ of a word is removed.
    return re.sub(r"://[^\s'\"]*@", "://…@", text)


def open_database(url: str, heartbeat: int | None, read_only: bool = False) -> BaseStorage:
    """Open a database by URL, and create its tables if they are missing.

    Connections are tested before they are used, so that a study outlives a server that drops them.

    Arguments are those of `open_storage`.

    Raises:
        InputError: If the database cannot be opened; the message never has the password.
    """
    from optuna.exceptions import ExperimentalWarning

    shown = without_password(url)
    scheme, _, address = url.partition("://")
    options: dict[str, Any] = {"pool_pre_ping": True}
    kind = scheme.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        options |= {"pool_recycle": _RECYCLE, "connect_args": {"connect_timeout": _TIMEOUT}}
        url = f"postgresql+{_driver(scheme, shown)}://{address}"
    try:
        file = _file_of(url) if kind == "sqlite" else None
        if kind == "sqlite":
            options |= {"connect_args": {"timeout": _BUSY}}
        if file is not None and read_only:
            url = _read_only(url, file)
        lock = contextlib.nullcontext() if read_only else _creation_lock(url, file)
        # Warning filters are shared by all threads, so none is set while the lock is waited for.
        with lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return _open_patiently(url, options, heartbeat, skip_table_creation=read_only)
    except InputError:
        raise
    except ImportError as error:
        module = error.name or getattr(error.__cause__, "name", None) or "for this URL"
        raise InputError(
            f"storage {shown!r} needs the database driver {module}, which is not installed"
        ) from None
    except Exception as error:
        # Not chained: SQLAlchemy's errors may quote the URL.
        raise InputError(f"cannot open storage {shown!r} ({_reason(error, url)})") from None


def _file_of(url: str) -> Path | None:
    """File of a SQLite database; None if it is in memory or given as a `file:` URI."""
    from sqlalchemy.engine import make_url

    name = make_url(url).database
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name)


def _read_only(url: str, file: Path) -> str:
    """URL for reading a SQLite file, in SQLite's read-only mode if it cannot be written."""
    if not os.path.isfile(file):
        raise InputError(
            f"the storage {url!r} does not exist; give the file of an existing database"
        )
    if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
        # A reader must be able to roll back what a killed writer left half done.
        return url
    return f"sqlite:///file:{quote(str(file.absolute()))}?mode=ro&uri=true"


def _creation_lock(url: str, file: Path | None) -> contextlib.AbstractContextManager[None]:
    """Keep other processes of ours from creating the tables of a database at the same time.

    The lock ends with its process, however that ends. Where a file system has no locks, as some
    network file systems, `_open_patiently` tries again.
    """
    if file is not None:
        return folder_lock(file.absolute().parent)
    return _advisory_lock(url) if url.startswith("postgresql") else contextlib.nullcontext()


@contextlib.contextmanager
def _advisory_lock(url: str) -> Iterator[None]:
    """Hold a lock of a PostgreSQL database."""
    import sqlalchemy
    from sqlalchemy.exc import DBAPIError

    options = {"connect_args": {"connect_timeout": _TIMEOUT}, "poolclass": sqlalchemy.NullPool}
    engine = sqlalchemy.create_engine(url, **options)
    with engine.connect() as connection:
        # The lock belongs to the transaction: connection poolers hand a session on to others.
        with contextlib.suppress(DBAPIError):
            connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{_LOCKED}s'"))
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_xact_lock({_ADVISORY})"))
        yield
        with contextlib.suppress(DBAPIError):
            connection.rollback()


def _open_patiently(
    url: str, options: dict[str, Any], heartbeat: int | None, skip_table_creation: bool = False
) -> BaseStorage:
    """Open a database, and try again while other programs create its tables."""
    from nasplug.studies.heartbeats import GRACE, WatchedDatabase, retry_lost

    grace = None if heartbeat is None else GRACE * heartbeat
    for remaining in reversed(range(_ATTEMPTS)):
        try:
            return WatchedDatabase(
                url,
                options,
                heartbeat_interval=heartbeat,
                grace_period=grace,
                heartbeat_stale_trial_callback=retry_lost,
                skip_table_creation=skip_table_creation,
            )
        except Exception as error:
            # Other programs do not take our lock, and some databases have none.
            if not remaining or not re.search(_TOGETHER, str(error)):
                raise
            time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError


def _driver(scheme: str, shown: str) -> str:
    """Name of the installed driver for a PostgreSQL URL's scheme."""
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
    """Explain in words why a database could not be opened, without its password."""
    message = str(error)
    for pattern, reason in _REASONS:
        if match := re.search(pattern, message):
            return reason.format(**match.groupdict())
    line = (message.strip().splitlines() or [type(error).__name__])[0]
    line = without_password(line)
    # A driver may quote the password alone, as it is in the URL or decoded.
    secret = re.search(r"://[^:/@]*:(.*)@", url)
    for word in (secret[1], unquote(secret[1])) if secret and secret[1] else ():
        line = line.replace(word, "…")
    return f"{line[:200]}; give the URL of a database, the path of a journal file, or memory"
