"""Tables of several networks, devices and ways on the command line."""

import csv
import json

import pytest
from typer.testing import CliRunner

from nasplug.commands.app import app

runner = CliRunner()


def run(*words):
    return runner.invoke(app, list(words), env={"COLUMNS": "200"})


def test_several_devices_and_batches_are_one_table(tmp_path):
    out = tmp_path / "table.csv"
    options = ("--hw", "RTX 3090", "--hw", "T4", "--batch-size", "1,256", "--precision", "fp16")
    done = run("predict", "timm:resnet18", "timm:resnet50", *options, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert done.output.count("timm:resnet50") == 4
    assert "e+0" not in done.output
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert [row["batch_size"] for row in rows] == ["1", "256"] * 4
    listed = json.loads(run("predict", "timm:resnet18", "timm:resnet50", *options, "--json").stdout)
    assert [row["latency_ms"] for row in listed] == [float(row["latency_ms"]) for row in rows]
    assert listed[0]["measured_ms"] is None
    page = tmp_path / "table.html"
    assert run("predict", "timm:resnet18", "--hw", "T4", "--out", str(page)).exit_code == 0
    assert "Networks side by side" in page.read_text(encoding="utf-8")


def test_one_known_network_is_predicted_like_a_file():
    done = run("predict", "timm:resnet18", "--hw", "T4", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["runtime"] == "tensorrt"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("timm:resnet18", "timm:resnet50"), "a latency needs a device"),
        (("resnet50", "--hw", "T4"), "a network of timm; write timm:resnet50"),
        (("6561", "--space", "macro"), "the last index is 6,560"),
        (("timm:resnett50", "--hw", "T4", "--hw", "V100"), "known is timm:resnet50, "),
        (("timm:resnet18", "00000000", "--hw", "T4"), "cannot be predicted together"),
        (("00000000", "--space", "macro", "--hw", "T4", "--hw", "V100"), "several devices"),
        (("timm:resnet18", "--hw", "T4", "--batch-size", "1,x"), "is no batch size"),
        (("timm:resnet18", "--hw", "T4", "--hw", "V100", "--explain"), "leave them out of a"),
        (
            ("timm:resnet18", "--hw", "T4", "--out", "a.txt"),
            "ends in neither of .csv, .json, .html",
        ),
    ],
)
def test_bad_words_get_a_sentence(words, sentence):
    done = run("predict", *words)
    assert done.exit_code == 2
    assert sentence in done.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--kind", "board"), "--kind needs a network; name one with --for"),
        (("--for", "timm:resnet18"), "give one limit"),
        (("--for", "timm:resnet18", "pi"), "--for takes no words"),
        (("--for", "timm:resnet18", "--fps", "5", "--power", "much"), "is no power"),
    ],
)
def test_bad_words_of_devices_get_a_sentence(words, sentence):
    done = run("hardware", *words)
    assert done.exit_code == 2
    assert sentence in done.output


def test_devices_for_a_network_are_listed():
    words = ("hardware", "--for", "timm:mobilenetv3_small_100", "--fps", "30", "--kind", "board")
    done = run(*words, "--year", "2022", "--power", "15W")
    assert done.exit_code == 0, done.output
    assert "Raspberry Pi 5" in done.output
    assert "probability: that the device is fast enough" in done.output


def test_a_trained_network_says_that_its_accuracy_is_measured():
    done = run("predict", "resnet18.a1_in1k", "--space", "timm")
    assert "accuracies are measured, not predicted: pytorch-image-models" in done.stdout


def test_a_batch_that_is_too_large_is_a_sentence():
    done = run("predict", "timm:resnet18", "--hw", "T4", "--batch-size", "9" * 20)
    assert done.exit_code == 2
    assert "is too large; the most is" in done.stderr
