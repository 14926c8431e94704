"""Reader of TFRecord files, record by record, with every checksum checked.

A record is its length (8 bytes, little-endian), a masked CRC-32C of the length, the payload, and a
masked CRC-32C of the payload. The package `tfrecord` reads this framing, but skips both checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

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
        with open(path, "rb", buffering=0) as stream:
            yield from _records(path, stream.read, size)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error


def _records(path: Path, read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    from google_crc32c import value as crc32c

    # `base` is the offset of the buffer in the file, `head_start` that of the next record in the
    # buffer.
    number, base, head_start, buffer = 0, 0, 0, b""
    head_size, crc_size, crc_of = _HEAD.size, _CRC.size, _CRC.unpack_from
    while True:
        if len(buffer) - head_start < head_size:
            buffer, base, head_start = buffer[head_start:] + read(_BUFFER), base + head_start, 0
            if not buffer:
                return
        number += 1
        head = buffer[head_start : head_start + head_size]
        if len(head) < head_size:
            raise _cut_off(path, number, base + head_start)
        length = int.from_bytes(head[:8], "little")
        if head != _head(length):
            if number == 1:
                raise InputError(
                    f"{path} is no TFRecord file, or its record 1 is damaged: the checksum of the "
                    "record's length is wrong; name the file that you downloaded, or fetch it again"
                )
            raise _damaged(path, number, base + head_start, "its length")
        start = head_start + head_size
        end = start + length
        if base + end + crc_size > size:
            raise _cut_off(path, number, base + head_start)
        while end + crc_size > len(buffer):
            more = read(max(_BUFFER, end + crc_size - len(buffer)))
            if not more:
                raise _cut_off(path, number, base + head_start)
            buffer, base, start, end, head_start = (
                buffer[head_start:] + more,
                base + head_start,
                start - head_start,
                end - head_start,
                0,
            )
        payload = buffer[start:end]
        crc = crc32c(payload)
        # The formula of `_masked`, since a call would take as long as the checksum.
        if (
            crc_of(buffer, end)[0]
            != (((crc >> 15 | crc << 17) & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF
        ):
            raise _damaged(path, number, base + head_start, "its content")
        head_start = end + crc_size
        yield payload


def _cut_off(path: Path, number: int, offset: int) -> InputError:
    return InputError(
        f"{path} ends in the middle of record {number:,} (which starts at byte {offset:,}); it was "
        "not downloaded whole: fetch it again"
    )


def _damaged(path: Path, number: int, offset: int, part: str) -> InputError:
    return InputError(
        f"record {number:,} of {path} (at byte {offset:,}) is damaged: the checksum of {part} is "
        "wrong; fetch the file again"
    )
