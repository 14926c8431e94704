"""Records of NAS-Bench-101 that are read without protobuf."""

from __future__ import annotations

from pathlib import Path

import nasbench_files as files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.datasets.nasbench.records import PLAIN_SIZE, plain_runs
from nasplug.datasets.nasbench.table import _Reading

numbers = st.floats(0, 5000)


@given(st.lists(st.lists(numbers, min_size=5, max_size=5), min_size=3, max_size=3), st.data())
def test_shortcut_reads_nothing_else(rows: list[list[float]], data: st.DataObject) -> None:
    reading = _Reading(Path("x"))
    raw = b"".join(files.evaluation(row, None) for row in rows) + b"\x10\x07\x19" + bytes(8)
    found, is_plain = plain_runs([written(raw)])
    assert is_plain.tolist() == [True]
    assert (*found[0], 0, 0) == reading._decoded(raw) == (*rows[1][1:], *rows[2][1:], 0, 0)
    # Another bit is a number's, or leaves the message to protobuf; its neighbours stay as they are.
    changed = bytearray(raw)
    place = data.draw(st.integers(0, 140))
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    found, is_plain = plain_runs([written(raw), written(bytes(changed)), written(raw)])
    assert is_plain[[0, 2]].all()
    assert np.array_equal(found[0], found[2])
    if is_plain[1]:
        numbers_again = np.array(reading._decoded(bytes(changed)))[:8]
        assert np.array_equal(found[1], numbers_again, equal_nan=True)


def written(raw: bytes) -> bytes:
    """The start of a message as it stands in a record."""
    import base64

    return base64.encodebytes(raw).replace(b"\n", b"\\n")[:PLAIN_SIZE]


@pytest.mark.parametrize("place", [0, 5, 75, 76, 77, 78, 153, 154, 155, 156, 190])
def test_what_is_no_base64_is_left_to_protobuf(place: int) -> None:
    rows = [[0.5, 10.0 + k, 0.25, 0.5, 0.75] for k in range(3)]
    raw = b"".join(files.evaluation(row, None) for row in rows) + b"\x10\x07\x19" + bytes(8)
    text = bytearray(written(raw))
    text[place] = ord("=")
    found, is_plain = plain_runs([written(raw), bytes(text), written(raw)])
    assert is_plain.tolist() == [True, False, True]
    assert np.array_equal(found[0], found[2])
