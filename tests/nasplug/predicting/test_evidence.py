"""Evidence behind latencies: sentences, JSON, and what predictors tell of it."""

import numpy as np
import pytest

import nasplug
from nasplug.predicting.evidence import LatencyEvidence, latency_evidence, near_measurements
from nasplug.predictors.features.settings import Setting


@pytest.mark.parametrize("kind", ["measured", "few-shot", "zero-shot"])
def test_unlike_networks_are_said_with_their_errors(kind):
    evidence = LatencyEvidence(
        kind, "T4", 1, "eager", 0, (True, False), "errors", "others", measured_so=("V100",)
    )
    first, *notes = evidence.notes()
    assert first.startswith(f"{kind}: ")
    assert "the interval reflects errors" in notes
    assert ("eager was measured on V100 only" in notes) == (kind == "zero-shot")
    (unlike,) = (note for note in notes if "1 of the 2 networks is unlike" in note)
    assert unlike.endswith("; its interval reflects others") == (kind != "few-shot")


def test_errors_that_are_the_same_are_said_once():
    notes = LatencyEvidence("zero-shot", "T4", 1, "", 0, (True, False), "errors", "errors").notes()
    assert sum("errors" in note for note in notes) == 2  # the evidence speaks of errors, too


def test_a_calibrated_device_names_batch_and_way():
    (note,) = LatencyEvidence("few-shot", "mine", 4, "onnxruntime int8", familiar=(True,)).notes()
    assert note == (
        "few-shot: the latency predictor is calibrated with a few measurements on mine; it "
        "predicts at batch 4 (ONNX Runtime, int8)"
    )


def test_the_evidence_of_a_search_space_and_of_its_cells():
    space, device = nasplug.space("macro"), nasplug.hardware("Pixel 4")
    predictor = nasplug.load_predictor("network-latency").for_space(space)
    graphs = predictor.graphs(["22222222"])
    latency = predictor.predict(["22222222"], device)
    evidence = latency_evidence(predictor, graphs, device, 1, latency.evidence, latency.learned)
    assert (evidence.setting, evidence.learned) == ("tflite", latency.learned)
    told = evidence.to_json()
    assert {near["hardware"] for near in told["measured"]} & {"Pixel 4"}
    cells = nasplug.load_predictor("nb201-latency")
    plain = latency_evidence(cells, cells.graphs([cells.space[0]]), device, 1, "zero-shot", 0)
    assert (plain.setting, plain.measurements, plain.familiar) == ("", (), ())
    in_engine = cells.with_runtime("tflite")
    named = latency_evidence(in_engine, [], device, 1, "zero-shot", 0)
    assert named.measured_so == ("Pixel 3", "Raspberry Pi 4")


def test_measurements_of_this_very_network_come_first():
    from nasplug.datasets.network_graphs import shipped_network_graphs

    graph = shipped_network_graphs().graph("timm:resnet50@224")
    near = near_measurements(
        graph, Setting(nasplug.hardware("RTX 3090"), 256, "eager nhwc", "fp16")
    )
    assert near[0].same_network
    assert near[0].setting.runtime == "eager nhwc"
    assert np.isfinite([measurement.latency_ms for measurement in near]).all()
