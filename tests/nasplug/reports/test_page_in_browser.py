"""The page of a report in headless Chromium: clicks, keys, sizes, and no request to any network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from comparison_tables import side_by_side
from counted_studies import learned, told

from nasplug.choices import Choice
from nasplug.reports.comparison_page import comparison_html
from nasplug.reports.page import Page, page_html
from nasplug.reports.study_page import study_page

HOSTILE = "</script><img src=x onerror=alert(1)>"
ROWS = [(90.0, 2.0), (80.0, 1.0), (70.0, 3.0), (95.0, 9.0), (60.0, 4.0)]
Open = Callable[..., Any]
# Milliseconds for whatever the browser does, on the busiest machine.
MOST_MS = 300_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install 'nasplug[test]'"
    )
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    # Chromium's sandbox refuses the superuser, as whom containers run.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=arguments, timeout=MOST_MS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """A function that opens a page, of which nothing may be said in the console or requested."""
    context = browser.new_context(color_scheme="light")
    context.set_default_timeout(MOST_MS)
    heard: list[str] = []

    def open_page(page: Page | str, width: int = 1280) -> Any:
        path = tmp_path / "report.html"
        path.write_text(page if isinstance(page, str) else page_html(page), encoding="utf-8")
        tab = context.new_page()
        tab.set_viewport_size({"width": width, "height": 800})
        tab.on("console", lambda message: heard.append(message.text))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on("dialog", lambda dialog: heard.append(dialog.message))
        tab.on(
            "request",
            lambda request: (
                None if request.url in (path.as_uri(), "data:,") else heard.append(request.url)
            ),
        )
        tab.goto(path.as_uri())
        return tab

    yield open_page
    context.close()
    assert heard == []


def shown(tab: Any) -> list[str]:
    """Numbers of the trials in the table, in its order."""
    return [
        text
        for row in tab.locator("tbody tr:visible").all()
        for text in [row.locator("td").first.inner_text()]
    ]


def places(tab: Any) -> list[str]:
    """Distances from the left of the points on the front."""
    points = tab.locator('#front g[role="button"] circle')
    return sorted(point.get_attribute("cx") for point in points.all())


def chosen(tab: Any) -> str:
    return str(tab.locator("#selected h3").inner_text())


def small(**more: Any) -> Page:
    notes = [{"arch": f"conv{k}+pool" if k % 2 else f"skip{k}+pool"} for k in range(len(ROWS))]
    return study_page(told(ROWS, notes=notes, **more), "nasplug report study.journal")


def test_cards_points_and_rows_select(opened: Open) -> None:
    tab = opened(small())
    assert tab.title() == "told · nasplug report"
    titles = tab.locator(".card h3").all_inner_texts()
    assert ["".join(text.split("\n")[1:]) for text in titles] == [
        "Best value 1 within 1 % of the best",
        "The knee",
        "Best value 0",
    ]
    tab.locator(".card button").nth(1).click()
    assert "Trial 0, on the front" in chosen(tab)
    assert tab.locator("tbody tr.on td").first.inner_text() == "0"
    # A point on the front, and one off it, which the table then shows too.
    assert shown(tab) == ["1", "0", "3"]
    tab.locator('#front g[role="button"]').first.click()
    assert "Trial 1, on the front" in chosen(tab)
    tab.locator("#front .plot .p-met").first.click(force=True)
    assert "Trial 2, off the front" in chosen(tab)
    assert shown(tab) == ["1", "0", "2", "4", "3"]
    tab.locator("tbody tr").last.click()
    assert "Trial 3, on the front" in chosen(tab)


def test_pointer_shows_the_architecture(opened: Open) -> None:
    tab = opened(small())
    assert tab.locator("#tip").is_hidden()
    tab.locator('#front g[role="button"]').first.hover()
    assert tab.locator("#tip code").inner_text() == "conv1+pool"
    assert "trial 1, on the front" in tab.locator("#tip").inner_text()
    tab.locator("h1").hover()
    assert tab.locator("#tip").is_hidden()


def test_arrow_keys_move_along_the_front(opened: Open) -> None:
    tab = opened(small())
    points = tab.locator('#front g[role="button"]')
    assert "trial 1: value 0 80, value 1 1" in points.first.get_attribute("aria-label")
    points.first.focus()
    for key, trial in (("ArrowRight", 0), ("End", 3), ("ArrowRight", 3), ("Home", 1)):
        tab.keyboard.press(key)
        assert f"Trial {trial}," in chosen(tab)
    assert points.first.get_attribute("aria-pressed") == "true"
    assert tab.locator('#front g[tabindex="0"]').count() == 1


def test_table_sorts_and_filters(opened: Open) -> None:
    tab = opened(small())
    tab.get_by_role("button", name="All trials").click()
    assert tab.locator("#count").inner_text() == "5 shown of 5 trials"
    heading = tab.locator("thead th").nth(1)
    heading.locator("button").click()
    assert shown(tab) == ["4", "2", "1", "0", "3"]
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").click()
    assert shown(tab) == ["3", "0", "1", "2", "4"]
    tab.get_by_role("searchbox").fill("pool CONV")
    assert shown(tab) == ["3", "1"]
    tab.get_by_role("button", name="Front", exact=True).click()
    assert tab.locator("#count").inner_text() == "2 shown of 5 trials"


@pytest.mark.parametrize("width", [390, 1280])
def test_texts_of_strangers_stay_texts(opened: Open, width: int) -> None:
    study = told(ROWS, notes=[{"arch": f"{HOSTILE}{'x' * 300}"}] * len(ROWS))
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names([HOSTILE, "b" * 300])
    page = study_page(study, HOSTILE)
    choice = Choice(HOSTILE, 0, HOSTILE, HOSTILE)
    texts = {"title": HOSTILE * 9, "notes": [HOSTILE], "choices": [choice]}
    tab = opened(Page(**{**vars(page), **texts, "facts": [(HOSTILE, "y" * 999)]}), width)
    tab.locator('#front g[role="button"]').first.hover()
    assert HOSTILE in tab.locator("#tip code").inner_text()
    tab.locator("tbody tr").first.click()
    assert tab.locator("img").count() == 0
    assert HOSTILE in tab.locator("#notes").inner_text()
    # Long texts are broken, so that no part lies beside the screen.
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_feasible(opened: Open) -> None:
    tab = opened(small(missed=[1.0] * len(ROWS)))
    assert tab.locator("#nothing").is_visible()
    assert tab.locator("#choices").is_hidden()
    assert len(shown(tab)) == len(ROWS)
    tab.locator("tbody tr").first.click()
    assert "violates a constraint" in chosen(tab)


def test_three_objectives_have_axes_to_choose(opened: Open) -> None:
    ways = ("maximize", "minimize", "minimize")
    page = study_page(told([(90.0, 2.0, 5.0), (80.0, 1.0, 4.0), (70.0, 3.0, 1.0)], ways))
    tab = opened(page)
    before = places(tab)
    tab.get_by_label("horizontal axis").select_option(label="value 2")
    assert tab.locator("#front .axis-label.x").inner_text() == "value 2 · linear scale"
    assert places(tab) != before
    # All quantities in one picture, a line a row of the front, and a panel for each pair.
    assert tab.locator("#parallel .plot path.line").count() == len(shown(tab))
    assert tab.locator("#pairs .panels figure").count() == 3
    tab.locator("#parallel .plot path.line").first.click(force=True, position={"x": 1, "y": 1})
    assert "on the front" in chosen(tab)
    assert opened(small()).locator("#parallel").is_hidden()


def test_numbers_of_near_choices_cover_no_other(opened: Open) -> None:
    rows = [(30.0, 2.0, 5.0), (30.1, 1.99, 5.1), (30.2, 1.98, 4.9), (60.0, 1.0, 1.0)]
    tab = opened(study_page(told(rows, ("minimize",) * 3)), 390)
    marks = [svg.locator(".mark rect") for svg in tab.locator("#parallel .plot, #pairs svg").all()]
    boxes = [[mark.bounding_box() for mark in found.all()] for found in marks if found.count() > 1]
    assert len(boxes) == 4
    for found in boxes:
        for k, one in enumerate(found):
            for other in found[:k]:
                apart = [abs(one[axis] - other[axis]) for axis in ("x", "y")]
                assert apart[0] >= one["width"] - 1 or apart[1] >= one["height"] - 1


def test_lines_of_many_rows_are_fainter(opened: Open) -> None:
    def opacity(count: int) -> float:
        rows = [(float(k), float(count - k), float(k % 7)) for k in range(count)]
        tab = opened(study_page(told(rows, ("minimize",) * 3)))
        found = tab.locator("#parallel .plot path.thin").first
        return float(found.evaluate("(line) => getComputedStyle(line).strokeOpacity"))

    assert opacity(8) > 0.6
    assert opacity(60) < 0.3


def test_limits_are_named_where_they_lie(opened: Open) -> None:
    rows = [(42.0, 2.0, 5.0), (30.0, 3.0, 4.0), (25.0, 4.0, 9.0)]
    notes = [{"predicted": {"memory": {"mean": 100.0 * k}}} for k in range(3)]
    study = told(rows, ("minimize",) * 3, notes=notes)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["perplexity", "latency", "energy"])
    limits = [["memory<=200MB", 0.9], ["latency<=99ms", 0.9], ["energy<=9J", 0.9]]
    study.set_user_attr("nasplug:plan", {"constraints": limits})
    tab = opened(study_page(study), 390)
    assert tab.locator("#parallel .limit-text").all_text_contents() == [
        "energy<=9J",
        "memory<=200MB",
    ]
    legends = [tab.locator(f"#{name} .legend").inner_text() for name in ("parallel", "pairs")]
    assert all("latency<=99ms, outside the axes" in text for text in legends)
    assert "limit" in legends[0].split("\n")
    assert "energy<=9J" in legends[1].split("\n")
    assert "memory (MB)" in tab.locator("thead").inner_text()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_one_objective_runs_over_trials(opened: Open) -> None:
    tab = opened(study_page(told([(3.0,), (1.0,), (2.0,), (0.5,)], ("minimize",))))
    assert tab.locator("#front .axis-label.x").inner_text() == "trial"
    assert tab.locator("#progress").is_hidden()
    assert "best value so far" in tab.locator("#front .legend").inner_text()
    assert "Trial 3, the best" in chosen(tab)


def test_expected_against_observed(opened: Open) -> None:
    tab = opened(study_page(learned(2, 22)))
    assert tab.locator("#compared-title").inner_text() == "Expected against observed"
    assert "values lie in their 90 % intervals" in tab.locator("#compared .hint").first.inner_text()
    assert "without values: 1" in tab.locator("#progress .legend").inner_text()


def test_a_narrow_screen_shows_the_first_rows(opened: Open) -> None:
    rows = [(float(k), float(k)) for k in range(30)]
    tab = opened(study_page(told(rows)), 390)
    assert len(shown(tab)) <= 9
    tab.get_by_role("button", name="Show all 30").click()
    assert len(shown(tab)) == 30
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_networks_side_by_side_are_sorted_filtered_and_drawn(opened: Open) -> None:
    tab = opened(comparison_html(side_by_side("timm:resnet18", HOSTILE, "timm:resnet50")))
    assert HOSTILE in tab.locator("tbody").inner_text()
    tab.locator("thead button", has_text="latency").click()
    names = [
        HOSTILE if HOSTILE in text else text for text in tab.locator("td.name").all_inner_texts()
    ]
    assert names == ["timm:resnet18", HOSTILE, "timm:resnet50"] * 2
    tab.locator("#filter").fill("t4 resnet")
    assert tab.locator("tbody tr:visible").count() == 2
    assert tab.locator("td.sure").inner_text() == "1.25"
    # The network of no known accuracy is left out of the picture.
    drawn = tab.locator("#picture svg .name").all_text_contents()
    assert drawn == ["timm:resnet18", "timm:resnet50"]
    assert "1 network is left out" in tab.locator("#picture .hint").inner_text()


def test_networks_without_accuracies_are_drawn_below_each_other(opened: Open) -> None:
    tab = opened(comparison_html(side_by_side("a.onnx", "b.onnx")), 390)
    assert tab.locator("#picture-title").inner_text() == "Latency"
    heights = [dot.get_attribute("cy") for dot in tab.locator("#picture .plot circle").all()]
    assert len(set(heights)) == 4
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
