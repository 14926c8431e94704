"""A PostgreSQL server for the tests of shared studies."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.search.postgres_server import NoServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A running server; skips the test where there is none, or no driver."""
    if not any(importlib.util.find_spec(name) for name in ("psycopg", "psycopg2")):
        pytest.skip("no driver for PostgreSQL: pip install 'nasplug[postgresql]'")
    try:
        with postgres_server() as server:
            yield server
    except NoServer as error:
        pytest.skip(str(error))


@pytest.fixture(params=["journal", "postgresql"])
def shared_storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage that several processes can open, by its path or URL, with no study in it."""
    if request.param == "journal":
        return str(tmp_path / "shared.journal")
    server = request.getfixturevalue("postgres")
    name = f"d{abs(hash(request.node.nodeid)) % 10**9}"
    server.run(f"CREATE DATABASE {name} OWNER tester")
    url: str = server.url(name)
    return url
