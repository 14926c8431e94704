"""NAS-Bench-101 through the official API that research code uses, without TensorFlow.

Names, arguments and results are those of the official `nasbench.api`, so that a script needs a
different import only. Docstrings name the differences.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasplug.datasets.nasbench.table import ENERGY, METRICS, NasbenchTable, cached_table
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.nb101.cells import (
    INPUT,
    MAX_EDGES,
    MAX_VERTICES,
    OPS,
    OUTPUT,
    Cell,
    hash_module,
    prune,
)

__all__ = ["ModelSpec", "NASBench", "OutOfDomainError", "UnknownCellError"]

# Number of repeats of each training in the official files.
REPEATS = 3
_MEASURED = ("training_time", "train_accuracy", "validation_accuracy", "test_accuracy", "energy")


class OutOfDomainError(InputError):
    """Error for a cell, or a number of epochs, that the benchmark does not have.

    Example:
        >>> from nasplug import InputError, datasets
        >>> issubclass(datasets.OutOfDomainError, InputError)
        True
    """


class UnknownCellError(InputError, KeyError):
    """Error for a hash that is not in the file; the official API raises a `KeyError`.

    Example:
        >>> from nasplug import datasets
        >>> issubclass(datasets.UnknownCellError, KeyError)
        True
    """

    # KeyError would quote the sentence.
    __str__ = Exception.__str__


class ModelSpec:
    """A cell by its adjacency matrix and operations, pruned of vertices that are on no path.

    Attributes:
        original_matrix: The given matrix, shape `(vertices, vertices)`.
        original_ops: The given operations.
        matrix: Matrix of the vertices on a path from input to output; None if there is no path.
        ops: The operations of the vertices that are left; None if there is no path.
        valid_spec: Whether there is a path from input to output.

    Args:
        matrix: Square and upper triangular; row a, column b is the edge a → b.
        ops: One operation a vertex; the first and the last stand for input and output.
        data_format: Stored, but not read: it is for training alone.

    Raises:
        InputError: If the matrix is not square or not upper triangular, or there are not as many
            operations as vertices.

    Example:
        >>> from nasplug.datasets import ModelSpec
        >>> matrix = [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
        >>> spec = ModelSpec(matrix, ["input", "conv3x3-bn-relu", "maxpool3x3", "output"])
        >>> spec.ops  # nothing feeds the pool
        ['input', 'conv3x3-bn-relu', 'output']
    """

    def __init__(
        self, matrix: ArrayLike, ops: Sequence[Any], data_format: str = "channels_last"
    ) -> None:
        adjacency = np.array(matrix)
        if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
            raise InputError(f"matrix must be square; its shape is {adjacency.shape}")
        if len(adjacency) != len(ops):
            raise InputError(
                f"length of ops must match matrix dimensions; there are {len(ops)} operations for "
                f"{len(adjacency)} vertices"
            )
        if np.tril(adjacency).any():
            raise InputError("matrix must be upper triangular; number the vertices in their order")
        self.original_matrix, self.original_ops = adjacency, list(ops)
        self.data_format = data_format
        live = prune(len(adjacency), [(int(a), int(b)) for a, b in np.argwhere(adjacency)])
        # A matrix of one vertex has a path of no edge, and no cell.
        self.valid_spec = live is not None and len(live) >= 2
        self.matrix: NDArray[Any] | None = None
        self.ops: list[Any] | None = None
        if live is not None and self.valid_spec:
            self.matrix = adjacency[np.ix_(live, live)]
            self.ops = [ops[v] for v in live]

    def hash_spec(self, canonical_ops: Sequence[str] = OPS) -> str:
        """The benchmark's hash, equal for isomorphic cells.

        Args:
            canonical_ops: The operations in the order of their labels.

        Raises:
            InputError: If there is no path from input to output, or an operation is unknown.
        """
        if self.matrix is None or self.ops is None:
            raise InputError("invalid spec, provided graph is disconnected: it has no hash")
        available = list(canonical_ops)
        for op in self.ops[1:-1]:
            if op not in available:
                raise InputError(f"unsupported op {op} (available ops = {available})")
        labels = [-1, *(available.index(op) for op in self.ops[1:-1]), -2]
        return hash_module(self.matrix.tolist(), labels)


class NASBench:
    """The runs of a file: `nasbench_only108.tfrecord`, `nasbench_full.tfrecord`, or one of EC-NAS.

    Reading a file takes seconds to a minute the first time, and a compact copy is kept in the
    cache; later the copy is found by the SHA-256 of the file.

    Differences from the official API: random repeats come from a generator of the object's own, not
    Python's global one (equal seeds give equal repeats); where a file has more or fewer than three
    repeats, all of them are drawn from; runs of EC-NAS have `halfway_energy` and `final_energy`
    (kWh) beside the official metrics; nothing is printed; there is no `evaluate`.

    Example:
        Query the best of a few cells::

            nasbench = nasplug.datasets.NASBench("nasbench_only108.tfrecord", seed=0)
            spec = nasplug.datasets.ModelSpec(matrix, ["input", "conv3x3-bn-relu", "output"])
            nasbench.query(spec)["validation_accuracy"]

        A file that is not there is named:

        >>> from nasplug import InputError, datasets
        >>> try:
        ...     datasets.NASBench("nowhere.tfrecord")
        ... except InputError as error:
        ...     print(error)
        nowhere.tfrecord is not a file; give the .tfrecord file that you downloaded

    Attributes:
        config: The space, with the keys of the official API's configuration.
        valid_epochs: The budgets of the file, such as `{4, 12, 36, 108}`.
        training_time_spent: Seconds of training that the queries so far stand for.
        total_epochs_spent: Epochs of training that the queries so far stand for.

    Args:
        dataset_file: The file.
        seed: Seed of the repeats that `query` draws; random if None.
        progress: Whether to draw a progress bar on stderr; None draws it on a terminal only.

    Raises:
        InputError: If the file cannot be read, is cut off or damaged, or is of another benchmark;
            the sentence names the record.
    """

    def __init__(
        self,
        dataset_file: str | os.PathLike[str],
        seed: int | None = None,
        progress: bool | None = None,
    ) -> None:
        self._table: NasbenchTable = cached_table(Path(dataset_file), progress)
        self._random = random.Random(seed)
        self._metrics = tuple(name for name in (*METRICS, *ENERGY) if name in self._table.runs)
        self.config: dict[str, Any] = {
            "module_vertices": MAX_VERTICES,
            "max_edges": MAX_EDGES,
            "num_repeats": REPEATS,
            "available_ops": list(OPS),
        }
        self.valid_epochs = set(self._table.epochs.tolist())
        self.training_time_spent = 0.0
        self.total_epochs_spent = 0

    def __len__(self) -> int:
        return len(self._table)

    def query(
        self, model_spec: ModelSpec, epochs: int = 108, stop_halfway: bool = False
    ) -> dict[str, Any]:
        """Draw one of the runs of a cell at random; adds to the budget counters.

        Args:
            model_spec: The cell.
            epochs: One of `valid_epochs`.
            stop_halfway: Whether time and accuracies are those after half of the epochs.

        Returns:
            `module_adjacency`, `module_operations`, `trainable_parameters`, `training_time` (s) and
            `train_accuracy`, `validation_accuracy`, `test_accuracy` (0 to 1).

        Raises:
            OutOfDomainError: If the cell or the number of epochs is outside the benchmark.
            UnknownCellError: If the file has no run of that cell and budget.
        """
        if epochs not in self.valid_epochs:
            raise OutOfDomainError(
                f"invalid number of epochs {epochs}, must be one of {sorted(self.valid_epochs)}"
            )
        cell = self._index(self._hash(model_spec))
        rows = self._table.rows(cell, int(np.searchsorted(self._table.epochs, epochs)))
        if not rows:
            raise UnknownCellError(f"the file has no run of {epochs} epochs of this cell")
        row = rows[self._random.randint(0, len(rows) - 1)]
        when = "halfway" if stop_halfway else "final"
        metrics = {
            name: float(self._table.runs[f"{when}_{name}"][row])
            for name in _MEASURED
            if f"{when}_{name}" in self._table.runs
        }
        self.training_time_spent += metrics["training_time"]
        self.total_epochs_spent += epochs // 2 if stop_halfway else epochs
        return {**self._fixed(cell), **metrics}

    def is_valid(self, model_spec: ModelSpec) -> bool:
        """Whether a cell is in the space; adds nothing to the budget counters."""
        try:
            self._check_spec(model_spec)
        except OutOfDomainError:
            return False
        return True

    def get_budget_counters(self) -> tuple[float, int]:
        """Seconds and epochs of training that the queries so far stand for."""
        return self.training_time_spent, self.total_epochs_spent

    def reset_budget_counters(self) -> None:
        """Count from zero again."""
        self.training_time_spent = 0.0
        self.total_epochs_spent = 0

    def hash_iterator(self) -> Iterator[str]:
        """The hashes of all cells, in the order of the file."""
        return (row.tobytes().hex() for row in self._table.hashes)

    def get_metrics_from_hash(self, module_hash: str) -> tuple[dict[str, Any], dict[int, Any]]:
        """Look up all runs of a cell, for analysis; adds nothing to the budget counters.

        Returns:
            `module_adjacency`, `module_operations`, `trainable_parameters`; and for each number of
            epochs a list of runs, each with `halfway_` and `final_` followed by `training_time`,
            `train_accuracy`, `validation_accuracy`, `test_accuracy`.

        Raises:
            UnknownCellError: If the file has no such hash; a `KeyError`, too.
        """
        cell = self._index(module_hash)
        runs = {}
        for budget, epochs in enumerate(self._table.epochs.tolist()):
            rows = self._table.rows(cell, budget)
            if rows:
                runs[epochs] = [
                    {name: float(self._table.runs[name][row]) for name in self._metrics}
                    for row in rows
                ]
        return self._fixed(cell), runs

    def get_metrics_from_spec(self, model_spec: ModelSpec) -> tuple[dict[str, Any], dict[int, Any]]:
        """Look up all runs of a cell; see `get_metrics_from_hash`.

        Raises:
            OutOfDomainError: If the cell is outside the space.
            UnknownCellError: If the file does not have the cell.
        """
        return self.get_metrics_from_hash(self._hash(model_spec))

    @property
    def fixed_statistics(self) -> Mapping[str, dict[str, Any]]:
        """Hash -> cell and parameters, which no training changes; made on demand."""
        return _Statistics(self, 0)

    @property
    def computed_statistics(self) -> Mapping[str, dict[int, Any]]:
        """Hash -> runs by budget; made on demand."""
        return _Statistics(self, 1)

    def _fixed(self, cell: int) -> dict[str, Any]:
        spelling = Cell.from_code(int(self._table.codes[cell]))
        adjacency = np.zeros((spelling.vertices, spelling.vertices), dtype=np.int8)
        for a, b in spelling.edges:
            adjacency[a, b] = 1
        return {
            "module_adjacency": adjacency,
            "module_operations": list(spelling.ops),
            "trainable_parameters": int(self._table.params[cell]),
        }

    def _index(self, module_hash: str) -> int:
        try:
            return self._table.positions[bytes.fromhex(module_hash)]
        except (KeyError, TypeError, ValueError):
            raise UnknownCellError(
                f"the file has no cell with the hash {str(module_hash)[:80]!r}"
            ) from None

    def _hash(self, model_spec: ModelSpec) -> str:
        self._check_spec(model_spec)
        return model_spec.hash_spec(OPS)

    def _check_spec(self, model_spec: ModelSpec) -> None:
        if model_spec.matrix is None or model_spec.ops is None:
            raise OutOfDomainError("invalid spec, provided graph is disconnected.")
        vertices, edges = len(model_spec.ops), int(np.sum(model_spec.matrix))
        if vertices > MAX_VERTICES:
            raise OutOfDomainError(
                f"too many vertices, got {vertices} (max vertices = {MAX_VERTICES})"
            )
        if edges > MAX_EDGES:
            raise OutOfDomainError(f"too many edges, got {edges} (max edges = {MAX_EDGES})")
        if model_spec.ops[0] != INPUT:
            raise OutOfDomainError(f"first operation should be '{INPUT}'")
        if model_spec.ops[-1] != OUTPUT:
            raise OutOfDomainError(f"last operation should be '{OUTPUT}'")
        for op in model_spec.ops[1:-1]:
            if op not in OPS:
                raise OutOfDomainError(f"unsupported op {op} (available ops = {list(OPS)})")


class _Statistics(Mapping[str, Any]):
    """Mapping of hashes to one half of `get_metrics_from_hash`."""

    def __init__(self, nasbench: NASBench, half: int) -> None:
        self._nasbench = nasbench
        self._half = half

    def __getitem__(self, module_hash: str) -> Any:
        return self._nasbench.get_metrics_from_hash(module_hash)[self._half]

    def __iter__(self) -> Iterator[str]:
        return self._nasbench.hash_iterator()

    def __len__(self) -> int:
        return len(self._nasbench)
