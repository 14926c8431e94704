"""Sentences on a predicted latency name its evidence, its runtime, and what would narrow it."""

import pytest

from nasplug.predicting.notes import evidence_note, narrowing, runtime_note, unlike_note


@pytest.mark.parametrize("evidence", ["measured", "few-shot", "zero-shot"])
def test_the_evidence_comes_first_with_device_and_batch_size(evidence):
    note = evidence_note(evidence, "T4", 8)
    assert note.startswith(f"{evidence}: ")
    assert "T4" in note
    assert "at batch 8" in note
    assert "at batch 8 (TensorRT)" in evidence_note(evidence, "T4", 8, "tensorrt")


def test_networks_that_were_learned_on_a_device_are_counted():
    note = evidence_note("measured", "Galaxy S24", 1, "qnn int8 npu", learned=23)
    assert note == (
        "measured: the latency predictor learned from 23 networks measured on Galaxy S24 "
        "(Qualcomm QNN, int8, on the NPU); its interval is still that of devices that were left "
        "out of training"
    )
    assert "from 1 network measured on T4 (" in evidence_note("measured", "T4", 1, "eager", 1)
    assert "T4 are unlike" not in narrowing("measured", "T4", "this network", learned=3)


def test_a_measured_device_without_like_networks_is_not_said_to_have_their_errors():
    note = evidence_note("measured", "T4", 1, "eager", is_unlike=True)
    assert note == (
        "measured: the latency predictor learned from measurements of other kinds of networks on "
        "T4 at batch 1 (eager)"
    )


@pytest.mark.parametrize(
    ("unlike", "networks", "begins"),
    [
        (1, 1, "this network is unlike those in the training data; its interval reflects errors"),
        (1, 3, "1 of the 3 networks is unlike those whose latencies were learned; its interval"),
        (2, 3, "2 of the 3 networks are unlike those whose latencies were learned; their"),
        (3, 3, "these networks are unlike those whose latencies were learned; their intervals"),
    ],
)
def test_unlike_networks_are_counted(unlike, networks, begins):
    assert unlike_note("zero-shot", unlike, networks, "errors").startswith(begins)
    assert "those that you measured" in unlike_note("few-shot", unlike, networks)


def test_a_runtime_note_names_the_devices_and_equal_runtimes():
    assert runtime_note("tensorrt", ("T4", "V100")) == "TensorRT was measured on T4 and V100 only"
    assert runtime_note("tflite", ()) == "TensorFlow Lite was measured on no device"
    many = runtime_note("tensorrt", tuple(f"GPU {k}" for k in range(9)))
    assert many == "TensorRT was measured on 9 devices, such as GPU 0, GPU 1 and GPU 2"
    note = runtime_note("eager fp16", ("T4",), ("eager nhwc fp16", "tensorrt"))
    assert "eager with channels last, fp16 and TensorRT would get the same prediction" in note


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ("zero-shot", "Board was not measured"),
        ("measured", "the networks that were measured on Board are unlike this network"),
        ("few-shot", "your measurements on Board"),
    ],
)
def test_what_would_narrow_it_depends_on_the_cause(evidence, words):
    sentence = narrowing(evidence, "Board", "this network", "fbnet")
    assert words in sentence
    # Whoever has calibrated the device is not sent to do it.
    suggested = "nasplug calibrate --space fbnet --suggest 10" in sentence
    assert suggested == (evidence != "few-shot")


def test_the_command_that_narrows_can_be_pasted():
    sentence = narrowing("zero-shot", "Board", "this network", "timm:mobilenet*")
    assert "nasplug calibrate --space 'timm:mobilenet*' --suggest 10" in sentence
