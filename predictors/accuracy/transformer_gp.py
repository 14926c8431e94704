"""nasplug's own accuracy predictor: a pretrained graph transformer under an exact Gaussian process.

A sibling-aware dynamic-graph transformer that was pretrained without labels (see `pretraining`)
turns a graph into an embedding and into the responses it expects of random networks. A Gaussian
process over both, and over summaries of the graph's paths, learns the labels: in seconds from a
few dozen of them, with a variance for each graph. Where labels are many, copies of the transformer
are fine-tuned on them too, and the prediction is the mean of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.accuracy.finetuning import finetune, untrained_copy
from nasplug.predictors.accuracy.pretraining import Encoder
from nasplug.predictors.accuracy.transformer_gp_config import (
    SOURCE_TERMS,
    TransformerGPConfig,
    kernel_terms,
)
from nasplug.predictors.checkpoint import (
    Checkpoint,
    config_fields,
    load_model,
    restoring,
    save_checkpoint,
)
from nasplug.predictors.features.cell_arrays import cell_blocks
from nasplug.predictors.features.graph_arrays import pack, unpack
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.features.paths import count_matrix, path_counts, summaries
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.models.sibling_transformer import SiblingTransformer
from nasplug.predictors.options import check_accuracy
from nasplug.predictors.prediction import NotFittedError, Prediction
from nasplug.predictors.statistics.calibration import LEVELS, Calibration
from nasplug.predictors.statistics.gaussian_process import GaussianProcess
from nasplug.predictors.statistics.normal_scores import (
    finite_columns,
    normal_scores,
    quantile_grid,
    values_at,
)
from nasplug.predictors.training.ensemble import ensemble_scores, member_tensors, unique_graphs
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.cell_arrays import CellArrays
from nasplug.search_spaces.simplify import simplify

__all__ = ["TransformerGP", "TransformerGPConfig", "transformer_gp"]

Array = NDArray[np.float64]

FEWEST = 20
QUADRATURE = 15
# Where all labels are equal, in units.
SMALLEST_SPREAD = 1e-9


class TransformerGP:
    """Ranks graphs by normal scores that a Gaussian process expects, and maps them to units.

    Graphs that `simplify` makes isomorphic are averaged and predicted alike, up to rounding.
    Intervals are made from leave-one-out predictions of the process for the training graphs; where
    networks were fine-tuned they keep that width, though the mean of both errs a little less.

    Args:
        config: What to predict and how.
        encoder: A pretrained encoder of the space (see `pretraining.pretrain`); without one the
            kernel reads paths alone.
        backend: Not used by the process; kept by the encoder.
        source: A fitted predictor of a related target, such as another image set: what it expects
            of a graph is the prior mean, scaled, and a feature of the process.

    Raises:
        InputError: If the kernel is unknown or needs an encoder, or the source is not fitted.
    """

    kind = "accuracy"
    name = "transformer-gp"

    def __init__(
        self,
        config: TransformerGPConfig | None = None,
        encoder: Encoder | None = None,
        backend: str = "auto",
        source: TransformerGP | None = None,
    ) -> None:
        self.config = config or TransformerGPConfig()
        self.source = source
        self.encoder = encoder
        self.backend = backend
        terms = kernel_terms(self.config.kernel, has_encoder=encoder is not None)
        if source is not None:
            if not source._graphs:
                raise InputError("the source has learned nothing yet; fit it first")
            terms = (*terms, *SOURCE_TERMS)
        self._process = GaussianProcess(terms, self.config.hyperparameter_rows)
        self._graphs: list[Graph] = []
        self._rows: dict[str, Array] = {}
        self._vocabulary: tuple[str, ...] = ()
        self._columns: dict[Any, int] = {}
        self._quantiles: Array = np.empty((0, 0))
        self._calibration: Calibration | None = None
        self._networks: list[SiblingTransformer] = []
        # Whether spreads come from the calibration rather than from the process.
        self._mapped = False

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the predicted columns."""
        return self.config.targets

    @property
    def reads_functions(self) -> bool:
        """Whether graphs of equal function count as one."""
        return self.config.simplified

    @property
    def parameters(self) -> int:
        """Weights of the encoder and of fine-tuned networks, and the kernel's hyperparameters."""
        models = [] if self.encoder is None else [self.encoder.model, *self._networks]
        weights = sum(p.numel() for model in models for p in model.parameters())
        return weights + len(self._process.hyperparameters)

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Hardware] | None = None,
        *,
        calibration_targets: Array | None = None,
        folder: str | Path | None = None,
        progress: bool | None = None,
    ) -> None:
        """Learn from graphs with known targets.

        Args:
            graphs: Training graphs, at least 20.
            targets: Values in units, shape `(graphs, targets)` or `(graphs,)`, finite.
            hardware: Not used; accuracy does not depend on it.
            calibration_targets: Values that predictions are mapped to, if they are another
                measurement of the same targets (a test accuracy while `targets` are validation
                accuracies); the same shape. The ranking never sees them.
            folder: Where fine-tuned networks keep their training state to be resumed.
            progress: Whether to show progress bars of their training.

        Raises:
            InputError: If shapes do not fit or values are not finite, or there are too few graphs,
                or the encoder does not know an operation.
        """
        values = finite_columns(targets, len(graphs), self.targets)
        if len(graphs) < FEWEST:
            raise InputError(f"{len(graphs)} graphs are too few to learn from; give {FEWEST}")
        prepared = self._prepare(graphs)
        groups: dict[str, list[int]] = {}
        for k, graph in enumerate(prepared):
            groups.setdefault(graph.canonical_hash, []).append(k)
        members = list(groups.values())
        order = np.random.default_rng(self.config.seed).permutation(len(members))
        members = [members[k] for k in order]
        scores = normal_scores(values)
        self._graphs = [prepared[rows[0]] for rows in members]
        self._rows = {
            "targets": np.array([scores[rows].mean(0) for rows in members]),
            "counts": np.array([len(rows) for rows in members], dtype=np.float64),
        }
        self._learn_columns()
        blocks = self._blocks(self._graphs)
        if self.source is not None:
            self._rows["slopes"] = _slopes(blocks["source"], self._rows["targets"])
        expected = self._expected(blocks)
        self._process.fit(blocks, self._rows["targets"] - expected, self._rows["counts"])
        self._networks = []
        if self.encoder is not None and len(graphs) >= self.config.finetune_from:
            self._networks = finetune(
                self.encoder,
                self._graphs,
                self._rows["targets"],
                self._rows["counts"],
                self.targets,
                self.config.members,
                seed=self.config.seed,
                folder=folder,
                progress=progress,
            )
        self._quantiles = quantile_grid(values)
        self._mapped = calibration_targets is not None
        goal = finite_columns(
            values if calibration_targets is None else calibration_targets,
            len(graphs),
            self.targets,
        )
        row_of = np.empty(len(graphs), dtype=np.int64)
        for row, labels in enumerate(members):
            row_of[labels] = row
        self._calibrate(row_of, scores, expected[row_of], goal)

    def _expected(self, blocks: Mapping[str, Array]) -> Array:
        """What the source leads one to expect before any label, shape `(graphs, targets)`."""
        if self.source is None:
            return np.zeros((len(next(iter(blocks.values()))), len(self.targets)))
        result: Array = blocks["source"] @ self._rows["slopes"]
        return result

    def _calibrate(
        self, row_of: NDArray[np.int64], scores: Array, expected: Array, goal: Array
    ) -> None:
        """From leave-one-out predictions of all labels to intervals of one measured value."""
        mean, variance = self._process.leave_one_out(row_of, scores - expected)
        center, spread = self._in_units(mean + expected, variance)
        if self._mapped:
            self._calibration = Calibration.fit(center, goal)
        else:
            errors = (goal - center) / spread
            self._calibration = Calibration.identity(list(errors.T))

    def _in_units(self, mean: Array, variance: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of a label, from those of its normal score.

        The map between them is far from straight where labels tie or leave a gap, so both are
        expectations over the score (Gauss-Hermite quadrature).
        """
        reach = np.sqrt(variance + self._process.noise)[:, None]
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
        values = np.stack([values_at(mean + node * reach, self._quantiles) for node in nodes])
        center = np.average(values, axis=0, weights=weights)
        spread = np.sqrt(np.average((values - center) ** 2, axis=0, weights=weights))
        return center, np.maximum(spread, SMALLEST_SPREAD)

    def scores(self, graphs: Sequence[Graph]) -> Array:
        """Expected normal scores, `(1, graphs, targets)`.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        return self._posterior(graphs, variance=False)[0][None]

    def posterior(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        """Mean and variance of the normal score of each graph.

        Returns:
            Means `(graphs, targets)` and variances `(graphs,)`, without the noise of a label.

        Raises:
            NotFittedError: If nothing was learned or loaded.
            InputError: If the encoder does not know an operation.
        """
        return self._posterior(graphs)

    def _posterior(self, graphs: Sequence[Graph], variance: bool = True) -> tuple[Array, Array]:
        if not self._graphs:
            raise NotFittedError("this predictor has learned nothing yet; call fit or load one")
        distinct, inverse = unique_graphs(self._prepare(graphs))
        blocks = self._blocks(distinct)
        mean, variances = self._process.predict(blocks, variance)
        mean = mean + self._expected(blocks)
        if self._networks:
            mean = (mean + ensemble_scores(self._networks, distinct).mean(0)) / 2
        return mean[inverse], variances[inverse]

    def predict(
        self, graphs: Sequence[Graph], hardware: Hardware | None = None, batch_size: int = 1
    ) -> Prediction:
        """Predict all targets of graphs; device and batch size make no difference.

        Raises:
            NotFittedError: If nothing was learned or loaded.
            InputError: If the encoder does not know an operation.
        """
        mean, variance = self._posterior(graphs, variance=not self._mapped)
        assert self._calibration is not None
        if self._mapped:
            center, spread, residuals = self._calibration.apply(
                values_at(mean, self._quantiles), range(len(self.targets))
            )
        else:
            center, spread = self._in_units(mean, variance)
            residuals = self._calibration.residuals.T
        return Prediction(
            self.targets,
            (self.config.units,) * len(self.targets),
            center,
            spread,
            LEVELS,
            residuals,
            (False,) * len(self.targets),
        )

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write `<path>.safetensors` and its card; `about` is added to the card."""
        save_checkpoint(path, self._tensors(), {**self._card(), **(about or {})})

    def _tensors(self) -> dict[str, NDArray[Any]]:
        if self._calibration is None:
            raise NotFittedError("this predictor has learned nothing yet; there is nothing to save")
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            "calibration": self._calibration.tensors(),
            "graphs": pack(self._graphs, self._vocabulary),
            "rows": self._rows,
            "process": self._process.state(),
            "training": {"quantiles": self._quantiles},
        }
        if self.encoder is not None:
            parts["encoder"] = self.encoder.tensors()
        if self.source is not None:
            parts["source"] = self.source._tensors()
        if self._networks:
            parts["networks"] = member_tensors(self._networks)
        return {f"{part}.{name}": v for part, held in parts.items() for name, v in held.items()}

    def _card(self) -> dict[str, Any]:
        card: dict[str, Any] = {
            "predictor": self.name,
            "config": asdict(self.config),
            "vocabulary": self._vocabulary,
            "mapped": self._mapped,
            "kernel": self.config.kernel,
            "networks": len(self._networks),
        }
        if self.encoder is not None:
            card["encoder"] = self.encoder.card()
        if self.source is not None:
            card["source"] = self.source._card()
        return card

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, backend: str = "auto") -> TransformerGP:
        """The predictor that a checkpoint holds.

        Raises:
            InputError: If the card or the arrays do not fit this class.
        """
        card = checkpoint.card
        encoder = source = None
        with restoring("a transformer-gp"):
            if "encoder" in card:
                encoder = Encoder.restore(card["encoder"], checkpoint.section("encoder"), backend)
            if "source" in card:
                inner = Checkpoint(checkpoint.section("source"), card["source"])
                source = cls.from_checkpoint(inner, backend)
            config = TransformerGPConfig(**config_fields(card["config"]))
            if config.kernel == "auto" and encoder is None and "kernel" not in card:
                # What it was before there was another one.
                config = replace(config, kernel="paths")
            predictor = cls(config, encoder, backend, source)
            predictor._vocabulary = tuple(card["vocabulary"])
            predictor._mapped = bool(card["mapped"])
            predictor._graphs = unpack(checkpoint.section("graphs"), predictor._vocabulary)
            predictor._rows = checkpoint.section("rows")
            predictor._quantiles = checkpoint.tensors["training.quantiles"]
            predictor._calibration = Calibration(**checkpoint.section("calibration"))
            if encoder is not None:
                weights = Checkpoint(checkpoint.section("networks"), card)
                predictor._networks = [
                    load_model(
                        partial(untrained_copy, encoder, predictor.targets),
                        weights.section(f"model-{member}"),
                    )
                    for member in range(int(card["networks"]))
                ]
            process = checkpoint.section("process")
            predictor._learn_columns()
            blocks = predictor._blocks(predictor._graphs)
            predictor._process.condition(
                blocks,
                predictor._rows["targets"] - predictor._expected(blocks),
                predictor._rows["counts"],
                process["hyperparameters"],
                dict(zip(predictor._process.names, process["units"].tolist(), strict=True)),
            )
        return predictor

    def _prepare(self, graphs: Sequence[Graph]) -> list[Graph]:
        return [simplify(graph) for graph in graphs] if self.config.simplified else list(graphs)

    def _learn_columns(self) -> None:
        """Operation types and sequences of the training graphs, which features are made of."""
        self._vocabulary = vocabulary_of(self._graphs)
        if "paths" not in self._process.names:
            return
        sequences = {path for counts in path_counts(self._graphs) for path in counts}
        self._columns = {path: k for k, path in enumerate(sorted(sequences))}

    def _blocks(self, graphs: Sequence[Graph]) -> dict[str, Array]:
        """Features of prepared graphs by name, as far as the kernel reads them."""
        names = self._process.names
        blocks: dict[str, Array] = {}
        if "summaries" in names:
            found = summaries(graphs, self._vocabulary)
            if "summary_scales" not in self._rows:
                self._rows["summary_scales"] = np.maximum(found.std(0), 1e-9)
            blocks["summaries"] = found / self._rows["summary_scales"]
        if {"ends", "pairs"} & set(names):
            ends = ("input", "output")
            types = [op for op in self._vocabulary if op not in ends]
            found_all = cell_blocks(CellArrays.of(graphs, types))
            for name in ("ends", "pairs"):
                key = f"{name}_scales"
                if key not in self._rows:
                    spread = found_all[name].std(0)
                    # What no training graph varies tells nothing of how far others are.
                    self._rows[key] = np.where(spread > 1e-9, spread, 1.0)
                blocks[name] = found_all[name] / self._rows[key]
        if "paths" in names:
            blocks["paths"] = count_matrix(path_counts(graphs), self._columns)  # type: ignore[arg-type]
        if {"embedding", "responses"} & set(names):
            assert self.encoder is not None
            blocks["embedding"], blocks["responses"] = self.encoder.encode(graphs)
        if "source" in names:
            assert self.source is not None
            blocks["source"] = self.source.scores(graphs)[0]
        return blocks


def _slopes(source: Array, targets: Array) -> Array:
    """Ridge regression of the targets on what the source expects, `(source columns, targets)`."""
    # All are normal scores, so one unit of ridge is the weight of a single label.
    gram = source.T @ source + np.eye(source.shape[1])
    result: Array = np.asarray(np.linalg.solve(gram, source.T @ targets), dtype=np.float64)
    return result


def transformer_gp(
    kind: str = "accuracy",
    targets: Sequence[str] = ("accuracy",),
    backend: str = "auto",
    encoder: Encoder | str | Path | None = None,
    source: TransformerGP | None = None,
    **options: Any,
) -> TransformerGP:
    """nasplug's own accuracy predictor.

    Args:
        kind: `"accuracy"`; latencies have `latency.LatencyPredictor`.
        targets: Names of the columns.
        backend: Of the encoder's layers.
        encoder: A pretrained encoder, or the path of one.
        source: A fitted predictor of a related target.
        **options: Fields of `TransformerGPConfig`.

    Raises:
        InputError: If the kind or an option is unknown, or the encoder cannot be read.
    """
    check_accuracy(kind, TransformerGPConfig, options)
    if isinstance(encoder, (str, Path)):
        encoder = Encoder.load(encoder, backend)
    config = TransformerGPConfig(tuple(targets), **options)
    return TransformerGP(config, encoder, backend, source)
