"""TFRecord files: frames, and damage that is found."""

from __future__ import annotations

import struct
from pathlib import Path

import nasbench_files as files
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.datasets.nasbench.tfrecord import frame, read_records
from nasplug.search_spaces.errors import InputError

REAL = (
    "PedramBakh/EC-NAS-Bench/ec1741b903555dd11201c326d036ebe5867e3d1d/ecnas/ecnas/utils/data/"
    "tabular_benchmarks/energy_4V9E_estimate.tfrecord"
)


def test_frame_of_a_known_record() -> None:
    assert frame(b"abc")[:8] == struct.pack("<Q", 3)
    assert frame(b"abc")[12:15] == b"abc"
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720); the mask rotates by 15 and adds a constant.
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert frame(b"123456789")[-4:] == struct.pack("<I", masked)


def test_real_file_is_its_records_framed(mirror: Path) -> None:
    path = mirror / REAL
    assert b"".join(map(frame, read_records(path))) == path.read_bytes()


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_records_come_back(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    path = files.write(tmp_path_factory.mktemp("records") / "x.tfrecord", payloads)
    assert list(read_records(path)) == payloads


@settings(max_examples=100)
@given(st.data())
def test_any_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    payloads = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
    path = files.write(tmp_path_factory.mktemp("records") / "x.tfrecord", payloads)
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    found = []
    with pytest.raises(InputError, match=r"record \d"):
        found.extend(read_records(path))
    assert found == payloads[: len(found)]


@given(st.data())
def test_any_cut_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
    path = files.write(tmp_path_factory.mktemp("records") / "x.tfrecord", payloads)
    content = path.read_bytes()
    size = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:size])
    ends = np.cumsum([0, *(len(frame(p)) for p in payloads)]).tolist()
    if size in ends:  # nothing tells that more was to come
        assert list(read_records(path)) == payloads[: ends.index(size)]
    else:
        number = sum(end < size for end in ends)
        with pytest.raises(InputError, match=rf"ends in the middle of record {number}"):
            list(read_records(path))


def test_absurd_length_reads_nothing(tmp_path: Path) -> None:
    # A right checksum of a length that no file has.
    path = tmp_path / "long.tfrecord"
    path.write_bytes(frame(b"x") + _head(1 << 60) + b"tail")
    with pytest.raises(InputError, match="ends in the middle of record 2"):
        list(read_records(path))


def _head(length: int) -> bytes:
    import google_crc32c

    crc = google_crc32c.value(length.to_bytes(8, "little"))
    return struct.pack("<QI", length, ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
