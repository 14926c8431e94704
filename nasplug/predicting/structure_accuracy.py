"""ImageNet accuracies of networks without any of their own space: learned from trained networks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.datasets.trained_networks import shipped_trained_networks
from nasplug.predicting.measured_accuracy import LEVELS
from nasplug.search_spaces import Architecture, Graph, SearchSpace

if TYPE_CHECKING:
    from nasplug.arrays import Array
    from nasplug.predictors import Hardware, Prediction
    from nasplug.predictors.accuracy.structure_process import StructureProcess

__all__ = [
    "NAME",
    "NEW",
    "RESIDUALS",
    "SCALE",
    "STRONG",
    "STRUCTURE_NOTE",
    "StructureAccuracy",
    "has_structure_accuracy",
    "recipe_of",
    "trained",
]

NAME = "imagenet-structure"
# Sentence on what the accuracies rest on.
STRUCTURE_NOTE = (
    "accuracy is predicted from the sizes of a network, as timm's trained networks tell (no "
    "accuracy is known of this space)"
)
TASK = "imagenet"
# Spaces of whole networks for ImageNet's images of which no accuracy is known.
_SPACES = ("nnlqp", "ofa")
# Kinds of recipes by a part of timm's tag, the first that fits; others train long and augment much.
_RECIPES = {
    "distilled": r"dist|ssld|usi|teacher",
    "more data": r"in2[12]k|in12k|jft|ig1b|yfcc|laion|clip|seer|swag|webli|openai",
    "plain": r"^$|^(tv_|pycls_|gluon_|tf_|fb_|mx_|nav_)?in1k$",
}
STRONG = "strong"
# Tag of networks that are yet to be trained.
NEW = "new"
# Modules of timm whose networks mix tokens by other operators than those of attention.
_NOT_CONVOLUTIONAL = {"mlp_mixer", "swiftformer"}
# Chosen, with the quantiles of the errors in families that were left out, by
# experiments/accuracy/family_accuracy.py.
SCALE = 8.0
RESIDUALS = (-1.507, -1.008, -0.397, 0.021, 0.442, 0.75, 0.937)


def has_structure_accuracy(space: SearchSpace) -> bool:
    """Whether accuracies of a space are predicted from the structure of its networks alone."""
    return space.name.partition(":")[0] in _SPACES and space.tasks == (TASK,)


def recipe_of(tag: str) -> str:
    """Kind of recipe behind timm's tag, such as `"distilled"` for `"fb_dist_in1k"`."""
    return next((kind for kind, part in _RECIPES.items() if re.search(part, tag)), STRONG)


@cache
def trained(
    attention: bool = False,
) -> tuple[Array, Array, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Networks with trained weights: convolutional ones, or those with attention.

    Returns:
        Sizes as of `sizes_of`, top-1 accuracies in %, names, families as of `NetworkGraphs`, and
        references of the graphs.
    """
    from nasplug.predictors.accuracy.structure_process import ATTENTION, sizes_of

    graphs, known = shipped_network_graphs(), shipped_trained_networks()
    read: dict[str, Array | None] = {}
    sizes, rows = [], []
    for name, side, top1 in zip(known.names, known.sides, known.top1, strict=True):
        reference = f"timm:{name.partition('.')[0]}@{side}"
        family = graphs.family(reference)
        # Networks of a few thousand parameters test timm itself.
        if family in _NOT_CONVOLUTIONAL or name.startswith("test_"):
            continue
        if reference not in read:
            graph = graphs.graph(reference)
            has_attention = bool(ATTENTION & {*graph.ops})
            read[reference] = sizes_of(graph) if has_attention == attention else None
        if read[reference] is not None:
            sizes.append(read[reference])
            rows.append((name, family, reference, float(top1)))
    names, families, references, accuracies = zip(*rows, strict=True)
    return np.array(sizes), np.array(accuracies), names, families, references


@cache
def _process() -> StructureProcess:
    from nasplug.predictors.accuracy.structure_process import StructureProcess

    sizes, top1, names, *_ = trained()
    tags = [name.partition(".")[2] for name in names]
    return StructureProcess(sizes, 100 - top1, [recipe_of(tag) for tag in tags], tags, SCALE)


class StructureAccuracy:
    """Scorer of ImageNet accuracies by the sizes of networks, as if trained long and augmented.

    It learned from timm's convolutional networks. What it ranks are other designs, so that its
    intervals are wide and its ranks better than them.

    Attributes:
        space: The space of the networks.
        name: Name that results show.
        targets: ImageNet alone.
    """

    name = NAME
    targets = (TASK,)

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    @property
    def sha256(self) -> str:
        """Checksum of the accuracies and of the kernel's parameters."""
        known = shipped_trained_networks()
        text = "\n".join((*known.names, repr((SCALE, LEVELS, RESIDUALS)))).encode()
        return hashlib.sha256(text + known.top1.tobytes()).hexdigest()

    def predict(
        self,
        architectures: Sequence[Architecture],
        hardware: Hardware | None = None,
        batch_size: int = 1,
    ) -> Prediction:
        """Predict the accuracies of architectures, a row each."""
        return self.predict_graphs(self.space.to_graphs(architectures))

    def predict_graphs(self, graphs: Sequence[Graph]) -> Prediction:
        """Predict the accuracies of graphs of whole networks, a row each."""
        from nasplug.predictors import Prediction
        from nasplug.predictors.accuracy.structure_process import sizes_of

        sizes = np.array([sizes_of(graph) for graph in graphs])
        logs, spread = _process().predict(sizes, [STRONG] * len(sizes), [NEW] * len(sizes))
        error = np.minimum(np.exp(logs), 100.0)
        return Prediction(
            targets=self.targets,
            units=("%",),
            center=(100 - error)[:, None],
            # The logarithm's spread, in points.
            spread=(error * spread)[:, None],
            levels=np.array(LEVELS),
            residuals=np.array(RESIDUALS)[:, None],
            log_scale=(False,),
        )
