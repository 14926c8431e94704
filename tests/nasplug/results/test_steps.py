"""Next steps name commands that can be pasted; test_result.py runs them."""

from __future__ import annotations

from nasplug.results.steps import calibration_step, export_steps, training_step, with_option
from nasplug.search_spaces import space


def test_an_option_is_given_once() -> None:
    line = "nasplug search --n-trials 6 --hw 'RTX 3090'"
    assert with_option(line, "--n-trials", "12") == "nasplug search --hw 'RTX 3090' --n-trials 12"
    assert with_option("search --n-trials=6", "--n-trials", "12") == "search --n-trials 12"
    assert with_option("search", "--report", "a b") == "search --report 'a b'"


def test_networks_are_written_once() -> None:
    nets = space("macro")
    assert export_steps(nets, "nasplug search --export out") == []
    assert export_steps(nets, None) == ['ONNX files of these networks: result.export("networks")']


def test_patterns_of_names_are_quoted() -> None:
    assert "--space 'timm:mobilenet*' --suggest" in calibration_step("timm:mobilenet*")
    assert "--space nb201 --suggest" in calibration_step("nb201")


def test_code_that_was_written_trains() -> None:
    assert '"python train.py {arch}"' in training_step("nasplug search --export nets", "accuracy")
    line = training_step("nasplug search --export 'my nets' --code", "accuracy")
    assert line.startswith("trials that your my nets/train.py trains")
    assert "\"python 'my nets/train.py' {arch}\"" in line


def test_a_trained_quality_replaces_its_proxy() -> None:
    told = "trials that your train.py trains, instead of predicted ones: "
    evaluated = '--evaluate command "python train.py {arch}"'
    line = training_step("nasplug search --space vit --proxy=params", "accuracy")
    assert line == f"{told}nasplug search --space vit {evaluated}"
    line = training_step("nasplug search --objective 'more flops' --objective=latency", "accuracy")
    assert line == f"{told}nasplug search --objective accuracy --objective latency {evaluated}"
