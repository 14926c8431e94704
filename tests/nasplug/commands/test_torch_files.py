"""A file of PyTorch is answered with the lines that export it, where networks are read."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import nasplug
from nasplug.cli import app


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "net.pt", "--hw", "T4"],
        ["predict", "net.pth"],
        ["search", "net.pt"],
        ["search", "--predictor", "net.pt"],
        ["calibrate", "--hw", "T4", "--measurements", "net.pt"],
        ["calibrate", "--suggest", "3", "--predictor", "net.pt"],
    ],
)
def test_a_torch_file(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "is a PyTorch file" in result.stderr
    assert "torch.onnx.export(model.eval()" in result.stderr


def test_a_torch_file_in_python() -> None:
    with pytest.raises(nasplug.InputError, match=r"torch\.onnx\.export"):
        nasplug.predict("net.pt", hardware="T4")
