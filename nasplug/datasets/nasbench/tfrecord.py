"""Reader of TFRecord files, record by record, with every checksum checked.

A record is its length (8 bytes, little-endian), a masked CRC-32C of the length, the payload, and a
masked CRC-32C of the payload. The package `tfrecord` reads this framing, but skips both checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from nasplug.search_spaces.errors import InputError

__all__ = ["frame", "read_records"]

_HEAD, _CRC = struct.Struct("<QI"), struct.Struct("<I")
_BUFFER = 1 << 20


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@lru_cache(maxsize=4096)
def _head(length: int) -> bytes:
    """Head of a record whose payload has so many bytes: the length and its checksum."""
    import google_crc32c

    return _HEAD.pack(length, _masked(google_crc32c.value(length.to_bytes(8, "little"))))


def frame(payload: bytes) -> bytes:
    """Frame a payload as a record."""
    import google_crc32c

    return _head(len(payload)) + payload + _CRC.pack(_masked(google_crc32c.value(payload)))


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the payloads of a file, in order.

    Raises:
        InputError: If the file cannot be read, or a record (counted from 1) is cut off or has a
            wrong checksum; the records before it have been yielded by then.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb", buffering=_BUFFER) as stream:
            yield from _records(path, stream, size)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error


def _records(path: Path, stream: BinaryIO, size: int) -> Iterator[bytes]:
    from google_crc32c import value as crc32c

    read, crc_of, head_size, crc_size = stream.read, _CRC.unpack, _HEAD.size, _CRC.size
    number, offset = 0, 0
    while head := read(head_size):
        number += 1
        if len(head) < head_size:
            raise _cut_off(path, number, offset)
        length = int.from_bytes(head[:8], "little")
        if head != _head(length):
            if number == 1:
                raise InputError(
                    f"{path} is not a TFRecord file, or its record 1 is damaged (the checksum of "
                    "the record's length is wrong); give the file that you downloaded, or fetch "
                    "it again"
                )
            raise _damaged(path, number, offset, "its length")
        # Before anything is read: a wrong length could ask for all memory.
        end = offset + head_size + length + crc_size
        if end > size:
            raise _cut_off(path, number, offset)
        payload, checksum = read(length), read(crc_size)
        if len(checksum) < crc_size:
            raise _cut_off(path, number, offset)
        crc = crc32c(payload)
        # The formula of `_masked`, since a call would take as long as the checksum.
        if (
            crc_of(checksum)[0]
            != (((crc >> 15 | crc << 17) & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF
        ):
            raise _damaged(path, number, offset, "its content")
        offset = end
        yield payload


def _cut_off(path: Path, number: int, offset: int) -> InputError:
    return InputError(
        f"{path} ends in the middle of record {number:,}, which starts at byte {offset:,}; the "
        "download is incomplete, so fetch it again"
    )


def _damaged(path: Path, number: int, offset: int, part: str) -> InputError:
    return InputError(
        f"record {number:,} of {path} (at byte {offset:,}) is damaged: the checksum of {part} is "
        "wrong; fetch the file again"
    )
