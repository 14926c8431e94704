"""`nasplug.measured`: names of networks and devices, filters, and sentences where nothing is."""

import pytest

import nasplug
from nasplug.datasets.measurements import FLAGS, TEXTS, measurement_sources, shipped_measurements
from nasplug.measurements.networks import network_key, plain_name


@pytest.mark.parametrize(
    "name",
    ["ResNet-50", "resnet50", "timm:resnet50", "torchvision:resnet50", "ResNet50 v1.5"],
)
def test_spellings_of_one_network(name):
    assert network_key(name) == "resnet50"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ViT-B/16", "torchvision:vit_b_16@224"),
        ("vit_b_16", "timm:vit_base_patch16_224@224"),
        ("MobileNetV2", "timm:mobilenetv2_100"),
        ("BERT-base", "transformers:google-bert/bert-base-uncased@384"),
        ("BERT-Base", "transformers:BertForQuestionAnswering(bert-base-uncased)@128"),
        ("ConvNeXt-T", "convnext_tiny"),
        ("efficientnet-b0", "EfficientNetB0"),
        ("resnet50", "resnet50.a1_in1k"),
        ("resnet50", "ncnn:resnet50_int8"),
        ("ResNet50 (PyTorch)", "resnet50"),
    ],
)
def test_twins_have_one_key(one, other):
    assert network_key(one) == network_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("resnet50", "resnet50d"),
        ("resnet50", "wide_resnet50_2"),
        ("mobilenet_v2", "timm:mobilenetv2_050"),
        ("timm:mobilenetv1_100(channel_multiplier=0.5)", "timm:mobilenetv1_100"),
        ("ResNet50_vd", "ResNet50"),
    ],
)
def test_others_have_another(one, other):
    assert network_key(one) != network_key(other)


def test_plain_name_leaves_version_numbers():
    assert plain_name("squeezenet1.1") == "squeezenet1.1"
    assert plain_name("timm:resnet50.a1_in1k@224") == "resnet50"


def test_rows_of_a_network_on_a_device():
    rows = nasplug.measured("ResNet-50", hardware="GeForce RTX 3090", runtime="eager nhwc")
    assert rows
    for row in rows:
        assert row["device"] == "RTX 3090"
        assert row["graph"].startswith("timm:resnet50@")
        assert (row["precision"], row["batch"]) == ("fp16", 1024)
        assert row["licence"] == "Apache-2.0"
    published = {row["version"]: row["latency_ms"] for row in rows if row["input"] == "3x224x224"}
    # 1024 images at 3729.86 images a second.
    assert published["PyTorch 2.4.0, CUDA 12.4"] == pytest.approx(1024e3 / 3729.86, rel=1e-3)


def test_filters():
    rows = nasplug.measured("resnet50", hardware="RTX 3090", precision="fp16", batch_size=12)
    assert [row["latency_ms"] for row in rows] == [pytest.approx(8.36, rel=1e-3)]


def test_reference_of_a_cell():
    arch = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    arch += "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    rows = nasplug.measured(f"nb201:{arch}", hardware="2080 Ti", batch_size=256)
    # The slowest of the table.
    assert [row["latency_ms"] for row in rows] == [pytest.approx(44.3109, rel=1e-3)]


def test_a_device_that_the_catalogue_lacks():
    rows = nasplug.measured("resnet18", hardware="MacBook Pro (15-inch, 2019)")
    assert {row["device"] for row in rows} == {""}
    assert all("MacBook Pro (15-inch" in row["hardware"] for row in rows)


def test_steps_of_training_are_left_out():
    assert {row["mode"] for row in nasplug.measured("resnet50", hardware="RTX 3090")} == {
        "inference"
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"network": "resnet51"}, ["resnet51", "near are"]),
        ({"network": "--"}, ["no network"]),
        ({"network": "nb201:nothing"}, ["no measurement has the reference"]),
        ({"network": "resnet50", "hardware": "Pixel 9"}, ["Pixel 9", "Galaxy S24"]),
        (
            {"network": "resnet50", "hardware": "RTX 3090", "runtime": "tensorrt"},
            ["'resnet50' on RTX 3090", "runtime 'tensorrt'", "eager nhwc"],
        ),
        (
            {"network": "resnet50", "hardware": "RTX 3090", "precision": "int4"},
            ["precision 'int4'", "fp16"],
        ),
        ({"network": "resnet50", "hardware": "RTX 3090", "batch_size": 7}, ["batch 7", "1024"]),
        ({"network": "resnet50", "batch_size": 0}, ["at least 1"]),
        ({"network": 3}, ["must be a text"]),
    ],
)
def test_sentences(arguments, words):
    with pytest.raises(nasplug.InputError) as caught:
        nasplug.measured(**arguments)
    for word in words:
        assert word in str(caught.value)


def test_every_row_has_a_source_and_words_of_the_vocabulary():
    table = shipped_measurements()
    assert set(table.values["source"]) == set(measurement_sources())
    flags = {flag for text in table.values["quality"] for flag in text.split(", ") if flag}
    assert flags <= set(FLAGS)
    assert set(table.values["kind"]) == {"network", "block", "operator"}
    assert set(table.values["unit"]) == {"CPU", "GPU", "NPU", "TPU", "FPGA", "ASIC", "MCU"}
    assert set(table.codes) == set(TEXTS)
    assert (table.numbers["latency_ms"] > 0).all()


def test_devices_are_those_of_the_catalogue():
    from nasplug.devices.catalogue import catalogue

    names = {device.name for device in catalogue()}
    assert set(shipped_measurements().values["device"]) - {""} <= names
