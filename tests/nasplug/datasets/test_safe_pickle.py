from __future__ import annotations

import collections
import contextlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasplug.datasets.safe_pickle import NUMPY_SCALARS, ORDERED_DICT, load_pickle_zip
from nasplug.search_spaces.errors import InputError

LATENCY = (
    "HayeonLee/HELP/45f70eb92d0d735970a33b608d1544ad3c52f285/data/nasbench201/latency/pixel2.pt"
)


def pack(path: Path, content: bytes, member: str = "archive/data.pkl") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr("archive/version", "3\n")
    return path


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_reads_plain_data(tmp_path: Path) -> None:
    data: dict[Any, Any] = {"a": [1, 2.5, None, True, -(2**70), ("b", 3)], "text": "é" * 300}
    data |= {3: {"c": b"bytes"}, 2.5: (), None: "", True: [{}], -(2**59): {"d": {}}}
    for protocol in (2, 3, 4, 5):
        if protocol == 2:
            data = {**data, 3: {}}  # bytes need a global in protocol 2
        path = pack(tmp_path / f"{protocol}.pt", pickle.dumps(data, protocol=protocol))
        assert load_pickle_zip(path) == data


def test_reads_a_published_file(mirror: Path) -> None:
    values = load_pickle_zip(mirror / LATENCY)
    assert len(values) == 15_625
    assert values[0] == 9


def test_malicious_pickle_is_named_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for protocol in (0, 2, 4):
        code = pickle.dumps(Call(os.system, f"touch {marker}"), protocol=protocol)
        path = pack(tmp_path / f"evil{protocol}.pt", code)
        with pytest.raises(
            InputError, match=r"evil\d\.pt was not loaded: it needs.*'(posix|nt)\.system'"
        ):
            load_pickle_zip(path, NUMPY_SCALARS | ORDERED_DICT)
    assert not marker.exists()


@pytest.mark.parametrize("function", [eval, getattr, __import__, np.frombuffer])
def test_no_other_global_is_reached(tmp_path: Path, function: Any) -> None:
    path = pack(tmp_path / "x.pt", pickle.dumps(Call(function, "1"), protocol=2))
    with pytest.raises(InputError, match=function.__name__):
        load_pickle_zip(path, NUMPY_SCALARS | ORDERED_DICT)


@pytest.mark.parametrize("protocol", [2, 4])
def test_allowed_objects_only_when_asked_for(tmp_path: Path, protocol: int) -> None:
    data = collections.OrderedDict(a=np.float64(1.5), b=np.int32(-3), c=np.bool_(True))
    path = pack(tmp_path / "x.pt", pickle.dumps(data, protocol=protocol))
    with pytest.raises(InputError, match=r"collections\.OrderedDict"):
        load_pickle_zip(path)
    with pytest.raises(InputError, match=r"numpy"):
        load_pickle_zip(path, ORDERED_DICT)
    found = load_pickle_zip(path, ORDERED_DICT | NUMPY_SCALARS)
    assert found == data
    assert isinstance(found, collections.OrderedDict)
    assert found["a"].dtype == np.float64
    assert found["b"].dtype == np.int32


def test_big_endian_scalar(tmp_path: Path) -> None:
    dtype = np.dtype(">f8")
    content = np.array(1.5, dtype=dtype).tobytes()
    raw = Call(np.float64(0).__reduce__()[0], dtype, content)
    path = pack(tmp_path / "x.pt", pickle.dumps(raw, protocol=4))
    assert load_pickle_zip(path, NUMPY_SCALARS) == 1.5


def test_numpy_objects_are_refused(tmp_path: Path) -> None:
    scalar = np.float64(0).__reduce__()[0]
    path = pack(tmp_path / "x.pt", pickle.dumps(Call(scalar, np.dtype("O"), b"12345678")))
    with pytest.raises(InputError, match="not a plain number"):
        load_pickle_zip(path, NUMPY_SCALARS)


def test_only_the_known_names_can_be_allowed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"os\.system"):
        load_pickle_zip(tmp_path / "x.pt", {"os.system"})


@pytest.mark.parametrize("code", [b"\x80\x02X\x01\x00\x00\x00aQ.", b"Pabc\n.", b"\x82\x01."])
def test_persistent_ids_and_extensions_are_refused(tmp_path: Path, code: bytes) -> None:
    with pytest.raises(InputError, match=r"persistent id|extension code"):
        load_pickle_zip(pack(tmp_path / "x.pt", code))


def test_memo_index_cannot_eat_the_memory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="memo index"):
        load_pickle_zip(pack(tmp_path / "x.pt", b"\x80\x02]r\xff\xff\xff\xff."))


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize(
    "keys",
    [
        [k * (2**61 - 1) for k in range(1, 4)],
        [(1, 2), (3,)],
        [((),)],
        [1, 2**60],
        [frozenset([1])],
    ],
)
def test_keys_that_could_be_made_to_collide_are_refused(
    tmp_path: Path, protocol: int, keys: list[Any]
) -> None:
    for data in (dict.fromkeys(keys, 0), [{"a": {"b": dict.fromkeys(keys, "x")}}, keys]):
        path = pack(tmp_path / "x.pt", pickle.dumps(data, protocol=protocol))
        with pytest.raises(InputError, match=r"keys are neither|a set|frozenset"):
            load_pickle_zip(path)


def test_colliding_keys_are_refused_at_once(tmp_path: Path) -> None:
    # Of one hash: filling the dictionary would take minutes.
    data = b"".join(pickle.dumps(k * (2**61 - 1), 2)[2:-1] + b"K\0" for k in range(1, 30_000))
    path = pack(tmp_path / "x.pt", b"\x80\x02}(" + data + b"u.")
    with pytest.raises(InputError, match="neither strings nor numbers below"):
        load_pickle_zip(path)


def test_a_key_cannot_come_by_another_way(tmp_path: Path) -> None:
    big = pickle.dumps(2**61 - 1, 2)[2:-1]
    for code in (
        b"\x80\x02" + big + b"q\x000}h\x00K\0s.",  # from the memo
        b"\x80\x02(" + big + b"K\0d.",  # DICT
        b"\x80\x02}" + big + b"2s.",  # DUP
    ):
        with pytest.raises(InputError, match="neither strings nor numbers below"):
            load_pickle_zip(pack(tmp_path / "x.pt", code))
    pairs = Call(collections.OrderedDict, [(2**61 - 1, 0)])
    with pytest.raises(InputError, match="not a readable torch.save zip"):
        load_pickle_zip(pack(tmp_path / "x.pt", pickle.dumps(pairs)), ORDERED_DICT)


def test_short_memory_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("nasplug.datasets.safe_pickle._scan", short)
    with pytest.raises(MemoryError):
        load_pickle_zip(pack(tmp_path / "x.pt", pickle.dumps({})))


def test_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2_000_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match=r"declares 1 members of 2,000,000 bytes"):
        load_pickle_zip(path, max_bytes=1_000_000)


def test_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2_000_000)
    content = path.read_bytes()
    declared = (2_000_000).to_bytes(4, "little")
    path.write_bytes(content.replace(declared, (100).to_bytes(4, "little")))
    with pytest.raises(InputError, match="not a readable"):
        load_pickle_zip(path, max_bytes=1_000_000)


def test_too_many_members_or_pickles(tmp_path: Path) -> None:
    path = tmp_path / "many.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100):
            archive.writestr(f"archive/{number}", b"")
    with pytest.raises(InputError, match="100 members"):
        load_pickle_zip(path)
    with pytest.raises(InputError, match=r"0 members named data\.pkl"):
        load_pickle_zip(pack(tmp_path / "none.pt", b"", "archive/other"))


def test_files_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        load_pickle_zip(tmp_path / "missing.pt")
    with pytest.raises(InputError, match="is not a file"):
        load_pickle_zip(tmp_path)
    path = tmp_path / "x.pt"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="not a readable torch.save zip"):
        load_pickle_zip(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="git-LFS"):
        load_pickle_zip(path)
    path.write_bytes(b"\0" * 200)
    with pytest.raises(InputError, match="larger than the expected 100 bytes"):
        load_pickle_zip(path, max_bytes=100)


def reads_or_refuses(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    # Anything but an InputError fails the test.
    with contextlib.suppress(InputError):
        load_pickle_zip(path, NUMPY_SCALARS | ORDERED_DICT)


# One file a test function is enough: every example overwrites it.
fuzz = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(content=st.binary(max_size=400))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    reads_or_refuses(tmp_path / "x.pt", content)


@fuzz
@given(content=st.binary(max_size=100))
def test_random_pickles(tmp_path: Path, content: bytes) -> None:
    packed = pack(tmp_path / "y.pt", content).read_bytes()
    reads_or_refuses(tmp_path / "x.pt", packed)


@fuzz
@given(cut=st.integers(0, 31_662))
def test_random_truncation(tmp_path: Path, mirror: Path, cut: int) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes((mirror / LATENCY).read_bytes()[:cut])
    with pytest.raises(InputError):
        load_pickle_zip(path)


@fuzz
@given(where=st.integers(0, 31_662), mask=st.integers(1, 255))
def test_flipped_byte(tmp_path: Path, mirror: Path, where: int, mask: int) -> None:
    content = bytearray((mirror / LATENCY).read_bytes())
    content[where] ^= mask
    reads_or_refuses(tmp_path / "x.pt", bytes(content))


@fuzz
@given(where=st.integers(0, 31_000), mask=st.integers(1, 255))
def test_flipped_byte_behind_a_good_checksum(
    tmp_path: Path, mirror: Path, where: int, mask: int
) -> None:
    with zipfile.ZipFile(mirror / LATENCY) as archive:
        content = bytearray(archive.read("archive/data.pkl"))
    content[where] ^= mask
    reads_or_refuses(tmp_path / "x.pt", pack(tmp_path / "y.pt", bytes(content)).read_bytes())
