"""Latencies that are too uncertain to be numbers are told as orders of magnitude."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from report_pages import island
from torch import nn
from typer.testing import CliRunner

import nasplug
from nasplug.cli import app
from nasplug.predicting.architecture_predictor import ArchitecturePredictor
from nasplug.predicting.intervals import in_words, interval_of, is_usable, magnitude, shown

DEVICE = "RTX 3090"
SENTENCE = "only the order of magnitude is shown"
NETWORK = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU())
EXAMPLE = torch.zeros(1, 3, 64, 64)


@pytest.fixture
def wide(monkeypatch):
    """Latencies whose 90 % interval spans a factor of 400."""
    predict = ArchitecturePredictor.predict

    def widened(self, *arguments, **named):
        said = predict(self, *arguments, **named)
        if self.kind != "latency":
            return said
        span = np.log(said.upper / said.lower)
        return dataclasses.replace(said, spread=said.spread * np.log(400) / span)

    monkeypatch.setattr(ArchitecturePredictor, "predict", widened)


def run(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.stdout


def rows_of(text):
    """Lines of a table that hold a latency."""
    return [line for line in text.splitlines() if "latency" in line and "ms" in line]


@pytest.mark.parametrize(
    ("lower", "upper", "usable"),
    [(1.0, 10.0, True), (1.0, 10.1, False), (0.0, 1.0, False), (np.nan, np.nan, True)],
)
def test_a_factor_of_ten_is_the_limit(lower, upper, usable):
    assert is_usable(lower, upper) is usable


def test_orders_of_magnitude_have_words():
    words = [magnitude(number) for number in (0.0021, 0.3, 1, 9.99, 55.7, 627, 10_227)]
    assert words == ["thousandths", "tenths", "ones", "ones", "tens", "hundreds", "ten thousands"]
    assert magnitude(3e-9) == magnitude(0) == "below thousandths"
    assert magnitude(1e30) == magnitude(np.inf) == "beyond millions"


def test_a_usable_interval_keeps_its_digits():
    assert shown({"mean": 14.42, "lower": 9.89, "upper": 21.24}, ".4g") == {
        "mean": "14.42",
        "lower": "9.89",
        "upper": "21.24",
    }
    wide = shown({"mean": 55.728, "lower": 4.252, "upper": 627.298}, ".3f")
    assert wide == {"mean": "tens", "lower": "ones", "upper": "hundreds"}


@pytest.mark.parametrize("space", ["nb201", "nnlqp"])
def test_predict_prints_no_number_that_says_nothing(wide, space):
    words = ("predict", "resnet18" if space == "nnlqp" else nasplug.space("nb201")[0].text)
    words += ("--space", space, "--hw", DEVICE)
    text = run(*words)
    (row,) = rows_of(text.replace(SENTENCE, ""))[:1]
    assert not re.search(r"\d", row)
    assert SENTENCE in text
    (told,) = json.loads(run(*words, "--json"))
    assert told["latency_ms"]["usable"] is False
    assert told["latency_ms"]["upper"] > 399 * told["latency_ms"]["lower"] > 0
    assert all("usable" not in ends for ends in told["accuracy"].values())


def test_predict_prints_numbers_that_say_something():
    words = ("predict", "resnet18", "--space", "nnlqp", "--hw", DEVICE)
    text = run(*words)
    assert SENTENCE not in text
    assert re.search(r"\d\.\d{3}", rows_of(text)[0])
    assert json.loads(run(*words, "--json"))[0]["latency_ms"]["usable"] is True


def test_a_module_is_told_alike(wide):
    said = nasplug.predict(NETWORK, EXAMPLE, hardware=DEVICE)
    assert not said.usable
    assert said.to_json()["latency_ms"]["usable"] is False
    (row,) = said.table()
    assert not re.search(r"\d", row["mean"] + row["lower"] + row["upper"])
    assert any(SENTENCE in note for note in said.notes())
    for part in said.operator_rows():
        assert part["ms"] == "0" or not re.search(r"\d", part["ms"])


def test_a_search_ranks_and_says_so(wide, tmp_path):
    found = nasplug.search("nb201", DEVICE, n_trials=20, seed=0, storage="memory")
    text = found.to_text(200)
    table = [line for line in text.splitlines() if re.match(r" *\d+ +\d", line)]
    assert len(table) == min(12, len(found.pareto)) > 1
    assert all(re.search(r"(ones|tenths|tens) \(", line) for line in table)
    assert SENTENCE in text
    means = [row["predicted"]["latency_ms"]["mean"] for row in found.pareto]
    assert means == sorted(means)
    assert all(row["predicted"]["latency_ms"]["usable"] is False for row in found.pareto)
    found.report(tmp_path)
    content = island((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert content["axes"][1]["label"].endswith(" (only the order of magnitude is known)")
    assert all(re.match(r"(ones|tenths|tens) \(", row["cells"][1][1]) for row in content["rows"])
    assert " of ms" in content["choices"][0]["reason"]
    stored = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert stored["pareto"][0]["predicted"]["latency_ms"]["usable"] is False


def test_a_search_on_a_known_device_keeps_its_numbers():
    found = nasplug.search("nb201", DEVICE, n_trials=20, seed=0, storage="memory")
    assert SENTENCE not in found.to_text(200)
    assert all(row["predicted"]["latency_ms"]["usable"] for row in found.pareto)
    assert not any("usable" in row["predicted"]["accuracy"] for row in found.pareto)


def test_an_accuracy_lies_from_0_to_100_percent():
    assert interval_of([97.0, 91.0, 103.0], "%") == {"mean": 97.0, "lower": 91.0, "upper": 100.0}
    assert interval_of([2.0, -3.0, 7.1234567], "%") == {
        "mean": 2.0,
        "lower": 0.0,
        "upper": 7.123457,
    }
    assert interval_of([500.0, 200.0, 900.0], "ms")["upper"] == 900.0


def test_intervals_beyond_100_percent_are_not_printed(monkeypatch):
    predict = ArchitecturePredictor.predict

    def widened(self, *arguments, **named):
        prediction = predict(self, *arguments, **named)
        return dataclasses.replace(prediction, spread=prediction.spread * 4000)

    monkeypatch.setattr(ArchitecturePredictor, "predict", widened)
    (row,) = json.loads(run("predict", "--space", "macro", "--json", "22222222"))
    (interval,) = row["accuracy"].values()
    assert (interval["lower"], interval["upper"]) == (0.0, 100.0)
    front = nasplug.search("macro", n_trials=2, storage="memory").to_json()["pareto"]
    ends = [row["predicted"]["accuracy"] for row in front]
    assert all(e["lower"] == 0.0 and e["upper"] == 100.0 for e in ends)


def test_a_device_of_a_file_is_named():
    board = Path(__file__).parents[3] / "docs" / "examples" / "my_board.toml"
    text = nasplug.space("nb201")[0].text
    shown = run("predict", "--hw", board, text)
    assert "zero-shot: My board was not measured at batch 1" in shown
    assert "my_board.toml" not in shown


def test_latencies_in_sentences():
    assert in_words({"mean": 4.2, "lower": 3.0, "upper": 6.0}) == "4.2 ms (3 to 6)"
    wide = {"mean": 42.0, "lower": 9.0, "upper": 300.0}
    assert in_words(wide) == "tens of ms (ones to hundreds)"
