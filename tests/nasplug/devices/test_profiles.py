"""Device profiles in files: by name, by path, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasplug import InputError, hardware
from nasplug.devices import profiles
from nasplug.predictors import Hardware
from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks
from nasplug.search_spaces import files, space
from nasplug.text import checksum_of

NB = space("nb201")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "nasplug" / "devices"


def profile(name: str = "My Board", **fields: Any) -> DeviceProfile:
    archs = [NB[k] for k in (0, 1, 6111)]  # type: ignore[index]
    measured = MeasuredNetworks(
        tuple(arch.text for arch in archs), np.array([1.0, 2.0, 3.0]), tuple(NB.to_graphs(archs))
    )
    described = {**vars(hardware("T4")), "name": name, "aliases": (), **fields}
    return DeviceProfile(Hardware(**described), "nb201", 4, measured)


def keep(own: DeviceProfile) -> Path:
    path = profiles.path_of(own.name)
    assert path is not None
    profiles.write(own, path, {"date": "today"})
    return path


def test_a_profile_is_found_by_any_spelling_of_its_name(own_folder: Path) -> None:
    before = profile()
    path = keep(before)
    assert path == own_folder / "myboard.json"
    for spelling in ("My Board", "my-board", " MYBOARD ", str(path), path):
        found = hardware(spelling)
        assert isinstance(found, DeviceProfile)
        assert found == before
        assert found.sha256 == before.sha256
    assert not isinstance(hardware("T4"), DeviceProfile)


def test_the_processors_of_a_phone_survive() -> None:
    before = profile(processors=hardware("Pixel 4").processors)
    keep(before)
    after = hardware("my board")
    assert [part.kind for part in after.processors] == ["cpu", "cpu", "cpu", "gpu", "npu"]
    assert after.processors == before.processors


def test_a_year_that_is_not_known_survives() -> None:
    keep(profile(year=0))
    assert hardware("my board").year == 0


def test_profiles_stand_beside_the_catalogue_in_what_is_suggested(own_folder: Path) -> None:
    with pytest.raises(InputError, match="not in the catalogue, which has names such as"):
        hardware("myboart")
    keep(profile())
    assert profiles.names() == ["My Board"]
    with pytest.raises(
        InputError, match="nor have you calibrated it; there are names such as My B"
    ):
        hardware("myboart")
    (own_folder / "bad.json").write_text("{")
    whole, damaged = profiles.every()
    assert [own.name for own in whole] == ["My Board"]
    assert len(damaged) == 1
    assert "bad.json" in damaged[0]
    assert hardware("T4").name == "T4"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RTX 3090", 'is already the name of the catalogue\'s RTX 3090; .* such as "my RTX 3090"'),
        ("3090", "is already the name of the catalogue's RTX 3090"),
        ("nvidia-geforce rtx3090", "is already the name of the catalogue's RTX 3090"),
        ("", "cannot be the name of a device"),
        (" ", "cannot be the name of a device"),
        ("a\nb", "cannot be the name of a device"),
        ("a\x1bb", "cannot be the name of a device"),
        ("mine.toml", "looks like a path"),
        ("mine.JSON", "looks like a path"),
    ],
)
def test_a_name_that_would_not_be_found_again_is_refused(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        profiles.check_name(name)


def test_suggested_names_are_free() -> None:
    for name in ("my RTX 3090", "mine", "our lab's Raspberry Pi 4"):
        profiles.check_name(name)


@pytest.mark.parametrize(
    "name", ["плата 1", "开发板", "لوحة", "🚀", "👩‍💻 board", "Nvidia", "Küche 3090", "a" * 200]
)
def test_a_name_in_any_script_is_found_again(name: str, own_folder: Path) -> None:
    profiles.check_name(name)
    path = keep(profile(name))
    assert path.parent == own_folder
    assert path.name.isascii()
    assert len(path.name) < 120
    assert hardware(f" {name.upper()} ").name == name
    # Names that differ in letters of other scripts are other devices.
    assert profiles.find(f"другая {name}") is None


def test_a_name_is_found_in_a_file_of_an_older_version(own_folder: Path) -> None:
    path = keep(profile("плата 1"))
    path.rename(own_folder / "1.json")
    assert hardware("плата 1").name == "плата 1"
    assert profiles.find("доска 1") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"format": "nasplug-device-profile-9", "space": "nb201"},
            "is not a device profile of this version",
        ),
        ({"hardware": None}, "damaged .hardware must be a table"),
        ({"hardware": {"name": "x"}}, "damaged .its description: the field vendor is missing"),
        ({"space": 3}, "space must be the name"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"batch_size": True}, "batch_size must be a whole number"),
        ({"measured": None}, "damaged"),
        ({"measured": {}}, "the measured networks lack 'arch'"),
    ],
)
def test_a_damaged_profile_is_named(change: dict[str, Any], said: str) -> None:
    path = keep(profile())
    changed = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({**changed, "checksum": checksum_of(changed)}))
    for name in ("my board", path):
        with pytest.raises(InputError, match=said) as error:
            hardware(name)
        assert "myboard.json" in str(error.value)
        assert "\n" not in str(error.value)


def test_every_flipped_bit_is_said_or_without_effect() -> None:
    before = profile()
    path = keep(before)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    said = 0
    for place in rng.choice(8 * len(content), 300, replace=False).tolist():
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = profiles.read(path)
        except InputError:
            said += 1
        else:
            assert (found, found.sha256) == (before, before.sha256)
    assert said > 250


def test_a_profile_without_a_checksum_is_read_with_a_warning(tmp_path: Path) -> None:
    before = profile()
    old = {"format": "nasplug-device-profile-1", **before.to_json(), "about": {}}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    with pytest.warns(UserWarning, match="old.json was written by an earlier version without a"):
        assert hardware(path) == before
    path.write_text(json.dumps({**old, "space": "nb301"}))
    with pytest.raises(InputError, match="damaged .space must be one of"):
        hardware(path)
    # A format that needs a checksum, and none.
    path.write_text(json.dumps({**old, "format": profiles.FORMAT}))
    with pytest.raises(InputError, match="(its content does not match its checksum)"):
        hardware(path)


@pytest.mark.parametrize("name", [".myboard.abcdefgh.json", ".nasplug-tmp-1-abcdefgh.json"])
def test_a_temporary_file_is_no_profile(own_folder: Path, name: str) -> None:
    keep(profile())
    left = own_folder / name
    left.write_bytes((own_folder / "myboard.json").read_bytes())
    assert [own.name for own in profiles.every()[0]] == ["My Board"]


def test_listing_profiles_sweeps_what_a_killed_process_left(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_swept", set())
    own_folder.mkdir(parents=True)
    (own_folder / ".nasplug-tmp-1-abcdefgh.json").write_text("half")
    assert profiles.every() == ([], [])
    assert list(own_folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"[" * 100_000, b'{"format": NaN}', b"3"])
def test_what_is_no_profile_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match="x.json is not a device profile"):
        hardware(tmp_path / "x.json")


def test_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent.json: cannot be read"):
        hardware("absent.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError, match="folder.json: not a file; give a device profile"):
        hardware(tmp_path / "folder.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*give another file"):
        profiles.write(profile(), tmp_path / "file" / "x.json", {})


def test_a_home_that_cannot_be_read_is_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert hardware("T4").name == "T4"
    assert profiles.every() == ([], [])
