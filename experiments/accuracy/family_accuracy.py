"""Predict ImageNet accuracy from the structure of a network, for families that are not known.

    NASPLUG_MIRROR=... python -m experiments.accuracy.family_accuracy [--threads 1]

The networks are timm's convolutional networks with trained weights. Each family is predicted from
all others, and the networks in it are ranked: a pair counts if both were trained by one recipe, so
that the structure alone decides. Beside the predictors stand FLOPs and parameters alone, and a
ridge regression on both. A predictor knows the recipe of a network as a covariate. It is then asked
about networks of two benchmarks that it never saw: Accel-NASBench (ImageNet) and NAS-Bench-Macro
(CIFAR-10). The scale of the Gaussian process is chosen for each family by the errors in the others;
the median of these scales, and the quantiles of the errors in families that were left out, are
those of nasplug/predicting/structure_accuracy.py.
Writes results/family_accuracy.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from experiments.campaign import Options
from experiments.common import Array, write_result
from experiments.zoo.train_network_accuracy import LIMITED, TAKEN, halves, networks
from experiments.zoo.train_network_accuracy import SHARES as LIMIT_SHARES
from nasplug import datasets
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.predicting.measured_accuracy import LEVELS
from nasplug.predicting.structure_accuracy import NEW, STRONG, recipe_of, trained
from nasplug.predictors.accuracy.structure_process import SIZES, StructureProcess, sizes_of
from nasplug.search_spaces import ATTRIBUTES, Graph

SEED = 24
Indices = NDArray[np.intp]
# Families by the beginning of a name, the first that fits; others are timm's modules.
FAMILIES = {
    "resnext": r"(se|eca_|ecase|legacy_se)?resnext|ecaresnext",
    "se-resnet": r"legacy_se|senet154|seresnet|ecaresnet|eca_res",
    "wide resnet": r"wide_resnet",
    "resnet-rs": r"resnetrs",
    "resnet v2": r"resnetv2",
    "resnet": r"resnet",
    "regnet": r"regnet",
    "mobilenet v4": r"mobilenetv4",
    "mobilenet v3": r"(tf_)?mobilenetv3",
    "mobilenet v1, v2": r"mobilenetv[12]",
    "efficientnet v2": r"(tf_)?efficientnetv2",
    "efficientnet": r"(tf_)?efficientnet|tinynet|mobilenet_edgetpu",
    "mixnet": r"(tf_)?mixnet",
    "mnasnet": r"mnasnet|semnasnet|spnasnet|fbnetc",
    "fbnet v3": r"fbnetv3",
    "lcnet": r"lcnet",
    "repvgg": r"repvgg",
    "mobileone": r"mobileone",
    "gernet": r"gernet",
    "convnext": r"convnext",
    "darknet": r"cs|dark",
}
SHARES = (
    *("depthwise", "grouped", "pointwise", "stride 4", "stride 8", "stride 16"),
    *("kernel", "gates", "smooth", "width"),
)
MOBILE_MACS = 1e9
# A family is shown with at least so many pairs.
FEWEST_PAIRS = 10
RESAMPLED = 1_000
SCALES = (2.0, 4.0, 8.0)
# Networks of each benchmark, drawn at random.
ASKED = 2_000
# A difference in Kendall's tau that counts as better or worse.
CLEAR = 0.02


def features(graph: Graph) -> Array:
    """Logarithms of `SIZES`, then `SHARES`."""
    table = dict(zip(ATTRIBUTES, graph.attributes.T, strict=True))
    ops = np.array(graph.ops)
    macs, area = table["flops"], table["height"] * table["width"]
    conv = ops == "Conv"
    weighted = (conv | (ops == "Gemm")) & (macs > 0)
    depthwise = conv & (table["groups"] > 1) & (table["groups"] == table["in_channels"])
    grouped = conv & (table["groups"] > 1) & ~depthwise
    pointwise = weighted & (area > 1) & (table["kernel"] <= 1)
    stride = np.sqrt(area[0] / np.maximum(area, 1))
    activations = np.isin(ops, ("Relu", "Clip", "HardSwish", "Silu", "Gelu", "LeakyRelu", "Elu"))
    masks = [depthwise, grouped, pointwise]
    masks += [(stride > low) & (stride <= 2 * low) for low in (2.25, 4.5, 9.0)]
    shares = [
        *(macs[mask].sum() / macs.sum() for mask in masks),
        np.average(np.log(np.maximum(table["kernel"][weighted], 1)), weights=macs[weighted]),
        np.isin(ops, ("Sigmoid", "HardSigmoid")).sum() / weighted.sum(),
        np.isin(ops, ("HardSwish", "Silu", "Gelu")).sum() / max(activations.sum(), 1),
        np.log(np.average(table["out_channels"][weighted], weights=macs[weighted])),
    ]
    return np.array([*sizes_of(graph), *shares])


def _recipe(name: str) -> str:
    """Kind of recipe of timm's name, by its tag."""
    return recipe_of(name.partition(".")[2])


def recipe_with_attention(name: str) -> str:
    """Kind of recipe of a network with attention, such as `"deit_tiny_patch16_224.fb_in1k"`.

    Such networks are trained long wherever their tag says no more; those of DeiT have distillation
    in their name.
    """
    kind = "distilled" if "distilled" in name.partition(".")[0] else _recipe(name)
    return STRONG if kind == "plain" else kind


class Trained:
    """Networks with accuracies, a row each at one size of the images.

    They are convolutional, or have attention and timm's modules as their families.
    """

    def __init__(self, attention: bool = False) -> None:
        sizes, self.top1, names, modules, references = trained(attention)
        families = {} if attention else FAMILIES
        self.sizes, self.names = sizes, [name.partition(".")[0] for name in names]
        self.tags = np.array([name.partition(".")[2] for name in names])
        recipe = recipe_with_attention if attention else _recipe
        self.recipes = np.array([recipe(name) for name in names])
        self.families = np.array(
            [
                next((family for family, part in families.items() if re.match(part, name)), module)
                for name, module in zip(self.names, modules, strict=True)
            ]
        )
        graphs = shipped_network_graphs()
        by_reference = {text: features(graphs.graph(text)) for text in {*references}}
        self.features = np.array([by_reference[text] for text in references])
        # Accuracies near 100 % differ by the logarithm of the error.
        self.target = np.log(100 - self.top1)

    def take(self, rows: Indices | NDArray[np.bool_]) -> Trained:
        """Some of the networks."""
        taken = copy(self)
        for name, values in vars(self).items():
            setattr(taken, name, np.array(values)[rows])
        return taken


class Table:
    """Inputs of predictors: features, recipes and tags, known networks first."""

    def __init__(self, trained: Trained, asked: Sequence[Array] = ()) -> None:
        values = np.concatenate(
            [trained.features, np.reshape(asked, (-1, len(trained.features.T)))]
        )
        self.sizes = values[:, : len(SIZES)]
        mean, spread = trained.features.mean(0), trained.features.std(0)
        self.features = (values - mean) / spread
        # Networks of a benchmark are asked about as if trained by an elaborate recipe.
        self.kinds = np.append(trained.recipes, [STRONG] * len(asked))
        self.recipes = (self.kinds[:, None] == sorted({*self.kinds})).astype(float)
        self.tags = np.append(trained.tags, [NEW] * len(asked))
        self.target = trained.target

    def inputs(self, columns: slice | list[int]) -> Array:
        """Features, recipes, and tags of several known networks."""
        known = self.tags[: len(self.target)]
        tags = [tag for tag in np.unique(known) if (known == tag).sum() > 2]
        return np.column_stack(
            [self.features[:, columns], 3 * self.recipes, self.tags[:, None] == tags]
        )


Method = Callable[[Table, Indices, Indices], Array]
_SIZES = slice(0, len(SIZES))
_ALL = slice(None)


def ridge(columns: slice | list[int]) -> Method:
    """Ridge regression on some features and the recipe."""

    def predict(table: Table, train: Indices, test: Indices) -> Array:
        inputs = table.inputs(columns)
        model = Ridge(alpha=1.0).fit(inputs[train], table.target[train])
        result: Array = model.predict(inputs[test])
        return result

    return predict


def boosting(table: Table, train: Indices, test: Indices) -> Array:
    """Gradient boosting on what a ridge on FLOPs and parameters leaves, monotone in both."""
    base = ridge([0, 1])
    inputs = np.column_stack([table.features, table.recipes])
    signs = [-1, -1] + [0] * (inputs.shape[1] - 2)
    model = HistGradientBoostingRegressor(
        max_iter=150,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=15,
        l2_regularization=5.0,
        monotonic_cst=signs,
        random_state=SEED,
    ).fit(inputs[train], table.target[train] - base(table, train, train))
    result: Array = base(table, train, test) + model.predict(inputs[test])
    return result


def gaussian_process(scale: float) -> Method:
    """The package's Gaussian process, with the recipe of each network."""

    def predict(table: Table, train: Indices, test: Indices) -> Array:
        return process(table, scale, train, test)[0]

    return predict


def process(table: Table, scale: float, train: Indices, test: Indices) -> tuple[Array, Array]:
    """Means and standard deviations of the process, `(n,)` each."""
    error = np.exp(table.target[train])
    known = (table.kinds[train].tolist(), table.tags[train].tolist())
    model = StructureProcess(table.sizes[train], error, *known, scale)
    return model.predict(table.sizes[test], table.kinds[test].tolist(), table.tags[test].tolist())


BASES = {"FLOPs alone": 0, "parameters alone": 1}
PROCESS = "Gaussian process on five sizes"
METHODS: dict[str, Method] = {
    "ridge on FLOPs and parameters": ridge([0, 1]),
    "ridge on five sizes": ridge(_SIZES),
    "ridge on all features": ridge(_ALL),
    "gradient boosting on all features": boosting,
}


def left_out(trained: Trained, method: Method) -> Array:
    """Predictions of every network from the networks of other families."""
    table, result = Table(trained), np.empty(len(trained.target))
    for family in np.unique(trained.families):
        test = np.flatnonzero(trained.families == family)
        result[test] = method(table, np.flatnonzero(trained.families != family), test)
    return result


def chosen_scales(trained: Trained) -> tuple[Array, list[float]]:
    """Predictions of each family at the scale with the least error in the others, and these."""
    by_scale = {scale: left_out(trained, gaussian_process(scale)) for scale in SCALES}
    result, scales = np.empty(len(trained.target)), []
    for family in np.unique(trained.families):
        own = trained.families == family
        errors = {s: np.mean((p - trained.target)[~own] ** 2) for s, p in by_scale.items()}
        scales.append(min(errors, key=errors.__getitem__))
        result[own] = by_scale[scales[-1]][own]
    return result, scales


def residuals(trained: Trained, scale: float) -> tuple[Array, float]:
    """Quantiles of errors over their predicted spread, each family left out.

    The networks are asked about as those of a space are: as if trained by a new recipe, of the kind
    that they were trained by.

    Returns:
        The quantiles at `LEVELS`, and the share of accuracies inside 90 % intervals whose quantiles
        come from the other families.
    """
    table, standard = Table(trained), np.empty(len(trained.target))
    for family in np.unique(trained.families):
        test = np.flatnonzero(trained.families == family)
        train = np.flatnonzero(trained.families != family)
        table.tags = np.where(trained.families == family, NEW, trained.tags)
        logs, spread = process(table, scale, train, test)
        error = np.exp(logs)
        standard[test] = (trained.top1[test] - (100 - error)) / (error * spread)
    inside = np.empty(len(standard), bool)
    for family in np.unique(trained.families):
        own = trained.families == family
        low, high = np.quantile(standard[~own], (0.05, 0.95))
        inside[own] = (low <= standard[own]) & (standard[own] <= high)
    return np.quantile(standard, LEVELS), float(inside.mean())


def pairs(trained: Trained, rows: Indices) -> Array:
    """Order of the errors of each pair: its sign, and 0 for pairs that do not count."""
    target, tags = trained.target[rows], trained.tags[rows]
    result: Array = np.sign(target[:, None] - target) * (tags[:, None] == tags)
    return np.triu(result)


def tau(order: Array, score: Array, weights: Array | None = None) -> float:
    """Kendall's tau over the pairs that count; pairs of resampled networks by their weights."""
    agrees = order * np.sign(score[:, None] - score)
    times = 1.0 if weights is None else np.outer(weights, weights)
    total = (np.abs(order) * times).sum()
    return float((agrees * times).sum() / total) if total else float("nan")


def judged(trained: Trained, scores: dict[str, Array], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Kendall's tau and Spearman's rho within each family, and differences to FLOPs."""
    generator = np.random.default_rng(SEED)
    families = []
    for family in np.unique(trained.families):
        rows = np.flatnonzero((trained.families == family) & mask)
        order = pairs(trained, rows)
        if np.abs(order).sum() < FEWEST_PAIRS:
            continue
        draws = [
            np.bincount(generator.integers(len(rows), size=len(rows)), minlength=len(rows))
            for _ in range(RESAMPLED)
        ]
        row: dict[str, Any] = {
            "family": str(family),
            "networks": len(rows),
            "pairs": int(np.abs(order).sum()),
            "tau": {name: tau(order, score[rows]) for name, score in scores.items()},
        }
        for base in BASES:
            several = [tau(order, scores[base][rows], w) for w in draws]
            row[f"over {base}"] = {
                name: np.nanquantile(
                    np.array([tau(order, score[rows], w) for w in draws]) - several, (0.025, 0.975)
                ).tolist()
                for name, score in scores.items()
                if name == PROCESS
            }
        families.append(row)
    result: dict[str, Any] = {"families": families, "summary": {}}
    counts = np.array([row["pairs"] for row in families])
    for name, score in scores.items():
        values = np.array([row["tau"][name] for row in families])
        flops = np.array([row["tau"]["FLOPs alone"] for row in families])
        result["summary"][name] = {
            "mean_tau": float(values.mean()),
            "tau_of_all_pairs": float((values * counts).sum() / counts.sum()),
            "better_than_flops": int((values > flops + CLEAR).sum()),
            "worse_than_flops": int((values < flops - CLEAR).sum()),
            "mean_spearman": float(np.mean(_spearmans(trained, score, mask))),
        }
    return result


def _spearmans(trained: Trained, score: Array, mask: NDArray[np.bool_]) -> list[float]:
    """Spearman's rho of the networks of one family and recipe, at least five."""
    found = []
    for family in np.unique(trained.families):
        for tag in np.unique(trained.tags):
            rows = (trained.families == family) & (trained.tags == tag) & mask
            if rows.sum() >= 5:
                found.append(float(spearmanr(score[rows], trained.target[rows])[0]))
    return found


@cache
def asked_networks(name: str) -> tuple[Array, Array]:
    """Features and accuracies of networks of a benchmark."""
    _, graphs, accuracies = networks(name)
    rows = np.random.default_rng(SEED).permutation(len(graphs))[:ASKED]
    return np.array([features(graphs[k]) for k in rows]), accuracies[rows]


def transferred(trained: Trained, name: str, scale: float) -> dict[str, Any]:
    """Ranks of the networks of a benchmark that no predictor learned from."""
    asked, accuracies = asked_networks(name)
    table = Table(trained, list(asked))
    train = np.arange(len(trained.target))
    test = len(train) + np.arange(len(asked))
    scores = {base: asked[:, column] for base, column in BASES.items()}
    scores |= {method: -predict(table, train, test) for method, predict in METHODS.items()}
    scores[PROCESS] = -gaussian_process(scale)(table, train, test)
    return {
        "space": name,
        "networks": len(asked),
        "tau": {key: float(kendalltau(s, accuracies)[0]) for key, s in scores.items()},
        "spearman": {key: float(spearmanr(s, accuracies)[0]) for key, s in scores.items()},
    }


def limited(trained: Trained, scale: float) -> list[dict[str, Any]]:
    """Points by which the networks that a score names fall short of the best within a limit.

    The limits, the networks and how many of them are named are those of network_accuracy.json.
    """
    archs, graphs, accuracies = networks("accel")
    judged_by = halves("accel")[1]
    asked = np.array([features(graphs[k]) for k in judged_by])
    known = np.arange(len(trained.target))
    table = Table(trained, list(asked))
    error = gaussian_process(scale)(table, known, len(known) + np.arange(len(asked)))
    scores = {base: asked[:, column] for base, column in BASES.items()} | {PROCESS: -error}
    measured = datasets.load("accel").drop_duplicates("arch").set_index("arch")
    rows, truth = [], accuracies[judged_by]
    for column in LIMITED:
        values = measured[column].loc[[archs[k].text for k in judged_by]].to_numpy(np.float64)
        cost = 1 / values if column.endswith("img/s") else values
        points: dict[str, list[float]] = {name: [] for name in scores}
        for limit in np.nanquantile(cost, LIMIT_SHARES):
            inside = np.flatnonzero(cost <= limit)
            for name, score in scores.items():
                taken = inside[np.argsort(-score[inside], kind="stable")[:TAKEN]]
                points[name].append(truth[inside].max() - truth[taken].mean())
        means = {name: float(np.mean(shortfalls)) for name, shortfalls in points.items()}
        rows.append({"column": column, "points": means})
    return rows


def main() -> None:
    Options(__doc__).parse_args()
    trained = Trained()
    scores = {base: -trained.features[:, column] for base, column in BASES.items()}
    for name, method in METHODS.items():
        scores[name] = left_out(trained, method)
        print(name, flush=True)
    scores[PROCESS], scales = chosen_scales(trained)
    print(PROCESS, flush=True)
    scale = float(np.median(scales))
    quantiles, coverage = residuals(trained, scale)
    errors = {
        name: float(np.abs(100 - np.exp(scores[name]) - trained.top1).mean())
        for name in scores
        if name not in BASES
    }
    mobile = np.exp(trained.features[:, 0]) < MOBILE_MACS
    write_result(
        "family_accuracy",
        "accel",
        "macro",
        seed=SEED,
        networks=len(trained.names),
        distinct=len({*trained.names}),
        all_families=len(np.unique(trained.families)),
        scale=scale,
        levels=LEVELS,
        residuals=quantiles.tolist(),
        coverage_of_other_families=coverage,
        mean_absolute_error=errors,
        all=judged(trained, scores, np.ones(len(mobile), bool)),
        mobile=judged(trained, scores, mobile),
        limited=limited(trained, scale),
        transfer=[transferred(trained, name, scale) for name in ("accel", "macro")],
    )


if __name__ == "__main__":
    main()
