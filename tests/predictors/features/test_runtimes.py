"""Ways to run networks: words of users, texts of results, and what exists on a device."""

from dataclasses import replace

import pytest

from nasplug import hardware
from nasplug.devices.catalogue import catalogue
from nasplug.predictors.features.runtimes import (
    RUNTIMES,
    Way,
    asked_way,
    check_way,
    computed_precision,
    default_way,
    parse_way,
    renamed_key,
    way_name,
)
from nasplug.search_spaces import InputError


@pytest.mark.parametrize(
    "way",
    [
        Way(),
        Way("eager", "fp32"),
        Way("eager nhwc", "fp16"),
        Way("tensorrt", "int8"),
        Way("ncnn", "", "cpu big", 2),
        Way("qnn", "w8a16", "npu"),
        Way("core ml", "fp16", "gpu"),
    ],
)
def test_a_text_says_all(way):
    assert parse_way(way.text) == way


def test_words_of_earlier_versions_are_read():
    assert parse_way("amp nhwc") == Way("eager nhwc", "fp16")
    assert parse_way("float32").plain == Way()
    assert renamed_key("RTX 3090@128 amp nhwc") == "RTX 3090@128 eager nhwc fp16"
    assert renamed_key("Xeon Gold 6226@1") == "Xeon Gold 6226@1"
    assert renamed_key("TPU v2@128 compiled") == "TPU v2@128 compiled"
    assert renamed_key("T4@1 amp tensorrt") == "T4@1 tensorrt fp16"


def test_a_way_is_completed_by_the_usual_one():
    usual = Way("onnxruntime", "fp32", "cpu", 4)
    assert Way("", "int8").completed(usual) == Way("onnxruntime", "int8", "cpu", 4)
    assert Way("", "int8", "", 2).completed(usual) == Way("onnxruntime", "int8", "cpu", 2)
    assert Way("tflite").completed(usual) == Way("tflite")
    assert Way("", "fp16", "gpu").completed(usual) == Way("", "fp16", "gpu")


def test_words_of_users():
    assert asked_way() is None
    assert asked_way("TensorRT", "FP16") == Way("tensorrt", "fp16")
    assert asked_way(unit="cpu big", threads=2) == Way("", "", "cpu big", 2)
    assert asked_way("tensorrt fp16") == asked_way("tensorrt", "fp16")
    with pytest.raises(InputError, match="runtime 'tensorrt' with precision 'fp16'"):
        asked_way("amp tensorrt")
    with pytest.raises(InputError, match="unknown runtime 'fast'; known: eager, eager nhwc"):
        asked_way("fast")
    with pytest.raises(InputError, match="unknown precision 'fp3'; known: fp32, tf32"):
        asked_way(precision="fp3")
    with pytest.raises(InputError, match="unknown unit 'dsp'; known: cpu, gpu, npu"):
        asked_way(unit="dsp")
    with pytest.raises(InputError, match="threads must be a whole number of at least 1, not 0"):
        asked_way(threads=0)


@pytest.mark.parametrize(
    ("device", "deployed", "runtime"),
    [
        ("RTX 3090", True, "tensorrt"),
        ("RTX 3090", False, ""),
        ("RX 7900 XTX", True, "onnxruntime"),
        ("EPYC 7763", True, "onnxruntime"),
        ("EPYC 7763", False, ""),
        ("Pixel 3", True, "tflite"),
        ("Raspberry Pi 4", False, "tflite"),
        ("TPU v3", True, "compiled"),
        ("Edge TPU", True, "tflite edge tpu"),
        ("Gaudi2", True, "compiled"),
        ("Cloud AI 100 Pro", True, "cloud ai"),
        ("Steam Deck APU", True, "onnxruntime"),
    ],
)
def test_the_usual_way(device, deployed, runtime):
    assert default_way(hardware(device), deployed).runtime == runtime


@pytest.mark.parametrize(
    ("device", "runtime"),
    [
        ("Pixel 10", "tflite"),
        ("Exynos 9820", "tflite"),
        ("Snapdragon 765G", "qnn"),
        ("Apple M1", "core ml"),
        ("Ryzen 7 7840HS", "onnxruntime"),
        ("Core Ultra 5 125H", "openvino"),
        ("Jetson Xavier NX", "tensorrt"),
        ("Renesas RZ/V2L", "drp-ai"),
        ("AX620A", "pulsar2"),
        ("RDK X5", "openexplorer"),
        ("RK3588", "rknn"),
    ],
)
def test_the_usual_way_on_an_npu(device, runtime):
    for deployed in (False, True):
        assert default_way(hardware(device), deployed, "npu") == Way(runtime, unit="npu")


# Runtimes that one may meet by default: kind of device and unit -> runtimes.
USUAL = {
    ("gpu", "gpu"): {"", "tensorrt", "onnxruntime"},
    ("cpu", "cpu"): {"", "onnxruntime"},
    ("cpu", "gpu"): {"", "onnxruntime"},
    ("cpu", "npu"): {"core ml", "openvino", "onnxruntime", "qnn"},
    ("phone", "cpu"): {"tflite"},
    ("phone", "gpu"): {"tflite", "core ml"},
    ("phone", "npu"): {"tflite", "core ml", "qnn"},
    ("edge", "cpu"): {"tflite", "onnxruntime", ""},
    ("edge", "gpu"): {"tflite", "tensorrt", "onnxruntime", ""},
    ("edge", "npu"): {"tflite", "tensorrt", "qnn", "rknn", "drp-ai", "pulsar2", "openexplorer"},
    ("asic", "npu"): {"compiled", "openvino", "hailort", "cloud ai", "tflite edge tpu"},
    ("fpga", "npu"): {"compiled"},
}
UNIT_OF = {"gpu": "gpu", "cpu": "cpu", "phone": "cpu", "asic": "npu", "fpga": "npu"}


def test_every_device_of_the_catalogue_is_usually_run_as_it_can_be():
    for device in catalogue():
        on_board = "gpu" if device.vendor == "NVIDIA" else "cpu"
        usual = UNIT_OF.get(device.kind, on_board)
        for unit in ("", *dict.fromkeys(part.kind for part in device.processors)):
            for deployed in (False, True):
                way = default_way(device, deployed, unit)
                assert way.runtime in USUAL[device.kind, unit or usual], (device.name, way)
                assert (way.precision, way.unit, way.threads) == ("", unit, 0)
                check_way(device, way)
                for precision in ("fp32", "fp16"):
                    check_way(device, replace(way, precision=precision))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_that_a_device_lacks_is_one_sentence_with_one_that_it_has(runtime):
    for name in ("RTX 3090", "EPYC 7763", "Galaxy S23", "Raspberry Pi 5", "Jetson Orin Nano"):
        device = hardware(name)
        for unit in ("", *dict.fromkeys(part.kind for part in device.processors)):
            try:
                check_way(device, Way(runtime, unit=unit))
            except InputError as error:
                _, _, instead = str(error).partition("; for ")
                assert instead.startswith(f"{name} there is ")
                words = instead.removeprefix(f"{name} there is ").partition(" on its ")[0]
                for word in words.split(" or "):
                    check_way(device, Way(word, unit=unit))


@pytest.mark.parametrize(
    ("device", "way", "sentence"),
    [
        ("Pixel 3", "tensorrt", "TensorRT runs on NVIDIA GPUs alone; for Pixel 3 there is tflite"),
        ("RTX 3090", "tflite", "TensorFlow Lite does not run on the GPU of RTX 3090; for RTX 3090"),
        ("GTX 1080 Ti", "eager tf32", "computes nothing in tf32 on its GPU; there is fp32, fp16"),
        ("RTX 3090", "eager npu", "knows no NPU of RTX 3090, but its GPU"),
        ("RTX 3090", "4 threads", "threads are for a CPU, and networks run on the GPU of RTX 3090"),
        ("Galaxy S23", "eager npu", "eager does not run on the NPU of .*; for .* there is qnn on"),
        ("Galaxy S23", "compiled", "torch.compile does not run on the CPU of .* there is tflite$"),
        ("Galaxy S23", "ncnn gpu", "ncnn does not run on the GPU of"),
        ("Pixel 10", "eager npu", "for Pixel 10 there is tflite on its NPU"),
        ("RTX 3090", "openvino", "OpenVINO does not run on the GPU of RTX 3090"),
        ("RK3588", "pulsar2 npu", "Pulsar2 runs on AXERA NPUs alone; for RK3588 there is rknn on"),
        ("EPYC 7763", "core ml", "Core ML runs on Apple devices alone"),
        ("EPYC 7763", "tf32", "computes nothing in tf32 on its CPU"),
        ("RTX 3090", "ncnn vulkan int8", "in int8; there is fp32 and fp16, and ncnn computes int8"),
    ],
)
def test_what_does_not_exist_is_refused(device, way, sentence):
    with pytest.raises(InputError, match=sentence):
        check_way(hardware(device), parse_way(way))


def test_what_exists_is_taken():
    for device, way in (
        ("RTX 3090", "tensorrt int8"),
        ("EPYC 7763", "onnxruntime int8 cpu 8 threads"),
        ("Pixel 3", "ncnn fp16"),
        ("V100", "compiled fp16"),
        ("RTX 3090", "ncnn vulkan fp16"),
        # Weights alone are in few bits.
        ("V100", "tensorrt int4"),
        ("Jetson Orin Nano", "w8a16"),
    ):
        check_way(hardware(device), parse_way(way))


@pytest.mark.parametrize(
    ("device", "way", "precision"),
    [
        ("RK3588", "ncnn cpu", "fp16"),
        ("RK3588", "ncnn fp32 cpu", "fp32"),
        ("Raspberry Pi 4", "ncnn", "fp32"),
        ("Pixel 4", "tflite gpu", "fp16"),
        ("Pixel 4", "tflite fp32 gpu", "fp32"),
        ("Pixel 4", "tflite", "fp32"),
        ("Galaxy S24", "qnn npu", "fp16"),
        ("RTX 3090", "tensorrt", "fp32"),
    ],
)
def test_runtimes_of_phones_compute_floats_in_fp16_where_they_can(device, way, precision):
    asked = parse_way(way)
    assert computed_precision(hardware(device), asked) == precision
    # Explicit fp32 is not forgotten.
    assert computed_precision(hardware(device), asked.plain) == precision


def test_no_way_is_called_like_another():
    assert len({way_name(name) for name in RUNTIMES}) == len(RUNTIMES)
    assert way_name("tensorrt fp16") == "TensorRT, fp16"
    assert way_name("ncnn cpu big 1 threads") == "ncnn, on the big cores, 1 thread"
    assert way_name("") == "eager"
