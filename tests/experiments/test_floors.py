import pytest

from experiments.accuracy import floors
from nasplug.devices.hardware import hardware
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces.nb201 import NB201

NB = NB201()


def test_path_features_count_sequences():
    cells = [
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|nor_conv_1x1~1|none~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    ]
    features = floors.path_features([NB.to_graph(NB.parse(text)) for text in cells]) / 0.7
    # Two live paths: the skip, and 3x3 then 1x1; nothing lives in the second cell.
    counts = features[:, 30:-12]
    assert counts.sum(1).tolist() == [2.0, 0.0]
    # Divided by the standard deviations of (2, 0) live paths and (3, 0) live edges.
    assert features[:, -2].tolist() == [2.0, 0.0]
    assert features[:, -1].tolist() == [2.0, 0.0]


def test_roofline_follows_the_slower_of_arithmetic_and_memory():
    graphs = [NB.to_graph(NB[1462])]
    column = Setting(hardware("RTX 3090"), 1)
    once = floors.roofline(graphs, column)[0]
    traffic = graphs[0].total("bytes") / (column.hardware.memory_bandwidth_gbs * 1e9) * 1e3
    work = 2 * graphs[0].total("flops") / (column.hardware.peak_tflops["fp32"] * 1e12) * 1e3
    assert max(traffic, work) <= once <= traffic + work
    assert floors.roofline(graphs, Setting(column.hardware, 32))[0] == pytest.approx(32 * once)
