"""What machines of many kinds are called, by files and tools that answer as theirs do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from nasplug.measuring import this_machine
from nasplug.measuring.this_machine import processors


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A machine that says nothing of itself but what a test lets it say."""
    fake = SimpleNamespace(
        cpu="x86_64", cores=64, memory_gb=16.0, tools={}, tree=tmp_path / "model", dmi=tmp_path
    )

    def run(command: tuple[str, ...], **options: object) -> SimpleNamespace:
        for beginning, text in fake.tools.items():
            if " ".join(command).startswith(beginning):
                if text is None:
                    raise subprocess.CalledProcessError(2, command)
                return SimpleNamespace(stdout=text.encode())
        raise FileNotFoundError(command[0])

    monkeypatch.setattr(this_machine.subprocess, "run", run)
    monkeypatch.setattr(this_machine, "machine", lambda: {"processor": fake.cpu})
    monkeypatch.setattr(this_machine, "physical_cores", lambda: fake.cores)
    monkeypatch.setattr(
        this_machine.psutil,
        "virtual_memory",
        lambda: SimpleNamespace(total=int(fake.memory_gb * 2**30)),
    )
    monkeypatch.setattr(this_machine, "_DEVICE_TREE", fake.tree)
    monkeypatch.setattr(this_machine, "_DMI", fake.dmi)
    monkeypatch.setattr(this_machine.platform, "system", lambda: "Linux")
    # A calibrated device of the user has no part in this.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return fake


def names() -> list[str | None]:
    return [processor.device and processor.device.name for processor in processors()]


def test_a_desktop_has_a_card_and_a_processor(system: SimpleNamespace) -> None:
    system.cpu = "13th Gen Intel(R) Core(TM) i7-13700K"
    system.tools["nvidia-smi"] = "NVIDIA GeForce RTX 3090, 24576, [N/A]\n"
    assert names() == ["RTX 3090", "Core i7-13700K"]
    card, cpu = processors()
    assert (card.source, card.advice) == ("nvidia-smi", 'use --hw "RTX 3090"')
    assert (cpu.source, cpu.name) == ("/proc/cpuinfo", "13th Gen Intel(R) Core(TM) i7-13700K")


def test_equal_cards_are_named_once(system: SimpleNamespace) -> None:
    system.tools["nvidia-smi"] = "NVIDIA L4, 23034, [N/A]\n" * 4 + "Tesla T4, 15360, [N/A]\n"
    assert names() == ["L4", "T4", None]


@pytest.mark.parametrize(
    ("name", "mebibytes", "device"),
    [
        ("NVIDIA GeForce RTX 3080", 10240, "RTX 3080"),
        ("NVIDIA GeForce RTX 3080", 12288, "RTX 3080 12GB"),
        ("NVIDIA GeForce RTX 3060", 8192, "RTX 3060 8GB"),
        ("NVIDIA GeForce RTX 4060 Ti", 16380, "RTX 4060 Ti"),
        ("Tesla V100-SXM2-32GB", 32768, "V100"),
        ("NVIDIA A10G", 23028, "A10G"),
        ("NVIDIA H100 80GB HBM3", 81559, "H100"),
        # A version that the catalogue lacks, and one with a name of its own
        ("NVIDIA GeForce RTX 2060", 12288, "RTX 2060 12GB"),
        ("NVIDIA GeForce RTX 3080", 20480, None),
    ],
)
def test_the_memory_tells_versions_of_a_card_apart(
    system: SimpleNamespace, name: str, mebibytes: int, device: str | None
) -> None:
    system.tools["nvidia-smi"] = f"{name}, {mebibytes}, [N/A]\n"
    card = processors()[0]
    assert card.name == name
    assert (card.device and card.device.name) == device
    if device is None:
        assert "GB, and the catalogue's RTX" in card.advice


def test_a_part_of_a_card_is_not_the_card(system: SimpleNamespace) -> None:
    system.tools["nvidia-smi"] = "NVIDIA A100-SXM4-40GB, 40960, Enabled\n"
    card = processors()[0]
    assert card.device is None
    assert "is a part of a card (MIG)" in card.advice


def test_an_older_driver_knows_fewer_fields(system: SimpleNamespace) -> None:
    system.tools["nvidia-smi --format=csv,noheader,nounits --query-gpu=name,memory.total,mig"] = (
        None
    )
    system.tools["nvidia-smi"] = "Tesla P100-PCIE-16GB, 16280\n"
    assert names() == ["P100", None]


@pytest.mark.parametrize(
    ("model", "memory_gb", "device"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4", 1.8, "Raspberry Pi 4"),
        ("NVIDIA Jetson Xavier NX Developer Kit", 6.7, "Jetson Xavier NX"),
        ("NVIDIA Orin NX Developer Kit", 15.3, "Jetson Orin NX"),
        ("NVIDIA Jetson AGX Orin Developer Kit", 61.4, "Jetson AGX Orin"),
        # The first developer kits had less memory than the module of the same processor.
        ("NVIDIA Jetson AGX Orin Developer Kit", 29.9, None),
        ("NVIDIA Orin NX Developer Kit", 7.4, None),
        ("NVIDIA Jetson Nano Developer Kit", 1.9, None),
        ("Radxa ROCK 5B", 7.6, "RK3588"),
    ],
)
def test_a_board_is_what_its_device_tree_says(
    system: SimpleNamespace, model: str, memory_gb: float, device: str | None
) -> None:
    system.tree.write_bytes(model.encode() + b"\0")
    system.memory_gb = memory_gb
    system.tools["nvidia-smi"] = "Orin (nvgpu), [N/A], [N/A]\n"
    (board,) = processors()
    assert (board.source, board.name) == (str(system.tree), model)
    assert (board.device and board.device.name) == device


def test_a_board_that_may_be_two_says_so(system: SimpleNamespace) -> None:
    system.tree.write_text("NVIDIA Jetson AGX Orin Developer Kit\0")
    system.memory_gb = 29.9
    (board,) = processors()
    assert "has 32 GB of memory" in board.advice
    assert "may be Jetson AGX Orin or Jetson AGX Orin 32GB; name one of them" in board.advice


def test_a_phone_is_its_model_else_its_chip(system: SimpleNamespace) -> None:
    system.tools["getprop ro.product.model"] = "Pixel 8\n"
    assert names() == ["Pixel 8"]
    system.tools |= {"getprop ro.product.model": "2211133C\n", "getprop ro.soc.model": "SM8550\n"}
    assert names() == ["Snapdragon 8 Gen 2"]
    system.tools |= {"getprop ro.product.model": "SM-G930U\n", "getprop ro.soc.model": "s5e9840\n"}
    (phone,) = processors()
    assert phone.device is None
    assert "is a Galaxy S7 with a Snapdragon 820" in phone.advice


def test_a_mac_is_its_chip(system: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(this_machine.platform, "system", lambda: "Darwin")
    system.cpu, system.cores = "Apple M2 Pro", 12
    system.tools["sysctl -n hw.model"] = "Mac14,9\n"
    assert names() == ["Apple M2 Pro"]
    assert processors()[0].source == "sysctl machdep.cpu.brand_string"


def test_an_instance_tells_the_chip_of_its_core(system: SimpleNamespace) -> None:
    system.cpu = "aarch64"
    system.tools["lscpu"] = "Architecture: aarch64\nModel name:   Neoverse-V1\n"
    (cpu,) = processors()
    assert (cpu.source, cpu.name, cpu.device) == ("lscpu", "Neoverse-V1", None)
    (system.dmi / "sys_vendor").write_text("Amazon EC2\n")
    (system.dmi / "product_name").write_text("c7g.metal\n")
    assert names() == ["Graviton3"]
    # The GPU of an instance is not its processor.
    (system.dmi / "product_name").write_text("g5.xlarge\n")
    assert names() == [None]


def test_fewer_cores_than_the_chip_has_are_said(system: SimpleNamespace) -> None:
    system.cpu, system.cores = "AMD EPYC 7763 64-Core Processor", 4
    (cpu,) = processors()
    assert cpu.device
    assert "describes all 64 cores, and this machine has 4" in cpu.advice


def test_an_unknown_processor_says_what_to_do(system: SimpleNamespace) -> None:
    system.cpu = "AMD EPYC 7R13 Processor"
    (cpu,) = processors()
    assert cpu.device is None
    assert "'AMD EPYC 7R13 Processor' is not in the catalogue" in cpu.advice
    assert ".toml file" in cpu.advice
    assert "nasplug calibrate" in cpu.advice
    # A virtual machine may say less than that.
    system.cpu = "Intel(R) Xeon(R) Processor @ 2.60GHz"
    assert "does not say which Xeon it is" in processors()[0].advice


@pytest.mark.parametrize(
    "text", ["", "\0", "\x1b[31m", "a" * 10_000, ",,,\n\n,", '"', "\ud7ff", "$x$"]
)
def test_no_text_of_a_system_is_an_error(system: SimpleNamespace, text: str) -> None:
    system.cpu = text
    system.tools |= dict.fromkeys(("nvidia-smi", "lscpu", "sysctl", "getprop ro.soc"), text)
    system.tree.write_bytes(text.encode())
    assert processors()


def test_this_machine_has_a_processor() -> None:
    assert processors()
