"""The catalogue of devices: names, and figures that agree with each other."""

import pickle
from itertools import pairwise

import pytest

from nasplug.datasets.measurements import shipped_measurements
from nasplug.devices.catalogue import catalogue, check_unique, parse
from nasplug.devices.hardware import hardware
from nasplug.predictors.hardware import (
    KINDS,
    PRECISIONS,
    UNITS,
    Hardware,
    Processor,
    on_unit,
)
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


# Fields of a device, and the range of what any device can have.
PLAUSIBLE = {
    "year": (2000, 2030),
    "memory_bandwidth_gbs": (0.05, 20_000),
    "memory_gb": (0, 600),
    "on_chip_memory_mb": (0.02, 1200),
    "power_w": (0.005, 1500),
    "clock_ghz": (0.03, 6.3),
    "units": (1, 20_000),
}
# Kind -> range of fp32 operations of a unit in a cycle.
FLOPS_A_CYCLE = {"gpu": (15, 525), "cpu": (2, 65), "phone": (7.9, 49), "edge": (0.09, 385)}


def parts(kind: str) -> list[tuple[Hardware, Processor]]:
    return [(d, part) for d in catalogue() for part in d.processors if part.kind == kind]


def test_figures_are_plausible() -> None:
    for device in catalogue():
        assert device.kind in KINDS
        assert device.source.strip(), device.name
        for field, (low, high) in PLAUSIBLE.items():
            assert low <= getattr(device, field) <= high, (device.name, field)
        for peaks in (device.peak_tflops, *(part.peak_tflops for part in device.processors)):
            assert set(peaks) <= set(PRECISIONS)
            assert all(1e-6 <= peak <= 20_000 for peak in peaks.values()), device.name
        assert pickle.loads(pickle.dumps(device)) == device


def test_fp32_follows_from_units_and_clock() -> None:
    for device in catalogue():
        a_cycle = device.peak_tflops["fp32"] * 1000 / (device.units * device.clock_ghz)
        low, high = FLOPS_A_CYCLE.get(device.kind, (0, float("inf")))
        assert low <= a_cycle <= high, device.name


def test_cores_of_one_kind_do_as_much_in_a_cycle_on_every_device() -> None:
    rates: dict[str, set[int]] = {}
    for device, part in parts("cpu"):
        a_cycle = part.peak_tflops["fp32"] * 1000 / (part.units * part.clock_ghz)
        assert a_cycle == pytest.approx(round(a_cycle), rel=0.01), device.name
        rates.setdefault(part.microarchitecture, set()).add(round(a_cycle))
    several = {core for core, known in rates.items() if len(known) > 1}
    # Servers and desktops of these have one or two wide vector units, or narrower ones in laptops.
    assert several <= {"Skylake", "Cascade Lake"}


def test_lower_precisions_are_no_slower() -> None:
    for device in catalogue():
        for part in device.processors:
            peaks = part.peak_tflops
            where = (device.name, part.microarchitecture)
            assert peaks.get("fp16", peaks["fp32"]) >= 0.999 * peaks["fp32"], where
            if part.kind == "npu" and {"fp16", "int8"} <= set(peaks):
                assert peaks["int8"] >= 0.999 * peaks["fp16"], where
            if {"int4", "int8"} <= set(peaks):
                assert peaks["int4"] >= peaks["int8"], where


def test_clusters_stand_from_the_fastest_to_the_slowest() -> None:
    for device in catalogue():
        cores = [
            part.peak_tflops["fp32"] / part.units
            for part in device.processors
            if part.kind == "cpu"
        ]
        assert all(a >= 0.999 * b for a, b in pairwise(cores)), device.name
        kinds = [part.kind for part in device.processors]
        assert kinds == sorted(kinds, key=UNITS.index), device.name


def test_a_phone_has_a_cpu_and_a_gpu() -> None:
    for device in catalogue():
        units = {part.kind for part in device.processors}
        if device.kind == "phone":
            assert units >= {"cpu", "gpu"}, device.name
        if device.kind == "edge" and device.vendor == "NVIDIA":
            assert units >= {"cpu", "gpu"}, device.name


def test_the_figures_of_a_device_are_those_of_its_processors() -> None:
    for device in catalogue():
        if not device.processors:
            continue
        own = device.peak_tflops["fp32"]
        is_jetson = device.kind == "edge" and device.vendor == "NVIDIA"
        kind = "gpu" if is_jetson else "cpu"
        peaks = [part.peak_tflops["fp32"] for part in device.processors if part.kind == kind]
        peaks = peaks or [device.processors[0].peak_tflops["fp32"]]
        sums = [sum(peaks[: k + 1]) for k in range(len(peaks))]
        assert any(own == pytest.approx(total, rel=0.01) for total in sums), device.name


def test_every_measured_unit_has_figures() -> None:
    table = shipped_measurements()
    units = {"GPU": "gpu", "CPU": "cpu", "NPU": "npu"}
    by_name = {device.name: device for device in catalogue()}
    measured = set(zip(table.codes["device"].tolist(), table.codes["unit"].tolist(), strict=True))
    without = []
    for device, unit in sorted(measured):
        name, word = table.values["device"][device], table.values["unit"][unit]
        if name and word in units:
            try:
                on_unit(by_name[name], units[word])
            except InputError as error:
                without.append(str(error))
    assert without == []


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
