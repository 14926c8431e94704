import pytest

from experiments.tables import cells, grouped, merged, spread, table_of

ROWS = [
    {"model": "a", "seed": 0, "tau": 0.5, "cover": None, "off": {"at": 1.0}},
    {"model": "b", "seed": 0, "tau": 0.1, "cover": 0.9, "off": {"at": 1.0}},
    {"model": "a", "seed": 1, "tau": 0.7, "cover": 0.8, "off": {"at": 2.0}},
    {"model": "a", "seed": 2, "tau": 0.3, "cover": None, "off": {"at": 9.0}},
]


def test_rows_of_a_model_become_one_row_of_a_table():
    shown = table_of(
        "model | runs | tau | median | cover | off",
        "{model} | {count} | {tau:±.2f} | {tau:~.1f} | {cover:.0%} | ×{off[at]:.1f}",
        map(merged, grouped(ROWS, "model").values()),
    )
    assert shown.splitlines() == [
        "| model | runs | tau | median | cover | off |",
        "| --- | --- | --- | --- | --- | --- |",
        "| a | 3 | 0.50 ± 0.20 | 0.5 | 80% | ×4.0 |",
        "| b | 1 | 0.10 | 0.1 | 90% | ×1.0 |",
    ]


def test_a_value_that_is_missing_is_a_dash_and_a_wrong_name_an_error():
    assert cells("{model} | {cover:.0%} | ×{cover:.1f}", ROWS[0]) == ["a", "–", "–"]
    with pytest.raises(KeyError):
        cells("{modle}", ROWS[0])


def test_a_spread_tells_an_unusual_count():
    assert spread([]) == "–"
    assert spread([1.0, 2.0, 3.0], ".1f") == "2.0 ± 1.0"
    assert spread([1.0], usual=5) == "1.000 (1)"
