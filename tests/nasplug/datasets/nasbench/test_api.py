"""The API of NAS-Bench-101: specs, queries, budgets; and the real tables of EC-NAS."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import nasbench_files as files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug import datasets
from nasplug.datasets import ModelSpec, NASBench, OutOfDomainError, UnknownCellError
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.nb101.cells import OPS

CONV3, CONV1, POOL = OPS
INPUT, OUTPUT = "input", "output"
Matrix = list[list[int]]


# --- specs: the cases of the official tests ----------------------------------------------------


@pytest.mark.parametrize(
    "matrix",
    [
        [[0, 1, 0], [0, 0, 1], [0, 0, 0]],
        [[0, 1, 1], [0, 0, 1], [0, 0, 0]],
        [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]],
    ],
)
def test_nothing_to_prune(matrix: Matrix) -> None:
    spec = ModelSpec(np.array(matrix), [0] * len(matrix))
    assert spec.valid_spec
    assert np.array_equal(spec.original_matrix, matrix)
    assert np.array_equal(spec.matrix, matrix)
    assert spec.original_ops == spec.ops


CHAIN = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("matrix", "ops"),
    [
        ([[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]], [1, 2, 4]),
        (
            [[0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
            [1, 2, 5],
        ),
        ([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], [1, 3, 4]),
        ([[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], [1, 3, 4]),
    ],
    ids=["isolated", "island", "no successor", "no predecessor"],
)
def test_dead_vertices_are_pruned(matrix: Matrix, ops: list[int]) -> None:
    given_ops = list(range(1, len(matrix) + 1))
    spec = ModelSpec(np.array(matrix), given_ops)
    assert spec.valid_spec
    assert np.array_equal(spec.matrix, CHAIN)
    assert spec.ops == ops
    assert np.array_equal(spec.original_matrix, matrix)
    assert spec.original_ops == given_ops


@pytest.mark.parametrize(
    "matrix",
    [
        [[0, 0], [0, 0]],
        [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[0]],
    ],
)
def test_disconnected_specs_are_invalid(matrix: Matrix) -> None:
    spec = ModelSpec(np.array(matrix), [0] * len(matrix))
    assert not spec.valid_spec
    assert spec.matrix is None
    assert spec.ops is None
    with pytest.raises(InputError, match="disconnected"):
        spec.hash_spec()


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[0, 1, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]], "upper triangular"),
        ([[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], "upper triangular"),
        (np.tril(np.ones((4, 4))), "upper triangular"),
        ([[1]], "upper triangular"),
        ([[0, 1, 1], [0, 0, 1]], "must be square"),
        ([0, 1], "must be square"),
    ],
)
def test_what_is_no_matrix_is_refused(matrix: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ModelSpec(matrix, [0] * len(matrix))


def test_upper_triangular_matrices_are_taken() -> None:
    assert not ModelSpec(np.zeros((4, 4)), [0] * 4).valid_spec
    assert ModelSpec(np.triu(np.ones((4, 4)), 1), [0] * 4).valid_spec
    with pytest.raises(ValueError, match="length of ops must match"):
        ModelSpec(CHAIN, [0, 0])


def test_spec_is_a_copy() -> None:
    matrix, ops = np.array(CHAIN), [INPUT, CONV3, OUTPUT]
    spec = ModelSpec(matrix, ops)
    before = spec.hash_spec()
    matrix[0, 2], ops[1] = 1, POOL
    assert spec.hash_spec(["conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"]) == before
    assert ModelSpec(matrix, ops).hash_spec() != before


@given(st.integers(0, 423_623), st.integers(0, 3), st.data())
def test_padding_changes_no_hash(index: int, padding: int, data: st.DataObject) -> None:
    # Vertices that feed nothing, with edges into them from anywhere, before the output.
    arch = files.SPACE[index]
    cell = files.SPACE.cell(arch)
    n = cell.vertices
    matrix = np.zeros((n + padding, n + padding), dtype=int)
    place = [*range(n - 1), n + padding - 1]
    for a, b in cell.edges:
        matrix[place[a], place[b]] = 1
    for v in range(n - 1, n + padding - 1):
        matrix[data.draw(st.integers(0, v - 1)), v] = 1
    ops = [*cell.ops[:-1], *["anything"] * padding, OUTPUT]
    spec = ModelSpec(matrix, ops)
    assert spec.hash_spec() == arch.arch_id
    assert spec.ops == list(cell.ops)


# --- the API on a file of the official layout --------------------------------------------------


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.official(tmp_path_factory.mktemp("official") / "nasbench.tfrecord")


@pytest.fixture
def nasbench(official: Path) -> NASBench:
    return NASBench(official, seed=7)


def spec_of(cell: int) -> ModelSpec:
    found = files.SPACE.cell(files.cells()[cell])
    matrix = np.zeros((found.vertices, found.vertices), dtype=int)
    for a, b in found.edges:
        matrix[a, b] = 1
    return ModelSpec(matrix, list(found.ops))


def expected(cell: int, epochs: int, repeat: int, when: int) -> dict[str, float]:
    """Metrics that `nasbench_files.metrics` wrote."""
    fields = [repeat + k / 8 + when / 32 for k in range(1, 4)]
    train, valid, test = ((cell / 64 + epochs / 1024 + x / 8) / 4 for x in fields)
    seconds = 1000.0 * cell + epochs + repeat / 10 + when
    return {
        "training_time": seconds,
        "train_accuracy": train,
        "validation_accuracy": valid,
        "test_accuracy": test,
    }


def test_what_the_file_holds(nasbench: NASBench) -> None:
    archs = files.cells()
    assert nasbench.valid_epochs == {4, 12, 36, 108}
    assert list(nasbench.hash_iterator()) == [arch.arch_id for arch in archs]
    assert len(nasbench) == len(archs)
    assert nasbench.config["num_repeats"] == 3
    assert nasbench.config["available_ops"] == list(OPS)
    for k, arch in enumerate(archs):
        fixed, computed = nasbench.get_metrics_from_hash(arch.arch_id)
        graph = files.SPACE.to_graph(arch)
        assert fixed["module_operations"] == list(graph.ops)
        assert np.array_equal(fixed["module_adjacency"], graph.adjacency)
        assert fixed["module_adjacency"].dtype == np.int8
        assert fixed["trainable_parameters"] == graph.total("params")
        assert list(computed) == [4, 12, 36, 108]
        for epochs, runs in computed.items():
            wanted = [
                {f"halfway_{name}": value for name, value in expected(k, epochs, r, 1).items()}
                | {f"final_{name}": value for name, value in expected(k, epochs, r, 2).items()}
                for r in range(3)
            ]
            assert runs == wanted


def test_results_are_copies(nasbench: NASBench) -> None:
    module = next(nasbench.hash_iterator())
    fixed, computed = nasbench.get_metrics_from_hash(module)
    fixed["module_adjacency"][:] = 9
    computed[4][0].clear()
    again, runs = nasbench.get_metrics_from_hash(module)
    assert again["module_adjacency"].max() == 1
    assert len(runs[4][0]) == 8


def test_statistics_are_mappings_by_hash(nasbench: NASBench) -> None:
    module = files.cells()[3].arch_id
    fixed, computed = nasbench.get_metrics_from_spec(spec_of(3))
    assert nasbench.computed_statistics[module] == computed
    assert nasbench.fixed_statistics[module]["module_operations"] == fixed["module_operations"]
    assert len(nasbench.fixed_statistics) == len(list(nasbench.computed_statistics)) == 7
    assert module in nasbench.fixed_statistics
    assert "0" * 32 not in nasbench.computed_statistics


def test_query_draws_repeats_as_the_official_api(official: Path) -> None:
    # That one asks Python's generator for a number from 0 to 2 a query.
    nasbench, generator = NASBench(official, seed=11), random.Random(11)
    state = random.getstate()
    for k in range(40):
        cell, epochs = k % 7, files.EPOCHS[k % 4]
        halfway = k % 3 == 0
        data = nasbench.query(spec_of(cell), epochs=epochs, stop_halfway=halfway)
        repeat = generator.randint(0, 2)
        wanted = expected(cell, epochs, repeat, 1 if halfway else 2)
        assert {name: data[name] for name in wanted} == wanted
        assert set(data) - set(wanted) == {
            "module_adjacency",
            "module_operations",
            "trainable_parameters",
        }
    assert random.getstate() == state


def test_budget_counters(nasbench: NASBench) -> None:
    assert nasbench.get_budget_counters() == (0.0, 0)
    first = nasbench.query(spec_of(2))
    assert nasbench.get_budget_counters() == (first["training_time"], 108)
    second = nasbench.query(spec_of(4), epochs=12, stop_halfway=True)
    seconds = first["training_time"] + second["training_time"]
    assert nasbench.get_budget_counters() == (seconds, 108 + 6)
    assert (nasbench.training_time_spent, nasbench.total_epochs_spent) == (seconds, 114)
    # What does not train does not count.
    nasbench.is_valid(spec_of(1))
    nasbench.get_metrics_from_spec(spec_of(1))
    with pytest.raises(OutOfDomainError):
        nasbench.query(spec_of(1), epochs=5)
    assert nasbench.get_budget_counters() == (seconds, 114)
    nasbench.reset_budget_counters()
    assert nasbench.get_budget_counters() == (0.0, 0)


def test_isomorphic_specs_are_one_cell(nasbench: NASBench) -> None:
    # Cell 3 has five vertices; numbered in another order it is found all the same.
    cell = files.SPACE.cell(files.cells()[3])
    spec = spec_of(3)
    assert (
        nasbench.get_metrics_from_spec(spec)[1]
        == nasbench.computed_statistics[files.cells()[3].arch_id]
    )
    padded = np.zeros((7, 7), dtype=int)
    for a, b in cell.edges:
        padded[a, b if b < 4 else 6] = 1
    ops = [*cell.ops[:4], "conv9x9", POOL, OUTPUT]
    assert (
        nasbench.get_metrics_from_spec(ModelSpec(padded, ops))[1]
        == nasbench.get_metrics_from_spec(spec)[1]
    )


def chain(vertices: int, more: int = 0) -> Matrix:
    matrix = np.eye(vertices, k=1, dtype=int)
    matrix[0, 2 : 2 + more] = 1
    found: Matrix = matrix.tolist()
    return found


@pytest.mark.parametrize(
    ("matrix", "ops", "words"),
    [
        ([[0, 0], [0, 0]], [INPUT, OUTPUT], "invalid spec, provided graph is disconnected"),
        (chain(8), [INPUT, *[CONV3] * 6, OUTPUT], r"too many vertices, got 8 \(max vertices = 7\)"),
        (chain(7, 4), [INPUT, *[CONV3] * 5, OUTPUT], r"too many edges, got 10 \(max edges = 9\)"),
        (chain(3), [CONV3, CONV3, OUTPUT], "first operation should be 'input'"),
        (chain(3), [INPUT, CONV3, CONV3], "last operation should be 'output'"),
        (chain(3), [INPUT, "conv5x5-bn-relu", OUTPUT], "unsupported op conv5x5-bn-relu"),
    ],
)
def test_out_of_domain(nasbench: NASBench, matrix: Matrix, ops: list[str], words: str) -> None:
    spec = ModelSpec(matrix, ops)
    assert not nasbench.is_valid(spec)
    for ask in (nasbench.query, nasbench.get_metrics_from_spec):
        with pytest.raises(OutOfDomainError, match=words):
            ask(spec)


def test_valid_specs(nasbench: NASBench) -> None:
    assert nasbench.is_valid(ModelSpec(chain(7, 3), [INPUT, *[CONV1] * 5, OUTPUT]))
    # Too large, but not once it is pruned.
    matrix = np.zeros((9, 9), dtype=int)
    matrix[0, 1] = matrix[1, 8] = 1
    assert nasbench.is_valid(ModelSpec(matrix, [INPUT, POOL, *["what"] * 6, OUTPUT]))


def test_unknown_epochs_and_cells(nasbench: NASBench) -> None:
    with pytest.raises(OutOfDomainError, match=r"epochs 100, must be one of \[4, 12, 36, 108\]"):
        nasbench.query(spec_of(1), epochs=100)
    absent = ModelSpec(chain(3), [INPUT, CONV1, OUTPUT])
    assert nasbench.is_valid(absent)
    for ask in (lambda: nasbench.query(absent), lambda: nasbench.get_metrics_from_hash("what")):
        with pytest.raises(KeyError, match=r"^the file has no cell with the hash '\w+'$"):
            ask()
        with pytest.raises(UnknownCellError):
            ask()
    assert issubclass(OutOfDomainError, InputError)


def test_file_with_one_budget(tmp_path: Path) -> None:
    nasbench = NASBench(files.official(tmp_path / "only108.tfrecord", (108,)))
    assert nasbench.valid_epochs == {108}
    assert nasbench.query(spec_of(0))["training_time"] > 100
    with pytest.raises(OutOfDomainError):
        nasbench.query(spec_of(0), epochs=4)


def test_cell_that_lacks_a_budget(tmp_path: Path) -> None:
    archs = files.cells()
    rows = [files.record(archs[1], 1, 108, 0), files.record(archs[2], 2, 4, 0)]
    path = files.write(tmp_path / "some.tfrecord", map(files.payload, rows))
    nasbench = NASBench(path)
    assert list(nasbench.get_metrics_from_hash(archs[1].arch_id)[1]) == [108]
    assert nasbench.query(spec_of(1))["training_time"] == expected(1, 108, 0, 2)["training_time"]
    with pytest.raises(UnknownCellError, match="no run of 108 epochs of this cell"):
        nasbench.query(spec_of(2))


# --- the real files of EC-NAS ------------------------------------------------------------------

FOLDER = "ecnas/ecnas/utils/data/tabular_benchmarks"
OLD = f"PedramBakh/EC-NAS-Bench/ec1741b903555dd11201c326d036ebe5867e3d1d/{FOLDER}"
NEW = f"PedramBakh/EC-NAS-Bench/afbd0556eff81640c15ed1f0c081e56dd501d7b2/{FOLDER}/hardware"
REAL = {
    f"{OLD}/energy_4V9E.tfrecord": (91, {4, 12, 36, 108}, 3),
    f"{OLD}/energy_4V9E_estimate.tfrecord": (91, {4, 12, 36, 108}, 1),
    f"{OLD}/energy_5V9E.tfrecord": (2_532, {4}, 1),
    f"{NEW}/energy_4V9E_quadrortx6000.tfrecord": (91, {4, 12, 36, 108}, 1),
    f"{NEW}/energy_4V9E_rtx3060.tfrecord": (88, {4, 12, 36, 108}, 1),
    f"{NEW}/energy_4V9E_rtx3090.tfrecord": (91, {4, 12, 36, 108}, 1),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(mirror: Path, name: str) -> None:
    nasbench = NASBench(mirror / name)
    count, epochs, repeats = REAL[name]
    assert (len(nasbench), nasbench.valid_epochs) == (count, epochs)
    for module in nasbench.hash_iterator():
        fixed, computed = nasbench.get_metrics_from_hash(module)
        arch = files.SPACE.from_matrix(fixed["module_adjacency"], fixed["module_operations"])
        # Spelling, hash and parameters of every cell are those of the space.
        assert arch.arch_id == module
        assert files.SPACE.to_graph(arch).ops == tuple(fixed["module_operations"])
        assert files.SPACE.to_graph(arch).total("params") == fixed["trainable_parameters"]
        assert {length: len(runs) for length, runs in computed.items()} == dict.fromkeys(
            epochs, repeats
        )
        assert all("final_energy" in run for runs in computed.values() for run in runs)


def test_known_runs(mirror: Path) -> None:
    # As EC-NAS publishes NAS-Bench-101's own means of three runs.
    nasbench = NASBench(mirror / OLD / "energy_4V9E_estimate.tfrecord", seed=0)
    first = ModelSpec(
        [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]], [INPUT, CONV1, CONV3, OUTPUT]
    )
    assert first.hash_spec() == "5529e1779433733d1145e20de5d8604e"
    final = nasbench.query(first)
    assert final["validation_accuracy"] == pytest.approx(0.9364984, abs=1e-7)
    assert final["test_accuracy"] == pytest.approx(0.9301549, abs=1e-7)
    short = nasbench.query(first, epochs=4)
    assert short["validation_accuracy"] == pytest.approx(0.6064704, abs=1e-7)
    assert short["test_accuracy"] == pytest.approx(0.5997930, abs=1e-7)
    assert short["energy"] > 0
    assert nasbench.get_budget_counters()[1] == 112
    best = ModelSpec(
        [[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], [INPUT, CONV3, CONV1, OUTPUT]
    )
    assert best.hash_spec() == "66ea4e36f994d4bf11102cbef10a3cb1"
    tests = {
        module: nasbench.get_metrics_from_hash(module)[1][108][0]["final_test_accuracy"]
        for module in nasbench.hash_iterator()
    }
    assert max(tests, key=lambda module: tests[module]) == best.hash_spec()
    assert tests[best.hash_spec()] == pytest.approx(0.9359642, abs=1e-7)


# --- the tables of EC-NAS ----------------------------------------------------------------------


def test_means_of_small_cells(cache: Path) -> None:
    table = datasets.load("nb101-small")
    assert list(table.columns) == [
        *("arch", "hash", "epochs", "params", "cifar10_train", "cifar10_val", "cifar10_test")
    ]
    assert table.groupby("epochs").size().to_dict() == dict.fromkeys(files.EPOCHS, 91)
    test = table.groupby("epochs").cifar10_test
    known = {4: (14.129, 36.699, 63.411), 12: (30.425, 62.583, 84.191)}
    known |= {36: (65.542, 87.136, 91.740), 108: (77.741, 91.039, 93.596)}
    for epochs, (low, middle, high) in known.items():
        part = test.get_group(epochs)
        found = [part.min(), part.median(), part.max()]
        assert found == pytest.approx([low, middle, high], abs=6e-4)
    assert (table.params.min(), table.params.max()) == (445_706, 21_220_234)
    space = files.SPACE
    for arch, module in zip(table.arch, table["hash"], strict=True):
        assert space.parse(arch).text == arch
        assert space.parse(arch).arch_id == module


def test_three_trainings_of_small_cells(cache: Path) -> None:
    table = datasets.load("ecnas-4v")
    assert (table.groupby(["hash", "epochs"]).size() == 3).all()
    long = table[table.epochs == 108]
    assert len(long) == 273
    medians = table.groupby("epochs").cifar10_test.median()
    assert medians.tolist() == pytest.approx([48.848, 79.718, 87.931, 90.365], abs=6e-4)
    assert long.cifar10_test.min() == pytest.approx(79.137, abs=6e-4)
    assert [long.train_time_s.min(), long.train_time_s.max()] == pytest.approx(
        [775.6, 5456.3], abs=0.06
    )
    best = long.groupby("hash").cifar10_test.mean()
    assert best.idxmax() == "ea9270f536a1f1094f446246dad4fe89"
    assert best.max() == pytest.approx(93.349, abs=6e-4)
    assert long.groupby("hash").cifar10_test.std(ddof=0).mean() == pytest.approx(0.27, abs=0.06)


def test_all_cells_of_five_vertices(cache: Path) -> None:
    table = datasets.load("ecnas-5v")
    assert len(table) == table["hash"].nunique() == 2_532
    assert table.loc[table.cifar10_test.idxmax(), "hash"] == "e833ee7d095f08dab909f662e32a5296"
    assert table.loc[table.cifar10_val.idxmax(), "hash"] == "e833ee7d095f08dab909f662e32a5296"
    ranges = {
        "cifar10_test": (5.749, 43.895, 76.252),
        "cifar10_val": (5.669, 44.226, 77.013),
        "train_time_s": (29.566, 97.263, 290.029),
        "energy_kwh": (0.005077, 0.018569, 0.050151),
        "params": (301_074, None, 31_389_066),
    }
    for name, (low, middle, high) in ranges.items():
        column = table[name]
        assert [column.min(), column.max()] == pytest.approx([low, high], abs=6e-4)
        if middle is not None:
            assert column.median() == pytest.approx(middle, abs=6e-4)
    # All cells with at most five vertices are the first of the space.
    assert {files.SPACE.index(files.SPACE.parse(arch)) for arch in table.arch} == set(range(2_532))


def test_training_on_three_devices(cache: Path) -> None:
    table = datasets.load("ecnas-hardware")
    assert set(table.epochs) == {4}
    known = {
        "Quadro RTX 6000": (91, 30.216, 86.581, 202.284),
        "RTX 3060": (88, 39.580, 117.890, 265.703),
        "RTX 3090": (91, 20.383, 61.102, 217.782),
    }
    for device, (count, *seconds) in known.items():
        part = table[table.device == device]
        found = part.train_time_s
        assert len(part) == count
        assert [found.min(), found.median(), found.max()] == pytest.approx(seconds, abs=6e-4)
    lost = table[table.energy_kwh.isna()]
    assert list(zip(lost.device, lost["hash"], strict=True)) == [
        ("RTX 3090", "256affa4b0191e323796f138db7b1164")
    ]


def test_other_content_under_a_known_name_is_refused(tmp_path: Path) -> None:
    from nasplug.datasets.importers.ecnas import import_means

    path = files.official(tmp_path / "energy_4V9E_estimate.tfrecord")
    with pytest.raises(InputError, match="7 cells with energies instead of 91"):
        import_means({path.name: path})
