"""The catalogue of devices: names, and figures that agree with each other."""

import pickle

import pytest

from nasplug.devices.catalogue import catalogue, check_unique, parse
from nasplug.devices.hardware import hardware
from nasplug.predictors.hardware import KINDS, PRECISIONS, Hardware
from nasplug.search_spaces.errors import InputError

MEASURED_ON_NB201 = [
    *("GTX 1080 Ti", "RTX 2080 Ti", "Titan RTX", "Titan X", "Xeon Gold 6226", "Xeon Gold 6240"),
    *("Xeon Silver 4114", "Xeon Silver 4210R", "Galaxy A50", "Galaxy S7", "Essential PH-1"),
    *("Pixel 2", "Pixel 3", "Raspberry Pi 4", "Eyeriss", "ZC706"),
]
OTHER_BENCHMARKS = [
    *("V100", "RTX 3090", "RTX 4090", "Core i9-10940X", "A100 40GB", "A100 80GB", "ZCU102"),
    *("VCK190", "TPU v2", "TPU v3", "GTX 1660", "T4", "P4", "Xeon Gold 6246", "Hi3559A"),
    *("Hi3519A", "Atlas 300", "MLU270", "Quadro RTX 6000", "RTX 3060"),
]


@pytest.mark.parametrize("name", MEASURED_ON_NB201 + OTHER_BENCHMARKS)
def test_benchmark_devices_have_exactly_these_names(name: str) -> None:
    assert hardware(name).name == name


def test_it_is_large_and_stable() -> None:
    names = [device.name for device in catalogue()]
    assert len(names) >= 110
    assert len(set(names)) == len(names)
    assert catalogue() is catalogue()


def test_every_name_and_alias_finds_its_own_device() -> None:
    for device in catalogue():
        for spelling in (device.name, *device.aliases):
            assert hardware(spelling) is device


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("NVIDIA GeForce RTX 4060 Laptop GPU", "RTX 4060 Laptop"),
        ("NVIDIA GeForce RTX 5090 Laptop GPU", "RTX 5090 Laptop"),
        ("Apple M4 Pro", "Apple M4 Pro"),
        ("Intel(R) Core(TM) Ultra 7 155H", "Core Ultra 7 155H"),
        ("11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz", "Core i7-1165G7"),
        ("Intel(R) N100", "Intel N100"),
        ("AMD Ryzen AI 9 HX 370 w/ Radeon 890M", "Ryzen AI 9 HX 370"),
        ("AMD Ryzen 7 7840HS w/ Radeon 780M Graphics", "Ryzen 7 7840HS"),
        ("Snapdragon 8 Gen 1", "Snapdragon 8 Gen 1"),
        ("Qualcomm Snapdragon 8 Elite", "Snapdragon 8 Elite"),
        ("Tensor G3", "Pixel 8"),
        ("Tensor G4", "Pixel 9"),
        ("Jetson AGX Orin 32GB", "Jetson AGX Orin 32GB"),
    ],
)
def test_current_laptops_phones_and_boards(name: str, device: str) -> None:
    assert hardware(name).name == device


@pytest.mark.parametrize("device", catalogue(), ids=lambda device: device.name)
def test_figures_are_plausible(device: Hardware) -> None:
    assert device.kind in KINDS
    assert device.source.strip()
    assert 2000 <= device.year <= 2030
    assert set(device.peak_tflops) <= set(PRECISIONS)
    assert 0.001 <= device.peak_tflops["fp32"] <= 1000
    assert all(0.001 <= peak <= 10_000 for peak in device.peak_tflops.values())
    assert 0.1 <= device.memory_bandwidth_gbs <= 10_000
    assert 0 <= device.memory_gb <= 300
    assert 0.05 <= device.on_chip_memory_mb <= 500
    assert 0.1 <= device.power_w <= 1500
    assert 0.1 <= device.clock_ghz <= 6
    assert device.units >= 1
    assert pickle.loads(pickle.dumps(device)) == device


@pytest.mark.parametrize("device", catalogue(), ids=lambda device: device.name)
def test_fp32_follows_from_units_and_clock(device: Hardware) -> None:
    per_unit_and_cycle = device.peak_tflops["fp32"] * 1000 / (device.units * device.clock_ghz)
    expected = {"gpu": (100, 525), "cpu": (15, 65), "phone": (7.9, 33), "edge": (7.9, 257)}
    low, high = expected.get(device.kind, (0, float("inf")))
    assert low <= per_unit_and_cycle <= high


def test_two_devices_cannot_share_a_spelling() -> None:
    device, other = catalogue()[:2]
    clash = Hardware(**{**vars(other), "aliases": (device.name.lower(),)})
    with pytest.raises(InputError, match="twice"):
        check_unique([device, clash])
    check_unique(list(catalogue()))


FIELDS = (
    *("name", "vendor", "kind", "microarchitecture", "peak_tflops", "memory_bandwidth_gbs"),
    *("on_chip_memory_mb", "power_w", "clock_ghz", "units"),
)
PROCESSOR = {
    "kind": "npu",
    "microarchitecture": "Hexagon",
    "units": 1,
    "clock_ghz": 1,
    "peak_tflops": {"fp32": 1, "int8": 4},
}


def test_processors_of_a_device_are_read() -> None:
    entry = {field: getattr(hardware("RTX 3090"), field) for field in FIELDS}
    device = parse({**entry, "name": "A chip", "processors": [PROCESSOR]}, "file")
    assert device.processors[0].peak_tflops == {"fp32": 1.0, "int8": 4.0}
    for change, sentence in (
        ({"kind": "dsp"}, "file, processor 1: kind must be one of cpu, gpu, npu, not 'dsp'"),
        ({"cores": 2}, "the field 'cores' is unknown"),
        ({"peak_tflops": {"int8": 1}}, "peak_tflops.fp32 is missing"),
    ):
        with pytest.raises(InputError, match=sentence):
            parse({**entry, "processors": [{**PROCESSOR, **change}]}, "file")
