"""Tables of accuracies that were learned from other families, for docs/results/networks.md."""

from __future__ import annotations

from typing import Any

from experiments.tables import load, section, table

_METHODS = {
    "FLOPs alone": "FLOPs",
    "parameters alone": "parameters",
    "ridge on FLOPs and parameters": "ridge on both",
    "ridge on five sizes": "ridge on five sizes",
    "ridge on all features": "ridge on 15 features",
    "gradient boosting on all features": "gradient boosting on 15 features",
    "Gaussian process on five sizes": "**Gaussian process on five sizes**",
}
_SHOWN = ("FLOPs alone", "parameters alone", "ridge on FLOPs and parameters", list(_METHODS)[-1])


def _families(part: dict[str, Any]) -> list[list[str]]:
    rows = []
    for row in part["families"]:
        low, high = row["over FLOPs alone"][_SHOWN[-1]]
        rows.append(
            [
                row["family"],
                str(row["networks"]),
                str(row["pairs"]),
                *(f"{row['tau'][name]:.2f}" for name in _SHOWN),
                f"{low:+.2f} to {high:+.2f}",
            ]
        )
    return rows


@section("family-summary")
def summary() -> str:
    """A row a method: means over families, and ranks in benchmarks that it never saw."""
    found = load("family_accuracy")
    by_space = {row["space"]: row["tau"] for row in found["transfer"]}
    body = []
    for name, shown in _METHODS.items():
        every, mobile = (found[part]["summary"][name] for part in ("all", "mobile"))
        error = found["mean_absolute_error"].get(name)
        body.append(
            [
                shown,
                f"{every['mean_tau']:.3f}",
                f"{every['tau_of_all_pairs']:.3f}",
                f"{every['better_than_flops']}, {every['worse_than_flops']}",
                f"{mobile['mean_tau']:.3f}",
                f"{by_space['accel'][name]:.3f}",
                f"{by_space['macro'][name]:.3f}",
                "–" if error is None else f"{error:.2f}",
            ]
        )
    head = ["ranked by", "mean τ of families", "τ of all pairs", "families better, worse"]
    head += ["below 1 GMAC, mean τ", "accel, τ", "macro, τ", "mean error, points"]
    return table(head, body)


@section("family-accuracy")
def families() -> str:
    """A row a family that was left out."""
    head = ["family", "networks", "pairs", "FLOPs", "parameters", "ridge on both"]
    head += ["Gaussian process", "its gain over FLOPs, 95 %"]
    return table(head, _families(load("family_accuracy")["all"]))


@section("attention-accuracy")
def attention() -> str:
    """A row a way to predict the vision transformers that judge."""
    found = load("attention_accuracy")
    errors, ranks = found["summary"], found["ranks"]["tau"]
    rows = (
        ("mean of other families", "mean", ""),
        ("FLOPs, or a line through them", "line", "FLOPs alone"),
        ("process, their families left out", "families left out", "families left out"),
        ("process, one network left out", "network left out", "network left out"),
    )
    body = []
    for title, key, rank in rows:
        inside = errors[key].get("inside")
        body.append(
            [
                title,
                f"{errors[key]['mean_absolute_error']:.2f}",
                "–" if inside is None else f"{inside:.0%}",
                f"{ranks[rank]:.2f}" if rank else "–",
            ]
        )
    head = ["predicted by", "mean error, points", "inside 90 % intervals"]
    return table([*head, "τ of pairs of one recipe"], body)


@section("family-limits")
def limits() -> str:
    """A row a device of accel."""
    rows = load("family_accuracy")["limited"]
    names = (*_SHOWN[:2], _SHOWN[-1])
    body = [[row["column"], *(f"{row['points'][name]:.2f}" for name in names)] for row in rows]
    return table(["limit on", "FLOPs", "parameters", "Gaussian process"], body)
