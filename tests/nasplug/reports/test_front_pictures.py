"""Pictures of a page's front: which files, and which axes they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from counted_studies import told

from nasplug.plots.fronts import ShownFront
from nasplug.reports import front_pictures as room
from nasplug.reports.page import Page
from nasplug.reports.study_page import study_page

ROWS = [(42.0, 2.0, 5.0), (30.0, 3.0, 4.0), (25.0, 4.0, 9.0), (50.0, 4.0, 9.0), (20.0, 9.0, 1.0)]


@pytest.fixture
def page() -> Page:
    """A search's study: three trials on the front, one off it, and one that misses the limit."""
    notes: list[Any] = [{"predicted": {"memory": {"mean": 100.0 * k}}} for k in range(4)]
    missed = [0.0] * 4 + [1.0]
    study = told(ROWS, ("minimize",) * 3, notes=[*notes, None], missed=missed)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["perplexity", "latency@T4", "energy"])
    limits = [["memory<=0.3GB", 0.9], ["latency@T4<=8ms", 0.9], ["size<=9MB", 0.9]]
    study.set_user_attr("nasplug:plan", {"constraints": limits})
    return study_page(study)


def test_pictures_are_drawn_when_they_are_asked_for(page: Page, tmp_path: Path) -> None:
    made: list[Page] = []

    def make() -> Page:
        made.append(page)
        return page

    pictures = room.front_pictures(make, tmp_path)
    assert [path.name for path in pictures] == ["parallel.png", "pairs.png"]
    assert not made
    for path, draw in pictures.items():
        draw(path)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_limits_are_further_axes(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ShownFront] = []

    class Drawn:
        def savefig(self, *_: Any, **__: Any) -> None: ...

    def draw(front: ShownFront) -> Drawn:
        seen.append(front)
        return Drawn()

    monkeypatch.setattr(room, "draw_parallel", draw)
    next(iter(room.front_pictures(lambda: page, tmp_path).values()))(tmp_path)
    (front,) = seen
    assert [axis.label for axis in front.axes] == [
        *("perplexity", "latency on T4 (ms)", "energy (J)", "memory (MB)")
    ]
    assert [axis.limits for axis in front.axes] == [
        *([], [(8.0, "latency@T4<=8ms")], [], [(300.0, "memory<=300MB")])
    ]
    assert len(front.objectives) == 3
    assert front.values[:, 3].tolist() == [0.0, 100.0, 200.0]
    assert (len(front.others), len(front.missed)) == (1, 1)
    assert set(front.choices.values()) <= {0, 1, 2}


def test_the_table_has_what_a_limit_is_on(page: Page) -> None:
    assert page.columns == ["perplexity", "latency on T4 (ms)", "energy (J)", "memory (MB)"]
    assert [row.cells[3] for row in page.rows[-2:]] == [(300.0, "300"), (None, "")]
    assert page.choices[-1].title == "Lowest perplexity within the limits"
    # The cards tell the objectives alone.
    assert page.choices[-1].values == "25, 4, 9"
