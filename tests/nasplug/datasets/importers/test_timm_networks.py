from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nasplug import datasets
from nasplug.datasets.importers.timm_networks import (
    TimmNetworks,
    networks_path,
    read_networks,
    write_networks,
)
from nasplug.search_spaces import ATTRIBUTES, Graph
from nasplug.search_spaces.errors import InputError


def graph(nodes: int) -> Graph:
    rows = np.arange(nodes * len(ATTRIBUTES), dtype=np.float64).reshape(nodes, -1)
    ops = ("Input", *["Conv"] * (nodes - 2), "Output")
    return Graph(ops, tuple((k, k + 1) for k in range(nodes - 1)), rows)


def networks() -> TimmNetworks:
    return TimmNetworks(
        models=("resnet18", "resnet18", "vit_tiny_patch16_224"),
        image_sizes=(160, 224, 224),
        families=("resnet", "resnet", "vision_transformer"),
        parameters=(11_689_512, 11_689_512, 5_717_416),
        graphs=(graph(3), graph(5), graph(4)),
        made_with="timm 1.0, torch 2.0",
    )


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASPLUG_CACHE", str(tmp_path))
    write_networks(networks_path(), networks())
    return networks_path()


def test_what_was_written_is_read(built: Path) -> None:
    found, given = read_networks(built), networks()
    for name in ("models", "image_sizes", "families", "parameters", "made_with"):
        assert getattr(found, name) == getattr(given, name)
    for one, other in zip(found.graphs, given.graphs, strict=True):
        assert (one.ops, one.edges) == (other.ops, other.edges)
        assert np.array_equal(one.attributes, other.attributes)


def test_graphs_and_families_by_name(built: Path) -> None:
    graphs = datasets.timm_graphs()
    assert list(graphs) == [("resnet18", 160), ("resnet18", 224), ("vit_tiny_patch16_224", 224)]
    assert [len(found) for found in graphs.values()] == [3, 5, 4]
    families = datasets.timm_families()
    assert families == {"resnet18": "resnet", "vit_tiny_patch16_224": "vision_transformer"}


def test_before_they_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASPLUG_CACHE", str(tmp_path))
    for ask in (datasets.timm_graphs, datasets.timm_families):
        with pytest.raises(InputError, match=r"not in .*; install timm and run .*timm_graphs"):
            ask()


def test_a_damaged_file(built: Path) -> None:
    whole = built.read_bytes()
    for content in (whole[:-100], b"", b"no archive", whole[:200] + b"x" * 50 + whole[250:]):
        built.write_bytes(content)
        with pytest.raises(InputError, match=str(built.name)):
            read_networks(built)


def test_an_altered_file(built: Path) -> None:
    with np.load(built) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["image_sizes"] = arrays["image_sizes"] + 1
    np.savez(built, **arrays)
    with pytest.raises(InputError, match="altered"):
        read_networks(built)
