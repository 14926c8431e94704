"""Pictures of studies, read off the figures; the studies are real, their networks are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from counted_studies import learned, told

from nasplug import InputError, plots
from nasplug.plots.drawing import beyond, figure_of, finish, heading
from nasplug.plots.progress import hypervolume_so_far
from nasplug.studies.values import study_values


@pytest.fixture(scope="module")
def two() -> optuna.Study:
    return learned(2, 22)


@pytest.fixture(scope="module")
def one() -> optuna.Study:
    return learned(1, 24, limited=True)


def labels(figure: Any, panel: int = 0) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].get_legend().get_texts()]


def line(figure: Any, label: str, panel: int = 0) -> tuple[list[float], list[float]]:
    (found,) = [one for one in figure.axes[panel].lines if str(one.get_label()).startswith(label)]
    return np.asarray(found.get_xdata()).tolist(), np.asarray(found.get_ydata()).tolist()


def dots(panel: Any) -> list[Any]:
    from matplotlib.collections import PathCollection

    return [found for found in panel.collections if isinstance(found, PathCollection)]


def test_a_study_without_values_is_told_of() -> None:
    study = optuna.create_study(study_name="empty")
    for draw in (plots.hypervolume, plots.predicted_observed, plots.calibration):
        with pytest.raises(InputError, match="study 'empty' has no trial with finite"):
            draw(study)


def test_three_objectives_are_counted_too() -> None:
    ways = ("maximize", "minimize", "minimize")
    rows = [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.5, 1.5, 1.5), (3.0, 0.0, 0.0)]
    values = study_values(told(rows, ways, missed=[None, None, None, 1.0]))
    # Boxes to (0, 3, 3): 1·2·2 and 2·1·1, of which 1·1·1 is common.
    volumes = hypervolume_so_far(values, np.array([0.0, 3.0, 3.0]))
    assert volumes.tolist() == pytest.approx([4, 5, 5, 5])
    figure = plots.hypervolume(told(rows, ways), reference=[0.0, 3.0, 3.0])
    # The last point alone dominates 3·3·3, and all others.
    assert line(figure, "4 trials")[1] == pytest.approx([4 / 27, 5 / 27, 5 / 27, 1, 1])


def test_picture_of_the_hypervolume(two: optuna.Study) -> None:
    values = [t.values for t in two.trials if t.number != 3]
    front = sorted({tuple(row) for row in values})
    figure = plots.hypervolume(two, front=front, reference=[-1.0, 40.0])
    x, y = line(figure, "100.0% after 22 trials")
    assert x == [k for k in range(22) if k != 3] + [21]
    assert y == sorted(y)
    assert y[-1] == pytest.approx(1.0)
    assert labels(figure) == ["100.0% after 22 trials", "failed: 1"]
    assert line(figure, "failed")[0] == [3]
    half = plots.hypervolume(two, front=[(60.0, 0.0)], reference=[-1.0, 40.0])
    assert 0 < half.axes[0].lines[0].get_ydata()[-1] < 1


def test_picture_of_several_studies(two: optuna.Study) -> None:
    other = told([(20.0, 5.0), (30.0, 10.0)])
    figure = plots.hypervolume({"mine": two, "other": other}, front=[(60, 0)], reference=[0, 40])
    assert [text.split(":")[0] for text in labels(figure)] == ["mine", "other"]
    assert line(figure, "other")[1] == pytest.approx([700 / 2400, 1000 / 2400, 1000 / 2400])
    with pytest.raises(InputError, match="have different directions"):
        plots.hypervolume({"a": two, "b": told([(1.0, 1.0)], ("minimize", "minimize"))})
    with pytest.raises(InputError, match="no study was given"):
        plots.hypervolume({})


def test_picture_of_the_best_value(one: optuna.Study) -> None:
    figure = plots.hypervolume(one, front=43.0)
    missed = sum(t.constraints.get("convs", 0) > 0 for t in one.trials)
    assert labels(figure)[:4] == [
        "best so far",
        "a trial",
        f"violates a constraint: {missed}",
        "failed: 1",
    ]
    assert "the optimum" in labels(figure)
    best = [t.value for t in one.trials if t.number != 3 and t.constraints["convs"] <= 0]
    assert line(figure, "best so far")[1][-1] == max(best)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"front": [[1.0, 2.0, 3.0]]}, r"the front has shape \(1, 3\); give values of shape"),
        ({"front": []}, "the front has shape"),
        ({"front": [[1.0, float("nan")]]}, "not finite"),
        ({"reference": [1.0]}, r"the reference is \[1.0\]; give a finite number for each of"),
        ({"reference": ["a", "b"]}, "the reference is"),
        ({"reference": [1e9, 0.0]}, "no feasible trial is better than the reference"),
        ({"front": [[1.0, 1.0]], "reference": [9.0, 9.0]}, "no feasible point of the front"),
    ],
)
def test_bad_fronts_and_references(two: optuna.Study, options: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        plots.hypervolume(two, **options)


def test_nothing_feasible_of_one_objective_is_drawn_all_the_same(tmp_path: Any) -> None:
    figure = plots.hypervolume(told([(1.0,), (2.0,)], ("minimize",), missed=[1.0, 1.0]))
    figure.savefig(tmp_path / "picture.png")
    assert "violates a constraint: 2" in labels(figure)


def test_nothing_feasible_has_no_reference() -> None:
    with pytest.raises(InputError, match="no trial meets all constraints"):
        plots.hypervolume(told([(1.0, 1.0)], missed=[1.0]))


def note(mean: float, lower: float, upper: float, chance: float | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"losses": [[mean, lower, upper]]}
    return {"expected": said if chance is None else {**said, "feasible": chance}}


def test_predicted_against_observed() -> None:
    rows = [(1.0,), (2.0,), (3.5,)]
    notes = [note(1, 0.5, 1.5), note(2, 1.5, 2.5), note(3, 2.8, 3.2)]
    study = told(rows, ("minimize",), notes=notes, missed=[0.0, 1.0, 0.0])
    figure = plots.predicted_observed(study)
    assert labels(figure) == [
        "inside its 90 % interval: 2",
        "outside: 1",
        "violates a constraint: 1",
    ]
    inside, outside, missed = dots(figure.axes[0])
    assert inside.get_offsets().tolist() == [[1, 1], [2, 2]]
    assert outside.get_offsets().tolist() == [[3.5, 3]]
    assert missed.get_offsets().tolist() == [[2, 2]]
    plot = figure.axes[0]
    assert plot.get_xlim() == plot.get_ylim()


def test_maximised_values_are_shown_as_they_are(two: optuna.Study) -> None:
    figure = plots.predicted_observed(two)
    first, second = figure.axes
    assert first.get_xlabel() == "value 0, observed"
    assert second.get_ylabel() == "value 1, expected"
    for panel in (first, second):
        points = np.concatenate([c.get_offsets() for c in dots(panel)])
        assert (points >= 0).all()


def test_outliers_are_counted_and_do_not_stretch_the_axes() -> None:
    rows = [(90 + 0.1 * k,) for k in range(40)] + [(10.0,)]
    study = told(rows, ("maximize",), notes=[note(-r[0], -r[0] - 1, -r[0] + 1) for r in rows])
    figure = plots.predicted_observed(study)
    assert figure.axes[0].get_xlim()[0] > 80
    assert "outside the axes: 1" in labels(figure)
    assert "outside the axes: 1" in labels(plots.hypervolume(study))


def test_calibration_counts_what_intervals_hold() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=400)
    reach = 1.6448536
    rows = [(float(value),) for value in drawn]
    study = told(rows, ("minimize",), notes=[note(0.0, -reach, reach)] * 400)
    figure = plots.calibration(study)
    x, y = line(figure, "value")
    held = np.mean(np.abs(drawn) <= reach)
    assert f"value: {held:.0%} inside 90 % intervals" in labels(figure)
    # Expected of normal values with right intervals: the diagonal, as far as 400 draws tell.
    assert np.abs(np.array(x) - y).max() < 0.08
    assert y[x.index(0.9)] == pytest.approx(held, abs=0.003)
    narrow = told(rows, ("minimize",), notes=[note(0.0, -reach / 4, reach / 4)] * 400)
    x, y = line(plots.calibration(narrow), "value")
    assert y[x.index(0.9)] < 0.5


def test_interval_without_width_holds_its_mean_alone() -> None:
    rows = [(1.0,)] * 5 + [(2.0,)] * 5
    figure = plots.calibration(told(rows, ("minimize",), notes=[note(1.0, 1.0, 1.0)] * 10))
    x, y = line(figure, "value: 50% inside 90 % intervals")
    assert (y[0], y[x.index(0.9)], y[-1]) == (0.5, 0.5, 1.0)


def test_calibration_of_feasibility(one: optuna.Study) -> None:
    chances = [0.2] * 10 + [0.8] * 10
    missed = [1.0] * 8 + [0.0] * 2 + [0.0] * 7 + [1.0] * 3
    notes = [note(0.0, -1.0, 1.0, chance) for chance in chances]
    figure = plots.calibration(told([(0.0,)] * 20, ("minimize",), notes=notes, missed=missed))
    x, y = line(figure, "all trials: 50% expected, 45%", panel=1)
    assert x == pytest.approx([0.2, 0.8])
    assert y == pytest.approx([0.2, 0.7])
    assert len(plots.calibration(one).axes) == 2


def test_too_few_trials_are_told_of() -> None:
    few = told([(1.0,)] * 4, ("minimize",), notes=[note(1, 0, 2)] * 4)
    with pytest.raises(InputError, match="has 4 trials with expected values; the plot"):
        plots.calibration(few)
    plots.predicted_observed(few)
    plain = told([(1.0,)] * 9, ("minimize",))
    for draw in (plots.predicted_observed, plots.calibration):
        with pytest.raises(InputError, match="no trial of study 'told' has expected"):
            draw(plain)


def test_figures_can_be_written(two: optuna.Study, one: optuna.Study, tmp_path: Any) -> None:
    for study in (two, one, told([(1.0, 1.0)], notes=[None])):
        figure = plots.hypervolume(study)
        figure.savefig(tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", [r"$\frac{x}$", "$_^", "<b>", "x" * 2_000])
def test_names_are_drawn_as_they_are(two: optuna.Study, tmp_path: Any, name: str) -> None:
    figure = plots.hypervolume({name: two, "other": two})
    figure.savefig(tmp_path / "x.png")
    assert any(text.replace(r"\$", "$").startswith(name[:100]) for text in labels(figure))


def test_predictions_are_not_compared_with_themselves() -> None:
    said = {"predicted": {"accuracy": {"mean": 90.0, "lower": 89.0, "upper": 91.0}}}
    for draw in (plots.predicted_observed, plots.calibration):
        with pytest.raises(InputError, match="are predictions"):
            draw(told([(90.0,)] * 6, ("maximize",), notes=[said] * 6))
        draw(told([(90.1,)] * 6, ("maximize",), notes=[said] * 6))


def test_a_heading_has_whole_sentences_and_three_lines_at_most() -> None:
    figure, _ = figure_of()
    words = "a note of words that fill nearly one whole line of a heading over a picture"
    heading(figure, "short", words, f"{words}, {words}", "never reached")
    assert figure._suptitle.get_text().splitlines() == ["short", words]  # type: ignore[attr-defined]
    heading(figure, f"{words} " * 9, "never reached")
    lines = figure._suptitle.get_text().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 3
    assert lines[-1].endswith(" …")


@pytest.mark.parametrize(("entries", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 3)])
def test_a_legend_above_has_no_gap_between_entries(entries: int, columns: int) -> None:
    figure, (plot,) = figure_of()
    for k in range(entries - 1):
        plot.plot([0, 1], [k, k], label=f"line {k}")
    beyond(plot, np.array([[7.0]]), (0.0, 1.0))
    finish(plot, above=True)
    figure.canvas.draw()
    legend = plot.get_legend()
    lefts = {round(text.get_window_extent().x0) for text in legend.get_texts()}
    assert len(lefts) == columns
    assert legend.legend_handles[-1].get_marker() == ">"
