"""Waiting of OpenMP's threads in the command line."""

import os
import subprocess
import sys

import pytest

from nasplug import _waiting

SHOW = "import os; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(_waiting, "_added", [])


def shown(environment):
    command = [sys.executable, "-c", SHOW]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_threads_spin_shortly_here_and_not_in_programs_of_the_user():
    _waiting.spin_shortly()
    assert shown(dict(os.environ)) == "2000"
    assert shown(_waiting.own_environment()) == "None"


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [("GOMP_SPINCOUNT", "7", "7"), ("OMP_WAIT_POLICY", "ACTIVE", "None")],
)
def test_what_the_user_chose_stays(monkeypatch, name, value, kept):
    monkeypatch.setenv(name, value)
    _waiting.spin_shortly()
    assert shown(dict(os.environ)) == shown(_waiting.own_environment()) == kept
