"""Devices that run a network fast enough."""

import pytest
import torch

import nasplug
from nasplug.predicting import devices_for as module
from nasplug.search_spaces import InputError

NETWORK = "timm:mobilenetv3_small_100"
NAMES = ("Raspberry Pi 4", "Raspberry Pi 5", "Jetson Orin Nano", "RTX 3090", "Galaxy S23", "T4")


@pytest.fixture(autouse=True)
def _few_devices(monkeypatch):
    """A catalogue of six devices; all of them take seconds."""
    devices = tuple(map(nasplug.hardware, NAMES))
    monkeypatch.setattr(module, "catalogue", lambda: devices)


def test_least_power_comes_first_and_all_are_fast_enough():
    table = nasplug.devices_for(NETWORK, latency_ms=30)
    assert table["power_w"].is_monotonic_increasing
    assert (table["probability"] >= 0.5).all()
    assert (table["latency_ms"] <= 30).all()
    assert {"Raspberry Pi 5", "RTX 3090"} <= set(table["hardware"])
    strict = nasplug.devices_for(NETWORK, latency_ms=30, probability=0.99)
    assert set(strict["hardware"]) <= set(table["hardware"])


def test_latencies_are_those_of_predict():
    table = nasplug.devices_for(NETWORK, images_per_second=10)
    for row in table.to_dict("records"):
        alone = nasplug.predict(NETWORK, hardware=row["hardware"], batch_size=1)
        assert row["latency_ms"] == pytest.approx(alone.mean, rel=1e-6)


def test_filters_leave_devices_out():
    boards = nasplug.devices_for(NETWORK, images_per_second=10, kind="board", year=2023)
    assert set(boards["hardware"]) <= {"Raspberry Pi 5", "Jetson Orin Nano"}
    small = nasplug.devices_for(NETWORK, images_per_second=10, power_w=12)
    assert (small["power_w"] <= 12).all()


def test_batches_count_images():
    one = nasplug.devices_for(NETWORK, images_per_second=1000, kind="gpu")
    many = nasplug.devices_for(NETWORK, images_per_second=1000, kind="gpu", batch_size=64)
    assert (many["images_per_second"] > one["images_per_second"]).all()


def test_a_network_of_a_fixed_batch_is_one_sample():
    module = torch.nn.LSTM(8, 8)  # its first axis is the sequence
    example = torch.zeros(20, 1, 8)
    table = nasplug.devices_for(module, example, latency_ms=100, kind="gpu")
    row = table.to_dict("records")[0]
    alone = nasplug.predict(module, example, hardware=row["hardware"])
    assert alone.batch_fixed
    assert row["latency_ms"] == pytest.approx(alone.mean, rel=1e-6)
    assert row["images_per_second"] == pytest.approx(1e3 / alone.mean, rel=1e-6)
    with pytest.raises(InputError, match="fixed to a batch of"):
        nasplug.devices_for(module, example, latency_ms=100, kind="gpu", batch_size=7)


def test_a_limit_on_memory_counts_the_precision():
    limits = {"images_per_second": 10, "kind": "board", "year": 2023, "precision": "fp16"}
    boards = nasplug.devices_for(NETWORK, **limits)
    needed = float(boards["memory_mb"].max())
    assert len(nasplug.devices_for(NETWORK, **limits, memory_mb=needed)) == len(boards)
    with pytest.raises(InputError, match=f"the least is {needed:.4g} MB"):
        nasplug.devices_for(NETWORK, **limits, memory_mb=0.99 * needed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give one limit"),
        ({"latency_ms": 1e9, "images_per_second": 1e9}, "no such device runs the network in 1e-06"),
        ({"latency_ms": 5, "memory_mb": 0}, "give a number above 0"),
        ({"latency_ms": 5, "memory_mb": 1}, r"in 1 MB; the least is \d+\.?\d* MB, on "),
        ({"latency_ms": -1}, "give a number above 0"),
        ({"latency_ms": 5, "kind": "toaster"}, "unknown kind of devices 'toaster'; known: gpu"),
        ({"latency_ms": 5, "power_w": 0.001}, "the catalogue has no such device"),
        ({"latency_ms": 1e-6}, "no such device runs the network in 1e-06 ms .*the nearest is RTX"),
        ({"latency_ms": 5, "kind": "board", "precision": "fp64"}, "fp64"),
    ],
)
def test_bad_limits_get_a_sentence(options, words):
    with pytest.raises(InputError, match=words):
        nasplug.devices_for(NETWORK, **options)
