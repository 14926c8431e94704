"""Labels from tables of one's own; bad ones are in the tests of the command."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nasplug.search_spaces import InputError, space
from nasplug.training.labels import read_labels

NB = space("nb201")
CELLS = (
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
)


def test_columns_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    content = f"\ufeffx, arch ,ms\n1,{CELLS[1]},2.5\n\n-3, {CELLS[0]} ,4\n".encode()
    file.write_bytes(content)
    labels = read_labels(str(file), ["ms", "x"], NB)
    assert [arch.text for arch in labels.archs] == [CELLS[1], CELLS[0]]
    assert labels.columns == ("ms", "x")
    assert labels.values.tolist() == [[2.5, 1.0], [4.0, -3.0]]
    assert labels.source == str(file)
    assert labels.sha256 == {"table.csv": hashlib.sha256(content).hexdigest()}


def test_unknown_columns_and_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(f"arch,acc\n{CELLS[0]},1\n")
    with pytest.raises(InputError, match=r"table\.csv has no column 'ac'; it has acc"):
        read_labels(str(file), ["ac"], NB)
    with pytest.raises(InputError, match=r"cannot read .*absent\.csv"):
        read_labels(str(tmp_path / "absent.csv"), ["acc"], NB)
    with pytest.raises(InputError, match="unknown data set 'nb201-acuracy'; known: nb201-accuracy"):
        read_labels("nb201-acuracy", ["acc"], NB)
    with pytest.raises(
        InputError, match="data set nb201-accuracy belongs to space nb201, not to space nb101"
    ):
        read_labels("nb201-accuracy", ["cifar10_val"], space("nb101"))


def test_a_data_set_has_its_rows_in_the_order_of_the_space(nb201_cache: Path) -> None:
    labels = read_labels("nb201-accuracy", ["cifar10_val"], NB)
    assert labels.archs == list(NB)
    assert labels.values.shape == (15_625, 1)
    with pytest.raises(InputError, match="nb201-accuracy has no column 'arch'"):
        read_labels("nb201-accuracy", ["arch"], NB)
