"""Tables of accuracies that were learned from other families, for docs/results/networks.md."""

from __future__ import annotations

from typing import Any

from experiments.tables import MISSING, load, section, table

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


# Ways to ask about a network -> what is left out.
_SETTINGS = {"families": "family", "sizes": "size"}
_MEANS = {
    "families": "mean of the same kind of recipe in other families",
    "sizes": "mean of the recipe's other sizes",
}
# Models beside the chosen one.
_NOTED = ("the package's process, scale 2", "line: FLOPs")
_HEAD = ["predicted by", "other families: error", "τ"]
for _left_out in _SETTINGS.values():
    _HEAD += [f"judges, {_left_out} left out: error", "τ", "inside"]


def _asked(found: dict[str, dict[str, Any]]) -> list[str]:
    """Cells of a model: the other families with sizes left out, then the judges in both ways."""
    parts = [found["sizes"]["others"], *(found[setting]["judges"] for setting in _SETTINGS)]
    cells = []
    for part in parts:
        cells += [f"{part['mean_absolute_error']:.2f}", f"{part['tau']:.3f}"]
        cells += [f"{part['inside']:.0%}"] if part is not parts[0] else []
    return cells


@section("attention-accuracy")
def attention() -> str:
    """A row a floor, and rows of the chosen model and of two that stand out."""
    found = load("attention_accuracy")
    errors, ranks = found["floors"]["mean_absolute_error"], found["floors"]["tau"]
    body = []
    for setting, title in _MEANS.items():
        others, judges = (f"{errors[who][setting]:.2f}" for who in ("others", "judges"))
        own, none = [judges, MISSING, MISSING], [MISSING] * 3
        cells = [*own, *none] if setting == "families" else [*none, *own]
        body.append([title, others if setting == "sizes" else MISSING, MISSING, *cells])
    for name, title in (("FLOPs alone", "FLOPs"), ("parameters alone", "parameters")):
        others, judges = (f"{ranks[who][name]:.3f}" for who in ("others", "judges"))
        body.append([title, MISSING, others, *[MISSING, judges, MISSING] * 2])
    for name in (found["chosen"], *_NOTED):
        title = f"**{name}**" if name == found["chosen"] else name
        body.append([title, *_asked(found["models"][name])])
    low, high = found["over_flops"]
    told = (
        f"{found['judging_networks']} networks judge, in {found['pairs']} pairs; "
        f"{found['other_networks']} are of {found['other_families']} other families, where "
        f"{found['other_networks_asked']} are asked, with their size left out. The chosen model's "
        "gain in τ over FLOPs among the judges, "
        f"size left out, is {low:+.2f} to {high:+.2f} (95 %, from resampled networks). All models:"
    )
    rows = [[name, *_asked(model)] for name, model in found["models"].items()]
    return f"{table(_HEAD, body)}\n\n{told}\n\n{table(_HEAD, rows)}"


@section("attention-recipes")
def attention_recipes() -> str:
    """A row a recipe of the vision transformers that judge, by the chosen model."""
    body = [
        [
            row["recipe"],
            str(row["networks"]),
            f"{row['error_of_mean']:.2f}",
            f"{row['mean_absolute_error']:.2f}",
            f"{row['inside']:.0%}",
            str(row["pairs"]),
            *(f"{row['tau'][name]:.2f}" for name in ("parameters alone", "FLOPs alone", "model")),
        ]
        for row in load("attention_accuracy")["by_recipe"]
    ]
    head = ["recipe", "networks", "error of the mean", "of the model", "inside", "pairs"]
    return table([*head, "parameters, τ", "FLOPs, τ", "model, τ"], body)


@section("family-limits")
def limits() -> str:
    """A row a device of accel."""
    rows = load("family_accuracy")["limited"]
    names = (*_SHOWN[:2], _SHOWN[-1])
    body = [[row["column"], *(f"{row['points'][name]:.2f}" for name in names)] for row in rows]
    return table(["limit on", "FLOPs", "parameters", "Gaussian process"], body)
