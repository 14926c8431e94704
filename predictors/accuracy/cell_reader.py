"""The kernels of `TransformerGP`, and the features of cells that they read."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasplug.predictors.accuracy.pretraining import Encoder
from nasplug.predictors.features.cell_arrays import cell_blocks, spread_or_one
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.features.paths import count_matrix, path_counts, summaries
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.gaussian_process import Term
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.cell_arrays import CellArrays

__all__ = ["ENCODED", "KERNELS", "SOURCE_TERMS", "CellReader", "kernel_terms"]

# Name -> summands of the kernel. "full" was chosen among others by marginal likelihood, "cells" by
# validation accuracies of draws of labels that nothing is reported of.
KERNELS: dict[str, tuple[Term, ...]] = {
    "full": (
        (("summaries", "rbf"),),
        (("embedding", "matern52"),),
        (("responses", "rbf"), ("summaries", "rbf")),
        (("embedding", "rbf"), ("summaries", "rbf")),
    ),
    "embedding": ((("embedding", "matern52"),),),
    "cells": (
        (("paths", "rbf"),),
        (("summaries", "rbf"),),
        (("paths", "rbf"), ("summaries", "rbf")),
        (("ends", "rbf"), ("pairs", "rbf"), ("summaries", "rbf")),
    ),
    "paths": (
        (("paths", "rbf"),),
        (("summaries", "rbf"),),
        (("paths", "rbf"), ("summaries", "rbf")),
    ),
}
# Those that read no encoder.
WITHOUT_ENCODER = ("cells", "paths")
# Added where there is a source.
SOURCE_TERMS: tuple[Term, ...] = ((("source", "rbf"),), (("source", "rbf"), ("summaries", "rbf")))
# Blocks that the encoder makes.
ENCODED = ("embedding", "responses")
# Block -> name of its scales in a checkpoint.
SCALES = {"summaries": "summary_scales", "ends": "ends_scales", "pairs": "pairs_scales"}


def kernel_terms(kernel: str, *, has_encoder: bool) -> tuple[Term, ...]:
    """The summands of a kernel of `KERNELS`, or of `"auto"`.

    Raises:
        InputError: If there is no such kernel, or it reads an encoder that is not there.
    """
    if kernel == "auto":
        kernel = "full" if has_encoder else "cells"
    if kernel not in KERNELS:
        raise InputError(f"unknown kernel {kernel!r}; known: auto, {', '.join(KERNELS)}")
    if not has_encoder and kernel not in WITHOUT_ENCODER:
        raise InputError(
            f"kernel {kernel!r} needs a pretrained encoder; give one, or use kernel='cells'"
        )
    return KERNELS[kernel]


@dataclass(frozen=True, eq=False)
class CellReader:
    """Turns cells into blocks of features, scaled by what training cells vary.

    Attributes:
        names: The blocks that a kernel reads.
        vocabulary: Operation types of the training cells.
        columns: Column of each sequence of operations in the block of paths.
        scales: Scale of each feature of the blocks in `SCALES`, by the names there.
        encoder: Makes embeddings and expected responses, if the kernel reads them.
    """

    names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    columns: Mapping[Hashable, int]
    scales: Mapping[str, Array]
    encoder: Encoder | None

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        graphs: Sequence[Graph],
        encoder: Encoder | None = None,
        scales: Mapping[str, Array] | None = None,
    ) -> CellReader:
        """The reader that training graphs give; `scales` are those that are stored already."""
        columns: dict[Hashable, int] = {}
        if "paths" in names:
            sequences = {path for counts in path_counts(graphs) for path in counts}
            columns = {path: k for k, path in enumerate(sorted(sequences))}
        unscaled = cls(names, vocabulary_of(graphs), columns, {}, encoder)
        known = {key: scale for key, scale in (scales or {}).items() if key in SCALES.values()}
        if any(name in names and key not in known for name, key in SCALES.items()):
            for name, block in unscaled._summaries(graphs).items():
                smallest = np.maximum(block.std(0), 1e-9)
                scale = smallest if name == "summaries" else spread_or_one(block)
                known.setdefault(SCALES[name], scale)
        return cls(names, unscaled.vocabulary, columns, known, encoder)

    def __call__(
        self, graphs: Sequence[Graph], encoded: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """Blocks of prepared graphs by name, `(graphs, features)` each.

        Args:
            graphs: Prepared graphs.
            encoded: The blocks that the encoder makes of them, if they are known already.
        """
        blocks = {
            name: block / self.scales[SCALES[name]]
            for name, block in self._summaries(graphs).items()
        }
        if "paths" in self.names:
            blocks["paths"] = count_matrix(path_counts(graphs), self.columns)  # type: ignore[arg-type]
        if encoded is None and set(ENCODED) & set(self.names):
            assert self.encoder is not None
            encoded = dict(zip(ENCODED, self.encoder.encode(graphs), strict=True))
        return blocks | dict(encoded or {})

    def _summaries(self, graphs: Sequence[Graph]) -> dict[str, Array]:
        """The blocks in `SCALES` that the kernel reads, not scaled."""
        blocks: dict[str, Array] = {}
        if "summaries" in self.names:
            blocks["summaries"] = summaries(graphs, self.vocabulary)
        if {"ends", "pairs"} & set(self.names):
            types = [op for op in self.vocabulary if op not in ("input", "output")]
            arrays = cell_blocks(CellArrays.of(graphs, types))
            blocks |= {name: arrays[name] for name in ("ends", "pairs")}
        return blocks
