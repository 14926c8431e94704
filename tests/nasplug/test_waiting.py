"""Waiting of OpenMP's threads in the command line."""

import os
import subprocess
import sys

import pytest

from nasplug import _waiting

SHOW = "import os; print(os.environ.get('OMP_WAIT_POLICY'))"


@pytest.fixture(autouse=True)
def no_policy(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(_waiting, "_added", [])


def shown(environment):
    command = [sys.executable, "-c", SHOW]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_threads_sleep_here_and_not_in_programs_of_the_user():
    _waiting.sleep_while_waiting()
    assert shown(dict(os.environ)) == "PASSIVE"
    assert shown(_waiting.own_environment()) == "None"


def test_a_policy_of_the_user_stays(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    _waiting.sleep_while_waiting()
    assert shown(dict(os.environ)) == shown(_waiting.own_environment()) == "ACTIVE"
