"""Predict ImageNet accuracy from the structure of networks with attention: can it be trusted?

    python -m experiments.accuracy.attention_accuracy [--threads 1]

The networks are timm's with attention and trained weights; their families are timm's modules. Plain
vision transformers and DeiTs that were trained on ImageNet-1k alone judge: they, and all families
that are near them (`TWINS`), are left out of every choice. The scale of the Gaussian process of
family_accuracy.py is chosen for each other family by the errors in the rest; the median of these
scales, and the quantiles of the errors in families that were left out, predict the judges: by what
the other families tell, and once more with all other networks known. Beside the process stand the
mean of the other families, and a line through their FLOPs; ranks stand beside counts alone.
Writes results/attention_accuracy.json.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.accuracy.family_accuracy import (
    BASES,
    Indices,
    Table,
    Trained,
    chosen_scales,
    pairs,
    process,
    residuals,
    ridge,
    tau,
)
from experiments.campaign import Options
from experiments.common import Array, write_result
from nasplug.predicting.measured_accuracy import LEVELS
from nasplug.predicting.structure_accuracy import NEW, STRONG

JUDGES = ("vision_transformer", "deit")
TWINS = (
    *JUDGES,
    *("beit", "eva", "naflexvit", "vision_transformer_hybrid", "vision_transformer_relpos"),
)
# Beginnings of the names of networks that the space `vit` has.
PLAIN = ("vit_tiny_patch", "vit_small_patch", "vit_base_patch", "vit_large_patch", "deit_")


def is_judge(trained: Trained) -> Array:
    """Whether networks judge, `(n,)`."""
    plain = np.array([name.startswith(PLAIN) for name in trained.names])
    return np.isin(trained.families, JUDGES) & (trained.recipes == STRONG) & plain


def asked_as_new(trained: Trained, rows: Indices) -> Table:
    """A table with some networks as they are asked about: trained by a new recipe."""
    table = Table(trained)
    table.tags = np.array(table.tags, object)
    table.tags[rows] = NEW
    return table


def judged(trained: Trained, scale: float, quantiles: Array) -> list[dict[str, Any]]:
    """A row for each judge: what was measured and predicted."""
    test = np.flatnonzero(is_judge(trained))
    far = np.flatnonzero(~np.isin(trained.families, TWINS))
    table = asked_as_new(trained, test)
    unknown = process(table, scale, far, test)
    line = 100 - np.exp(ridge([0])(table, far, test))
    strong = far[trained.recipes[far] == STRONG]
    low, middle, high = np.interp((0.05, 0.5, 0.95), LEVELS, quantiles)
    rows = []
    for k, row in enumerate(test):
        others = np.flatnonzero(np.array(trained.names) != trained.names[row])
        alone = asked_as_new(trained, np.array([row]))
        own = [float(values[0]) for values in process(alone, scale, others, np.array([row]))]
        entry = {
            "network": str(trained.names[row]),
            "tag": str(trained.tags[row]),
            "measured": float(trained.top1[row]),
            "line": float(line[k]),
            "mean": float(trained.top1[strong].mean()),
        }
        for name, (log, spread) in {
            "families left out": (float(unknown[0][k]), float(unknown[1][k])),
            "network left out": own,
        }.items():
            error = min(float(np.exp(log)), 100.0)
            center = 100 - error
            entry[name] = {
                "mean": center + middle * error * spread,
                "lower": center + low * error * spread,
                "upper": center + high * error * spread,
            }
        rows.append(entry)
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean absolute errors in points, and the share of judges inside 90 % intervals."""
    truth = np.array([row["measured"] for row in rows])
    result: dict[str, Any] = {"networks": len(rows)}
    for name in ("mean", "line"):
        values = np.array([row[name] for row in rows])
        result[name] = {"mean_absolute_error": float(np.abs(values - truth).mean())}
    for name in ("families left out", "network left out"):
        mean, lower, upper = (
            np.array([row[name][end] for row in rows]) for end in ("mean", "lower", "upper")
        )
        result[name] = {
            "mean_absolute_error": float(np.abs(mean - truth).mean()),
            "inside": float(((lower <= truth) & (truth <= upper)).mean()),
        }
    return result


def ranks(trained: Trained, scale: float) -> dict[str, Any]:
    """Kendall's tau among networks of the judges' families that have one tag."""
    far = np.flatnonzero(~np.isin(trained.families, TWINS))
    test = np.flatnonzero(np.isin(trained.families, JUDGES))
    order, names = pairs(trained, test), np.array(trained.names)
    scores = {name: -trained.features[test, column] for name, column in BASES.items()}
    scores["families left out"] = process(asked_as_new(trained, test), scale, far, test)[0]
    alone = np.empty(len(test))
    for name in np.unique(names[test]):
        rows = np.flatnonzero(names == name)
        known = np.flatnonzero(names != name)
        alone[np.isin(test, rows)] = process(asked_as_new(trained, rows), scale, known, rows)[0]
    scores["network left out"] = alone
    return {
        "networks": len(test),
        "pairs": int(np.abs(order).sum()),
        "tau": {name: tau(order, score) for name, score in scores.items()},
    }


def main() -> None:
    Options(__doc__).parse_args()
    trained = Trained(attention=True)
    others = trained.take(~np.isin(trained.families, TWINS))
    left_out, scales = chosen_scales(others)
    scale = float(np.median(scales))
    quantiles, coverage = residuals(others, scale)
    rows = judged(trained, scale, quantiles)
    write_result(
        "attention_accuracy",
        networks=len(trained.names),
        families=len(np.unique(trained.families)),
        other_networks=len(others.names),
        other_families=len(np.unique(others.families)),
        scale=scale,
        levels=LEVELS,
        residuals=quantiles.tolist(),
        coverage_of_other_families=coverage,
        mean_absolute_error=float(np.abs(100 - np.exp(left_out) - others.top1).mean()),
        judges=rows,
        summary=summary(rows),
        ranks=ranks(trained, scale),
    )


if __name__ == "__main__":
    main()
