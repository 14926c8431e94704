from dataclasses import replace

import numpy as np
import pytest

from nasplug import hardware
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.measured_columns import MeasuredColumns, log_latencies
from nasplug.search_spaces import InputError

TITAN, PI = hardware("Titan RTX"), hardware("Raspberry Pi 4")
SETTINGS = [
    Setting(TITAN, 1),
    Setting(TITAN, 64),
    Setting(TITAN, 64, precision="fp16"),
    Setting(PI, 1, "tflite"),
]
COLUMNS = MeasuredColumns.of(SETTINGS, with_text=False)


def test_settings_are_known_again_by_name_and_description():
    assert [COLUMNS.place(setting) for setting in SETTINGS] == [0, 1, 2, 3]
    assert COLUMNS.place(Setting(TITAN, 2)) == -1
    assert COLUMNS.place(Setting(PI, 1)) == -1
    # A user's own entry under a known name is another device.
    assert COLUMNS.place(Setting(replace(TITAN, power_w=100.0), 64)) == -1
    assert COLUMNS.of_device(TITAN) == SETTINGS[:3]
    assert COLUMNS.of_device(replace(TITAN, name="twin")) == []
    assert COLUMNS.batches(Setting(TITAN, 8)) == [1, 64]
    assert COLUMNS.batches(Setting(TITAN, 8, precision="fp16")) == [64]


def test_the_usual_runtime_is_the_measured_one():
    assert COLUMNS.setting(TITAN, 8, None) == Setting(TITAN, 8)
    assert COLUMNS.setting(PI, 8, None) == Setting(PI, 8, "tflite")
    assert COLUMNS.setting(PI, 8, "eager fp32") == Setting(PI, 8)
    assert COLUMNS.measured_in("eager") == ["Titan RTX"]
    assert COLUMNS.measured_in("TFLite") == ["Raspberry Pi 4"]
    with pytest.raises(InputError, match="unknown runtime 'warp'"):
        COLUMNS.measured_in("warp")


def test_similar_columns_are_those_of_the_class():
    similar, places = COLUMNS.similar({5: Setting(hardware("RTX 2080 Ti"), 64)}, 0.75)
    assert similar[5].weights.argmax() == 1
    assert places <= {0, 1, 2}
    assert COLUMNS.similar({5: Setting(PI, 4)}, 0.0) == ({}, set())


def test_degenerate_latencies_are_unknown():
    logs = log_latencies(np.array([[1.0, 0.01], [np.nan, 2.0]]), 2, SETTINGS[:2], 0.1)
    np.testing.assert_allclose(logs, [[0, np.nan], [np.nan, np.log(2)]])
    with pytest.raises(InputError, match=r"shape \(2, 1\); expected \(2, 2\)"):
        log_latencies(np.ones((2, 1)), 2, SETTINGS[:2], 0.1)
