"""The command measured: a table with sources, JSON, and sentences."""

import json

import pytest
from typer.testing import CliRunner

from nasplug.cli import app

runner = CliRunner()


def test_a_table_with_sources(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    done = runner.invoke(app, ["measured", "ResNet-50", "--hw", "RTX 3090", "--batch-size", "12"])
    assert done.exit_code == 0, done.stderr
    for text in ("torchvision:resnet50@224", "8.36", "wall clock with copies, median", "tf32"):
        assert text in done.stdout
    assert done.stdout.rstrip().endswith("sources: lamikr/pytorch-gpu-benchmark@43d1613: MIT")


def test_json():
    words = ["measured", "resnet50", "--hw", "3090", "--precision", "fp16", "--json"]
    done = runner.invoke(app, words)
    rows = json.loads(done.stdout)
    assert {row["precision"] for row in rows} == {"fp16"}
    assert {row["device"] for row in rows} == {"RTX 3090"}
    assert all(row["source"] and row["licence"] for row in rows)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["resnet-5000"], "no network called 'resnet-5000'"),
        (["resnet50", "--hw", "Pixel 9"], "'resnet50' was not measured on 'Pixel 9'"),
        (["resnet50", "--hw", "3090", "--runtime", "tensorrt"], "runtime 'tensorrt'"),
    ],
)
def test_what_was_not_measured_is_one_sentence(words, text):
    done = runner.invoke(app, ["measured", *words])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_all_devices_are_named(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    done = runner.invoke(app, ["measured", "bert-base", "--runtime", "openvino"])
    assert "Core i5-13600K" in done.stdout
    assert "device" in done.stdout
