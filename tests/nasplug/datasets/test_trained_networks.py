"""The file of trained networks."""

import numpy as np
import pytest

from nasplug.datasets import trained_networks as module
from nasplug.datasets.trained_networks import shipped_trained_networks, write_trained_networks
from nasplug.search_spaces import InputError


def test_shipped_networks_are_whole():
    trained = shipped_trained_networks()
    assert len(trained) == 1556
    assert len(set(trained.names)) == 1266
    assert (trained.top1 < trained.top5).all()


def test_damaged_files_get_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FILE", "damaged.npz")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "module.py"))
    path = tmp_path / "damaged.npz"
    write_trained_networks(path, ["a", "b"], np.array([224, 288]), np.ones(2), np.ones(2))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="install nasplug again"):
        shipped_trained_networks.__wrapped__()
