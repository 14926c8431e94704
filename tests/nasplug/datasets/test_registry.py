from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nasplug import datasets, hardware
from nasplug.datasets.gpt_networks import GPUS
from nasplug.datasets.importers.accel import ACCEL_LATENCY, ACCEL_THROUGHPUT
from nasplug.datasets.importers.gpt_runs import DEVICES as GPT_DEVICES
from nasplug.datasets.importers.help_networks import FBNET_DEVICES, OFA_DEVICES
from nasplug.datasets.importers.nb201 import NB201_DEVICES
from nasplug.datasets.importers.nnlqp import PLATFORMS
from nasplug.datasets.importers.timm_results import TIMM_FILES
from nasplug.search_spaces.errors import InputError


def test_every_entry_is_complete() -> None:
    assert {name: datasets.info(name).space for name in datasets.names()} == {
        "nb201-accuracy": "nb201",
        "nb201-latency": "nb201",
        "nb201-official": "nb201",
        "fbnet-latency": "fbnet",
        "ofa-latency": "ofa",
        "accel": "accel",
        "macro": "macro",
        "timm-latency": "",
        "timm-accuracy": "",
        "nnlqp-labels": "nnlqp",
        "nnlqp-nasbench201": "nnlqp:nasbench201",
        "nb101-official": "nb101",
        "nb101-small": "nb101",
        "ecnas-4v": "nb101",
        "ecnas-5v": "nb101",
        "ecnas-hardware": "nb101",
        **{f"gpt-{scale}": f"gpt:{scale}" for scale in "sml"},
        **{f"gpt-{scale}-perplexity": f"gpt:{scale}" for scale in "sml"},
        **dict.fromkeys(("gpt-s-h100", "gpt-s-cpu"), "gpt:s"),
        "measurements": "",
    }
    for name in datasets.names():
        entry = datasets.info(name)
        assert entry.name == name
        assert all((entry.description, entry.licence, entry.citation))
        assert [bool(entry.files), bool(entry.manual), bool(entry.shipped)].count(True) == 1
        assert len({file.name for file in entry.files}) == len(entry.files)
        for file in entry.files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert re.fullmatch(r"[\w-]+/[\w-]+/[0-9a-f]{40}/[\w./-]+", file.key)
            assert file.url == f"https://raw.githubusercontent.com/{file.key}"
            assert file.size > 1000


def test_latency_files_are_the_known_devices() -> None:
    files = {file.name for file in datasets.info("nb201-latency").files}
    assert files == {f"{stem}.pt" for stem in NB201_DEVICES}
    assert len(files) == len(set(NB201_DEVICES.values())) == 24
    assert len({device for device, _ in NB201_DEVICES.values()}) == 16
    # Digits at the end of a name are a batch size only for the four GPUs.
    assert NB201_DEVICES["gold_6226"] == ("Xeon Gold 6226", 1)
    assert NB201_DEVICES["1080ti_256"] == ("GTX 1080 Ti", 256)
    assert datasets.NB201_DEVICES is NB201_DEVICES


def test_every_device_is_in_the_catalogue() -> None:
    measured = {**NB201_DEVICES, **FBNET_DEVICES, **OFA_DEVICES, **ACCEL_LATENCY, **TIMM_FILES}
    found = {device for device, _ in measured.values()} | set(ACCEL_THROUGHPUT.values())
    language = {*GPUS, *GPT_DEVICES.values()}
    for device in found | {device for _, device in PLATFORMS.values()} | language:
        assert hardware(device).name == device


def test_sizes_match_the_mirror(mirror: Path) -> None:
    for name in datasets.names():
        entry = datasets.info(name)
        assert all((mirror / file.key).stat().st_size == file.size for file in entry.files)
        if not entry.shipped:
            assert entry.size == sum(file.size for file in entry.files)


@pytest.mark.parametrize("call", ["info", "load", "fetch", "verify", "available"])
def test_unknown_name_names_the_closest(call: str) -> None:
    with pytest.raises(InputError, match=r"'nb201-latencies'.*nb201-latency"):
        getattr(datasets, call)("nb201-latencies")


@pytest.mark.parametrize("call", ["load", "fetch", "verify"])
@pytest.mark.parametrize(
    ("name", "function"), [("nb201-official", "import_official"), ("nb101-official", "NASBench")]
)
def test_official_set_says_what_to_do_by_hand(call: str, name: str, function: str) -> None:
    with pytest.raises(InputError, match=rf"by hand.*{function}"):
        getattr(datasets, call)(name)
    assert not datasets.available(name)


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        datasets.nonsense  # noqa: B018 - the access is the test


def test_import_loads_neither_torch_nor_pandas() -> None:
    code = "import sys, nasplug.datasets; print({'torch', 'pandas', 'pooch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
