"""Training states in files: what is written is read, and nothing else."""

import numpy as np
import pytest
import torch

from nasplug.predictors.training.state import StateFiles, read_state
from nasplug.search_spaces import InputError

STATE = {"epoch": 3, "state_dict": {"weight": torch.arange(50.0)}, "name": "a"}


@pytest.fixture
def file(tmp_path):
    StateFiles().save_checkpoint(STATE, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_round_trip(file):
    for found in (read_state(file), StateFiles().load_checkpoint(file, weights_only=False)):
        assert torch.equal(found["state_dict"]["weight"], STATE["state_dict"]["weight"])
        assert (found["epoch"], found["name"]) == (3, "a")
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]


def test_every_flipped_bit_is_said(file):
    content = file.read_bytes()
    for place in np.random.default_rng(0).choice(8 * len(content), 300, replace=False).tolist():
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or not a training state; remove its"):
            read_state(file)


@pytest.mark.parametrize("size", [0, 10, 40, -1])
def test_a_part_of_a_file_is_refused(file, size):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match="damaged or not a training state"):
        read_state(file)
    with pytest.raises(InputError, match="cannot read .*absent"):
        read_state(file.parent / "absent")


def test_a_state_of_an_earlier_version_is_read_with_a_warning(tmp_path):
    torch.save(STATE, tmp_path / "old.ckpt")
    with pytest.warns(UserWarning, match="without a checksum"):
        assert read_state(tmp_path / "old.ckpt")["epoch"] == 3
