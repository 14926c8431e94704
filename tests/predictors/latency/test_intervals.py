"""Groups of devices and networks whose left-out errors an interval is of."""

import numpy as np
import pytest

from nasplug import hardware
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.intervals import LatencyIntervals, line_of, way_words, width_names
from nasplug.predictors.statistics.calibration import LEVELS

HEXAGON = Setting(hardware("Galaxy S24"), 1, "qnn", "int8", "npu")


def _widths(**factors: float) -> LatencyIntervals:
    """Intervals by name of the group, with underscores for blanks."""
    ends = np.linspace(-1, 1, len(LEVELS))
    names = {name.replace("_", " ").replace("zero ", "zero-"): f for name, f in factors.items()}
    return LatencyIntervals(
        widths={name: ends * factor for name, factor in names.items()},
        counts=dict.fromkeys(names, 10),
    )


@pytest.mark.parametrize(
    ("unit", "family", "line"),
    [
        ("npu", "Hexagon", "hexagon"),
        ("npu", "DRP-AI", "npu"),
        ("gpu", "Adreno", "adreno"),
        ("gpu", "Mali-G", "mali"),
        ("gpu", "Apple", "mobile"),
        ("gpu", "NVIDIA", "desktop"),
    ],
)
def test_lines_of_processors(unit, family, line):
    assert line_of(unit, family) == line


def test_the_line_of_a_processor_comes_before_its_class():
    assert width_names("zero-shot", HEXAGON) == [
        "zero-shot other hexagon qnn int8",
        "zero-shot other hexagon qnn",
        "zero-shot other hexagon all",
        "zero-shot other all",
        "zero-shot other",
    ]
    vulkan = Setting(hardware("RTX 4090"), 1, "ncnn vulkan", "fp16")
    assert width_names("unfamiliar", vulkan)[0] == "unfamiliar other desktop ncnn vulkan fp16"
    gpu = Setting(hardware("RTX 4090"), 1, "eager", "fp16")
    assert width_names("zero-shot", gpu)[-2:] == ["zero-shot gpu all", "zero-shot gpu"]


def test_engines_for_tensorrt_are_alike_below_32_bits():
    assert way_words("tensorrt", "fp16")[1] == "tensorrt below fp32"
    assert way_words("paddle tensorrt", "int8")[1] == "tensorrt below fp32"
    assert way_words("tensorrt", "fp32") == ["tensorrt fp32", "tensorrt", "all"]


def test_known_networks_have_the_narrow_interval_of_their_line():
    intervals = _widths(
        zero_shot_other_hexagon_qnn=0.4,
        zero_shot_other_all=1.4,
        unfamiliar_other_hexagon_all=0.9,
        unfamiliar_other_all=1.5,
    )
    assert np.ptp(intervals.quantiles("known", HEXAGON, False)) == pytest.approx(0.8)
    assert np.ptp(intervals.quantiles("", HEXAGON, False)) == pytest.approx(1.8)
    words = "that were left out of training"
    assert intervals.rests_on("known", HEXAGON, False) == (
        f"the errors on 10 Hexagon NPUs in qnn {words}"
    )
    assert intervals.rests_on("", HEXAGON, False) == (
        f"the errors on networks and 10 Hexagon NPUs {words}"
    )


def test_a_kind_of_network_that_was_left_out_is_said_without_devices():
    intervals = _widths(zero_shot_gpu=0.4, unfamiliar_gpu=0.9)
    gpu = Setting(hardware("RTX 4090"), 1, "eager", "fp16")
    assert intervals.rests_on("", gpu, True) == (
        "the errors on kinds of networks that were left out of training"
    )
    on_gpus = "the errors on 10 GPUs that were left out of training"
    assert intervals.rests_on("some", gpu, False) == on_gpus
    assert _widths(unfamiliar_gpu_all=0.9).rests_on("", gpu, True) == on_gpus
