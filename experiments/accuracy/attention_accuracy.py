"""Predict ImageNet accuracy from the structure of networks with attention: can it be trusted?

    python -m experiments.accuracy.attention_accuracy [--threads 1]

The networks are timm's with attention and trained weights; their families are timm's modules. Plain
vision transformers judge: those of ViT, DeiT, DeiT-III, FlexiViT and timm's own sizes ("sbb"). They
and all families near them (`TWINS`) are left out of every choice. Several models, from a line to a
Gaussian process with effects of families and recipes, are asked in two ways:

- with their families left out, so that of a recipe its kind alone is known;
- with their sizes left out: all networks of the family, at any resolution and by any recipe, whose
  number of parameters is within 10 %. Other sizes by the same recipe are known.

Amplitudes of a model's parts are learned from the other families, and so are the quantiles of the
errors, by leaving out the same. The model that ranks the other families' networks best, with sizes
left out, is the chosen one; it was chosen before anything judged. The other models stand beside it.
Ranks are of pairs of networks by one recipe, beside counts alone.
Writes results/attention_accuracy.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.accuracy.family_accuracy import (
    BASES,
    RESAMPLED,
    SEED,
    Indices,
    Table,
    Trained,
    pairs,
    process,
    tau,
)
from experiments.accuracy.mixed_process import MixedProcess, Part
from experiments.campaign import Options
from experiments.common import Array, write_result
from nasplug.predicting.measured_accuracy import LEVELS

JUDGES = ("vision_transformer", "deit")
TWINS = (
    *JUDGES,
    *("beit", "eva", "naflexvit", "vision_transformer_hybrid", "vision_transformer_relpos"),
)
# Beginnings of the names of plain vision transformers in the judges' families.
PLAIN = (
    *("vit_tiny_patch", "vit_small_patch", "vit_base_patch", "vit_large_patch", "vit_huge_patch"),
    *("vit_wee_", "vit_pwee_", "vit_little_", "vit_medium", "vit_betwixt_", "vit_so150m"),
    *("deit_", "deit3_", "flexivit_"),
)
# Networks are of one size if their numbers of parameters differ by less, as logarithms.
SAME_SIZE = 0.1
SETTINGS = ("families", "sizes")

Predict = Callable[[Indices, Indices], tuple[Array, Array]]
_FORMS = {
    "line": (Part("linear"),),
    "line, slopes by family": (Part("linear"), Part("linear", "family")),
    "smooth": (Part("linear"), Part("smooth")),
    "smooth, slopes by family": (Part("linear"), Part("smooth"), Part("linear", "family")),
    "smooth, slopes by family and recipe": (
        *(Part("linear"), Part("smooth")),
        *(Part("linear", "family"), Part("linear", "recipe")),
    ),
    "smooth, slopes by family, recipe and kind": (
        *(Part("linear"), Part("smooth"), Part("linear", "family")),
        *(Part("linear", "recipe"), Part("linear", "kind")),
    ),
    "smooth by family and recipe": (
        *(Part("linear"), Part("smooth")),
        *(Part("smooth", "family"), Part("smooth", "recipe")),
    ),
}
# Each recipe, family, and kind of recipe has an offset.
_OFFSETS = (Part("constant", "recipe"), Part("constant", "family"), Part("constant", "kind"))
# Sizes by the number of columns of `SIZES`, and the scale of what is smooth in them.
_INPUTS = {"FLOPs": (1, 2.0), "FLOPs and parameters": (2, 2.0), "five sizes": (5, 4.0)}
_MODELS = (
    ("line", "FLOPs"),
    ("line", "FLOPs and parameters"),
    ("line", "five sizes"),
    ("line, slopes by family", "FLOPs and parameters"),
    ("smooth", "FLOPs and parameters"),
    ("smooth", "five sizes"),
    ("smooth, slopes by family", "FLOPs and parameters"),
    ("smooth, slopes by family", "five sizes"),
    ("smooth, slopes by family and recipe", "FLOPs and parameters"),
    ("smooth, slopes by family and recipe", "five sizes"),
    ("smooth, slopes by family, recipe and kind", "five sizes"),
    ("smooth by family and recipe", "FLOPs and parameters"),
    ("smooth by family and recipe", "five sizes"),
)
_SCALES = (2.0, 4.0, 8.0)


def recipe_key(name: str, family: str, tag: str) -> str:
    """Recipe of a network, without the resolution that timm's tag may have.

    A tag such as `in1k` means another recipe in each family, and `fb_in1k` one for DeiT and another
    for DeiT-III; families near the judges share theirs.
    """
    plain = re.sub(r"^r\d+_|_(384|512)$", "", tag)
    kind = "distilled " if "distilled" in name else ""
    return f"{'plain' if family in TWINS else family} {name.partition('_')[0]} {kind}{plain}"


class Networks(Trained):
    """Networks with attention, whose tags are those of `recipe_key`; families near the judges are
    one family."""

    def __init__(self) -> None:
        super().__init__(attention=True)
        families, tags = self.families, [str(tag) for tag in self.tags]
        rows = list(zip(self.names, families, tags, strict=True))
        self.tags = np.array([recipe_key(*row) for row in rows])
        self.near: NDArray[np.bool_] = np.isin(families, TWINS)
        starts = np.array([name.startswith(PLAIN) for name in self.names])
        self.plain: NDArray[np.bool_] = np.isin(families, JUDGES) & starts
        self.families = np.where(self.near, "plain", families)

    def known(self, row: int, pool: Indices) -> Indices:
        """Networks of a pool that are not of the size and family of one network."""
        near = np.abs(self.sizes[pool, 1] - self.sizes[row, 1]) < SAME_SIZE
        return pool[~(near & (self.families[pool] == self.families[row]))]

    def with_known_recipe(self, rows: Indices, pool: Indices) -> Indices:
        """Networks among some whose recipe has a network of another size."""
        has = [(self.tags[self.known(row, pool)] == self.tags[row]).any() for row in rows]
        return rows[np.array(has)]


def models(networks: Networks, others: Indices) -> dict[str, tuple[Predict, dict[str, float]]]:
    """Models by their names, and the amplitudes that they learned from other families."""
    sizes = networks.sizes
    inputs = (sizes - sizes[others].mean(0)) / sizes[others].std(0)
    labels = {"recipe": networks.tags, "family": networks.families, "kind": networks.recipes}
    result: dict[str, tuple[Predict, dict[str, float]]] = {}
    for form, of in _MODELS:
        columns, scale = _INPUTS[of]
        parts = (*_FORMS[form], *_OFFSETS)
        model = MixedProcess(inputs[:, :columns], labels, networks.target, parts, scale)
        model.fit(others)
        result[f"{form}: {of}"] = (model.predict, model.amplitudes())
        print(f"{form}: {of}", flush=True)
    table = Table(networks)
    for length in _SCALES:

        def predict(train: Indices, test: Indices, length: float = length) -> tuple[Array, Array]:
            return process(table, length, train, test)

        result[f"the package's process, scale {length:g}"] = (predict, {})
    return result


def splits(
    networks: Networks, rows: Indices, pool: Indices, setting: str
) -> Iterator[tuple[Indices, Indices]]:
    """Known networks and those that are asked about, so that each of some is asked about once."""
    groups: dict[bytes, tuple[Indices, list[int]]] = {}
    for row in rows:
        if setting == "families":
            known = pool[networks.families[pool] != networks.families[row]]
        else:
            known = networks.known(int(row), pool)
        groups.setdefault(known.tobytes(), (known, []))[1].append(int(row))
    for known, asked in groups.values():
        yield known, np.array(asked)


def asked(
    networks: Networks, predict: Predict, rows: Indices, pool: Indices, setting: str
) -> tuple[Array, Array]:
    """Accuracies and their spread in points, for some networks, `(n,)` each."""
    mean, spread = np.empty(len(networks.target)), np.empty(len(networks.target))
    for train, test in splits(networks, rows, pool, setting):
        logs, deviation = predict(train, test)
        error = np.minimum(np.exp(logs), 100.0)
        mean[test], spread[test] = 100 - error, error * deviation
    return mean[rows], spread[rows]


def floor(networks: Networks, rows: Indices, pool: Indices, setting: str) -> Array:
    """Mean accuracy of known networks of the same kind of recipe, or of the same recipe."""
    labels = networks.recipes if setting == "families" else networks.tags
    result = np.empty(len(networks.target))
    for train, test in splits(networks, rows, pool, setting):
        for row in test:
            result[row] = networks.top1[train[labels[train] == labels[row]]].mean()
    return result[rows]


def coverage(standard: Array, families: NDArray[np.str_]) -> float:
    """Share of errors inside 90 % intervals whose quantiles come from other families."""
    inside = np.empty(len(standard), bool)
    for family in np.unique(families):
        own = families == family
        low, high = np.quantile(standard[~own], (0.05, 0.95))
        inside[own] = (low <= standard[own]) & (standard[own] <= high)
    return float(inside.mean())


def one_model(
    networks: Networks, predict: Predict, others: Indices, judges: Indices
) -> dict[str, Any]:
    """Errors, coverage and ranks of a model in both settings; the judges' predictions, too."""
    result: dict[str, Any] = {}
    every, far = np.arange(len(networks.target)), np.flatnonzero(~networks.near)
    for setting in SETTINGS:
        mean, spread = asked(networks, predict, others, far, setting)
        truth = networks.top1[others]
        standard = (truth - mean) / spread
        low, middle, high = np.quantile(standard, (0.05, 0.5, 0.95))
        told: dict[str, Any] = {
            "others": {
                "mean_absolute_error": float(np.abs(mean - truth).mean()),
                "inside": coverage(standard, networks.families[others]),
                "tau": tau(pairs(networks, others), -mean),
                "residuals": np.quantile(standard, LEVELS).tolist(),
            }
        }
        mean, spread = asked(networks, predict, judges, every, setting)
        truth = networks.top1[judges]
        lower, upper = mean + low * spread, mean + high * spread
        center = mean + middle * spread
        told["judges"] = {
            "mean_absolute_error": float(np.abs(center - truth).mean()),
            "inside": float(((lower <= truth) & (truth <= upper)).mean()),
            "tau": tau(pairs(networks, judges), -mean),
        }
        told["predicted"] = {"mean": center, "lower": lower, "upper": upper}
        result[setting] = told
    return result


def floors(networks: Networks, others: Indices, judges: Indices) -> dict[str, Any]:
    """Means as predictions, and ranks by counts, of the other families and of the judges."""
    every, far = np.arange(len(networks.target)), np.flatnonzero(~networks.near)
    result: dict[str, Any] = {"mean_absolute_error": {}, "tau": {}}
    for name, rows, pool in (("others", others, far), ("judges", judges, every)):
        result["mean_absolute_error"][name] = {
            setting: float(
                np.abs(floor(networks, rows, pool, setting) - networks.top1[rows]).mean()
            )
            for setting in SETTINGS
        }
        order = pairs(networks, rows)
        result["tau"][name] = {
            base: tau(order, -networks.features[rows, column]) for base, column in BASES.items()
        }
    return result


def over_flops(networks: Networks, judges: Indices, mean: Array) -> list[float]:
    """Bounds of the difference in Kendall's tau to FLOPs, 95 %, over resampled networks."""
    generator = np.random.default_rng(SEED)
    order, flops = pairs(networks, judges), -networks.features[judges, 0]
    found = []
    for _ in range(RESAMPLED):
        drawn = generator.integers(len(judges), size=len(judges))
        weights = np.bincount(drawn, minlength=len(judges))
        found.append(tau(order, -mean, weights) - tau(order, flops, weights))
    return np.nanquantile(found, (0.025, 0.975)).tolist()


def judged_rows(
    networks: Networks, judges: Indices, told: dict[str, Any], means: Array
) -> list[dict[str, Any]]:
    """A row for each judge: what was measured, and predicted with sizes left out."""
    return [
        {
            "network": str(networks.names[row]),
            "recipe": str(networks.tags[row]).removeprefix("plain "),
            "gmacs": float(np.exp(networks.features[row, 0]) / 1e9),
            "mparams": float(np.exp(networks.features[row, 1]) / 1e6),
            "measured": float(networks.top1[row]),
            "mean of the recipe": float(means[k]),
            **{name: float(values[k]) for name, values in told["predicted"].items()},
        }
        for k, row in enumerate(judges)
    ]


def by_recipe(networks: Networks, judges: Indices, rows: list[dict[str, Any]]) -> list[Any]:
    """A row for each recipe of the judges: errors, coverage and ranks."""
    result = []
    tags = networks.tags[judges]
    for tag in np.unique(tags):
        own = np.flatnonzero(tags == tag)
        order = pairs(networks, judges[own])
        if not np.abs(order).any():
            continue
        taken = [rows[k] for k in own]
        truth, mean, lower, upper, floor = (
            np.array([row[name] for row in taken])
            for name in ("measured", "mean", "lower", "upper", "mean of the recipe")
        )
        scores = {name: -networks.features[judges[own], c] for name, c in BASES.items()}
        result.append(
            {
                "recipe": taken[0]["recipe"],
                "networks": len(own),
                "pairs": int(np.abs(order).sum()),
                "mean_absolute_error": float(np.abs(mean - truth).mean()),
                "error_of_mean": float(np.abs(floor - truth).mean()),
                "inside": float(((lower <= truth) & (truth <= upper)).mean()),
                "tau": {
                    "model": tau(order, -mean),
                    **{name: tau(order, score) for name, score in scores.items()},
                },
            }
        )
    return result


def main() -> None:
    Options(__doc__).parse_args()
    networks = Networks()
    every = np.arange(len(networks.target))
    far = np.flatnonzero(~networks.near)
    others = networks.with_known_recipe(far, far)
    judges = networks.with_known_recipe(np.flatnonzero(networks.plain), every)
    found, predicted = {}, {}
    for name, (predict, amplitudes) in models(networks, far).items():
        told = one_model(networks, predict, others, judges)
        predicted[name] = {setting: told[setting].pop("predicted") for setting in SETTINGS}
        found[name] = told | {"amplitudes": amplitudes}
    chosen = max(found, key=lambda name: float(found[name]["sizes"]["others"]["tau"]))
    told = {"predicted": predicted[chosen]["sizes"]}
    rows = judged_rows(networks, judges, told, floor(networks, judges, every, "sizes"))
    write_result(
        "attention_accuracy",
        networks=len(every),
        other_networks=len(far),
        other_families=len(np.unique(networks.families[far])),
        other_networks_asked=len(others),
        judging_networks=len(judges),
        pairs=int(np.abs(pairs(networks, judges)).sum()),
        chosen=chosen,
        floors=floors(networks, others, judges),
        models=found,
        over_flops=over_flops(networks, judges, told["predicted"]["mean"]),
        by_recipe=by_recipe(networks, judges, rows),
        judges=rows,
    )


if __name__ == "__main__":
    main()
