"""my_predictor.py: ridge regression on how often a cell has each operation."""

import numpy as np

from nasplug.predictors import NotFittedError, Prediction
from nasplug.predictors.calibration import LEVELS, conformal_quantiles
from nasplug.predictors.checkpoint import save_checkpoint
from nasplug.predictors.features import vocabulary_of
from nasplug.search_spaces import InputError


class Ridge:
    def __init__(self, kind="accuracy", targets=("accuracy",), strength=1.0):
        self.kind, self.targets, self.strength = kind, tuple(targets), strength
        self.ops = None  # until something was learned

    def counts(self, graphs):
        rows = [[graph.ops.count(op) for op in self.ops] for graph in graphs]
        return np.array(rows, dtype=float).reshape(len(graphs), len(self.ops))

    def fit(self, graphs, targets, hardware=None):
        if len(graphs) < 10 or len(targets) != len(graphs):
            raise InputError(f"give 10 graphs and a target of each, not {len(graphs)}")
        self.ops = vocabulary_of(graphs)
        x, y = self.counts(graphs), np.asarray(targets, dtype=float).reshape(len(graphs), -1)
        n = len(x) * 4 // 5  # the others tell how wrong it is
        gram = x[:n].T @ x[:n] + self.strength * np.eye(len(self.ops))
        self.weights = np.linalg.solve(gram, x[:n].T @ y[:n])
        errors = y[n:] - x[n:] @ self.weights
        self.residuals = np.stack([conformal_quantiles(e) for e in errors.T], axis=1)

    def predict(self, graphs, hardware=None, batch_size=1):
        if self.ops is None:
            raise NotFittedError("this predictor is not fitted; call fit, or load a fitted one")
        center, columns = self.counts(graphs) @ self.weights, len(self.targets)
        spread, units = np.ones_like(center), ("%",) * columns
        form = (center, spread, LEVELS, self.residuals, (False,) * columns)
        return Prediction(self.targets, units, *form)

    def save(self, path, about=None):
        card = {"predictor": "mine", "config": {"targets": self.targets}, "ops": self.ops}
        arrays = {"weights": self.weights, "residuals": self.residuals}
        save_checkpoint(path, arrays, card | (about or {}))

    @classmethod
    def from_checkpoint(cls, checkpoint, backend="auto"):
        made = cls(**checkpoint.card["config"])
        made.ops = checkpoint.card["ops"]
        made.weights = checkpoint.tensors["weights"]
        made.residuals = checkpoint.tensors["residuals"]
        return made
