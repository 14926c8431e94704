"""`nasplug worker`: several processes on one study, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from nasplug import Command, search, worker
from nasplug.search_spaces import InputError
from nasplug.searching.config import RECORD, kept_total
from nasplug.searching.prepare import Prepared
from nasplug.searching.worker import WorkerResult
from nasplug.studies.storages import open_storage
from nasplug.studies.trials import FAILURE

Process = subprocess.Popen[str]
Start = Callable[..., Process]
# A space that is opened at once, and a program that says which process it is.
SPACE = ("--space", "nnlqp:alexnet", "--pool-size", "60")
PROGRAM = """
import json, os, sys, time
told = json.load(sys.stdin)
with open(f"run-{told['trial']}", "w") as file:
    file.write(str(os.getpid()))
while os.path.exists("hold"):
    time.sleep(0.05)
print(json.dumps({"accuracy": told["costs"]["params"] % 97, "by": os.getppid()}))
"""
COMMAND = f"{sys.executable} train.py {{arch}}"
EVALUATE = ("--evaluate", "command", COMMAND)
STUDY = ("--storage", "s.journal")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the command line in a folder with the program."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(PROGRAM)

    processes: list[Process] = []

    def started(*words: str) -> Process:
        code = f"import sys; sys.argv = ['nasplug', *{words!r}]; import nasplug.cli as c; c.main()"
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        processes.append(process)
        return process

    yield started
    # Those of a test that failed, whose programs would wait for ever.
    (tmp_path / "hold").unlink(missing_ok=True)
    for process in processes:
        with process:
            process.kill()


def ended(process: Process, code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return out, err


def load(name: str = "mine") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=open_storage("s.journal"))


def waited(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 300
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    assert condition()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; its entry may outlive it until its parent's parent looks."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_two_workers_share_what_a_search_began(start: Start) -> None:
    words = (*SPACE, *EVALUATE, *STUDY, "--study-name", "mine", "--seed", "3")
    ended(start("search", *words, "--n-trials", "1"))
    # The total is raised by who gives the search again; workers join with nothing but the program.
    hold = Path("hold")
    hold.touch()
    search_again = start("search", *words, "--n-trials", "13", "--json")
    # A worker that came before would find nothing to do.
    waited(lambda: kept_total(load()) == 13)
    join = ("worker", *STUDY, "--study", "mine", *EVALUATE)
    workers = [start(*join, "--json"), start(*join, "--n-trials", "2")]
    # Each of the three has a trial under way.
    waited(lambda: len(list(Path().glob("run-*"))) == 4)
    hold.unlink()
    told = json.loads(ended(workers[0])[0])
    out, _ = ended(workers[1])
    assert "completed here; study mine has" in out
    result = json.loads(ended(search_again)[0])
    assert (result["n_trials"], result["failed"], result["seed"]) == (13, 0, 3)
    assert (told["n_trials"], told["total"]) == (13, 13)
    trials = load().trials
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(done) == 13
    assert len({trial.user_attrs["nasplug"]["arch_id"] for trial in done}) == 13
    by = Counter(trial.user_attrs["nasplug:observed"]["by"] for trial in done)
    assert sum(by.values()) == 13
    assert by[workers[0].pid] == told["completed"]
    assert by[workers[1].pid] <= 2


def test_ctrl_c_ends_the_program_and_leaves_the_trial_to_others(
    start: Start, tmp_path: Path
) -> None:
    words = (*SPACE, *EVALUATE, *STUDY, "--study-name", "mine", "--n-trials", "2")
    (tmp_path / "hold").touch()
    first = start("search", *words)
    waited(lambda: (tmp_path / "run-0").exists() and (tmp_path / "run-0").read_text() != "")
    first.send_signal(signal.SIGINT)
    _, err = ended(first, 130)
    assert err.endswith(
        "nasplug: stopped after 0 of 2 trials; the study is stored, and the same "
        "command continues it\n"
    )
    waited(lambda: is_gone(int((tmp_path / "run-0").read_text())))
    # A worker that a scheduler ends does the same.
    join = ("worker", *STUDY, "--study", "mine", *EVALUATE)
    second = start(*join)
    waited((tmp_path / "run-1").exists)
    second.send_signal(signal.SIGTERM)
    assert "stopped after 0 of 2 trials" in ended(second, 143)[1]
    # So does one whose terminal is closed.
    third = start(*join)
    waited(lambda: (tmp_path / "run-2").exists() and (tmp_path / "run-2").read_text() != "")
    third.send_signal(signal.SIGHUP)
    assert "stopped after 0 of 2 trials" in ended(third, 129)[1]
    waited(lambda: is_gone(int((tmp_path / "run-2").read_text())))
    (tmp_path / "hold").unlink()
    out, _ = ended(start(*join))
    assert out == "2 trials completed here; study mine has 2 of 2\n"
    *stopped, retried, _ = load().trials
    assert [t.state for t in stopped] == [TrialState.FAIL] * 3
    assert [t.user_attrs[FAILURE] for t in stopped] == ["stopped"] * 3
    assert all(t.params == retried.params for t in stopped)


def test_one_trial_is_singular() -> None:
    outcome = WorkerResult("mine", 1, 0, 3, 4)
    assert str(outcome) == "1 trial completed here; study mine has 3 of 4"


def test_a_killed_worker_loses_nothing(start: Start, tmp_path: Path) -> None:
    words = (*SPACE, *EVALUATE, *STUDY, "--study-name", "mine", "--n-trials", "3")
    (tmp_path / "hold").touch()
    first = start("search", *words)
    waited((tmp_path / "run-0").exists)
    first.kill()
    first.communicate()
    (tmp_path / "hold").unlink()
    out, _ = ended(start("worker", *STUDY, "--study", "mine", *EVALUATE))
    assert out == "3 trials completed here; study mine has 3 of 3\n"
    lost, *others = load().trials
    assert lost.state == TrialState.FAIL
    assert [t.state for t in others] == [TrialState.COMPLETE] * 3
    assert lost.params in [trial.params for trial in others]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal with a study that a program evaluates."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(PROGRAM)
    search("nnlqp:alexnet", pool_size=60, n_trials=1, storage="s.journal", study_name="mine",
           evaluate=Command(COMMAND), seed=2)  # fmt: skip
    return tmp_path / "s.journal"


def test_no_program_is_run_that_is_found_in_a_storage(made: Path, tmp_path: Path) -> None:
    # Not even one that somebody has put there.
    study = load()
    record = study.user_attrs[RECORD]
    assert "train.py" not in json.dumps(study.user_attrs)
    study.set_user_attr(RECORD, {**record, "n_trials": 5, "evaluate": "command", "command": "rm"})
    before = made.read_bytes()
    with pytest.raises(
        InputError, match="a worker never runs one that it finds in a storage; give"
    ):
        worker(made, "mine")
    assert made.read_bytes() == before
    assert worker(made, "mine", evaluate=Command(COMMAND), n_trials=1).completed == 1
    with pytest.raises(InputError, match="are evaluated by a command, not by a function"):
        worker(made, "mine", evaluate=lambda arch: {"accuracy": 1})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 3}, r"was made with other settings: seed \(2 there, 3 here\)"),
        ({"space": None}, "uses a space that is not installed under a name"),
        ({"space": "nb202"}, "unknown search space 'nb202'"),
        ({"constraints": 3}, "are damaged"),
        ({"constraints": [["rm -rf /", 0.9]]}, "in constraint 'rm -rf /'|has no <= or >="),
        ({"n_trials": "many"}, "number of trials 'many'"),
        ({"pool_size": -1}, "pool size -1"),
        ({"proxy": ["flops"]}, r"are damaged \(proxy\)"),
        ({"hardware": {"name": "x"}}, "the field vendor is missing"),
        ({"hardware": {"calibrated": "0", "name": "my board"}}, "calibrated device 'my board'"),
        ({"predictors": ["../../etc/passwd.json"]}, "passwd.safetensors"),
        ({"predictors": None}, "a predictor that is not in a file"),
        ({"objectives": ["loss"]}, "has no direction"),
        ({"evaluate": "predicted"}, "are evaluated by prediction, not by a command"),
    ],
)
def test_what_a_storage_says_is_checked(made: Path, changed: dict[str, Any], said: str) -> None:
    study = load()
    study.set_user_attr(RECORD, {**study.user_attrs[RECORD], **changed})
    with pytest.raises(InputError, match=said) as caught:
        worker(made, "mine", evaluate=Command(COMMAND))
    assert "\n" not in str(caught.value)
    assert len(load().trials) == 1


def test_a_worker_of_a_finished_study_scores_nothing(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Prepared, "score", None)
    capsys.readouterr()
    done = worker(made, "mine", evaluate=Command(COMMAND))
    assert (done.completed, done.n_trials, done.total) == (0, 1, 1)
    assert capsys.readouterr().err == "nasplug: joining study mine\n"
    study = load()
    study.set_user_attr(RECORD, {**study.user_attrs[RECORD], "n_trials": 2, "pool_size": 61})
    # Settings are compared before anything is scored, too.
    with pytest.raises(InputError, match=r"pool_size \(60 there, 61 here\); install"):
        worker(made, "mine", evaluate=Command(COMMAND))


def test_what_is_not_there(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the storage has no study 'other'; it has mine"):
        worker(made, "other")
    with pytest.raises(InputError, match="the storage 'no.journal'"):
        worker("no.journal", "mine")
    assert not (tmp_path / "no.journal").exists()
    with pytest.raises(InputError, match="memory belongs to one process"):
        worker("memory", "mine")
    with pytest.raises(InputError, match="number of trials 0"):
        worker(made, "mine", n_trials=0)
    assert worker(made, n_trials=1, evaluate=Command(COMMAND)).study == "mine"
    optuna.create_study(study_name="foreign", storage=open_storage(made)).add_trial(
        optuna.create_trial(value=1.0)
    )
    with pytest.raises(InputError, match="'foreign' was made"):
        worker(made, "foreign")
    with pytest.raises(
        InputError, match="the storage has several studies: mine, foreign; choose one"
    ):
        worker(made)
    open_storage("empty.journal")
    with pytest.raises(
        InputError,
        match="the storage 'empty.journal' has no study yet; start nasplug search first",
    ):
        worker("empty.journal")


def test_a_worker_waits_for_its_study(start: Start, made: Path) -> None:
    waiting = start("worker", *STUDY, "--study", "later", *EVALUATE, "--wait", "600")
    time.sleep(2)
    assert waiting.poll() is None
    words = (*SPACE, *EVALUATE, *STUDY, "--study-name", "later", "--n-trials", "4")
    ended(start("search", *words))
    assert "study later has 4 of 4" in ended(waiting)[0]


def test_a_worker_of_a_table_needs_nothing_else(mirror: Path, shared_storage: str) -> None:
    storage = shared_storage
    made = search("nb101", n_trials=3, storage=storage, study_name="t", evaluate="table")
    study = made.study
    study.set_user_attr(RECORD, {**study.user_attrs[RECORD], "n_trials": 8})
    done = worker(storage, "t")
    assert (done.completed, done.n_trials, done.total) == (5, 8, 8)
    whole = search("nb101", n_trials=8, storage=storage, study_name="t", evaluate="table")
    alone = search("nb101", n_trials=8, storage="memory", study_name="t", evaluate="table")
    assert whole.pareto == alone.pareto
    assert whole.trials == alone.trials
