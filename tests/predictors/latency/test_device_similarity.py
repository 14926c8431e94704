"""Which measured columns an unknown one is like."""

import numpy as np
import pytest

from nasplug import hardware
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.device_similarity import Similar, mix_similar, similar_devices


def column(name, batch_size=1, runtime=""):
    return Setting(hardware(name), batch_size, runtime).features(False)


def test_the_same_device_weighs_most_and_is_as_fast():
    known = [column("Titan RTX", 64), column("Titan RTX", 1), column("Raspberry Pi 4")]
    weights, shifts, share = similar_devices(column("Titan RTX", 64), known, 0.75)
    assert share == 0.75
    assert weights.argmax() == 0
    assert weights.sum() == pytest.approx(1)
    assert shifts[0] == 0
    # A batch of 64 takes longer than one image, but less than 64 times as long.
    assert 0 < shifts[1] < np.log(64)


def test_devices_that_hardly_count_have_no_weight():
    known = [column("RTX 2080 Ti"), column("Eyeriss")]
    weights = similar_devices(column("RTX 3090"), known, 0.75).weights
    assert weights.tolist() == [1, 0]


def test_another_class_of_processors_counts_less_and_another_runtime_least():
    phone = column("Galaxy A50")
    same, compiled = column("Galaxy S7"), column("Galaxy S7", runtime="tflite")
    weights = similar_devices(phone, [same, compiled], 0.75).weights
    assert weights[0] > 20 * weights[1]
    # Of two devices that take equal time the one of its class counts three times as much.
    other = same.copy()
    other[4:-3] = column("Eyeriss")[4:-3]
    weights = similar_devices(same, [same, other], 0.75).weights
    assert weights[0] == pytest.approx(3 * weights[1])


def test_a_gpu_borrows_from_gpus_alone():
    # A phone and a TPU whose usual network takes as long as the GPU's.
    gpu = column("RTX 3090", 64, "compiled")
    others = [gpu.copy(), gpu.copy(), column("GTX 1080 Ti")]
    others[0][4:-3], others[1][4:-3] = column("Pixel 3")[4:-3], column("TPU v3")[4:-3]
    assert similar_devices(gpu, others, 0.75).weights.tolist() == [0, 0, 1]
    # Where no GPU was measured the others have to do.
    assert similar_devices(gpu, others[:2], 0.75).weights.sum() == pytest.approx(1)


def test_a_gpu_borrows_from_its_own_microarchitecture_first():
    gpu = column("RTX 3080", 256)
    weights = similar_devices(gpu, [gpu, gpu], 0.75, [True, False]).weights
    assert weights[0] > 2 * weights[1]
    # At batch 1 it is the host that counts.
    gpu = column("RTX 3080", 1)
    weights = similar_devices(gpu, [gpu, gpu], 0.75, [True, False]).weights
    assert weights[1] < weights[0] < 1.5 * weights[1]


def test_a_class_of_processors_that_was_never_measured_is_left_to_the_similar():
    assert similar_devices(column("Eyeriss"), [column("Titan X", 256)], 0.75).share == 1


def test_mixing_moves_a_share_of_the_way_to_the_weighted_mean():
    said = np.zeros((1, 2))
    like = Similar(np.array([0.5, 0, 0.5]), np.array([1.0, 100.0, 3.0]), 0.75)
    mix_similar(said, {1: like}, np.array([[4.0, 6.0]]), [0, 2])
    np.testing.assert_allclose(said, [[0, 0.75 * (5 + 9) / 2]])
