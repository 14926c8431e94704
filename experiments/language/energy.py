"""Predict the energy of HW-GPT-Bench's networks on known GPUs, and on GPUs that were left out.

    NASPLUG_MIRROR=... python -m experiments.language.energy [--threads 1] [--fresh]

On known GPUs, networks of the half that is never learned from judge the predictor, beside a
constant share of the board's power, a line in the multiply-accumulates, and gradient boosting on
the very same networks and sizes, which shows how much of an energy repeats at all. A left-out GPU
is judged twice: with the measured time, which tests the model of power alone, and with the latency
of a model that has not seen the GPU either. The features of the share are chosen on the other GPUs,
by leaving each of these out. Its intervals are those of the package's predictor fitted to the other
GPUs, with the measured time, and with the latency of that model and the errors of other GPUs that
were left out. Writes results/energy.json; finished runs are kept.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments import RESULTS
from experiments.campaign import Campaign, Options, read_json
from experiments.common import Array, covered
from experiments.language.energy_networks import (
    SCALES,
    energies,
    examples,
    followed,
    graphs_of,
    halves,
    idle_share,
    settings,
    watts,
)
from experiments.latency.gpu_rows import at_most, gpu_rows, operator_rows
from experiments.latency.left_out_chips import COUNT, LEVELS, fitted
from nasplug.datasets.gpt_networks import GPUS
from nasplug.predicting.zoo import NETWORK_LATENCY, load_predictor
from nasplug.predictors.latency.class_models import ClassModels
from nasplug.predictors.latency.network_energy import NetworkEnergy
from nasplug.predictors.latency.power_share import (
    ENDS,
    held,
    power_features,
    shares_of,
    sizes_of,
)
from nasplug.predictors.prediction import Prediction
from nasplug.search_spaces import Graph

JUDGED = 300
# Networks of each scale that judge and teach with left-out GPUs.
FEW = 100
SEED = 5
BOOSTED = {"max_iter": 150, "loss": "absolute_error", "random_state": 0}
# Features of the share that may be chosen: a constant, the rise with time, the memory's traffic.
FORMS = ((0,), (0, 1), (0, 2), (0, 1, 2))
OWN = "nasplug"


def percent(predicted: Array, truth: Array) -> float:
    """Mean absolute percentage error of logarithms."""
    return float(100 * np.abs(np.expm1(predicted - truth)).mean())


@cache
def judges(scale: str) -> tuple[list[Graph], Array]:
    """Graphs of networks that are never learned from, and their J."""
    rows = np.random.default_rng(SEED).permutation(halves(scale)[1])[:JUDGED]
    return graphs_of(scale, rows), energies(scale)[rows]


def held_out(seed: int) -> list[dict[str, Any]]:
    """A row a column of known GPUs."""
    graphs, values, names = examples(seed)
    predictor, columns = NetworkEnergy(), settings()
    predictor.fit(graphs, values, columns, groups=names)
    learned = sizes_of(graphs)
    rows = []
    for scale in SCALES:
        own = np.array(names) == scale
        tested, joules = judges(scale)
        features = sizes_of(tested)
        for g, column in enumerate(columns):
            truth = np.log(joules[:, g])
            if np.isnan(truth).any():
                continue
            logs = np.log(values[own, g])
            predicted = predictor.predict(
                tested, column.hardware, column.batch_size, column.way.text
            )
            teach, ms = (
                predictor.latency.predict(which, column.hardware, 8, column.way.text).mean[:, 0]
                for which in ([graphs[k] for k in np.flatnonzero(own)], tested)
            )
            model = HistGradientBoostingRegressor(**BOOSTED).fit(learned[own], logs)
            work = np.exp(learned[own, 0])
            line = np.polyfit(work, np.exp(logs), 1)
            lined = np.log(np.maximum(np.polyval(line, np.exp(features[:, 0])), 1e-3))
            constant = np.log(ms) + np.median(logs - np.log(teach))
            rows.append(
                {
                    "scale": scale,
                    "gpu": GPUS[g],
                    "watts": float(np.median(watts(scale)[:, g])),
                    "networks": len(truth),
                    "coverage": float(covered(predicted, joules[:, g]).mean()),
                    "mape_percent": {
                        OWN: percent(predicted.center[:, 0], truth),
                        "gradient boosting": percent(model.predict(features), truth),
                        "constant power": percent(constant, truth),
                        "line in macs": percent(lined, truth),
                    },
                }
            )
    return rows


def meters() -> list[dict[str, Any]]:
    """A row a scale and GPU: its median power, and whether the meter could follow."""
    rows = []
    for scale in SCALES:
        powers, can_follow = watts(scale), followed(scale)
        for g, column in enumerate(settings()):
            low, middle, high = np.quantile(powers[:, g], [0.05, 0.5, 0.95])
            rows.append(
                {
                    "scale": scale,
                    "gpu": GPUS[g],
                    "watts": [float(low), float(middle), float(high)],
                    "share": float(middle / column.hardware.power_w),
                    "idle_share": idle_share(),
                    "followed": bool(can_follow[g]),
                }
            )
    return rows


@cache
def shared() -> tuple[list[Graph], Array, Array, Array, Array]:
    """Graphs of all scales, J, W, positions of the scales, and latencies by the package, in ms."""
    graphs, joules, powers, places = [], [], [], []
    for k, scale in enumerate(SCALES):
        rows = np.random.default_rng(SEED).permutation(halves(scale)[0])[:FEW]
        graphs += graphs_of(scale, rows)
        joules.append(energies(scale)[rows])
        powers.append(watts(scale)[rows])
        places += [k] * len(rows)
    model = load_predictor(NETWORK_LATENCY).model
    ms = [model.predict(graphs, c.hardware, 8, c.way.text).mean[:, 0] for c in settings()]
    return (
        graphs,
        np.concatenate(joules),
        np.concatenate(powers),
        np.array(places),
        np.stack(ms, axis=1),
    )


def chips_of(g: int) -> set[str]:
    """Chips of a GPU and of its twins."""
    return {row.chip for row in gpu_rows() if row.column.hardware.name == GPUS[g]}


@cache
def unseen_ms(g: int) -> Array:
    """Latencies in ms on a GPU by a model that has not seen it nor its twins, `(n,)`."""
    column = settings()[g]
    measured, chips = gpu_rows(), chips_of(g)
    networks = at_most([row for row in measured if row.chip not in chips], COUNT)
    operators = [row for row in operator_rows() if row.chip not in chips]
    model = ClassModels({"gpu": fitted(networks, operators)})
    result: Array = np.exp(model.log_latency(shared()[0], [column])[:, 0])
    return result


def shares(ms: Array, joules: Array, form: tuple[int, ...]) -> tuple[Array, Array]:
    """Features `(n, GPUs, features)` and logarithms of the share of the board's power."""
    graphs, columns = shared()[0], settings()
    features = [power_features(graphs, c, ms[:, g])[:, form] for g, c in enumerate(columns)]
    powers = np.array([c.hardware.power_w for c in columns])
    return np.stack(features, axis=1), np.log(joules / (ms * powers / 1e3))


def chosen_form(ms: Array, joules: Array, others: list[int], places: Array) -> tuple[int, ...]:
    """The features whose share is best on GPUs that are left out of some."""
    errors = []
    for form in FORMS:
        features, rest = shares(ms, joules, form)
        gone = []
        for g in others:
            taught = [k for k in others if k != g]
            learned = shares_of(features[:, taught], rest[:, taught], places)
            off = rest[:, g] - held(features[:, g] @ learned)
            gone.append(float(np.nanmean(np.abs(off))))
        errors.append(float(np.mean(gone)))
    return FORMS[int(np.argmin(errors))]


def left_out(gpu: str) -> list[dict[str, Any]]:
    """A row a scale of a GPU that was left out, with the measured time and without."""
    g = GPUS.index(gpu)
    graphs, joules, powers, places, known_ms = shared()
    others = [k for k in range(len(GPUS)) if k != g]
    with_unseen = known_ms.copy()
    with_unseen[:, g] = unseen_ms(g)
    times = {"measured": 1e3 * joules / powers, "predicted": with_unseen}
    macs = np.array([graph.total("flops") for graph in graphs])
    columns = settings()
    nearest = min(others, key=lambda k: _unlike(columns[k].hardware, columns[g].hardware))
    rows = []
    for name, ms in times.items():
        # A column whose meter could not follow has no measured time either.
        form = chosen_form(ms, joules, others, places)
        features, rest = shares(np.where(np.isnan(ms), 1.0, ms), joules, form)
        learned = shares_of(features[:, others], rest[:, others], places)
        center = held(features[:, g] @ learned)
        middle = [
            np.nanmedian(rest[places == k, j])
            for k in range(len(SCALES))
            for j in others
            if np.isfinite(rest[places == k, j]).any()
        ]
        per_work = np.log(joules / macs[:, None])
        for k, scale in enumerate(SCALES):
            own = (places == k) & np.isfinite(joules[:, g])
            if not own.any():
                continue
            truth = rest[own, g]
            work = np.nanmedian(per_work[places == k][:, others])
            near = rest[places == k, nearest]
            rows.append(
                {
                    "scale": scale,
                    "time": name,
                    "features": list(form),
                    "networks": int(own.sum()),
                    "nearest": GPUS[nearest],
                    "mape_percent": {
                        OWN: percent(center[own], truth),
                        "constant power": percent(np.full(own.sum(), np.mean(middle)), truth),
                        "power of the nearest GPU": percent(
                            np.full(own.sum(), np.nanmedian(near)), truth
                        )
                        if np.isfinite(near).any()
                        else None,
                        "joules a mac": percent(
                            np.full(own.sum(), work), np.log(joules[own, g] / macs[own])
                        ),
                    },
                    "latency_off": float(np.median(ms[own, g] / times["measured"][own, g])),
                }
            )
    return rows


def unseen_width(g: int) -> float:
    """Half of the 90 % interval of logarithms of a latency on a GPU that was left out.

    From the errors of other GPUs that were left out, in its runtime and precision.
    """
    way = ["eager", settings()[g].way.precision]
    values = [
        row["residuals"]
        for row in read_json(RESULTS / "left_out_chips.json")["left_out"]
        if row["chip"] not in chips_of(g) and row["group"].split("|")[2:] == way
    ]
    low, high = np.quantile(values, LEVELS)
    return float(high - low) / 2


def intervals(gpu: str) -> list[dict[str, Any]]:
    """A row a scale of a GPU that was left out: what its intervals cover, and their width."""
    g = GPUS.index(gpu)
    graphs, joules, powers, places, _ = shared()
    columns = settings()
    others = [k for k in range(len(GPUS)) if k != g]
    names = [SCALES[k] for k in places]
    order = np.random.default_rng(SEED).permutation(len(graphs))
    predictor = NetworkEnergy()
    predictor.fit(
        [graphs[k] for k in order],
        joules[np.ix_(order, others)],
        [columns[k] for k in others],
        groups=[names[k] for k in order],
    )
    device, way = columns[g].hardware, columns[g].way.text
    # Where no time was measured no energy judges either.
    measured = np.nan_to_num(1e3 * joules / powers, nan=1.0)[:, g]
    times = {"measured": (measured, 0.0), "predicted": (unseen_ms(g), unseen_width(g))}
    rows = []
    for time, (ms, width) in times.items():
        latency = Prediction(
            targets=("latency",),
            units=("ms",),
            center=np.log(ms)[:, None],
            spread=np.full((len(graphs), 1), width),
            levels=np.array([0.0, *ENDS, 1.0]),
            residuals=np.array([-1.0, -1.0, 1.0, 1.0])[:, None],
            log_scale=(True,),
            evidence="zero-shot",
        )
        predicted = predictor.predict(graphs, device, columns[g].batch_size, way, latency)
        for k, scale in enumerate(SCALES):
            own = (places == k) & np.isfinite(joules[:, g])
            if own.any():
                center, truth = predicted.center[own, 0], np.log(joules[own, g])
                rows.append(
                    {
                        "scale": scale,
                        "time": time,
                        "networks": int(own.sum()),
                        "coverage": float(covered(predicted, joules[:, g])[own].mean()),
                        "upper_over_lower": float(
                            np.median((predicted.upper / predicted.lower)[own])
                        ),
                        "mape_percent": percent(center, truth),
                    }
                )
    return rows


def _unlike(a: Any, b: Any) -> float:
    """Distance of two GPUs by their data sheets."""
    figures = [
        (max(h.peak_tflops.values()), h.memory_bandwidth_gbs, h.power_w, h.on_chip_memory_mb)
        for h in (a, b)
    ]
    return float(np.abs(np.log(figures[0]) - np.log(figures[1])).sum())


def measure(part: str, case: str) -> list[dict[str, Any]]:
    if part == "meters":
        return meters()
    if part == "intervals":
        return intervals(case)
    return held_out(int(case)) if part == "held out" else left_out(case)


def main() -> None:
    options = Options(__doc__, seeds="0,1,2,3,4", fresh=True).parse_args()
    names = [f"gpt-{scale}" for scale in SCALES]
    campaign = Campaign("energy", ("part", "case"), names, fresh=options.fresh)
    cases = [("held out", str(seed)) for seed in options.seeds]
    cases += [(part, gpu) for part in ("left out", "intervals") for gpu in GPUS]
    campaign.complete([("meters", "all"), *cases], measure)


if __name__ == "__main__":
    main()
