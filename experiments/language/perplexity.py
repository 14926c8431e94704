"""Predict the perplexities of HW-GPT-Bench, and fit the predictor that the package has.

    python -m experiments.language.perplexity [--threads 1] [--seeds 0,1,2,3,4] [--fresh]
    python -m experiments.language.perplexity --ship

Half of the networks of a scale are judged by and never learned from. Every method but the package's
own and a net reads the same features: the decisions, the parameters and the sums over layers. The
net has the decisions in one-hot code, as the benchmark's surrogate. The method is
chosen on a part of the other half. Writes results/perplexity.json; runs that are there already are
not repeated. With --ship the chosen predictor is fitted to all networks of the learned halves.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.campaign import Campaign, Options
from experiments.common import SPLIT_SEED, ZOO, Array, covered, provenance
from nasplug import datasets
from nasplug.predicting.zoo import GPT_PERPLEXITY, ArchitecturePredictor
from nasplug.predictors.accuracy.language_gp import LanguageGP
from nasplug.predictors.features.language_models import LanguageModels
from nasplug.search_spaces import space
from nasplug.search_spaces.networks.gpt import GPTSpace

SCALES = ("s", "m", "l")
SIZES = (100, 300, 1_000, 5_000)
COUNT = "parameters alone"
OWN = "language-gp"
# The form of the benchmark's own surrogate (Sukthanker et al., 2024).
NET = "net on one-hot decisions"
METHODS = (COUNT, "ridge", "random forest", "gradient boosting", "gaussian process", NET, OWN)
# Networks up to which a net is fitted by another solver.
FEW = 1_000
# At most as many networks decide the length scales of the plain process.
TUNED = 300
CHOSEN_FROM = 1_000
VALIDATED = 0.2


@cache
def networks(scale: str) -> tuple[Array, LanguageModels, Array]:
    """Parameters, decisions and perplexities of the networks of a scale."""
    table = datasets.load(f"gpt-{scale}").dropna(subset="perplexity")
    where = space(f"gpt:{scale}")
    assert isinstance(where, GPTSpace)
    built = [where.choices.model(where.to_params(where.parse(text))) for text in table["arch"]]
    rows = LanguageModels.of((m.embed, m.has_bias, m.heads, m.ratios) for m in built)
    params = np.array([model.params for model in built], np.float64)
    return params, rows, table["perplexity"].to_numpy(np.float64)


def halves(scale: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the networks that may be learned from, and of those that are judged by."""
    count = len(networks(scale)[0])
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    return order[: count // 2], order[count // 2 :]


def chosen(scale: str, size: int, seed: int) -> NDArray[np.int64]:
    """Networks to learn from."""
    return np.random.default_rng(seed).permutation(halves(scale)[0])[:size]


@cache
def decisions(scale: str) -> Array:
    """Features of the plain methods."""
    params, models, _ = networks(scale)
    width = models.embed[:, None] == np.unique(models.embed)
    logs = np.log(params)[:, None]
    whole = np.c_[width, models.layers, models.bias, logs]
    sums = np.c_[models.heads.sum(1), models.ratios.sum(1)]
    return np.c_[whole, sums, sums * models.embed[:, None], models.heads, models.ratios].astype(
        float
    )


@cache
def one_hot(scale: str) -> Array:
    """Decisions in one-hot code; layers that a network lacks have zeros alone."""
    _, models, _ = networks(scale)
    columns = [models.embed, models.layers, models.bias, *models.heads.T, *models.ratios.T]
    codes = [column[:, None] == np.unique(column[column > 0]) for column in columns[3:]]
    codes += [column[:, None] == np.unique(column) for column in columns[:3]]
    return np.concatenate(codes, axis=1).astype(float)


def fitted(method: str, features: Array, logs: Array) -> Any:
    """A plain method, fitted to logarithms of perplexity."""
    model: Any
    if method == "ridge":
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-4, 3, 15)))
    elif method == "random forest":
        model = RandomForestRegressor(100, max_features=0.5, random_state=0)
    elif method == "gradient boosting":
        model = HistGradientBoostingRegressor(max_iter=300, random_state=0)
    elif method == NET:
        # The better of both solvers and penalties on a fifth of the learned halves.
        way: dict[str, Any] = {"alpha": 0.1, "max_iter": 1_000, "n_iter_no_change": 50}
        if len(logs) <= FEW:
            way = {"alpha": 1.0, "max_iter": 500, "solver": "lbfgs"}
        net = MLPRegressor(hidden_layer_sizes=(128, 128, 128), random_state=0, **way)
        model = TransformedTargetRegressor(net, transformer=StandardScaler())
    else:
        kernel = ConstantKernel() * RBF(10.0, (1e-1, 1e4)) + WhiteKernel(1e-3, (1e-8, 1.0))
        scaler = StandardScaler().fit(features)
        tuned = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        tuned.fit(scaler.transform(features[:TUNED]), logs[:TUNED])
        process = GaussianProcessRegressor(tuned.kernel_, optimizer=None, normalize_y=True)
        model = make_pipeline(scaler, process)
    return model.fit(features, logs)


def predict(
    scale: str, method: str, train: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[Array, float | None]:
    """Predicted perplexities, and coverage of 90 % intervals where there are any."""
    params, models, truth = networks(scale)
    if method == COUNT:
        return -params[test], None
    if method != OWN:
        features = one_hot(scale) if method == NET else decisions(scale)
        model = fitted(method, features[train], np.log(truth[train]))
        return np.exp(model.predict(features[test])), None
    predictor = LanguageGP()
    predictor.fit_models(models.take(train), truth[train][:, None])
    predicted = predictor.predict_models(models.take(test))
    return predicted.mean[:, 0], float(covered(predicted, truth[test]).mean())


def judged(
    scale: str, method: str, train: NDArray[np.int64], test: NDArray[np.int64]
) -> dict[str, Any]:
    truth = networks(scale)[2]
    predicted, coverage = predict(scale, method, train, test)
    error = None if method == COUNT else float(np.abs(predicted - truth[test]).mean())
    return {
        "train": 0 if method == COUNT else len(train),
        "test": len(test),
        "kendall_tau": float(kendalltau(predicted, truth[test])[0]),
        "mean_absolute_error": error,
        "coverage": coverage,
    }


def measure(scale: str, size: int, seed: int, method: str) -> dict[str, Any]:
    return judged(scale, method, chosen(scale, size, seed), halves(scale)[1])


def choose() -> list[dict[str, Any]]:
    """The methods on a part of the networks that may be learned from."""
    rows = []
    for scale in SCALES:
        known = chosen(scale, CHOSEN_FROM, 0)
        held = round(VALIDATED * len(known))
        for method in METHODS:
            rows.append({"scale": scale, "method": method})
            rows[-1] |= judged(scale, method, known[held:], known[:held])
    return rows


def sizes(scale: str) -> list[int]:
    """Numbers of networks to learn from: those that the scale has."""
    most = len(halves(scale)[0])
    return sorted({min(size, most) for size in SIZES})


def ship() -> None:
    """Fit the predictor to all scales, and write it with its card."""
    parts = {scale: (networks(scale), *halves(scale)) for scale in SCALES}
    taught = [known[1].take(train) for known, train, _ in parts.values()]
    truth = np.concatenate([known[2][train] for known, train, _ in parts.values()])
    started = time.perf_counter()
    predictor = LanguageGP()
    predictor.fit_models(LanguageModels.joined(taught), truth[:, None])
    seconds = round(time.perf_counter() - started)
    quality = {}
    for scale, (known, _, test) in parts.items():
        predicted = predictor.predict_models(known[1].take(test))
        mean, wanted = predicted.mean[:, 0], known[2][test]
        quality[scale] = {
            "held_out_networks": len(test),
            "kendall_tau": round(float(kendalltau(mean, wanted)[0]), 4),
            "mean_absolute_error": round(float(np.abs(mean - wanted).mean()), 4),
            "coverage": round(float(covered(predicted, wanted).mean()), 4),
        }
    ArchitecturePredictor(GPT_PERPLEXITY, space("gpt:s"), predictor).save(
        ZOO / GPT_PERPLEXITY,
        name=GPT_PERPLEXITY,
        description="OpenWebText perplexity of HW-GPT-Bench's language models with the weights of "
        "a super-network",
        training={
            "networks": len(truth),
            "split": f"half of each scale's networks by numpy default_rng({SPLIT_SEED})",
            "labels": "perplexity",
            "seconds": seconds,
        },
        quality=quality,
        provenance=provenance(*(f"gpt-{scale}" for scale in SCALES)),
    )


def main() -> None:
    parser = Options(__doc__, seeds="0,1,2,3,4", fresh=True)
    parser.add_argument("--ship", action="store_true")
    options = parser.parse_args()
    if options.ship:
        ship()
        return
    keys = ("scale", "size", "seed", "method")
    names = [f"gpt-{scale}" for scale in SCALES]
    campaign = Campaign("perplexity", keys, names, fresh=options.fresh)
    cases = [
        (scale, size, seed, method)
        for seed in options.seeds
        for scale in SCALES
        for size in sizes(scale)
        for method in METHODS
    ]
    campaign.complete(cases, measure)
    if options.fresh or "chosen" not in campaign.content:
        campaign.add(chosen=choose())


if __name__ == "__main__":
    main()
