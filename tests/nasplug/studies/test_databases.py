"""Studies in databases: a real PostgreSQL server, and URLs that lead nowhere."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.trial import TrialState
from typer.testing import CliRunner

from nasplug.cli import app
from nasplug.reports.study_report import find_study
from nasplug.search_spaces import InputError
from nasplug.studies import databases, locks
from nasplug.studies.databases import without_password
from nasplug.studies.locks import folder_lock
from nasplug.studies.storages import open_storage, open_study

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
        ("127.0.0.1:1/d", "no server answers at this address"),
        ("no-such-host.invalid/d", "the host is unknown"),
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


def test_the_command_line_ends_with_two() -> None:
    url = "postgresql://me:s3cr%3Aet%40x@127.0.0.1:1/d"
    told = CliRunner().invoke(app, ["search", "--space", "macro", "--storage", url])
    assert told.exit_code == 2
    assert told.stdout == ""
    assert "no server answers at this address" in told.stderr
    assert "s3cr" not in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


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


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    server = request.getfixturevalue("postgres")
    name = f"n{abs(hash(request.node.nodeid)) % 10**9}"
    server.run(f"CREATE DATABASE {name} OWNER tester")
    url: str = server.url(name)
    return url


def test_one_process_at_a_time_makes_the_tables(
    new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, both = databases._open_patiently, threading.Barrier(2)
    together: list[bool] = []

    def opened(*given: Any, **options: Any) -> Any:
        # Passed only if another is here too.
        try:
            both.wait(0.5)
            together.append(True)
        except threading.BrokenBarrierError:
            together.append(False)
        return real(*given, **options)

    monkeypatch.setattr(databases, "_open_patiently", opened)
    threads = [threading.Thread(target=open_storage, args=(new_database,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [False, False]


def test_a_killed_process_lets_a_folder_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder is never taken without its lock.
    monkeypatch.setattr(locks, "_PATIENCE", 3600.0)
    script = (
        "import sys, time; from pathlib import Path; from nasplug.studies.locks import *\n"
        "with folder_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(300)
        got = threading.Event()

        def take() -> None:
            with folder_lock(tmp_path):
                got.set()

        threading.Thread(target=take, daemon=True).start()
        assert got.wait(300)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_locks_is_used_without(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "missing"):
        pass


SETTINGS = {"seed": 0}


def finished_study(url: str) -> optuna.Study:
    study = open_study(open_storage(url), "s", ["minimize"], SETTINGS)

    def told(trial: optuna.trial.Trial) -> float:
        trial.set_user_attr("note", {"b": [1, 2.5, None], "a": "ü"})
        trial.set_constraint("limit", -1.0)
        trial.suggest_categorical("op", ("a", None, 3))
        trial.suggest_int("n", 1, 8, log=True)
        return objective(trial) if trial.number else 0.1 + 0.2

    study.optimize(told, n_trials=3)
    study.optimize(lambda trial: 1 / 0, n_trials=1, catch=(ZeroDivisionError,))
    return study


def test_whole_studies_pass(new_database: str) -> None:
    wanted = finished_study(new_database).trials
    again = open_study(open_storage(new_database), "s", ["minimize"], SETTINGS)
    assert again.trials == wanted
    assert find_study(new_database, "s").trials == wanted


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trial_values SET value = 0.001 WHERE trial_id = 2",
        "UPDATE trial_params SET param_value = (param_value + 1) % 3 "
        "WHERE trial_id = 2 AND param_name = 'op'",
        "UPDATE trial_params SET distribution_json = replace(distribution_json, '8', '9') "
        "WHERE trial_id = 2",
        "UPDATE trial_user_attributes SET value_json = replace(value_json, '2.5', '2.6') "
        "WHERE trial_id = 2",
        "UPDATE trial_system_attributes SET value_json = replace(value_json, '-1.0', '1.0') "
        "WHERE trial_id = 2",
        "UPDATE trials SET state = 'FAIL' WHERE trial_id = 2",
        "UPDATE trials SET state = 'RUNNING' WHERE trial_id = 2",
        "DELETE FROM trial_values WHERE trial_id = 2",
    ],
)
def test_a_trial_that_was_changed_is_named(tmp_path: Path, change: str) -> None:
    path = tmp_path / "s.db"
    url = f"sqlite:///{path}"
    finished_study(url)
    with sqlite3.connect(path) as connection:
        assert connection.execute(change).rowcount >= 1
    connection.close()
    for read in (
        lambda: find_study(url, "s"),
        lambda: open_study(open_storage(url), "s", ["minimize"], SETTINGS),
    ):
        with pytest.raises(InputError, match=r"trial 1 of study 's' is damaged"):
            read()


def test_reading_alone_leaves_a_database_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "with space%.db"
    url = f"sqlite:///{path}"
    wanted = finished_study(url).trials
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    before = path.read_bytes(), tmp_path.stat().st_mtime_ns
    try:
        assert find_study(url).trials == wanted
    finally:
        tmp_path.chmod(0o700)
    assert (path.read_bytes(), tmp_path.stat().st_mtime_ns) == before


def test_reading_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the storage"):
        find_study(f"sqlite:///{tmp_path}/missing.db")
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(InputError, match="cannot open storage"):
        find_study(f"sqlite:///{empty}")
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]
    assert empty.read_bytes() == b""
