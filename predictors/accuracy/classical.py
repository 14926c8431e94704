"""The cheap methods that a network has to beat: a random forest, gradient boosting.

They learn accuracies as normal scores of their rank, and tell intervals from predictions of
examples that the model at hand had not seen. scikit-learn (the extra `classical`) is loaded on use.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import numpy as np

from nasplug.predictors.features.cells import FEATURES, Features
from nasplug.predictors.fitted import FittedPredictor
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.calibration import conformal_quantiles
from nasplug.predictors.statistics.normal_scores import normal_scores, quantile_grid, values_at
from nasplug.predictors.statistics.units import by_slope
from nasplug.search_spaces import Graph, InputError

__all__ = ["ClassicalPredictor", "GradientBoosting", "RandomForest", "sklearn"]

FOLDS = 5
# A spread below this share of the targets' deviation would make residuals meaningless.
SMALLEST_SPREAD = 0.02


def sklearn(module: str) -> Any:
    """A module of scikit-learn, such as `"ensemble"`.

    Raises:
        InputError: If scikit-learn is not installed.
    """
    try:
        return import_module(f"sklearn.{module}")
    except ModuleNotFoundError:
        raise InputError(
            'this predictor needs scikit-learn; install it with pip install "nasplug[classical]"'
        ) from None


class ClassicalPredictor(FittedPredictor):
    """Learns normal scores of graphs' features, one target at a time.

    A deviation of the score becomes a spread in units by the slope of the training targets'
    quantiles there; the interval is made conformal by predictions of left-out training examples.

    Args:
        kind: `"accuracy"`; there is no other.
        targets: Names of the columns.
        features: A key of `FEATURES`, by default `usual_features`.
        seed: Of everything random.
        nodes: Nodes of the largest graph that is asked for; those of the training graphs if they
            have more.

    Raises:
        InputError: If the kind or the features are unknown, there is no target, or the number of
            nodes is negative.
    """

    storable = False
    fewest = 20
    usual_features = "paths"

    def __init__(
        self,
        kind: str = "accuracy",
        targets: Sequence[str] = ("accuracy",),
        features: str | None = None,
        seed: int = 0,
        nodes: int = 0,
    ) -> None:
        if kind != self.kind:
            raise InputError(f"{self.name} predicts accuracy, not {kind!r}")
        features = self.usual_features if features is None else features
        if features not in FEATURES:
            raise InputError(f"unknown features {features!r}; known: {', '.join(FEATURES)}")
        if not targets:
            raise InputError("a predictor needs at least one target")
        if nodes < 0:
            raise InputError(f"nodes is {nodes}; give the largest number of nodes, or 0")
        self.features = features
        self.seed = seed
        self.nodes = nodes
        self._targets = tuple(targets)
        self._encode: Features | None = None
        self._models: list[Any] = []
        self._quantiles: Array = np.empty((0, 0))
        self._floor: Array = np.empty(0)
        self._residuals: Array = np.empty((0, 0))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the predicted columns."""
        return self._targets

    @property
    def parameters(self) -> int | None:
        """Fitted numbers, or None where the library does not tell."""
        return None

    def fit(
        self, graphs: Sequence[Graph], targets: Array, hardware: Sequence[Hardware] | None = None
    ) -> None:
        """Learn from graphs with known targets.

        Args:
            graphs: Training graphs.
            targets: Values in units, shape `(graphs, targets)` or `(graphs,)`, finite.
            hardware: Not used; accuracy does not depend on it.

        Raises:
            InputError: If shapes do not fit, values are not finite, there are fewer than 20
                graphs, or scikit-learn is missing.
        """
        values, _ = self._labels(targets, len(graphs))
        encode = FEATURES[self.features].of(graphs, self.nodes)
        x, scores = encode(graphs), normal_scores(values)
        learned = [self._learn(x, column) for column in scores.T]
        self._encode, self._models = encode, [model for model, _ in learned]
        self._quantiles = quantile_grid(values)
        self._floor = np.maximum(SMALLEST_SPREAD * values.std(0), 1e-9)
        mean, std = np.stack([left_out for _, left_out in learned], axis=2)
        center, spread = by_slope(self._values, mean, std, self._floor)
        normal = (values - center) / spread
        self._residuals = np.stack([conformal_quantiles(column) for column in normal.T], axis=1)

    @abstractmethod
    def _learn(self, x: Array, scores: Array) -> tuple[Any, tuple[Array, Array]]:
        """A model of features `(n, f)` and normal scores `(n,)`.

        With it come mean and deviation `(n,)` of the scores, each predicted without its example.
        """

    @abstractmethod
    def _say(self, model: Any, x: Array) -> tuple[Array, Array]:
        """Mean and deviation of a learned model's normal scores, `(n,)` each."""

    @property
    def _is_fitted(self) -> bool:
        return self._encode is not None

    def _values(self, scores: Array) -> Array:
        return values_at(scores, self._quantiles)

    def _answers(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        self._check_fitted()
        assert self._encode is not None
        x = self._encode(graphs)
        if not len(x):
            return np.empty((0, len(self.targets))), np.empty((0, len(self.targets)))
        mean, std = np.stack([self._say(model, x) for model in self._models], axis=2)
        return mean, std

    def scores(self, graphs: Sequence[Graph]) -> Array:
        """Predicted normal scores, `(1, graphs, targets)`.

        Raises:
            NotFittedError: If nothing was learned or loaded.
            InputError: If a graph has an operation that was not in the training graphs.
        """
        return self._answers(graphs)[0][None]

    def _distribution(self, graphs: Sequence[Graph]) -> tuple[Array, Array, Array]:
        return *by_slope(self._values, *self._answers(graphs), self._floor), self._residuals

    @classmethod
    def _refuse_storage(cls) -> NoReturn:
        # scikit-learn stores these models as pickles only, which run code when they are read.
        raise InputError(
            f"{cls.name} cannot be saved, because that would need a pickle; fit it where you use it"
        )


class RandomForest(ClassicalPredictor):
    """Random forest; its spread is that over the trees, its residuals are out-of-bag.

    Args:
        trees: Trees, at least 50, so that each example is left out by some.
        **options: See `ClassicalPredictor`.
    """

    name = "random-forest"

    def __init__(
        self,
        kind: str = "accuracy",
        targets: Sequence[str] = ("accuracy",),
        features: str = "one-hot",
        seed: int = 0,
        trees: int = 200,
        nodes: int = 0,
    ) -> None:
        super().__init__(kind, targets, features, seed, nodes)
        if trees < 50:
            raise InputError(
                f"trees is {trees}; give at least 50, so that some trees have not seen each example"
            )
        self.trees = trees

    @property
    def parameters(self) -> int | None:
        """Nodes of all trees, each with a threshold or a value."""
        result: int | None = sum(
            tree.tree_.node_count for forest in self._models for tree in forest.estimators_
        )
        return result

    def _learn(self, x: Array, scores: Array) -> tuple[Any, tuple[Array, Array]]:
        forest = sklearn("ensemble").RandomForestRegressor(self.trees, random_state=self.seed)
        forest.fit(x, scores)
        answers = self._each_tree(forest, x)
        for tree, drawn in zip(answers, forest.estimators_samples_, strict=True):
            tree[drawn] = np.nan
        return forest, (np.nanmean(answers, axis=0), np.nanstd(answers, axis=0))

    def _say(self, model: Any, x: Array) -> tuple[Array, Array]:
        answers = self._each_tree(model, x)
        return answers.mean(0), answers.std(0)

    @staticmethod
    def _each_tree(forest: Any, x: Array) -> Array:
        return np.stack([tree.predict(x) for tree in forest.estimators_])


class GradientBoosting(ClassicalPredictor):
    """Histogram gradient boosting; one spread of the score, from cross-validated residuals.

    Args:
        rounds: Trees.
        learning_rate: Weight of each tree.
        **options: See `ClassicalPredictor`.
    """

    name = "gradient-boosting"

    def __init__(
        self,
        kind: str = "accuracy",
        targets: Sequence[str] = ("accuracy",),
        features: str = "paths",
        seed: int = 0,
        rounds: int = 200,
        learning_rate: float = 0.05,
        nodes: int = 0,
    ) -> None:
        super().__init__(kind, targets, features, seed, nodes)
        if rounds < 1 or not learning_rate > 0:
            raise InputError(f"rounds {rounds} and learning_rate {learning_rate} must be above 0")
        self.rounds, self.learning_rate = rounds, learning_rate

    def _learn(self, x: Array, scores: Array) -> tuple[Any, tuple[Array, Array]]:
        fold = np.random.default_rng(self.seed).permutation(len(x)) % FOLDS
        mean = np.empty(len(x))
        for f in range(FOLDS):
            inside = fold == f
            mean[inside] = self._boosted(x[~inside], scores[~inside]).predict(x[inside])
        deviation = float(np.sqrt(np.mean((scores - mean) ** 2)))
        return (self._boosted(x, scores), deviation), (mean, np.full(len(x), deviation))

    def _boosted(self, x: Array, scores: Array) -> Any:
        # Small leaves and shallow trees: a budget is some hundred cells.
        boosting = sklearn("ensemble").HistGradientBoostingRegressor(
            learning_rate=self.learning_rate,
            max_iter=self.rounds,
            max_leaf_nodes=8,
            min_samples_leaf=5,
            early_stopping=False,
            random_state=self.seed,
        )
        return boosting.fit(x, scores)

    def _say(self, model: Any, x: Array) -> tuple[Array, Array]:
        boosted, deviation = model
        return boosted.predict(x), np.full(len(x), deviation)
