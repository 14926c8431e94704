"""Predict perplexities of one scale of HW-GPT-Bench from those of smaller scales.

    python -m experiments.language.transfer [--threads 1] [--seeds 0,1,2,3,4] [--fresh]

A method learns all networks of scale s, a random half, or those of s and m, and predicts a larger
scale without a label of it. The methods read features that no scale has for itself: logarithms of
the parameters, the width and the depth, the bias, means of heads and MLPs, and the course of both
over the relative depth. One reads the features of `language-gp`, except for those of single layers,
by the positions of the choices (the least width of s is as the least one of m), and the parameters;
it was chosen by scale m as the target. Labels are logarithms of the perplexity. With labels of the
target scale, a line through them corrects the predictions, and `language-gp` learns these labels
alone. Networks that may have labels never judge. Writes results/transfer_perplexity.json.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.campaign import Campaign, Options
from experiments.common import Array
from experiments.language.perplexity import COUNT, OWN, SCALES, fitted, networks
from nasplug.predictors.accuracy.language_gp import LanguageGP
from nasplug.predictors.features.language_models import features_of

# Scales that are learned from, part of their networks, and the scale that is predicted.
CASES = (
    ("s", "all", "m"),
    ("s", "half", "m"),
    ("s", "all", "l"),
    ("s", "half", "l"),
    ("s+m", "all", "l"),
    ("s+m", "half", "l"),
)
LABELS = (0, 10, 30)
RIDGE = "ridge"
POWER = "power law of parameters"
POSITION = "language-gp's features"
METHODS = (COUNT, POWER, RIDGE, POSITION, "random forest", "gaussian process", OWN)
# At most as many networks teach a Gaussian process of scikit-learn.
MOST = 1_000
_WAVES = 3
# Groups of features of single layers, of which each scale has another number.
_LAYER_GROUPS = (7, 8, 13)


@cache
def features(scale: str) -> Array:
    """Features of the networks of a scale that mean the same in each scale."""
    params, models, _ = networks(scale)
    layers = models.layers.astype(float)
    depth = models.heads.shape[1]
    places = (np.arange(depth) + 0.5) / layers[:, None]
    exists = np.arange(depth) < layers[:, None]
    widths = models.heads * 64 / models.embed[:, None]
    logs = [np.log(params), np.log(models.embed), np.log(layers), models.bias.astype(float)]
    columns = list(logs)
    for numbers in (np.log(np.where(exists, widths, 1)), models.ratios.astype(float)):
        for wave in range(_WAVES + 1):
            course = np.where(exists, np.cos(np.pi * wave * places), 0.0)
            columns.append((numbers * course).sum(1) / layers)
    # Parameters without those of the words.
    columns.append(np.log(params - 2 * 50_254 * models.embed))
    return np.stack(columns, axis=1)


@cache
def by_position(scale: str) -> Array:
    """Features of `language-gp` that mean the same at the same position of choices."""
    columns, groups = features_of(networks(scale)[1])
    shared = ~np.isin(groups, _LAYER_GROUPS)
    return np.c_[columns[:, shared], np.log(networks(scale)[0])]


def inputs(method: str, scale: str) -> Array:
    """Features that a method reads."""
    if method == POSITION:
        return by_position(scale)
    return features(scale)[:, :1] if method == POWER else features(scale)


def model(method: str, rows: Array, logs: Array, seed: int) -> Any:
    """A method, fitted to logarithms of perplexity."""
    if method == POWER:
        return make_pipeline(RidgeCV([1e-6])).fit(rows, logs)
    if method in (RIDGE, POSITION):
        return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-4, 3, 15))).fit(rows, logs)
    if method == "gaussian process":
        some = np.random.default_rng(seed).permutation(len(logs))[:MOST]
        rows, logs = rows[some], logs[some]
    return fitted(method, rows, logs)


def predict(method: str, taught: str, part: str, target: str, seed: int) -> Array:
    """Logarithms of perplexity of all networks of the target scale, by the other scales."""
    if method == COUNT:
        return -features(target)[:, 0]
    rng = np.random.default_rng(seed)
    rows, logs = [], []
    for scale in taught.split("+"):
        labels = np.log(networks(scale)[2])
        order = rng.permutation(len(labels))
        some = order[: len(order) // 2] if part == "half" else order
        rows.append(inputs(method, scale)[some])
        logs.append(labels[some])
    fit = model(method, np.concatenate(rows), np.concatenate(logs), seed)
    return np.asarray(fit.predict(inputs(method, target)))


def row(labels: int, predicted: Array, truth: Array) -> dict[str, Any]:
    return {
        "labels": labels,
        "judged": len(truth),
        "kendall_tau": float(kendalltau(predicted, truth)[0]),
        "mean_absolute_error": float(np.abs(predicted - truth).mean()),
    }


def measure(taught: str, part: str, target: str, method: str, seed: int) -> list[dict[str, Any]]:
    """Judge a method without labels of the target scale, and with a few."""
    truth = networks(target)[2]
    order = np.random.default_rng(1_000 + seed).permutation(len(truth))
    test = order[max(LABELS) :]
    if method == OWN:
        return [own(target, count, order, test) for count in LABELS if count >= LanguageGP.fewest]
    logs = predict(method, taught, part, target, seed)
    rows = []
    for count in LABELS if method != COUNT else (0,):
        known: NDArray[np.int64] = order[:count]
        line = np.polyfit(logs[known], np.log(truth[known]), 1) if count else np.array([1.0, 0.0])
        rows.append(row(count, np.exp(np.polyval(line, logs[test])), truth[test]))
    if method == COUNT:
        rows[0]["mean_absolute_error"] = None
    return rows


def own(
    target: str, count: int, order: NDArray[np.int64], test: NDArray[np.int64]
) -> dict[str, Any]:
    """Judge `language-gp` on labels of the target scale alone."""
    _, models, truth = networks(target)
    predictor = LanguageGP()
    predictor.fit_models(models.take(order[:count]), truth[order[:count]][:, None])
    return row(count, predictor.predict_models(models.take(test)).mean[:, 0], truth[test])


def main() -> None:
    options = Options(__doc__, seeds="0,1,2,3,4", fresh=True).parse_args()
    keys = ("taught", "part", "target", "method", "seed")
    data = [f"gpt-{scale}" for scale in SCALES]
    campaign = Campaign("transfer_perplexity", keys, data, fresh=options.fresh)
    cases = [
        (*case, method, seed) for seed in options.seeds for case in CASES for method in METHODS
    ]
    campaign.complete(cases, measure)


if __name__ == "__main__":
    main()
