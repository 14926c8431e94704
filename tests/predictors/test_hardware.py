"""Parts of a device that run networks."""

from dataclasses import replace

import pytest

from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.hardware import Hardware, Processor, on_unit
from nasplug.search_spaces.errors import InputError

PHONE = Hardware(
    "A phone",
    "Somebody",
    "phone",
    "Cortex-A76",
    2019,
    {"fp32": 0.08},
    *(30.0, 6.0, 2.0, 5.0, 2.8, 4),
    processors=(
        Processor("cpu", "Cortex-A76 fast", 1, 2.8, {"fp32": 0.04}, 1.0),
        Processor("cpu", "Cortex-A76", 3, 2.4, {"fp32": 0.09}),
        Processor("cpu", "Cortex-A55", 4, 1.8, {"fp32": 0.06}),
        Processor("gpu", "Adreno", 2, 0.6, {"fp32": 1.0, "fp16": 2.0}),
    ),
)
CHIP = Hardware("A CPU", "Somebody", "cpu", "Zen", 2020, {"fp32": 1.0}, *(50, 0, 32, 65, 4, 8))


@pytest.mark.parametrize(
    ("threads", "fp32"), [(1, 0.04), (2, 0.07), (4, 0.13), (0, 0.13), (6, 0.16), (99, 0.19)]
)
def test_threads_take_the_fastest_cores_first(threads: int, fp32: float) -> None:
    cpu = on_unit(PHONE, "cpu", threads)
    assert cpu.peak_tflops["fp32"] == pytest.approx(fp32)
    assert cpu.units == min(threads or 4, 8)


def test_a_cluster_is_chosen_by_its_size() -> None:
    assert on_unit(PHONE, "cpu medium").peak_tflops == {"fp32": 0.09}
    little = on_unit(PHONE, "cpu little", 2)
    assert (little.microarchitecture, little.units) == ("Cortex-A55", 2)
    with pytest.raises(InputError, match="big, medium, little, not 'huge'"):
        on_unit(PHONE, "cpu huge")


def test_a_unit_is_a_device_of_its_kind() -> None:
    board = replace(PHONE, kind="edge", vendor="NVIDIA")
    units = {"cpu": "cpu", "gpu": "gpu"}
    assert {unit: compute_class(on_unit(board, unit)) for unit in units} == units
    assert on_unit(PHONE, "gpu").peak_tflops["fp16"] == 2.0
    assert on_unit(PHONE, "gpu").on_chip_memory_mb == PHONE.on_chip_memory_mb
    with pytest.raises(InputError, match="no NPU of A phone, but its CPU and its GPU"):
        on_unit(PHONE, "npu")


def test_a_device_without_processors_is_one_unit() -> None:
    assert on_unit(CHIP) is CHIP
    assert on_unit(CHIP, "cpu").peak_tflops == CHIP.peak_tflops
    assert on_unit(CHIP, "", 2).peak_tflops == {"fp32": 0.25}
    with pytest.raises(InputError, match="no GPU of A CPU"):
        on_unit(CHIP, "gpu")
