"""Runs of a builder: what it changes, prints and warns of stays within them."""

from __future__ import annotations

import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nasplug
from nasplug.search_spaces import InputError
from nasplug.search_spaces.builders.running import undisturbed


def _meddling(trial: Any) -> nn.Module:
    print("a builder that prints")
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("cpu")
    torch.set_num_threads(3)
    torch.set_grad_enabled(False)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    warnings.warn("an old function", stacklevel=1)
    model = nn.Conv2d(3, trial.suggest_int("width", 1, 4), 3)
    torch.set_default_dtype(torch.float32)
    torch.set_default_dtype(torch.float64)
    return model.float()


def test_a_builder_leaves_the_process_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    threads, drawn, others = torch.get_num_threads(), random.getstate(), np.random.get_state()[1]  # noqa: NPY002
    with pytest.warns(UserWarning, match="an old function") as caught:
        space = nasplug.space(_meddling, "1x3x8x8")
    assert len(caught) == 1
    # It was shown once.
    space.to_onnx(space.sample(np.random.default_rng(0)))
    assert capsys.readouterr().out == ""
    assert torch.get_default_dtype() == torch.float32
    assert torch.zeros(1).device == torch.get_default_device() == torch.device("cpu")
    with torch.device("meta"):
        assert torch.zeros(1).is_meta
    assert not torch.zeros(1).is_meta
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert random.getstate() == drawn
    assert np.array_equal(np.random.get_state()[1], others)  # noqa: NPY002
    print("and what is printed later is seen")
    assert "later" in capsys.readouterr().out


def test_the_last_of_several_threads_restores(capsys: pytest.CaptureFixture[str]) -> None:
    both, drawn = Barrier(2, timeout=60), torch.random.get_rng_state()

    def run(seed: int) -> None:
        with undisturbed(seed):
            both.wait()
            print("dropped")
            torch.rand(1)
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, (1, 2)))
    assert torch.equal(torch.random.get_rng_state(), drawn)
    print("seen")
    assert capsys.readouterr().out == "seen\n"


def _leaving(trial: Any) -> nn.Module:
    width = trial.suggest_int("width", 1, 4)
    if width > 2:
        raise SystemExit("too wide")
    return nn.Conv2d(3, width, 3)


def test_an_exit_is_an_error_of_the_builder() -> None:
    with pytest.warns(UserWarning, match=r"2 of 4 .*line \d+\): SystemExit: too wide"):
        space = nasplug.space(_leaving, "1x3x8x8")
    assert len(space) == 2  # type: ignore[arg-type]
    with pytest.raises(InputError, match="too wide"):
        space.from_params({"width": 3})


def test_an_interrupt_passes() -> None:
    def interrupted(trial: Any) -> nn.Module:
        trial.suggest_int("width", 1, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nasplug.space(interrupted, "1x3x8x8")
