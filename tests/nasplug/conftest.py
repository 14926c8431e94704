"""A PostgreSQL server for the tests of shared studies."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _servers() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "experiments" / "postgres_server.py"
    spec = importlib.util.spec_from_file_location("postgres_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up.
    sys.modules["postgres_server"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A running server; skips the test where there is none, or no driver."""
    if not any(importlib.util.find_spec(name) for name in ("psycopg", "psycopg2")):
        pytest.skip("no driver for PostgreSQL: pip install 'nasplug[postgresql]'")
    servers = _servers()
    try:
        with servers.postgres_server() as server:
            yield server
    except servers.NoServer as error:
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
