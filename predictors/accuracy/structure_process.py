"""Gaussian process of ImageNet accuracies over the sizes of whole networks of any design.

It learns from networks that others trained, each by a recipe of its own, and predicts networks of
designs that it never saw. The target is the logarithm of the error in percent.

Notation: n networks, c sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasplug.predictors.prediction import Array
from nasplug.search_spaces import ATTRIBUTES, Graph

__all__ = ["ATTENTION", "SIZES", "StructureProcess", "sizes_of"]

SIZES = ("macs", "params", "activations", "depth", "side")
# Operators that mix tokens; a network with one of them is not convolutional.
ATTENTION = frozenset({"MatMul", "Softmax", "LSTM"})
# Standard deviations of the parts of the kernel, in the logarithm of the error.
_SMOOTH, _LINEAR, _RECIPE, _TAG, _NOISE = 0.4, 0.2, 0.3, 0.15, 0.06


def sizes_of(graph: Graph) -> Array:
    """Logarithms of `SIZES` of a network, the last weighted layer's parameters left out; `(c,)`."""
    table = dict(zip(ATTRIBUTES, graph.attributes.T, strict=True))
    ops = np.array(graph.ops)
    macs, area = table["flops"], table["height"] * table["width"]
    weighted = np.isin(ops, ("Conv", "Gemm")) & (macs > 0)
    # The classifier's weights tell the number of classes, and little of the network.
    params = table["params"].sum() - table["params"][np.flatnonzero(weighted)[-1:]].sum()
    steps = weighted.astype(np.int64).tolist()
    depth = list(steps)
    # Edges come by their sources, each after all edges that lead to it.
    for source, target in graph.edges:
        depth[target] = max(depth[target], depth[source] + steps[target])
    activations = (np.maximum(area, 1) * table["out_channels"])[weighted].sum()
    sizes = [macs.sum(), params, activations, max(depth), np.sqrt(area[0])]
    result: Array = np.log(np.maximum(sizes, 1.0))
    return result


class StructureProcess:
    """Gaussian process: linear and smooth in the sizes, with an effect of each recipe.

    Args:
        sizes: Sizes of the networks to learn from, as of `sizes_of`, `(n, c)`.
        error: Share of images that each classifies wrongly, in %, `(n,)`.
        recipes: Kind of recipe of each, such as `"distilled"`.
        tags: Recipe of each; networks of one tag were trained alike.
        scale: Length over which the smooth part changes, in standard deviations of a size.
    """

    def __init__(
        self,
        sizes: Array,
        error: Array,
        recipes: Sequence[str],
        tags: Sequence[str],
        scale: float,
    ) -> None:
        self._mean: Array = sizes.mean(0)
        self._spread: Array = sizes.std(0)
        self._scale = scale
        self._known = (self._standardised(sizes), np.array(recipes), np.array(tags))
        covariance = self._kernel(self._known, self._known) + _NOISE**2 * np.eye(len(sizes))
        target: Array = np.log(error)
        self._middle = float(target.mean())
        self._inverse: Array = np.asarray(np.linalg.inv(covariance), np.float64)
        self._weights: Array = self._inverse @ (target - self._middle)

    def predict(
        self, sizes: Array, recipes: Sequence[str], tags: Sequence[str]
    ) -> tuple[Array, Array]:
        """Means and standard deviations of the logarithm of the error, `(n,)` each.

        Args:
            sizes: Sizes of the networks, `(n, c)`.
            recipes: Kind of recipe by which each is trained.
            tags: Recipe of each; a tag that no known network has stands for a new one.
        """
        asked = (self._standardised(sizes), np.array(recipes), np.array(tags))
        across = self._kernel(asked, self._known)
        own = _SMOOTH**2 + _RECIPE**2 + 1 + _TAG**2 + _NOISE**2
        variance = own + _LINEAR**2 * (asked[0] ** 2).sum(1)
        variance -= np.einsum("ij,jk,ik->i", across, self._inverse, across, optimize=True)
        return self._middle + across @ self._weights, np.sqrt(np.maximum(variance, _NOISE**2))

    def _standardised(self, sizes: Array) -> Array:
        result: Array = (sizes - self._mean) / self._spread
        return result

    def _kernel(self, a: tuple[Array, ...], b: tuple[Array, ...]) -> Array:
        squares = (a[0] ** 2).sum(1)[:, None] + (b[0] ** 2).sum(1) - 2 * a[0] @ b[0].T
        result: Array = _SMOOTH**2 * np.exp(-squares / (2 * self._scale**2))
        result += _LINEAR**2 * (a[0] @ b[0].T) + 1
        result += _RECIPE**2 * (a[1][:, None] == b[1])
        result += _TAG**2 * (a[2][:, None] == b[2])
        return result
