"""Worth of the parts of the class models, on chips that were left out.

    python -m experiments.latency.class_ablation [--threads 1] [--only gpu] [--fresh]

Five fits of each variant leave a fifth of the chips out, with their twins. A variant lacks a part
of what is learned or of the form. Figures are medians and means over chips of MAPE %, a chip being
the mean over its ways to run networks. Fits are kept in runs/ and not repeated. Writes
results/class_ablation.json.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.campaign import Options
from experiments.common import RUNS, Array, write_result
from experiments.zoo.train_class_models import (
    CLASSES,
    FOLDS,
    MOST_RESIDUALS,
    Rows,
    fit_cpus,
    fit_gpus,
    fit_others,
    fold_of,
)
from nasplug.predictors.latency import cpu_roofline
from nasplug.predictors.latency.fused_numbers import START
from nasplug.predictors.latency.fused_roofline import FusedRoofline
from nasplug.search_spaces.files import atomic_path

# Holds all numbers where they start.
_RIGID = 1e3
_NONE = 1e-6
_TILES = ("fill.", "depth.", "width.", "rows")


def _numbers(*beginnings: str, value: float = _NONE) -> dict[str, float]:
    """Numbers of GPUs whose names begin so, at one value."""
    names = [name for name in START if name.startswith(beginnings)]
    return dict.fromkeys(names, value)


# Numbers of GPUs that are held where they have no effect.
_HELD: Mapping[str, Mapping[str, float]] = {
    "no tiles, waves and alignment": _numbers(*_TILES) | _numbers("unaligned", value=1.0),
    "no launches": {
        name: _NONE
        for name in ("launch.kernels", "launch.framework", "launch.compiled", "launch.tensorrt")
    },
    "no hosts": {name: _NONE for name in ("host.framework", "host.compiled", "host.tensorrt")},
    "no caches": {"cache": _NONE, "transfer": _NONE},
}


def _light_operators(rows: Rows, operators: Rows | None) -> FusedRoofline:
    assert operators is not None
    return fit_gpus(rows, replace(operators, weights=operators.weights / 3))


def _operators_alone(_: Rows, operators: Rows | None) -> FusedRoofline:
    assert operators is not None
    return FusedRoofline.of(
        operators.graphs, operators.columns, operators.ms, operators.sources, operators.weights
    )


def _one_host(rows: Rows, operators: Rows | None) -> FusedRoofline:
    plain = replace(rows, sources=[replace(script, name="") for script in rows.sources])
    return fit_gpus(plain, operators)


@contextmanager
def _set(name: str, value: float) -> Iterator[None]:
    """Another value of a constant of the model of CPUs."""
    before = getattr(cpu_roofline, name)
    setattr(cpu_roofline, name, value)
    try:
        yield
    finally:
        setattr(cpu_roofline, name, before)


def _cpus_without(constant: str) -> Callable[[Rows, Rows | None], Any]:
    def fit(rows: Rows, operators: Rows | None) -> Any:
        with _set(constant, _NONE):
            return fit_cpus(rows, operators)

    return fit


def _cpus_rigid(rows: Rows, _: Rows | None) -> Any:
    return cpu_roofline.CpuRoofline.of(
        rows.graphs, rows.columns, rows.ms, rows.sources, rows.weights, strength=_RIGID
    )


VARIANTS: dict[str, dict[str, Callable[[Rows, Rows | None], Any]]] = {
    "gpu": {
        "all": fit_gpus,
        "nothing learned": lambda r, o: fit_gpus(r, o, strength=_RIGID),
        "no operator tables": lambda r, o: fit_gpus(r, None),
        "operator tables with a third of their weight": _light_operators,
        "operator tables alone": _operators_alone,
        "one host for all who measured": _one_host,
        **{name: lambda r, o, h=held: fit_gpus(r, o, fixed=h) for name, held in _HELD.items()},
    },
    "cpu": {
        "all": fit_cpus,
        "nothing learned": _cpus_rigid,
        "no factors of microarchitectures": _cpus_without("CORE_SPREAD"),
        "no factors of those who measured": _cpus_without("SOURCE_SPREAD"),
        "no effects of devices in tables": _cpus_without("EFFECT_SPREAD"),
    },
    "other": {"all": fit_others},
}


def errors(name: str, variant: str, fresh: bool) -> dict[str, Any]:
    """Errors in log units on left-out chips, and the chip and way of each; kept in runs/."""
    path = Path(RUNS) / "class-ablation" / f"{name} {variant}.npz"
    if fresh or not path.exists():
        learned = CLASSES[name]
        rows, more = learned.rows(), learned.more() if learned.more else None
        parts: dict[str, list[Any]] = defaultdict(list)
        for fold in range(FOLDS):
            is_out = np.array([fold_of(chip) == fold for chip in rows.chips])
            others = None
            if more is not None:
                kept = [fold_of(chip) != fold for chip in more.chips]
                others = more.take(np.flatnonzero(kept))
            model = VARIANTS[name][variant](rows.take(np.flatnonzero(~is_out)), others)
            judged = rows.take(np.flatnonzero(is_out))
            asked = (judged.graphs, judged.columns, learned.unnamed(judged.sources))
            logs = {"": model.log_latency(*asked)}
            if name == "cpu":
                logs["no factors of networks"] = model.log_latency(*asked, known=False)
            if name == "other":
                process = model.process.mean(judged.graphs, judged.columns)
                logs["no process over what is left"] = logs[""] - process
            for part, values in logs.items():
                parts[f"error {part}"].append(values - np.log(judged.ms))
            parts["chips"].append(np.array(judged.chips))
            parts["ways"].append(np.array([column.way.text for column in judged.columns]))
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **{key: np.concatenate(values) for key, values in parts.items()})
        print(path.stem, flush=True)
    with np.load(path) as arrays:
        return dict(arrays)


def figures(kept: Mapping[str, Any], error: Array) -> dict[str, float]:
    """Median and mean over chips of MAPE, and of what one right factor a way would leave."""
    rng = np.random.default_rng(0)
    places: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for k, (chip, way) in enumerate(zip(kept["chips"], kept["ways"], strict=True)):
        places[chip][way].append(k)
    means, shapes = [], []
    for ways in places.values():
        some = [error[rng.permutation(rows)[:MOST_RESIDUALS]] for rows in ways.values()]
        means.append(np.mean([100 * np.abs(np.expm1(e)).mean() for e in some]))
        shapes.append(np.mean([100 * np.abs(np.expm1(e - np.median(e))).mean() for e in some]))
    return {
        "chips": len(means),
        "median_mape": float(np.median(means)),
        "mean_mape": float(np.mean(means)),
        "median_shape": float(np.median(shapes)),
    }


def main() -> None:
    parser = Options(__doc__, fresh=True)
    parser.add_argument("--only", choices=tuple(VARIANTS))
    options = parser.parse_args()
    rows = []
    for name in [options.only] if options.only else list(VARIANTS):
        for variant in VARIANTS[name]:
            kept = errors(name, variant, options.fresh)
            for key in [key for key in kept if key.startswith("error ")]:
                part = key.removeprefix("error ")
                if part and variant != "all":
                    continue
                own = figures(kept, kept[key])
                rows.append({"class": name, "variant": part or variant, **own})
                print(rows[-1], flush=True)
    if options.only is None:
        write_result("class_ablation", folds=FOLDS, rows=rows)


if __name__ == "__main__":
    main()
