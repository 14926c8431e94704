"""Studies in databases: a real PostgreSQL server, and URLs that lead nowhere."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.trial import TrialState

from nasplug import cli
from nasplug.search_spaces import InputError
from nasplug.studies import databases
from nasplug.studies.databases import without_password
from nasplug.studies.storages import open_storage

SECRET = "s3cr:et@x"


def objective(trial: optuna.trial.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def refused(url: str) -> str:
    with pytest.raises(InputError) as caught:
        open_storage(url)
    # Nor in what led to it.
    told = "".join(traceback.format_exception(caught.value))
    for word in (SECRET, "s3cr", "et%40x", "pass word", "pass%20word"):
        assert word not in told
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_study_outlives_connections_that_the_server_drops(postgres: Any) -> None:
    storage = open_storage(postgres.url())
    study = optuna.create_study(storage=storage)
    study.optimize(objective, n_trials=2)
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'tester'"
    assert int(postgres.run(cut)) > 0
    study.optimize(objective, n_trials=2)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 4


def test_heartbeats_are_on_unless_told_otherwise(postgres: Any, tmp_path: Path) -> None:
    for place in (postgres.url(), str(tmp_path / "s.journal"), f"sqlite:///{tmp_path}/s.db"):
        assert is_heartbeat_enabled(open_storage(place))
        assert not is_heartbeat_enabled(open_storage(place, None))
    study = optuna.create_study(storage=open_storage(postgres.url(), None))
    study.tell(study.ask(), 1.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"database": "nowhere"}, "the server has no database 'nowhere'"),
        ({"password": SECRET}, "the password or user is wrong"),
        ({"user": "stranger"}, "the password or user is wrong"),
        ({"password": ""}, "the password or user is wrong"),
    ],
)
def test_what_a_server_refuses_is_said(postgres: Any, change: dict[str, str], said: str) -> None:
    assert said in refused(postgres.url(**change))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("127.0.0.1:1/d", "no server answers there"),
        ("no-such-host.invalid/d", "its host is unknown"),
        ("127.0.0.1:port/d", "give the URL of a database"),
    ],
)
def test_a_url_that_leads_nowhere_is_said(place: str, said: str) -> None:
    if not any(databases.find_spec(name) for name in ("psycopg", "psycopg2")):
        pytest.skip("no driver for PostgreSQL")
    for scheme in ("postgresql", "postgres"):
        message = refused(f"{scheme}://me:s3cr%3Aet%40x@{place}")
        assert said in message
        assert f"'{scheme}://…@{place}'" in message


def test_a_missing_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "find_spec", lambda name: None)
    message = refused("postgresql://me:s3cr%3Aet%40x@h/d")
    assert message.endswith(
        "needs the driver psycopg, which is not installed; "
        "install it with pip install 'nasplug[postgresql]'"
    )
    assert "driver psycopg2, which" in refused("postgresql+psycopg2://me:s3cr@h/d")


def test_either_driver_will_do(postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    find = databases.find_spec
    for name in ("psycopg", "psycopg2"):
        if find(name) is None:
            continue
        monkeypatch.setattr(databases, "find_spec", lambda wanted, own=name: wanted == own or None)
        assert open_storage(postgres.url()).engine.driver == name  # type: ignore[attr-defined]
        named = postgres.url().replace("postgresql", f"postgresql+{name}")
        assert open_storage(named).engine.driver == name  # type: ignore[attr-defined]


def test_the_command_line_ends_with_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://me:s3cr%3Aet%40x@127.0.0.1:1/d"
    words = ["nasplug", "search", "--space", "macro", "--storage", url]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    assert "no server answers there" in told.err
    assert "s3cr" not in told.err
    assert len(told.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://…@h/d"),
        ("postgresql://u:p@w@h/d", "postgresql://…@h/d"),
        ("cannot open 'mysql+x://u:p@h/d' (no)", "cannot open 'mysql+x://…@h/d' (no)"),
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("study.journal", "study.journal"),
    ],
)
def test_passwords_are_left_out(text: str, shown: str) -> None:
    assert without_password(text) == shown
