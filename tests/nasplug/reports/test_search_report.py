from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_pages import island
from table_predictors import TablePredictor

from nasplug.plots.progress import hypervolume_so_far, reference_of
from nasplug.search_spaces import InputError
from nasplug.searching.search import SearchResult, search
from nasplug.studies.values import study_values


@pytest.fixture(scope="module")
def result(nb201_cache: Path) -> SearchResult:
    return search(
        hardware="GTX 1080 Ti",
        constraints=["latency<=8ms", "accuracy>=60%"],
        n_trials=20,
        storage="memory",
        predictors=[TablePredictor("accuracy"), TablePredictor("latency")],
    )


@pytest.fixture(scope="module")
def folder(result: SearchResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("report") / "new" / "folder"
    paths = result.report(where)
    names = ["report.html", "pareto.png", "result.json", "progress.png"]
    assert [p.name for p in paths] == names
    assert sorted(p.name for p in where.iterdir()) == sorted(names)
    return where


def test_json_is_the_result(result: SearchResult, folder: Path) -> None:
    assert json.loads((folder / "result.json").read_text()) == result.to_json()


def test_hypervolume_is_that_of_the_progress(result: SearchResult) -> None:
    values = study_values(result.study)
    end = reference_of([values], values.sign)
    told = result.to_json()["hypervolume"]
    assert told["reference"] == pytest.approx(dict(zip(values.metrics, end, strict=True)))
    assert told["value"] == pytest.approx(hypervolume_so_far(values, end)[-1])


def test_picture_is_a_png_of_sensible_size(folder: Path) -> None:
    content = (folder / "pareto.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[k : k + 4], "big") for k in (16, 20))
    assert width > height > 600


def test_page_shows_architectures_and_needs_no_network(result: SearchResult, folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.*", page) == [
        '<link rel="icon" href="data:,">'
    ]
    content = island(page)
    rows = {row["arch"]: row for row in content["rows"]}
    assert len(content["rows"]) == content["n_rows"] == result.n_trials
    for row in result.pareto:
        assert rows[row["arch"]]["state"] == "front"
    assert sum(row["state"] == "front" for row in content["rows"]) == len(result.pareto)
    quality, cost = content["axes"]
    assert quality["label"] == "predicted cifar10 accuracy (%)"
    assert (quality["scale"], quality["maximize"], cost["maximize"]) == ("error", True, False)
    assert cost["limits"] == [[8.0, "latency<=8ms"]]
    assert content["notes"] == result.notes()
    assert len(content["scored"]) == 1_000 < content["n_scored"] < 15_625 - result.n_trials
    assert ["Device", "GTX 1080 Ti, batch 1"] in content["facts"]
    assert content["command"] is None


def test_page_has_the_choices_of_the_result(result: SearchResult, folder: Path) -> None:
    content = island((folder / "report.html").read_text(encoding="utf-8"))
    for shown, choice in zip(content["choices"], result.choices(), strict=True):
        assert shown["title"] == choice.title
        row = result.pareto[choice.row]
        assert content["rows"][shown["row"]]["arch"] == row["arch"]
    last = result.choices()[-1]
    assert last.title == "Most accurate within the limits"
    best = max(row["predicted"]["accuracy"]["mean"] for row in result.pareto)
    assert result.pareto[last.row]["predicted"]["accuracy"]["mean"] == best


def test_page_shows_the_command(result: SearchResult, tmp_path: Path) -> None:
    result.report(tmp_path, "nasplug search --report 'a b'")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert island(page)["command"] == "nasplug search --report 'a b'"


def test_equal_results_make_equal_pages(result: SearchResult, folder: Path, tmp_path: Path) -> None:
    result.report(tmp_path)
    for name in ("report.html", "result.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_failure_leaves_the_old_file(
    result: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pareto.png").write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nasplug.reports.search_report._draw", fail)
    with pytest.raises(InputError, match="No space left on device"):
        result.report(tmp_path)
    assert (tmp_path / "pareto.png").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "pareto.png",
        "report.html",
        "result.json",
    ]


def test_a_picture_that_fails_loses_nothing_else(
    result: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("ParseException: unknown\nsymbol")

    monkeypatch.setattr("nasplug.reports.search_report._draw", fail)
    with pytest.warns(UserWarning, match="pareto.png could not be drawn .ValueError: .* symbol"):
        paths = result.report(tmp_path)
    assert [p.name for p in paths] == ["report.html", "result.json", "progress.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)


@pytest.mark.parametrize("name", [r"a$\frac{x}$b", "<b>bold</b> & %{x}", "_$^" * 2_000])
def test_a_name_is_drawn_as_it_is(result: SearchResult, tmp_path: Path, name: str) -> None:
    assert result.hardware is not None
    own = replace(result, hardware=replace(result.hardware, name=name))
    assert len(own.report(tmp_path)) == 4
    assert json.loads((tmp_path / "result.json").read_text())["hardware"] == name
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    shown = island(page)["title"]
    assert shown == f"nb201 on {name}" or shown.startswith(f"nb201 on {name[:3_000]}")


def test_folder_that_is_a_file(result: SearchResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write the report to .*give a folder"):
        result.report(tmp_path / "file")


def test_report_without_hardware(nb201_cache: Path, tmp_path: Path) -> None:
    accuracy = [TablePredictor("accuracy")]
    found = search(n_trials=5, storage="memory", constraints="flops<=50M", predictors=accuracy)
    found.report(tmp_path)
    content = island((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert content["axes"][1]["label"].startswith("FLOPs (M)")
    assert content["axes"][1]["limits"] == [[50.0, "flops<=50M"]]


def test_the_table_has_what_a_limit_is_on(nb201_cache: Path, tmp_path: Path) -> None:
    predictors = [TablePredictor("accuracy"), TablePredictor("latency")]
    options: dict[str, Any] = {"storage": "memory", "predictors": predictors, "n_trials": 5}
    limits = ["latency<=99ms", "params<=9M", "size<=64MB"]
    search("nb201", "GTX 1080 Ti", limits, **options).report(tmp_path)
    content = island((tmp_path / "report.html").read_text(encoding="utf-8"))
    columns = content["columns"]
    assert len(content["axes"]) == 2
    assert [c for c in columns if not c.startswith("measured")] == [
        *("accuracy (%)", "latency (ms)", "parameters (M)", "file size (MB)")
    ]
    sizes = [row["cells"][columns.index("file size (MB)")][0] for row in content["rows"]]
    assert all(0 < value <= 64 for value in sizes)


def test_measured_accuracies_are_not_compared_with_themselves(tmp_path: Path) -> None:
    search("timm:resnet18", "T4", storage="memory").report(tmp_path)
    content = island((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert content["axes"][0]["label"] == "measured imagenet accuracy (%)"
    assert content["columns"].count("accuracy (%)") == 1
    assert "measured accuracy (%)" not in content["columns"]
    assert content["comparisons"] == []
    assert all(row["ends"][0] is None for row in content["rows"])
