"""nasplug's own accuracy predictor: a pretrained graph transformer under an exact Gaussian process.

A sibling-aware dynamic-graph transformer that was pretrained without labels (see `pretraining`)
turns a graph into an embedding and into the responses it expects of random networks. A Gaussian
process over both, and over summaries of the graph's paths, learns the labels: in seconds from a
few dozen of them, with a variance for each graph. Where labels are many, copies of the transformer
are fine-tuned on them too, and the prediction is the mean of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.accuracy.cell_reader import ENCODED, SOURCE_TERMS, CellReader, kernel_terms
from nasplug.predictors.accuracy.finetuning import finetune, untrained_copy
from nasplug.predictors.accuracy.pretraining import Encoder
from nasplug.predictors.checkpoint import Checkpoint, read_config
from nasplug.predictors.features.graph_arrays import pack, unpack
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.models.sibling_transformer import SiblingTransformer
from nasplug.predictors.options import accuracy_config
from nasplug.predictors.prediction import Array
from nasplug.predictors.process_predictor import ProcessPredictor
from nasplug.predictors.statistics.calibration import Calibration
from nasplug.predictors.statistics.gaussian_process import GaussianProcess
from nasplug.predictors.statistics.normal_scores import normal_scores, quantile_grid, values_at
from nasplug.predictors.training.ensemble import (
    ensemble_scores,
    graph_key,
    load_members,
    member_tensors,
    rows_by_function,
    unique_graphs,
)
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.simplify import simplify

__all__ = ["TransformerGP", "TransformerGPConfig", "transformer_gp"]


@dataclass(frozen=True)
class TransformerGPConfig:
    """Targets, kernel and training of a `TransformerGP`.

    Attributes:
        targets: Names of the columns, such as image sets.
        units: Unit of all columns.
        kernel: One of `cell_reader.KERNELS`; `"auto"` is `"full"` with an encoder and `"cells"`
            without one.
        simplified: Whether graphs of equal function count as one, as they should wherever the
            target is a property of the function.
        members: Fine-tuned networks.
        finetune_from: Labels from which on networks are fine-tuned: with fewer they add little and
            take longer than all the rest.
        hyperparameter_rows: At most as many graphs decide the kernel's hyperparameters; all are
            learned from.
        seed: Decides which.
    """

    targets: tuple[str, ...] = ("accuracy",)
    units: str = "%"
    kernel: str = "auto"
    simplified: bool = True
    members: int = 2
    finetune_from: int = 1000
    hyperparameter_rows: int = 500
    seed: int = 0


class TransformerGP(ProcessPredictor):
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

    name = "transformer-gp"
    noun = "a transformer-gp"
    fewest = 20

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
                raise InputError("the source predictor is not fitted; call its fit first")
            terms = (*terms, *SOURCE_TERMS)
        self._process = GaussianProcess(terms, self.config.hyperparameter_rows)
        self._graphs: list[Graph] = []
        # Row of each of them by its `graph_key`, made when it is first needed.
        self._row_of: dict[Any, int] = {}
        self._rows: dict[str, Array] = {}
        self._reader: CellReader | None = None
        self._quantiles: Array = np.empty((0, 0))
        self._networks: list[SiblingTransformer] = []
        # Whether spreads come from the calibration rather than from the process.
        self._mapped = False

    @property
    def reads_functions(self) -> bool:
        """Whether graphs of equal function count as one."""
        result: bool = self.config.simplified
        return result

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
        values, goal = self._labels(targets, len(graphs), calibration_targets)
        scores = normal_scores(values)
        row_of = self._learn_rows(self._prepare(graphs), scores)
        blocks = self._learn_reader()
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
        center, spread = self._left_out(scores, row_of, expected[row_of])
        if self._mapped:
            self._calibration = Calibration.fit(center, goal)
        else:
            self._learn_intervals(center, spread, goal)

    def _learn_rows(self, prepared: Sequence[Graph], scores: Array) -> NDArray[np.int64]:
        """Keep each function once, in random order, with its mean score; returns rows of graphs."""
        functions = rows_by_function(prepared)
        order = np.random.default_rng(self.config.seed).permutation(len(functions))
        functions = [functions[k] for k in order]
        self._graphs, self._row_of = [prepared[labels[0]] for labels in functions], {}
        self._rows = {
            "targets": np.array([scores[labels].mean(0) for labels in functions]),
            "counts": np.array([len(labels) for labels in functions], dtype=np.float64),
        }
        row_of = np.empty(len(prepared), dtype=np.int64)
        for row, labels in enumerate(functions):
            row_of[labels] = row
        return row_of

    def _expected(self, blocks: Mapping[str, Array]) -> Array:
        """Prior mean of the scores, from the source, shape `(graphs, targets)`; 0 without one."""
        if self.source is None:
            return np.zeros((len(next(iter(blocks.values()))), len(self.targets)))
        result: Array = blocks["source"] @ self._rows["slopes"]
        return result

    def _values(self, scores: Array) -> Array:
        return values_at(scores, self._quantiles)

    def scores(self, graphs: Sequence[Graph]) -> Array:
        """Expected normal scores, `(1, graphs, targets)`.

        Raises:
            NotFittedError: If nothing was learned or loaded.
        """
        return self.posterior(graphs, variance=False)[0][None]

    def posterior(self, graphs: Sequence[Graph], variance: bool = True) -> tuple[Array, Array]:
        """Means `(graphs, targets)` and variances `(graphs,)` of normal scores of graphs.

        Variances are without the noise of a label, and NaN if they are not needed: they take longer
        than the means.

        Raises:
            NotFittedError: If nothing was learned or loaded.
            InputError: If the encoder does not know an operation.
        """
        self._check_fitted()
        read, again = unique_graphs(graphs)
        distinct, inverse = unique_graphs(self._prepare(read))
        inverse = inverse[again]
        mean, variances = self._posterior_of(distinct, variance)
        if self._networks:
            mean = (mean + ensemble_scores(self._networks, distinct).mean(0)) / 2
        return mean[inverse], variances[inverse]

    def _posterior_of(self, prepared: Sequence[Graph], variance: bool) -> tuple[Array, Array]:
        """Means and variances of the process for distinct prepared graphs."""
        mean = np.empty((len(prepared), len(self.targets)))
        variances = np.full(len(prepared), np.nan)
        # The mean of a graph that was learned is known without reading it again.
        rows = self._row_of or {graph_key(graph): row for row, graph in enumerate(self._graphs)}
        self._row_of = rows
        row_of = np.array([-1 if variance else rows.get(graph_key(g), -1) for g in prepared], int)
        learned, new = np.flatnonzero(row_of >= 0), np.flatnonzero(row_of < 0)
        expected = self._rows["targets"] - self._process.targets
        mean[learned] = (self._process.learned_means + expected)[row_of[learned]]
        if len(new):
            blocks = self._blocks([prepared[k] for k in new.tolist()])
            mean[new], variances[new] = self._process.predict(blocks, variance)
            mean[new] += self._expected(blocks)
        return mean, variances

    def _posterior(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        return self.posterior(graphs)

    def _distribution(self, graphs: Sequence[Graph]) -> tuple[Array, Array, Array]:
        if not self._mapped:
            return super()._distribution(graphs)
        mean, _ = self.posterior(graphs, variance=False)
        assert self._calibration is not None
        return self._calibration.apply(self._values(mean), range(len(self.targets)))

    def _parts(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        assert self._reader is not None
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            "graphs": pack(self._graphs, self._reader.vocabulary),
            "rows": {**self._rows, **self._reader.scales},
            "training": {"quantiles": self._quantiles},
        }
        if self.encoder is not None:
            parts["encoder"] = self.encoder.tensors()
            blocks = self._process.blocks
            parts["encoded"] = {k: blocks[k].astype(np.float32) for k in ENCODED if k in blocks}
        if self.source is not None:
            parts["source"] = self.source._arrays()
        if self._networks:
            parts["networks"] = member_tensors(self._networks)
        return parts

    def _card(self) -> dict[str, Any]:
        assert self._reader is not None
        card: dict[str, Any] = {
            "vocabulary": self._reader.vocabulary,
            "mapped": self._mapped,
            "kernel": self.config.kernel,
            "networks": len(self._networks),
        }
        if self.encoder is not None:
            card["encoder"] = self.encoder.card()
        if self.source is not None:
            card["source"] = self.source._whole_card()
        return card

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> TransformerGP:
        card = checkpoint.card
        encoder = source = None
        if "encoder" in card:
            encoder = Encoder.restore(card["encoder"], checkpoint.section("encoder"), backend)
        if "source" in card:
            inner = Checkpoint(checkpoint.section("source"), card["source"])
            source = cls.from_checkpoint(inner, backend)
        config = read_config(TransformerGPConfig, card["config"])
        if config.kernel == "auto" and encoder is None and "kernel" not in card:
            # What it was before there was another one.
            config = replace(config, kernel="paths")
        predictor = cls(config, encoder, backend, source)
        predictor._mapped = bool(card["mapped"])
        predictor._graphs = unpack(checkpoint.section("graphs"), tuple(card["vocabulary"]))
        predictor._rows = checkpoint.section("rows")
        predictor._quantiles = checkpoint.tensors["training.quantiles"]
        if encoder is not None:
            networks = Checkpoint(checkpoint.section("networks"), card)
            build = partial(untrained_copy, encoder, predictor.targets)
            predictor._networks = load_members(networks, int(card["networks"]), build)
        # Encoding takes longest; checkpoints of earlier versions lack what it gives.
        blocks = predictor._learn_reader(checkpoint.section("encoded") or None)
        scores = predictor._rows["targets"] - predictor._expected(blocks)
        predictor._condition(checkpoint, blocks, scores, predictor._rows["counts"])
        return predictor

    def _prepare(self, graphs: Sequence[Graph]) -> list[Graph]:
        return [simplify(graph) for graph in graphs] if self.config.simplified else list(graphs)

    def _learn_reader(self, encoded: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Make the reader of the training graphs; returns what it reads of them."""
        self._reader = CellReader.of(self._process.names, self._graphs, self.encoder, self._rows)
        return self._blocks(self._graphs, encoded)

    def _blocks(
        self, graphs: Sequence[Graph], encoded: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """Features of prepared graphs by name, as far as the kernel reads them."""
        assert self._reader is not None
        blocks = self._reader(graphs, encoded)
        if self.source is not None:
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
    config = accuracy_config(TransformerGPConfig, kind, targets, options)
    if isinstance(encoder, (str, Path)):
        encoder = Encoder.load(encoder, backend)
    return TransformerGP(config, encoder, backend, source)
