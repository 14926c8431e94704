"""The table of operators names each operator that is read."""

from experiments.reading.operator_tables import ROWS, operators, read_operators


def test_each_operator_is_named():
    named = [name for row in ROWS for name in {*row.names.split(), *row.fused.split()}]
    assert sorted(named) == sorted(set(named)), "an operator has two costs"
    assert set(named) == read_operators()


def test_the_table_has_a_line_for_each_row():
    assert len(operators().splitlines()) == 2 + len(ROWS) + 1
