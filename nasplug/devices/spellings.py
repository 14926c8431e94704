"""Spellings of device names: what operating systems add, and keys that compare names."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["catalogue_key", "makers", "memory_suffix", "name_key", "words"]

# Brand -> the vendor of the chips that bear it.
_BRANDS = {
    **dict.fromkeys(("nvidia", "geforce", "tesla"), "NVIDIA"),
    "intel": "Intel",
    **dict.fromkeys(("amd", "radeon", "instinct"), "AMD"),
    **{name.lower(): name for name in ("Google", "Samsung", "Apple", "Qualcomm", "Broadcom")},
    **{name.lower(): name for name in ("Xilinx", "HiSilicon", "Huawei", "Cambricon")},
}
# Text that operating systems add to a name: "Intel(R) Xeon(R) Gold 6226 CPU @ 2.70GHz",
# "Raspberry Pi 4 Model B Rev 1.4", "AMD Ryzen AI 9 HX 370 w/ Radeon 890M".
_WRAPPING = re.compile(
    r"\((r|tm|c)\)|@.*|\bw/ .*|\b\d+th gen\b|\b\d+-core\b|\b(cpu|gpu|processor|graphics)\b"
    r"|\brev \d+\.\d+\b"
)
# More of it, which names of profiles keep: "AMD Ryzen 7 5700U with Radeon Graphics",
# "AMD Ryzen 5 2600 Six-Core Processor", "NVIDIA Jetson Orin Nano Engineering Reference Developer
# Kit Super", "GeForce RTX 3070 Lite Hash Rate", "Standard_NC6s_v3", "GPU 0: Tesla T4 (UUID: ...)".
_ADDED = re.compile(
    r"\bwith radeon graphics\b|\b(\d+|two|dual|quad|six|eight|twelve|sixteen)-cores?\b"
    r"|(\bengineering[ -]reference[ -])?\b(developer[ -]kit|devkit)\b|\blite hash rate\b"
    r"|^standard_|^gpu \d+:|\(uuid:[^()]*\)"
)
# lspci writes the chip, and the name of the card in brackets: "GA102 [GeForce RTX 3090] (rev a1)",
# "Advanced Micro Devices, Inc. [AMD/ATI] Navi 21 [Radeon RX 6900 XT]".
_BRACKETS = re.compile(r".*\[([^\[\]]+)\][^\[\]]*")
_MARKS = dict.fromkeys(map(ord, "®™©"), " ")
_MEMORY = re.compile(r"(?<![\w.])(\d{1,4}) ?g(?:i?b)\b")


def words(text: str) -> list[str]:
    """Split a name into lower-case words, without brands and the text that systems add."""
    return [w for w in _all_words(text) if w not in _BRANDS]


def name_key(text: str) -> str:
    """Spell a name for comparisons: lower-case letters and digits without brands.

    Profiles lie in files that are named by it, so that a change would lose them.
    """
    key = "".join(words(text))
    while brand := next((b for b in _BRANDS if key.startswith(b)), ""):
        key = key[len(brand) :]
    return key


def catalogue_key(text: str) -> str:
    """Spell a name for comparisons with the catalogue, whatever a system printed around it."""
    return name_key(_plain(text))


def makers(text: str) -> set[str]:
    """Vendors whose brands a name has, such as NVIDIA for "Tesla T4"."""
    parts = _all_words(_plain(text))
    vendors = {_BRANDS[w] for w in parts if w in _BRANDS}
    key = "".join(parts)
    while brand := next((b for b in _BRANDS if key.startswith(b)), ""):
        vendors.add(_BRANDS[brand])
        key = key[len(brand) :]
    return vendors


def memory_suffix(text: str) -> tuple[str, int] | None:
    """Split a name such as "RTX 3090 24GB" into the name without its memory, and the GB."""
    plain = _plain(text)
    match = _MEMORY.search(plain)
    if match is None:
        return None
    return f"{plain[: match.start()]} {plain[match.end() :]}", int(match[1])


def _plain(text: str) -> str:
    """Lower case of a name, without what systems write around it."""
    folded = " ".join(unicodedata.normalize("NFKC", text.translate(_MARKS)).lower().split())
    in_brackets = _BRACKETS.fullmatch(folded)
    name = in_brackets[1] if in_brackets else folded
    # "Raspberry Pi 3 Model B+" is another board than the Model B.
    return _ADDED.sub(" ", name).replace("+", " plus ")


def _all_words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text.translate(_MARKS)).lower()
    return re.findall(r"[^\W_]+", _WRAPPING.sub(" ", plain))
