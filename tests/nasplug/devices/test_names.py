"""Names that systems print: each entry by its vendor's tools, and names of no one device."""

import sys
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.devices.catalogue import catalogue
from nasplug.devices.names import devices_named, meaning, other_names
from nasplug.devices.spellings import catalogue_key, makers, memory_suffix
from nasplug.predictors.hardware import Hardware

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OTHER_NAMES: list[dict[str, Any]] = tomllib.loads(
    (files("nasplug.hardware_catalogue") / "other_names.toml").read_text(encoding="utf-8")
)["name"]


def printed(device: Hardware) -> list[str]:
    """Names of a device as its vendor's tools, the system or a paste of them write it."""
    name = device.name
    bare_name = name.removesuffix(" Super")
    marked = name.removeprefix("Intel ").replace("Xeon", "Xeon(R)").replace("Core", "Core(TM)")
    cores = device.units
    forms = {
        "NVIDIA gpu": (
            *("NVIDIA {name}", "NVIDIA GeForce {name}", "Tesla {name}", "NVIDIA {name} GPU"),
            "GPU 0: NVIDIA {name} (UUID: GPU-5c89852c-d268-c3f3)",
            "NVIDIA Corporation GA102 [{name}] (rev a1)",
        ),
        "NVIDIA edge": tuple(
            f"NVIDIA {bare_name} {kit}{name.removeprefix(bare_name)}"
            for kit in ("Developer Kit", "Engineering Reference Developer Kit", "devkit")
        ),
        "Broadcom edge": ("{name} Rev 1.0", "{name} Rev 1.5\0"),
        "Intel cpu": tuple(
            f"{generation}Intel(R) {marked}{end}"
            for generation in ("", "13th Gen ")
            for end in ("", " @ 3.40GHz", " CPU @ 3.40GHz", " Processor")
        ),
        "AMD cpu": tuple(
            f"AMD {name} {end}"
            for end in (f"{cores}-Core Processor", "Processor", f"{cores}-Cores", "w/ Radeon 890M")
        ),
        "AMD gpu": ("AMD Radeon {name}", "AMD Instinct {name}", "Navi 21 [Radeon {name}] (rev c1)"),
    }
    return [
        form.format(name=name) for form in forms.get(f"{device.vendor} {device.kind}", ("{name} ",))
    ]


def test_a_device_is_found_by_what_its_vendors_tools_print() -> None:
    for device in catalogue():
        for name in printed(device):
            for spelling in (name, name.upper(), name.lower(), name.replace(" ", "  ")):
                assert meaning(spelling).device is device, spelling


def test_its_memory_may_follow_and_no_other_memory() -> None:
    for device in catalogue():
        memory = device.memory_gb
        if memory and memory.is_integer() and not memory_suffix(device.name):
            assert meaning(f"{device.name} {memory:g}GB").device is device
            assert meaning(f"{device.name} {memory:g} GB").device is device
        # No device has an odd number of gigabytes near it, and it is never taken for one that has.
        other = f"{device.name} {2 * int(memory) + 1001}GB"
        assert meaning(other).device is None, other


def test_a_brand_of_another_vendor_finds_nothing() -> None:
    brands = {"NVIDIA": "Radeon", "AMD": "GeForce", "Intel": "AMD"}
    for device in catalogue():
        brand = brands.get(device.vendor, "NVIDIA")
        for spelling in (device.name, *device.aliases):
            assert meaning(f"{brand} {spelling}").device is None, spelling


def test_no_two_entries_share_a_spelling() -> None:
    spellings = Counter(
        key
        for device in catalogue()
        for key in {catalogue_key(name) for name in (device.name, *device.aliases)}
    )
    others = {n for entry in OTHER_NAMES for n in entry["names"]}
    # "m5.*" stands for instances alone, and "M5" for a chip.
    spellings.update({name if name.endswith(".*") else catalogue_key(name) for name in others})
    assert [key for key, count in spellings.items() if count > 1] == []
    assert len(other_names()) == sum(len(set(entry["names"])) for entry in OTHER_NAMES)


@pytest.mark.parametrize("entry", OTHER_NAMES, ids=lambda entry: entry["names"][0])
def test_another_name_means_what_the_file_says(entry: dict[str, Any]) -> None:
    assert set(entry) <= {"names", "devices", "reason"}
    reason = entry.get("reason", "")
    assert reason.split(" ")[0] in {"", "is", "has", "does"}
    assert reason or entry["devices"]
    for name in (text.replace(".*", ".12xlarge") for text in entry["names"]):
        found = meaning(name)
        assert [device.name for device in found.devices] == entry["devices"]
        assert found.reason == reason
        assert (found.device is not None) == (len(entry["devices"]) == 1 and not reason)
        assert devices_named(name) == []


@given(st.text(max_size=300))
def test_any_text_has_a_meaning(text: str) -> None:
    found = meaning(text)
    assert found.device is None or found.devices == (found.device,)
    assert found.question
    assert catalogue_key(text).isalnum() or not catalogue_key(text)
    assert makers(text) <= {"NVIDIA", "AMD", "Intel", "Google", "Samsung", "Apple"} | {
        *("Qualcomm", "Broadcom", "Xilinx", "HiSilicon", "Huawei", "Cambricon")
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("RTX 3090 24GB", ("rtx 3090", 24)),
        ("Jetson Nano 2GB Developer Kit", ("jetson nano", 2)),
        ("H100 80 GiB HBM3", ("h100 hbm3", 80)),
        ("MIG 1g.5gb", None),
        ("RTX 3090", None),
        ("99999GB", None),
    ],
)
def test_memory_is_split_from_a_name(name: str, split: tuple[str, int] | None) -> None:
    found = memory_suffix(name)
    assert (found and (" ".join(found[0].split()), found[1])) == split
