"""`nasplug report`, and what trials say of themselves in words."""

from __future__ import annotations

import json
import warnings
import wsgiref.util
from pathlib import Path
from typing import Any

import optuna
import pytest
from report_pages import island
from typer.testing import CliRunner

from nasplug import InputError, PredictorSampler, space
from nasplug.cli import app
from nasplug.reports.study_report import find_study, write_plots, write_study_report
from nasplug.sampling.trial_notes import readable, write_notes
from nasplug.searching.objectives import suggest
from nasplug.studies.storages import open_storage

NB201: Any = space("nb201")


def convs(params: dict[str, Any]) -> int:
    return list(params.values()).count("nor_conv_3x3")


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with a study of the sampler and one of another sampler."""
    path = tmp_path_factory.mktemp("storage") / "studies.journal"
    storage = open_storage(path, heartbeat=None)
    sampler = PredictorSampler("nb201", seed=0, probability=0.5)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        params = suggest(trial, NB201.distributions())
        trial.set_constraint("convs", convs(params) - 2.0)
        return 80.0 + len(set(params.values())), 1.5 + convs(params)

    study = optuna.create_study(
        storage=storage, study_name="mine", sampler=sampler, directions=["maximize", "minimize"]
    )
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["accuracy", "latency_ms"])
    study.optimize(objective, n_trials=14)
    random = optuna.samplers.RandomSampler(0)
    other = optuna.create_study(storage=storage, study_name="other", sampler=random)
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    return path


def test_trials_say_in_words_what_they_are(journal: Path) -> None:
    study = find_study(journal, "mine")
    last = study.trials[-1]
    said, note = last.user_attrs, last.user_attrs["nasplug"]
    assert said["architecture"] == NB201.from_params(last.params).text
    (mean, end, other), (slow, *_) = note["expected"]["losses"]
    low, high = sorted([-end, -other])
    assert said["expected"].startswith(f"accuracy {-mean:.5g} ({low:.5g} to {high:.5g}); ")
    assert f"; latency_ms {slow:.5g} (" in said["expected"]
    assert said["expected"].endswith(f"; feasible {note['expected']['feasible']:.0%}")
    assert "predicted" not in said
    for trial in study.trials:
        over = trial.constraints["convs"]
        assert trial.user_attrs["limits"] == (
            "met" if over <= 0 else f"violated: convs by {over:.4g}"
        )
    assert {trial.user_attrs["limits"] for trial in study.trials} > {"met"}


def test_the_dashboard_is_handed_the_words(journal: Path) -> None:
    with warnings.catch_warnings():
        # It imports what else is installed, such as BoTorch, and that may warn.
        warnings.simplefilter("ignore")
        optuna_dashboard = pytest.importorskip("optuna_dashboard")
    application = optuna_dashboard.wsgi(open_storage(journal, heartbeat=None))
    study = find_study(journal, "mine")
    environment: dict[str, Any] = {"PATH_INFO": f"/api/studies/{study._study_id}"}
    wsgiref.util.setup_testing_defaults(environment)
    answer = json.loads(b"".join(application(environment, lambda *_: None)))
    assert answer["objective_names"] == ["accuracy", "latency_ms"]
    for shown, trial in zip(answer["trials"], study.trials, strict=True):
        attributes = {row["key"]: row["value"] for row in shown["user_attrs"]}
        assert attributes["architecture"] == NB201.from_params(trial.params).text
        assert attributes["limits"] == trial.user_attrs["limits"]
        assert shown["values"] == trial.values


def test_words_are_of_the_note_alone(journal: Path) -> None:
    study = find_study(journal, "mine")
    (trial,) = [t for t in study.trials if t.number == 0]
    note = {
        "arch": "a",
        "predicted": {"latency": {"mean": 4.0, "lower": 3.0, "upper": 5.25}},
        "expected": {"losses": []},
    }
    texts = readable(study, trial, note)
    assert texts["predicted"] == "latency 4 (3 to 5.25)"
    assert "expected" not in texts
    assert texts["limits"] == trial.user_attrs["limits"]


def test_a_trial_that_another_worker_failed_is_left_as_it_is() -> None:
    study = optuna.create_study()
    trial = study.ask()
    as_seen_before = study.trials[0]
    write_notes(study, as_seen_before, {"arch": "a"})
    assert study.trials[0].user_attrs == {"architecture": "a"}
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    write_notes(study, as_seen_before, {"arch": "b"})
    assert study.trials[0].user_attrs == {"architecture": "a"}


def test_pictures_are_written(journal: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["report", str(journal), "--study", "mine", "--out", str(tmp_path / "new"), "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    names = ["report.html", "progress.png", "predicted_observed.png", "calibration.png"]
    assert [Path(path).name for path in told["files"]] == names
    assert told["left_out"] == {}
    assert set(told["hypervolume"]["reference"]) == {"accuracy", "latency_ms"}
    assert told["hypervolume"]["value"] > 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    page, *pictures = [tmp_path / "new" / name for name in names]
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")
    content = island(page.read_text(encoding="utf-8"))
    assert content["title"] == "mine"
    assert [comparison["name"] for comparison in content["comparisons"]] == [
        "accuracy",
        "latency ms",
    ]


def test_page_shows_the_command_without_a_password(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://user:secret@host/studies"
    monkeypatch.setattr("sys.argv", ["/bin/nasplug", "report", url, "--study", "a b"])
    done = CliRunner().invoke(
        app, ["report", str(journal), "--study", "mine", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert island(page)["command"] == "nasplug report 'postgresql://…@host/studies' --study 'a b'"


def test_what_cannot_be_drawn_is_told(journal: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["report", str(journal), "--study", "other", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    names = ("report.html", "progress.png")
    assert done.stdout.splitlines() == [str(tmp_path / name) for name in names]
    assert "calibration.png was not written: no trial of study 'other' has expected" in done.stderr
    # One objective has no hypervolume.
    assert write_study_report(find_study(journal, "other"), tmp_path).hypervolume is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["{journal}"],
            "the storage has several studies: mine, other; choose one with --study-name",
        ),
        (["{journal}", "--study", "min"], "the storage has no study 'min'; it has mine"),
        (["{journal}x"], "the storage"),
        (["memory"], "memory belongs to one process"),
        (["{journal}", "--study", "mine", "--out", "{journal}"], "cannot write the report to"),
    ],
)
def test_bad_input_is_told_in_a_sentence(journal: Path, words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["report", *(w.format(journal=journal) for w in words)])
    assert done.exit_code == 2
    assert said in done.stderr
    assert not Path(f"{journal}x").exists()


def test_empty_study_and_storage(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "empty.journal", heartbeat=None)
    with pytest.raises(InputError, match="the storage has no study"):
        find_study(tmp_path / "empty.journal")
    optuna.create_study(storage=storage, study_name="empty")
    study = find_study(tmp_path / "empty.journal")
    for write in (write_plots, write_study_report):
        with pytest.raises(InputError, match="study 'empty' has no trial"):
            write(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()
