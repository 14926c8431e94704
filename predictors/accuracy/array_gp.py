"""Accuracy of cells at a rate of tens of thousands a second: a Gaussian process over arrays.

Where a search scores every cell of a large space, no graph of each can be made, let alone be read
by a network. This process reads features that are computed for all cells at once (`cell_blocks`),
has one kernel, and tells a variance from a part of what it learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, read_config
from nasplug.predictors.features.cell_arrays import BLOCKS, cell_blocks, spread_or_one
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.options import accuracy_predictor
from nasplug.predictors.prediction import Array, Prediction
from nasplug.predictors.process_predictor import ProcessPredictor
from nasplug.predictors.statistics.calibration import LEVELS, conformal_quantiles
from nasplug.predictors.statistics.gaussian_process import GaussianProcess, Term
from nasplug.predictors.statistics.normal_scores import normal_scores, quantile_grid, values_at
from nasplug.predictors.statistics.sparse_process import CellProcess
from nasplug.search_spaces import Graph
from nasplug.search_spaces.cell_arrays import CellArrays

__all__ = ["CellGP", "CellGPConfig", "cell_gp"]

FOLDS = 10
KERNEL: tuple[Term, ...] = (tuple((block, "rbf") for block in BLOCKS),)
# Cells whose features are made at once.
CHUNK = 16_384
# A cell is far if fewer than this share of those that were learned are as large as it is,
RARE = 0.15
# or if it is less certain than all but this share of them are when they are left out.
QUANTILE = 0.99
# Groups of cells by size that are left out to learn how wrong far predictions are. Among cells that
# are predicted best, ranks are too close to tell how wrong they are: the best tenth sets a floor.
SMALLEST_GROUP, BEST, SMALLEST_BEST = 40, 0.1, 20
INTERVAL = 0.9


@dataclass(frozen=True)
class CellGPConfig:
    """Targets and sizes of a `CellGP`.

    Attributes:
        targets: Names of the columns, such as image sets.
        units: Unit of all columns.
        places: Nodes of the largest graph that is asked for.
        inducing: Training cells that variances are computed from.
        hyperparameter_rows: At most as many cells decide the kernel's hyperparameters.
        seed: Decides which, and the folds.
    """

    targets: tuple[str, ...] = ("accuracy",)
    units: str = "%"
    places: int = 7
    inducing: int = 400
    hyperparameter_rows: int = 800
    seed: int = 0


class CellGP(ProcessPredictor):
    """Ranks cells by normal scores that a Gaussian process expects, and maps them to units.

    Intervals come from cells that were left out at random, and none is narrower than the tenth of
    these needs that is predicted best. Those of cells that are far from what was learned are also
    at least as wide as leaving out all large cells showed.

    Args:
        config: What to predict and how.
    """

    name = "cell-gp"
    noun = "a cell-gp"
    fewest = 40
    # Whether graphs of equal function count as one.
    reads_functions = True

    def __init__(self, config: CellGPConfig | None = None) -> None:
        self.config = config or CellGPConfig()
        self._types: tuple[str, ...] = ()
        self._state: dict[str, Array] = {}
        self._sparse: CellProcess | None = None

    @property
    def _is_fitted(self) -> bool:
        return self._sparse is not None

    @property
    def _noise(self) -> float:
        return float(self._state["kernel"][1])

    @property
    def parameters(self) -> int:
        """Hyperparameters of the kernel, and the weight of each training cell."""
        return len(BLOCKS) + 2 + self._state.get("scores", np.empty(0)).size

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Hardware] | None = None,
        *,
        calibration_targets: Array | None = None,
    ) -> None:
        """Learn from graphs with known targets.

        Args:
            graphs: Training cells, at least 40; all nodes on a path from the first to the last.
            targets: Values in units, shape `(graphs, targets)` or `(graphs,)`, finite.
            hardware: Not used; accuracy does not depend on it.
            calibration_targets: Values that predictions are mapped to, if they are another
                measurement of the same targets; the same shape. The ranking never sees them.

        Raises:
            InputError: If shapes do not fit or values are not finite, or there are too few graphs.
        """
        values, goal = self._labels(targets, len(graphs), calibration_targets)
        order = np.random.default_rng(self.config.seed).permutation(len(graphs))
        values, goal, chosen = values[order], goal[order], [graphs[k] for k in order]
        ends = {op for graph in chosen for op in (graph.ops[0], graph.ops[-1])}
        self._types = tuple(op for op in vocabulary_of(chosen) if op not in ends)
        cells = self._read(chosen)
        blocks = cell_blocks(cells)
        spreads = {name: spread_or_one(rows) for name, rows in blocks.items()}
        scaled = {name: rows / spreads[name] for name, rows in blocks.items()}
        scores = normal_scores(values)
        process = GaussianProcess(KERNEL, self.config.hyperparameter_rows)
        process.fit(scaled, scores, np.ones(len(chosen)))
        fitted = process.state()
        # The kernel's factors stand in the order of BLOCKS, as its names do.
        variance, *lengths = np.exp(fitted["hyperparameters"][:-1])
        units = fitted["units"] * lengths
        scales = [spreads[name] * unit for name, unit in zip(BLOCKS, units, strict=True)]
        self._state = {
            # Single precision is what is stored, so that a loaded predictor says the same.
            "rows": np.concatenate([blocks[name] for name in BLOCKS], axis=1).astype(np.float32),
            "scale": np.concatenate(scales),
            "scores": scores,
            "kernel": np.array([variance, process.noise]),
            "quantiles": quantile_grid(goal),
        }
        self._sparse = self._conditioned(np.arange(len(chosen)))
        self._learn_errors(goal, cells.nodes)

    def _conditioned(self, rows: NDArray[np.int64]) -> CellProcess:
        """The process that knows some of the training cells."""
        state = self._state
        variance, noise = state["kernel"].tolist()
        scaled = state["rows"][rows].astype(np.float64) / state["scale"]
        return CellProcess.of(scaled, state["scores"][rows], variance, noise, self.config.inducing)

    def _learn_errors(self, goal: Array, nodes: NDArray[np.int64]) -> None:
        """Quantiles of errors, what is far, and how much wider an interval has to be there."""
        scaled = self._state["rows"].astype(np.float64) / self._state["scale"]
        every = np.arange(len(goal))

        def left_out(known: NDArray[np.int64], asked: NDArray[np.int64]) -> tuple[Array, ...]:
            mean, variance = self._conditioned(known)(scaled[asked])
            center, spread = self._in_units(mean, variance)
            return center, spread, goal[asked] - center, variance

        folds = [every % FOLDS == f for f in range(FOLDS)]
        parts = [left_out(every[~fold], every[fold]) for fold in folds]
        residuals = np.concatenate([errors / spread for _, spread, errors, _ in parts])
        quantiles = np.stack([conformal_quantiles(column) for column in residuals.T])
        centers, _, errors, variances = (np.concatenate(part) for part in zip(*parts, strict=True))
        near = _of_best(centers, _needed(errors, quantiles))
        factor, far = 1.0, near
        for size in sorted(set(nodes.tolist())):
            small, large = np.flatnonzero(nodes < size), np.flatnonzero(nodes >= size)
            if min(len(small), len(large)) < SMALLEST_GROUP:
                continue
            center, spread, errors, _ = left_out(small, large)
            needed = _needed(errors, quantiles)
            factor = max(factor, float(np.quantile(needed / spread, INTERVAL, axis=0).max()))
            far = np.maximum(far, _of_best(center, needed))
        sizes = [size for size in set(nodes.tolist()) if (nodes >= size).mean() >= RARE]
        self._state |= {
            "residuals": quantiles,
            "far": np.array([max(sizes), np.quantile(variances, QUANTILE), factor]),
            "floors": np.stack([near, far]),
        }

    def _values(self, scores: Array) -> Array:
        return values_at(scores, self._state["quantiles"])

    def _read(self, graphs: Sequence[Graph]) -> CellArrays:
        return CellArrays.of(graphs, self._types, self.config.places)

    def scores(self, graphs: Sequence[Graph]) -> Array:
        """Expected normal scores, `(1, graphs, targets)`.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        return self._posterior(graphs)[0][None]

    def _distribution(self, graphs: Sequence[Graph]) -> tuple[Array, Array, Array]:
        return self._distribution_of(self._read(graphs))

    def predict_arrays(self, cells: CellArrays) -> Prediction:
        """Predict all targets of cells without a graph of each.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        return self._prediction(*self._distribution_of(cells))

    def _distribution_of(self, cells: CellArrays) -> tuple[Array, Array, Array]:
        mean, variance = self._posterior_of(cells)
        center, spread = self._in_units(mean, variance)
        far = self._far(cells, variance)
        spread[far] *= self._state["far"][2]
        spread = np.maximum(spread, self._state["floors"][far.astype(np.intp)])
        return center, spread, self._state["residuals"].T

    def familiar(self, graphs: Sequence[Graph]) -> NDArray[np.bool_]:
        """Whether cells are like those that were learned, shape `(graphs,)`.

        A cell is not if few learned ones are as large, or if the process is less certain of it than
        of nearly all of them.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        return self.familiar_arrays(self._read(graphs))

    def familiar_arrays(self, cells: CellArrays) -> NDArray[np.bool_]:
        """`familiar` without a graph of each cell, shape `(n,)`."""
        _, variance = self._posterior_of(cells)
        return ~self._far(cells, variance)

    def _far(self, cells: CellArrays, variance: Array) -> NDArray[np.bool_]:
        size, uncertain, _ = self._state["far"].tolist()
        result: NDArray[np.bool_] = (cells.nodes > size) | (variance > uncertain)
        return result

    def _posterior(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        return self._posterior_of(self._read(graphs))

    def _posterior_of(self, cells: CellArrays) -> tuple[Array, Array]:
        self._check_fitted()
        assert self._sparse is not None
        means, variances = np.empty((len(cells), len(self.targets))), np.empty(len(cells))
        for start in range(0, len(cells), CHUNK):
            part = slice(start, start + CHUNK)
            blocks = cell_blocks(_some(cells, part))
            rows = np.concatenate([blocks[name] for name in BLOCKS], axis=1)
            # As the stored rows: a cell that was learned has to be found again.
            rows = rows.astype(np.float32).astype(np.float64) / self._state["scale"]
            means[part], variances[part] = self._sparse(rows)
        return means, variances

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return self._state

    def _card(self) -> dict[str, Any]:
        return {"types": self._types}

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> CellGP:
        card, state = checkpoint.card, checkpoint.tensors
        predictor = cls(read_config(CellGPConfig, card["config"]))
        predictor._types = tuple(card["types"])
        predictor._state = dict(state)
        n, columns = state["scores"].shape
        wanted = {
            "rows": (n, len(state["scale"])),
            "kernel": (2,),
            "far": (3,),
            "floors": (2, columns),
            "residuals": (columns, len(LEVELS)),
        }
        shapes = {name: state[name].shape for name in wanted}
        complete = columns == len(predictor.targets) == len(state["quantiles"])
        if shapes != wanted or not complete:
            raise ValueError(f"its arrays have shapes {shapes}, not {wanted}")
        width = sum(rows.shape[1] for rows in cell_blocks(predictor._read(_ONE)).values())
        if width != len(state["scale"]):
            raise ValueError(f"{len(state['scale'])} features are not the {width} of its types")
        predictor._sparse = predictor._conditioned(np.arange(n))
        return predictor


_ONE = [Graph(("input", "output"), ((0, 1),))]


def _some(cells: CellArrays, rows: slice) -> CellArrays:
    attributes = {name: values[rows] for name, values in cells.attributes.items()}
    ops, nodes, edges = cells.ops[rows], cells.nodes[rows], cells.edges[rows]
    return CellArrays(cells.types, ops, nodes, edges, attributes)


def _needed(errors: Array, quantiles: Array) -> Array:
    """The spread from which on the central interval holds each error, `(n, targets)`."""
    ends = [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2]
    reach = np.array([np.interp(ends, LEVELS, levels) for levels in quantiles])
    low, high = np.minimum(reach[:, 0], -1e-12), np.maximum(reach[:, 1], 1e-12)
    result: Array = np.where(errors < 0, errors / low, errors / high)
    return result


def _of_best(center: Array, needed: Array) -> Array:
    """The spread that holds most errors of the tenth that is predicted best, `(targets,)`."""
    best = np.argsort(-center, axis=0)[: max(round(BEST * len(center)), SMALLEST_BEST)]
    result: Array = np.quantile(np.take_along_axis(needed, best, axis=0), INTERVAL, axis=0)
    return result


cell_gp = partial(accuracy_predictor, CellGP, CellGPConfig)
