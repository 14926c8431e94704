"""The page of a report as a file: its content, its size, and texts of strangers in it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import optuna
import pytest
from counted_studies import learned, told
from report_pages import island

from nasplug.plots.axes import scale_of
from nasplug.reports.page import Page, page_html
from nasplug.reports.study_page import study_page
from nasplug.studies.values import RECORD

HOSTILE = "</script><img src=x onerror=alert(1)>"


def content(study: optuna.Study) -> dict:
    return island(page_html(study_page(study)))


def test_rows_front_and_limits_of_a_study() -> None:
    rows = [(90.0, 2.0), (80.0, 1.0), (70.0, 3.0), (99.0, 0.5)]
    found = content(told(rows, missed=[-1.0, 0.0, 0.0, 1.0]))
    assert [row["state"] for row in found["rows"]] == ["front", "front", "met", "missed"]
    assert [row["values"] for row in found["rows"]] == [list(row) for row in rows]
    assert [choice["row"] for choice in found["choices"]] == [0, 0]
    assert found["columns"] == ["value 0", "value 1"]
    assert found["progress"]["missed"] == [3]
    assert found["progress"]["values"][-1] == 1.0
    assert found["comparisons"] == []


def test_expected_values_stand_against_observed_ones() -> None:
    found = content(learned(2, 22))
    first = found["comparisons"][0]
    assert (first["predicted"], first["observed"]) == ("expected", "observed")
    assert first["n_points"] == len(first["points"])
    assert first["inside"] == sum(low <= y <= high for _, y, _, low, high in first["points"])
    number = first["points"][0][0]
    (row,) = [row for row in found["rows"] if row["trial"] == number]
    assert row["more"].startswith("expected before the trial: value 0 ")
    assert found["progress"]["failed"] == [3]


def test_nothing_feasible() -> None:
    found = content(told([(1.0, 1.0), (2.0, 2.0)], missed=[1.0, 1.0]))
    assert found["choices"] == []
    assert found["progress"] is None
    assert (
        found["notes"][0]
        == "no trial meets every constraint; run more trials, or loosen the constraints"
    )
    single = content(told([(1.0,)], ("minimize",), missed=[1.0]))
    assert single["progress"] is None


def test_parameters_stand_for_an_unknown_architecture() -> None:
    study = optuna.create_study(study_name="mine")
    study.optimize(lambda trial: trial.suggest_int("layers", 3, 3), n_trials=1)
    assert content(study)["rows"][0]["arch"] == "layers=3"


def test_study_of_a_search_shows_its_settings_and_units() -> None:
    study = told([(90.0, 2e6), (80.0, 1e6)])
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["accuracy", "params"])
    record = {"space": "nb201", "dataset": "cifar10", "hardware": {"name": "T4"}, "batch_size": 2}
    record |= {"constraints": [["latency<=5ms", 0.9]], "evaluate": "table", "seed": 3}
    study.set_user_attr(RECORD, record)
    found = content(study)
    assert found["title"] == "nb201 on T4"
    assert found["columns"] == ["accuracy (%)", "parameters (M)"]
    assert found["rows"][0]["values"] == [90.0, 2.0]
    facts = dict(found["facts"])
    assert facts["Device"] == "T4, batch 2"
    assert facts["Constraints"] == "latency<=5ms with probability 0.9"
    assert facts["Values"] == "table, with seed 3"


@pytest.mark.parametrize(
    "value", [1, "x", [], {"space": [HOSTILE], "hardware": 3}, {"constraints": [1]}]
)
def test_damaged_settings_are_texts(value: object) -> None:
    study = told([(1.0, 2.0)])
    study.set_user_attr(RECORD, value)
    assert content(study)["n_rows"] == 1


def hostile_study() -> optuna.Study:
    study = told(
        [(90.0, 2.0), (91.0, 3.0), (92.0, 9.0)],
        notes=[{"arch": f"{HOSTILE} {k} \ud800\u2028{{{{data}}}}"} for k in range(3)],
    )
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names([f"accuracy {HOSTILE}", "<!--<script>"])
    return study


def test_texts_of_strangers_stay_texts() -> None:
    page = replace(study_page(hostile_study()), title=HOSTILE, notes=[HOSTILE], command=HOSTILE)
    html = page_html(page)
    assert "<img" not in html
    assert html.count("</script>") == html.count("<script") == 2
    html.encode("utf-8")
    found = island(html)
    assert found["title"] == found["notes"][0] == found["command"] == HOSTILE
    assert found["rows"][0]["arch"] == f"{HOSTILE} 0 \ud800\u2028{{{{data}}}}"


def test_policy_allows_this_style_and_script_alone() -> None:
    html = page_html(study_page(told([(1.0, 1.0)])))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none';")
    for kind, pattern in (
        ("style", r"<style>(.*?)</style>"),
        ("script", r"<script>(.*?)</script>"),
    ):
        (text,) = re.findall(pattern, html, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    # The name of the SVG namespace is the only address.
    assert set(re.findall(r"\w+://[^\"\s]+", html)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("length", [100, 5_000])
def test_a_large_study_fits(length: int) -> None:
    count = 6_000
    small = study_page(told([(90.0, 2.0), (80.0, 1.0), (70.0, 3.0)]))
    arch = "é" * length
    rows = [replace(small.rows[2], trial=k, arch=arch, more=arch[:200]) for k in range(count)]
    rows[-1] = replace(small.rows[0], trial=count - 1)
    numbers = list(range(count))
    assert small.progress is not None
    curve = np.linspace(0, 1, count).tolist()
    progress = replace(small.progress, trials=numbers, values=curve, missed=numbers)
    choice = replace(small.choices[0], row=count - 1)
    html = page_html(replace(small, rows=rows, choices=[choice], progress=progress))
    assert len(html.encode()) < 1_500_000
    found = island(html)
    assert found["n_rows"] == count
    assert len(found["rows"]) >= 30
    assert found["rows"][found["choices"][0]["row"]]["trial"] == count - 1
    assert found["progress"]["values"][-1] == 1.0
    assert found["progress"]["n_missed"] == count


def test_equal_content_makes_equal_pages() -> None:
    page: Page = study_page(told([(1.0, 1.0)]))
    assert page_html(page) == page_html(page)


@pytest.mark.parametrize(
    ("values", "is_accuracy", "scale"),
    [
        ([10.0, 94.0], True, "error"),
        ([0.1, 0.94], True, "linear"),
        ([1.0, 29.0], False, "linear"),
        ([1.0, 31.0], False, "log"),
        ([0.0, 31.0], False, "linear"),
        ([-1.0, 31.0], True, "linear"),
        ([], False, "linear"),
        ([np.nan, 50.0, 60.0], False, "linear"),
    ],
)
def test_scale(values: list[float], is_accuracy: bool, scale: str) -> None:
    assert scale_of(np.array(values), is_accuracy) == scale
