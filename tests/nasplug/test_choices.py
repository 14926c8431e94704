"""The choices among the rows of a front, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nasplug.choices import Choice, choices, telling_rows
from nasplug.objectives import OBJECTIVES, PROXIES, Objective

ACCURACY, LATENCY = OBJECTIVES["accuracy"], OBJECTIVES["latency"]
# Errors of 41, 7, 6.1 and 6 %.
FRONT = np.array([[60.0, 1.0], [93.0, 2.0], [94.0, 6.0], [94.5, 9.0]])


def choose(
    values: np.ndarray, objectives: tuple[Objective, ...] = (ACCURACY, LATENCY), limits: str = ""
) -> list[Choice]:
    texts = [
        [f"{value:g}{o.unit}" for value, o in zip(row, objectives, strict=True)] for row in values
    ]
    return choices(values, objectives, texts, limits.split())


def test_three_choices() -> None:
    fastest, knee, best = choose(FRONT, limits="latency<=9ms")
    assert (fastest.title, fastest.row) == ("Fastest within 1 % of the best", 2)
    assert fastest.reason == (
        "Accuracy 94% is within 1 % of the best (94.5%), at latency 6ms instead of 9ms."
    )
    assert (knee.title, knee.row) == ("The knee", 1)
    assert knee.reason.endswith("a gain in accuracy costs more latency.")
    assert (best.title, best.row) == ("Most accurate within the limit", 3)
    assert best.reason == (
        "Accuracy 94.5% is the best of the 4 rows on the front, within latency<=9ms."
    )
    assert choose(FRONT)[-1].title == "Most accurate"
    assert fastest.to_json().keys() == {"title", "row", "values", "reason"}
    assert fastest.values == "94%, 6ms"


def test_equal_texts_are_not_compared() -> None:
    texts = [["94 %", "ones of ms"]] * 2 + [["94.5 %", "ones of ms"]]
    values = np.array([[94.0, 5.0], [94.2, 6.0], [94.5, 9.0]])
    fastest = choices(values, (ACCURACY, LATENCY), texts, [])[0]
    assert fastest.reason == (
        "Accuracy 94 % is within 1 % of the best (94.5 %), with a better latency."
    )


def test_order_of_objectives_and_rows_does_not_matter() -> None:
    turned = choose(FRONT[::-1, ::-1], (LATENCY, ACCURACY))
    assert [3 - choice.row for choice in turned] == [choice.row for choice in choose(FRONT)]
    assert [choice.reason for choice in turned] == [choice.reason for choice in choose(FRONT)]


def test_small_fronts() -> None:
    assert choose(np.empty((0, 2))) == []
    (only,) = choose(FRONT[:1])
    assert only.reason == "This is the only row on the front."
    fastest, best = choose(FRONT[2:])
    assert (fastest.row, best.row) == (0, 1)
    fastest, best = choose(FRONT[1:3])
    assert fastest.row == best.row == 1
    assert fastest.reason == "No other row within 1 % of the best accuracy has a better latency."
    (single,) = choose(FRONT[-1:, :1], (ACCURACY,))
    assert single.reason == "The best value."


def test_three_objectives() -> None:
    values = np.array([[90.0, 1.0, 9e6], [91.0, 2.0, 2e6], [92.0, 9.0, 1e6]])
    fastest, middle, best = choose(values, (ACCURACY, LATENCY, OBJECTIVES["params"]))
    assert [fastest.row, middle.row, best.row] == [2, 1, 2]
    assert middle.title == "The best compromise"
    # The middle accuracy by the logarithm of its error.
    assert middle.reason == (
        "This row's largest loss in accuracy, latency and parameters is 53 % of the range on the "
        "front; no other row has a smaller one."
    )


def test_a_cost_under_two_names_does_not_move_the_compromise() -> None:
    # By the sum of losses the cheapest row would win, and the more so with each name of its cost.
    front = np.array([[80.0, 1.0, 1.0], [85.0, 2.5, 2.0], [92.0, 6.0, 4.9], [95.0, 10.0, 8.0]])
    once = (ACCURACY, LATENCY, OBJECTIVES["memory"])
    twice = (*once, OBJECTIVES["params"], OBJECTIVES["size"])
    again = np.column_stack([front, front[:, 2] * 1e6, front[:, 2] * 4])
    assert choose(front, once)[1].row == choose(again, twice)[1].row == 2


def test_perplexity_is_the_quality_wherever_it_stands() -> None:
    front = np.array([[1.0, 30.0], [2.0, 25.0], [9.0, 24.9]])
    chosen = choose(front, (LATENCY, OBJECTIVES["perplexity"]))
    assert [(choice.title, choice.row) for choice in chosen] == [
        ("Fastest within 1 % of the best", 1),
        ("The knee", 1),
        ("Lowest perplexity", 2),
    ]


@pytest.mark.parametrize(
    ("objectives", "titles"),
    [
        ((PROXIES["flops"], LATENCY), ("Fastest within 1 % of the best", "Most FLOPs")),
        (
            (ACCURACY, OBJECTIVES["flops"]),
            ("Fewest FLOPs within 1 % of the best", "Most accurate"),
        ),
        (
            (
                Objective("Accuracy (%)", "maximize", ""),
                Objective("latency (ms)", "minimize", ""),
            ),
            ("Fastest within 1 % of the best", "Most accurate"),
        ),
        (
            (Objective("loss", "minimize", ""), Objective("energy_mj", "minimize", "")),
            ("Best energy mj within 1 % of the best", "Best loss"),
        ),
    ],
)
def test_titles_name_the_objectives(
    objectives: tuple[Objective, ...], titles: tuple[str, str]
) -> None:
    chosen = choose(FRONT, objectives)
    assert (chosen[0].title, chosen[-1].title) == titles


def test_equal_values_and_fractions() -> None:
    assert {choice.row for choice in choose(np.full((4, 2), 0.0))} == {0}
    fractions = choose(FRONT * [0.01, 1.0])
    assert [choice.row for choice in fractions] == [2, 1, 3]


def test_short_table_keeps_chosen_rows_and_those_that_alone_dominate_most() -> None:
    # Along a corner: the rows next to each other dominate little alone.
    front = np.array([[80.0, 1.0], [90.0, 1.1], [90.1, 1.2], [93.0, 2.0], [93.1, 2.1], [94.0, 5.0]])
    both = (ACCURACY, LATENCY)
    assert telling_rows(front, both, set(), 6) == [0, 1, 2, 3, 4, 5]
    assert telling_rows(front, both, set(), 2) == [1, 4]
    assert telling_rows(front, both, {5}, 3) == [1, 4, 5]
    assert telling_rows(front, both, {0, 2, 4}, 2) == [0, 2, 4]
    assert telling_rows(front[:, :1], both[:1], {0}, 3) == [0, 1, 2]
    assert telling_rows(np.empty((0, 2)), both, set(), 3) == []


def test_short_table_of_four_objectives_is_spread_over_all_of_them() -> None:
    # A cloud of rows that differ in the first two, and single rows far away in the others.
    cloud = np.array([[90.0 + 0.01 * k, 1.0 + 0.01 * k, 50.0, 50.0] for k in range(300)])
    far = np.array([[80.0, 5.0, 10.0, 50.0], [80.0, 5.0, 50.0, 10.0], [80.0, 5.0, 10.0, 10.0]])
    four = (ACCURACY, LATENCY, OBJECTIVES["memory"], OBJECTIVES["energy"])
    rows = telling_rows(np.vstack([cloud, far]), four, {7}, 12)
    assert len(rows) == 12
    assert rows == sorted(rows)
    assert {7, 300, 301, 302} <= set(rows)
    shown = cloud[[row for row in rows if row < 300], 0]
    assert shown.min() < 90.1
    assert shown.max() > 92.9
    assert np.diff(shown).max() < 1.0
    same = np.zeros((20, 4))
    assert telling_rows(same, four, {3, 4}, 5) == [0, 1, 2, 3, 4]
    assert telling_rows(same, four, {1, 2, 3}, 2) == [1, 2, 3]
