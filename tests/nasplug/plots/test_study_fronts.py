"""`plots.parallel` and `plots.pairs` of studies."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from counted_studies import told
from optuna.trial import create_trial

from nasplug import InputError, plots
from nasplug.candidates.constraints import parse_constraint
from nasplug.plots.shown import limited_of
from nasplug.studies.values import ATTRIBUTE, OBSERVED, study_values

WAYS = ("maximize", "minimize", "minimize")
ROWS = [(90.0, 2.0, 5.0), (80.0, 1.0, 4.0), (70.0, 3.0, 1.0), (60.0, 4.0, 6.0), (99.0, 0.5, 0.5)]


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def ticks(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_xticklabels()]


@pytest.fixture
def study() -> optuna.Study:
    """Three trials on the front, one off it, and one that misses a limit."""
    return told(ROWS, WAYS, missed=[0.0, 0.0, 0.0, 0.0, 1.0])


@pytest.fixture
def searched() -> optuna.Study:
    """The study of a search, with a limit on an objective and one on another quantity."""
    notes = [{"predicted": {"memory": {"mean": 100.0 + k}}} for k in range(len(ROWS))]
    found = told([(a, b, 1e6 * c) for a, b, c in ROWS], WAYS, notes=notes)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        found.set_metric_names(["accuracy", "latency", "params"])
    limits = [["latency<=2.5ms", 0.9], ["memory<=102MB", 0.9], ["broken", None], 7]
    found.set_user_attr("nasplug:plan", {"space": "nb201", "constraints": limits})
    return found


def test_a_line_a_trial_of_the_front(study: optuna.Study) -> None:
    figure = plots.parallel(study)
    assert ticks(figure) == ["value 0", "value 1", "value 2"]
    assert legend(figure)[0] == "front: 3 rows"
    assert "limit" not in legend(figure)


def test_pairs_count_the_trials(study: optuna.Study) -> None:
    figure = plots.pairs(study)
    assert len(figure.axes) == 3
    assert {"front: 3", "other trials: 1", "violates a limit: 1"} <= set(legend(figure))


def test_the_study_of_a_search_has_units_and_limits(searched: optuna.Study) -> None:
    figure = plots.parallel(searched)
    assert ticks(figure) == ["accuracy (%)", "latency (ms)", "parameters (M)", "memory (MB)"]
    texts = [text.get_text() for text in figure.axes[0].texts]
    # The front is one trial, to which the limit on the memory is near.
    assert "memory<=102MB" in texts
    named = legend(plots.pairs(searched))
    assert any(text.startswith("limit latency<=2.5ms") for text in named)


def test_what_is_computed_follows_from_its_distance_to_the_limit() -> None:
    found = told(ROWS, WAYS)
    for way, bound, missed in (("<=", 4.0, -0.25), (">=", 2.0, -0.5)):
        trial = create_trial(values=list(ROWS[0]), constraints={f"size{way}{bound:g}MB": missed})
        found.add_trial(trial)
        limits = [parse_constraint(f"size{way}{bound:g}MB"), parse_constraint("energy<=1J")]
        (axis,), values = limited_of(found, study_values(found), limits)
        assert (axis.label, axis.maximize) == ("file size (MB)", way == ">=")
        # No trial tells its energy, and the first ones nothing.
        assert values.shape == (len(found.trials), 1)
        assert np.isnan(values[:-1]).all()
        assert values[-1, 0] == 3.0


def test_a_quantity_under_a_limit_is_as_the_trial_told_it() -> None:
    found = told(ROWS, WAYS)
    note = {"predicted": {"latency": {"mean": 5.0, "lower": 4.0, "upper": 6.0}}}
    attributes = {ATTRIBUTE: note, OBSERVED: {"latency_ms": 7.0}}
    found.add_trial(create_trial(values=list(ROWS[0]), user_attrs=attributes))
    found.add_trial(create_trial(values=list(ROWS[0]), user_attrs={ATTRIBUTE: note}))
    limits = [parse_constraint("latency<=8ms")]
    _, values = limited_of(found, study_values(found), limits)
    assert values[-2:, 0].tolist() == [7.0, 5.0]


def test_progress_and_reference_of_a_search_have_units(searched: optuna.Study) -> None:
    heading = plots.hypervolume(searched)._suptitle.get_text()  # type: ignore[attr-defined]
    assert heading == (
        "hypervolume up to accuracy (%) = 89.1, latency (ms) = 0.55, parameters (M) = 0.55"
    )
    # A reader gives the reference in the units of the study.
    given = plots.hypervolume(searched, reference=[50.0, 9.0, 7e6])
    assert "parameters (M) = 7" in given._suptitle.get_text()  # type: ignore[attr-defined]
    beside = {"mine": searched, "other": told([(a, b, 1e6 * c) for a, b, c in ROWS], WAYS)}
    mixed = plots.hypervolume(beside)._suptitle.get_text()  # type: ignore[attr-defined]
    assert mixed.endswith("params = 5.5e+05")


@pytest.mark.parametrize("draw", [plots.parallel, plots.pairs])
def test_what_has_no_front_is_told(draw: Any) -> None:
    with pytest.raises(InputError, match="has one objective, so it has no front"):
        draw(told([(1.0,)], ("minimize",)))
    with pytest.raises(InputError, match="no trial of study 'told' meets all constraints yet"):
        draw(told(ROWS[:1], WAYS, missed=[1.0]))


def test_a_front_of_one_trial_is_drawn(tmp_path: Any) -> None:
    for draw in (plots.parallel, plots.pairs):
        draw(told(ROWS[:1], WAYS)).savefig(tmp_path / "x.png")
    assert np.isfinite(plots.parallel(told(ROWS[:1], WAYS)).axes[0].lines[0].get_ydata()).all()
