"""Other forms of the share of a board's power that a network draws, on GPUs that were left out.

    NASPLUG_MIRROR=... python -m experiments.language.energy_forms [--threads 1] [--fresh]

Beside the package's form: without the board's limit; with the share of the peak of arithmetic that
is used, in place of the memory's traffic or with it; an idle power, and parts that grow with the
arithmetic and with the traffic, neither of them negative; and the package's form with the offsets
of the other GPUs, those of similar data sheets first. Each GPU leaves in turn, its latency comes
from a model that has not seen it, and the errors that the other GPUs have when each of them leaves
tell what would have been chosen. Writes results/energy_forms.json; finished GPUs are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls

from experiments.campaign import Campaign, Options
from experiments.common import Array
from experiments.language.energy import _unlike, percent, shared, unseen_ms
from experiments.language.energy_networks import SCALES, settings
from nasplug.datasets.gpt_networks import ENERGY_BATCH, GPUS
from nasplug.predictors.latency.power_share import held, power_features, shares_of

# Share of the peak of arithmetic that counts at least.
_LEAST = 0.02
# Distance of data sheets at which a GPU's offset counts a third, and weight of no offset at all.
_LENGTH, _NONE = 1.0, 0.5
# A form: features `(n, GPUs, 4)`, logarithms of the share, learned GPUs, the judged one -> `(n,)`.
Form = Callable[[Array, Array, list[int], int], Array]


def features_of(ms: Array) -> Array:
    """Features of `power_features`, and the logarithm of the used share of peak arithmetic."""
    graphs, columns = shared()[0], settings()
    work = 2 * ENERGY_BATCH * np.array([graph.total("flops") for graph in graphs])
    found = []
    for g, column in enumerate(columns):
        peak = 1e9 * column.hardware.peak_tflops[column.way.precision]
        used = np.log(np.clip(work / (peak * ms[:, g]), _LEAST, 1.0))
        found.append(np.column_stack([power_features(graphs, column, ms[:, g]), used]))
    return np.stack(found, axis=1)


def linear(form: Sequence[int], is_held: bool = True) -> Form:
    """A form whose logarithm is linear in some features."""

    def share(features: Array, rest: Array, taught: list[int], g: int) -> Array:
        chosen = features[:, :, list(form)]
        logs: Array = chosen[:, g] @ shares_of(chosen[:, taught], rest[:, taught], shared()[3])
        return held(logs) if is_held else logs

    return share


def parts(features: Array, rest: Array, taught: list[int], g: int) -> Array:
    """The sum of an idle power and of parts by arithmetic and traffic, of least relative errors."""
    places = shared()[3]
    terms = np.concatenate([np.ones_like(features[..., :1]), np.exp(features[..., 2:])], axis=2)
    rows, ones = [], []
    for k in range(len(SCALES)):
        for h in taught:
            own = (places == k) & np.isfinite(rest[:, h])
            if own.any():
                weight = own.sum() ** -0.5
                rows.append(weight * terms[own, h] / np.exp(rest[own, h])[:, None])
                ones.append(np.full(own.sum(), weight))
    weights, _ = nnls(np.concatenate(rows), np.concatenate(ones))
    return held(np.log(np.maximum(terms[:, g] @ weights, _LEAST)))


def similar(features: Array, rest: Array, taught: list[int], g: int) -> Array:
    """The package's form, with the mean offset of the other GPUs by likeness of data sheets."""
    chosen, columns = features[:, :, :3], settings()
    share = shares_of(chosen[:, taught], rest[:, taught], shared()[3])
    offsets = [np.nanmean(rest[:, h] - chosen[:, h] @ share) for h in taught]
    gaps = [_unlike(columns[h].hardware, columns[g].hardware) for h in taught]
    near = np.exp(-np.array(gaps) / _LENGTH)
    return held(chosen[:, g] @ share + near @ np.array(offsets) / (near.sum() + _NONE))


FORMS: dict[str, Form] = {
    "time and traffic": linear((0, 1, 2)),
    "without the board's limit": linear((0, 1, 2), is_held=False),
    "time and arithmetic": linear((0, 1, 3)),
    "time, traffic and arithmetic": linear((0, 1, 2, 3)),
    "idle power, arithmetic and traffic": parts,
    "offsets of similar GPUs": similar,
}


def by_scale(off: Callable[[Array, Array], float], logs: Array, rest: Array) -> float:
    """Mean of an error over the scales that were measured."""
    places = shared()[3]
    masks = [(places == k) & np.isfinite(rest) for k in range(len(SCALES))]
    return float(np.mean([off(logs[own], rest[own]) for own in masks if own.any()]))


def measure(gpu: str) -> list[dict[str, Any]]:
    """A row a form: its error on the GPU, and on the others when each of them leaves."""
    g = GPUS.index(gpu)
    _, joules, _, _, known = shared()
    powers = np.array([column.hardware.power_w for column in settings()])
    ms = known.copy()
    ms[:, g] = unseen_ms(g)
    features, rest = features_of(ms), np.log(joules / (ms * powers / 1e3))
    others = [k for k in range(len(GPUS)) if k != g]
    rows = []
    for name, form in FORMS.items():
        inner = []
        for h in others:
            logs = form(features, rest, [k for k in others if k != h], h)
            inner.append(by_scale(lambda a, b: float(np.abs(a - b).mean()), logs, rest[:, h]))
        logs = form(features, rest, others, g)
        rows.append(
            {
                "form": name,
                "others": float(np.mean(inner)),
                "mape_percent": by_scale(percent, logs, rest[:, g]),
            }
        )
    return rows


def main() -> None:
    options = Options(__doc__, fresh=True).parse_args()
    names = [f"gpt-{scale}" for scale in SCALES]
    campaign = Campaign("energy_forms", ("gpu",), names, fresh=options.fresh)
    campaign.complete(((gpu,) for gpu in GPUS), measure)


if __name__ == "__main__":
    main()
