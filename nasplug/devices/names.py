"""Names of devices: those of the catalogue, and what systems and clouds call a device or its chip.

`hardware_catalogue/other_names.toml` has the names that name no device of the catalogue by
themselves: cloud instances, chips of several boards, and variants that the catalogue lacks.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from nasplug.devices.catalogue import MAX_NAME, catalogue
from nasplug.devices.spellings import catalogue_key, makers, memory_suffix, words
from nasplug.predictors.hardware import Hardware

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Meaning", "devices_named", "meaning", "other_names"]

# Candidates that a sentence names; the others are counted.
_MOST_NAMED = 6
# "NVIDIA A100-SXM4-40GB MIG 1g.5gb" is a part of the card.
_PART_OF_CARD = re.compile(r"\bmig(?: +\d+[cg]\b|$)", re.IGNORECASE)
# "g5.xlarge" of Amazon EC2, and "ml.g5.xlarge" of SageMaker.
_INSTANCE = re.compile(
    r"(?:ml\.)?([a-z][a-z0-9-]*)\.(nano|micro|small|medium|large|\d{0,2}xlarge|metal(-\d+xl)?)"
)
_MADE_BY = {"Xilinx": {"AMD"}, "HiSilicon": {"Huawei"}}
# Vendors whose brands no phone has.
_OF_COMPUTERS = {"NVIDIA", "Intel", "AMD", "Xilinx"}


# Beginning of the reason why a name of a line of processors is no device.
_LACKS_MODEL = "does not say which "


@dataclass(frozen=True)
class Meaning:
    """Devices of the catalogue that a name may stand for.

    Attributes:
        devices: The device, the candidates if there are several, or, with a reason, those that are
            near; empty if the name is unknown.
        reason: Reason why the name stands for none of them, as the rest of a sentence that begins
            with the name; empty if it stands for one.
    """

    devices: tuple[Hardware, ...] = ()
    reason: str = ""

    @property
    def device(self) -> Hardware | None:
        """The device that the name stands for; None if it is not known for certain."""
        return self.devices[0] if len(self.devices) == 1 and not self.reason else None

    @property
    def question(self) -> str:
        """Rest of a sentence that begins with a name that stands for no one device."""
        if not self.reason:
            return f"may be {self._names()}; name one of them"
        if not self.devices and self.reason.startswith(_LACKS_MODEL):
            line = self.reason.removeprefix(_LACKS_MODEL).split()[0]
            return (
                f"{self.reason}; name yours as nasplug hardware {line} lists it, or describe it in "
                "a .toml file"
            )
        if not self.devices:
            return f"{self.reason}; describe yours in a .toml file"
        return (
            f"{self.reason}; name {self._names()} if that is near enough, or describe yours in a "
            ".toml file"
        )

    def _names(self) -> str:
        names = [device.name for device in self.devices]
        if len(names) > _MOST_NAMED:
            names[_MOST_NAMED - 1 :] = [f"{len(names) - _MOST_NAMED + 1} others"]
        return " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def meaning(name: str) -> Meaning:
    """Find the devices of the catalogue that a name may stand for, as people or systems write it.

    Args:
        name: Any text; names of more than `MAX_NAME` characters are unknown.

    Returns:
        The meaning; it has no devices and no reason if the name is unknown.
    """
    # Spaces at the ends do not count, and no system prints a longer name.
    name = name.strip()
    if len(name) > MAX_NAME:
        return Meaning()
    part = _PART_OF_CARD.search(name)
    if part is not None:
        whole = meaning(name[: part.start()])
        return Meaning(whole.devices, "is a part of a card (MIG), which no description fits")
    matches = devices_named(name)
    if matches:
        return Meaning(tuple(matches))
    return _other_name(name) or _with_memory(name) or _architecture(name) or Meaning()


def devices_named(name: str) -> list[Hardware]:
    """Devices of the catalogue whose names, aliases or model numbers a name is; several if two
    devices have the same model number."""
    by_key, by_model_number = _index()
    key = catalogue_key(name)
    matches = [by_key[key]] if key in by_key else by_model_number.get(key, [])
    # "Apple A10" and "Samsung A10" are not NVIDIA's A10.
    brands = makers(name) if matches else set()
    return [device for device in matches if _may_be_made_by(device, brands)]


def _may_be_made_by(device: Hardware, brands: set[str]) -> bool:
    if device.kind == "phone":
        return not brands & _OF_COMPUTERS
    return brands <= {device.vendor} | _MADE_BY.get(device.vendor, set())


def _other_name(name: str) -> Meaning | None:
    """Meaning of a name in `other_names.toml`."""
    match = other_names().get(catalogue_key(name))
    instance = _INSTANCE.fullmatch(name.lower())
    if match or not instance:
        return match
    family, size = instance[1], instance[2]
    return other_names().get(catalogue_key(f"{family}.{size}")) or other_names().get(f"{family}.*")


def _architecture(name: str) -> Meaning | None:
    """Meaning of the name of a microarchitecture, such as "Cortex-A72"."""
    key, brands = catalogue_key(name), makers(name)
    owners = [d for d in catalogue() if catalogue_key(d.microarchitecture) == key]
    devices = tuple(d for d in owners if _may_be_made_by(d, brands))
    reason = "is a microarchitecture, which several devices have"
    return Meaning(devices, reason) if devices else None


def _with_memory(name: str) -> Meaning | None:
    """Meaning of a name with a size of memory that no alias has, such as "RTX 3090 24GB"."""
    split = memory_suffix(name)
    if split is None:
        return None
    bare_name, gigabytes = split
    matches = devices_named(bare_name) if words(bare_name) else []
    if len(matches) != 1 or not matches[0].memory_gb:
        return None
    (device,) = matches
    if device.memory_gb == gigabytes:
        return Meaning((device,))
    return Meaning(
        (device,), f"has {gigabytes} GB, and the catalogue's {device.name} {device.memory_gb:g} GB"
    )


@cache
def other_names() -> dict[str, Meaning]:
    """Meaning of each name in `other_names.toml`, by its key.

    The key of a name for all sizes of an instance is the name itself, such as "g5.*".
    """
    text = (files("nasplug.hardware_catalogue") / "other_names.toml").read_text(encoding="utf-8")
    by_name = {device.name: device for device in catalogue()}
    meanings: dict[str, Meaning] = {}
    for entry in tomllib.loads(text)["name"]:
        devices = tuple(by_name[name] for name in entry["devices"])
        for name in entry["names"]:
            key = name if name.endswith(".*") else catalogue_key(name)
            meanings[key] = Meaning(devices, entry.get("reason", ""))
    return meanings


@cache
def _index() -> tuple[dict[str, Hardware], dict[str, list[Hardware]]]:
    by_key: dict[str, Hardware] = {}
    by_model_number: dict[str, list[Hardware]] = defaultdict(list)
    for device in catalogue():
        for spelling in (device.name, *device.aliases):
            by_key[catalogue_key(spelling)] = device
            # Chips of phones have numbers that cards had before them: the Exynos 1080.
            for number in _model_numbers(spelling) if device.kind != "phone" else ():
                if device not in by_model_number[number]:
                    by_model_number[number].append(device)
    return by_key, dict(by_model_number)


def _model_numbers(spelling: str) -> list[str]:
    """Ends of a name that may stand for the whole name, such as "3080ti" or "10940x"."""
    parts = words(spelling)
    ends = ["".join(parts[i:]) for i in range(1, len(parts)) if re.search(r"\d", parts[i])]
    # Fewer digits would be ambiguous: the 4 of "Pixel 4", the 6gb of "GTX 1060 6GB", or the 370 of
    # "Ryzen AI 9 HX 370".
    return [end for end in ends if re.search(r"\d{4}|\d{3}\D|\D\d{3}", end)]
