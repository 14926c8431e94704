"""Networks side by side."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import nasplug
from nasplug.measurements.graphs import graph_of
from nasplug.predicting import comparison
from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks
from nasplug.search_spaces import InputError


def test_rows_are_those_of_single_predictions():
    table = nasplug.compare(
        ["timm:resnet18", "timm:mobilenetv3_small_100"],
        ["RTX 3090", "Raspberry Pi 4"],
        batch_size=[1, 8],
        precision=["fp32", "int8"],
    )
    assert len(table) == 16
    for row in table.iloc[[0, 5, 10, 15]].to_dict("records"):
        alone = nasplug.predict(
            row["network"],
            hardware=row["hardware"],
            batch_size=row["batch_size"],
            precision=row["precision"],
        )
        ends = [row[name] for name in ("latency_ms", "lower_ms", "upper_ms")]
        np.testing.assert_allclose(ends, [alone.mean, alone.lower, alone.upper], rtol=1e-6)
        usual = {"RTX 3090": "tensorrt", "Raspberry Pi 4": "tflite"}
        assert row["runtime"] == usual[row["hardware"]]
        assert row["images_per_second"] == pytest.approx(1e3 * row["batch_size"] / alone.mean)
        assert row["memory_mb"] == pytest.approx(alone.memory.total)
        each = {"fp32": 4, "int8": 1}[row["precision"]]
        assert row["size_mb"] == pytest.approx(each * row["params"] / 1e6)


def test_measured_cells_say_so():
    table = nasplug.compare(
        "timm:resnet50", "RTX 3090", batch_size=[3, 1024], runtime="eager nhwc", precision="fp16"
    )
    missing, measured = table["measured_ms"]
    assert np.isnan(missing)
    # 3,729.4 images a second in timm's table.
    assert measured == pytest.approx(274.5, rel=0.02)
    assert table["source"][1].startswith("huggingface/pytorch-image-models")


def test_energies_stand_beside_the_reason_where_they_are_missing():
    macro, card = nasplug.space("macro"), replace(nasplug.hardware("L40S"), name="My card")
    archs = [macro.sample(np.random.default_rng(seed)) for seed in range(6)]
    ms = nasplug.load_predictor("network-latency").for_space(macro).predict(archs, card).mean[:, 0]
    texts, graphs = tuple(arch.text for arch in archs), tuple(macro.to_graphs(archs))
    own = DeviceProfile(card, "macro", 1, MeasuredNetworks(texts, ms, graphs))
    table = nasplug.compare("timm:resnet18", ["RTX 3090", "Raspberry Pi 5", "Pixel 6", own])
    alone = nasplug.predict("timm:resnet18", hardware="RTX 3090").energy
    ends = table.loc[0, ["energy_j", "energy_lower_j", "energy_upper_j"]].to_numpy(float)
    np.testing.assert_allclose(ends, [alone.mean[0, 0], alone.lower[0, 0], alone.upper[0, 0]])
    assert np.isnan(table["energy_j"][1:]).all()
    assert list(table["note"])[:3] == ["", *["energies are known on large GPUs alone"] * 2]
    assert table["note"][3].startswith("the energy on My card is not known: your measurements")
    # Where no device has one nobody misses it, but on a GPU that was calibrated.
    others = nasplug.compare("timm:resnet18", ["Raspberry Pi 5", own])
    assert list(others["note"]) == ["", table["note"][3]]
    assert table["note"][3] in nasplug.predict("timm:resnet18", hardware=own).notes()
    phone = nasplug.predict("timm:resnet18", hardware="Pixel 6").notes()
    assert not any("energ" in note for note in phone)


def test_what_a_device_lacks_has_the_reason():
    table = nasplug.compare("timm:resnet18", "GTX 1080 Ti", precision=["bf16", "fp16"])
    assert np.isnan(table["latency_ms"][0])
    assert "computes nothing in bf16" in table["note"][0]
    assert table["note"][1] == ""
    assert table["params"][0] == table["params"][1] > 11e6
    with pytest.raises(InputError, match="computes nothing in bf16"):
        nasplug.compare("timm:resnet18", "GTX 1080 Ti", precision="bf16")


def test_modules_graphs_and_names_stand_together(monkeypatch):
    reads = []
    real = comparison.read_network

    def counted(network, *args, **options):
        reads.append(type(network).__name__)
        return real(network, *args, **options)

    monkeypatch.setattr(comparison, "read_network", counted)
    first = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    second = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
    graph = graph_of("timm:resnet18@224")
    table = nasplug.compare(
        [first, second, graph], ["RTX 3090", "V100"], example=torch.zeros(1, 3, 32, 32)
    )
    assert list(table["network"].unique()) == ["Sequential", "Sequential 2", "Graph"]
    assert reads == ["Sequential", "Sequential", "Graph"]
    assert (table["latency_ms"] > 0).all()


def test_nothing_to_compare_gets_a_sentence():
    with pytest.raises(InputError, match="at least one network and one device"):
        nasplug.compare([], "RTX 3090")
    with pytest.raises(InputError, match="no network 'timm:resnet51' is known"):
        nasplug.compare(["timm:resnet18", "timm:resnet51"], "RTX 3090")
