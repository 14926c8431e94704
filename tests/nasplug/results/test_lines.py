from __future__ import annotations

from nasplug.choices import Choice
from nasplug.results.lines import choice_lines, table_lines

ARCHS = ["vgg:a", "vgg:bb", "vgg:ccc"]
COLUMNS = [("accuracy %", ["90.1", "91.2", "92.3"]), ("ms", ["1", "22", "333"])]


def test_choice_has_its_values_architecture_and_reason() -> None:
    knee = Choice("The knee", 1, "91.2 %, 22 ms", "Beyond it, more costs more.")
    assert choice_lines([knee], ARCHS) == [
        "The knee (row 2): 91.2 %, 22 ms",
        "  vgg:bb",
        "  Beyond it, more costs more.",
        "",
    ]
    assert choice_lines([], []) == []


def test_architecture_stands_beside_its_numbers_where_there_is_room() -> None:
    assert table_lines(COLUMNS, ARCHS, [0, 2], 28) == [
        "#  accuracy %   ms  architecture",
        "1        90.1    1  vgg:a",
        "3        92.3  333  vgg:ccc",
    ]
    assert table_lines(COLUMNS, ARCHS, [0, 2], 26) == [
        "#  accuracy %   ms",
        "1        90.1    1",
        "   vgg:a",
        "3        92.3  333",
        "   vgg:ccc",
    ]


def test_columns_that_do_not_fit_stand_below() -> None:
    columns = [*COLUMNS, ("params", ["1.00M", "2.00M", "3.00M"])]
    assert table_lines(columns, ARCHS, [0, 2], 20) == [
        "#  accuracy %   ms",
        "   params",
        "1        90.1    1",
        "    1.00M",
        "   vgg:a",
        "3        92.3  333",
        "    3.00M",
        "   vgg:ccc",
    ]


def test_empty_front_is_a_heading() -> None:
    assert table_lines([("accuracy %", [])], [], [], 80) == ["#  accuracy %  architecture"]
