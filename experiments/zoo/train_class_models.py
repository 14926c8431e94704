"""Train the models of classes of processors in the shipped latency predictor of whole networks.

    python -m experiments.zoo.train_class_models [--threads 1] [--only gpu] [--fresh]

Each class (GPUs, CPUs, other processors) learns all measurements of its table. For the intervals
five fits leave a fifth of the chips out, with all their twins, and a fifth of the families of
networks: residuals on chips that were left out are those of devices that were not measured, on
families that were left out also those of networks unlike the measured ones. Those of others by line
of processors are of left_out_npus.py. Fits are kept in runs/ and not repeated; classes without fits
there stay as they are. Writes the models and the quantiles into
nasplug/zoo/network-latency.safetensors, and results/class_models.json.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments import RESULTS
from experiments.campaign import Options, read_json
from experiments.common import RUNS, ZOO, Array, provenance, write_result
from experiments.latency.cpu_data import cpu_measurements
from experiments.latency.gpu_rows import OPERATORS, GpuRow, gpu_rows, operator_rows
from experiments.latency.latency_data import CPU_DEVICE
from experiments.latency.npu_data import npu_measurements
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.devices.hardware import hardware
from nasplug.predicting.architecture_predictor import ArchitecturePredictor
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.features.runtimes import parse_way
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.class_models import ClassModels, class_of, told, told_key
from nasplug.predictors.latency.cpu_roofline import CpuRoofline
from nasplug.predictors.latency.fused_roofline import FusedRoofline, Script
from nasplug.predictors.latency.intervals import line_of, way_words
from nasplug.predictors.latency.measured_columns import column_parts
from nasplug.predictors.latency.npu_roofline import NpuRoofline
from nasplug.predictors.registry import restore
from nasplug.predictors.statistics.calibration import LEVELS, conformal_quantiles
from nasplug.search_spaces import Graph, space
from nasplug.search_spaces.files import atomic_path

FOLDS, FEWEST_FOLDS = 5, 2
PARTS = ("whole", *map(str, range(FOLDS)))
# Measurements of a GPU in one way that are learned.
COUNT = 40
# Chips that a runtime and precision needs for widths of its own.
FEWEST_CHIPS = 5
# Share of the residuals of left-out chips that the interval of a runtime on a line of processors
# covers; with less the runtime has the interval of the line.
LEAST_COVERED = 0.8
# Weight from which on a measurement on a CPU counts for the intervals: others contradict those of
# the same chip, or of chips with the same data sheet.
LEAST_WEIGHT = 0.5
# Residuals of a chip in one way at most, so that large tables do not decide.
MOST_RESIDUALS = 60
# Networks that a column needs for a row in the results.
FEWEST_NETWORKS = 5


@dataclass(frozen=True, eq=False)
class Rows:
    """Measurements of a class.

    Attributes:
        graphs: Networks.
        columns: What each was measured on.
        ms: Latencies.
        sources: Who measured each, as the class's model takes it.
        references: References of the graphs.
        chips: Chip of each: devices that are left out together.
        weights: How much each counts, `(n,)`.
    """

    graphs: Sequence[Graph]
    columns: Sequence[Setting]
    ms: Array
    sources: Sequence[Any]
    references: Sequence[str]
    chips: Sequence[str]
    weights: Array

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """The rows at some positions."""
        parts = (self.graphs, self.columns, self.sources, self.references, self.chips)
        graphs, columns, sources, references, chips = ([p[k] for k in rows] for p in parts)
        return Rows(graphs, columns, self.ms[rows], sources, references, chips, self.weights[rows])


@cache
def gpu() -> Rows:
    """Networks on GPUs."""
    return _of_gpu_rows(gpu_rows())


@cache
def gpu_operators() -> Rows:
    """Single operators on GPUs, which are learned and judge nothing."""
    return _of_gpu_rows(operator_rows(), OPERATORS)


def _of_gpu_rows(rows: Sequence[GpuRow], weight: float = 1.0) -> Rows:
    return Rows(
        [row.graph for row in rows],
        [row.column for row in rows],
        np.array([row.ms for row in rows]),
        [row.script for row in rows],
        [row.reference for row in rows],
        [row.chip for row in rows],
        np.full(len(rows), weight),
    )


@cache
def cpu() -> Rows:
    """Networks on CPUs."""
    rows = cpu_measurements()
    return Rows(
        [row.graph for row in rows],
        [row.column for row in rows],
        np.array([row.ms for row in rows]),
        [row.source for row in rows],
        [row.reference for row in rows],
        [row.chip for row in rows],
        np.array([row.weight for row in rows]),
    )


@dataclass(frozen=True, eq=False)
class Learned:
    """A class of processors: its measurements and its model.

    Attributes:
        rows: Networks, which judge, too.
        more: Measurements that are learned beside them.
        fit: Learns a model.
        unnamed: The sources as a user's machine is one: measured likewise, by nobody who is known.
    """

    rows: Callable[[], Rows]
    more: Callable[[], Rows] | None
    fit: Callable[[Rows, Rows | None], Any]
    unnamed: Callable[[Sequence[Any]], Sequence[Any]]


@cache
def other() -> Rows:
    """Networks on NPUs and on GPUs of phones and boards; weights are the spread of noise."""
    rows = npu_measurements()
    return Rows(
        [row.graph for row in rows],
        [row.setting for row in rows],
        np.array([row.ms for row in rows]),
        [row.source for row in rows],
        [row.reference for row in rows],
        [row.chip for row in rows],
        np.array([row.noise for row in rows]),
    )


def fit_gpus(rows: Rows, operators: Rows | None, **options: Any) -> FusedRoofline:
    """The model of GPUs that has learned some measurements; `options` of `FusedRoofline.of`."""
    few = rows.take(thinned(rows, COUNT))
    parts = [few] if operators is None else [few, operators]
    graphs, columns, sources = (
        [value for part in parts for value in getattr(part, name)]
        for name in ("graphs", "columns", "sources")
    )
    ms, weights = (np.concatenate([getattr(p, name) for p in parts]) for name in ("ms", "weights"))
    return FusedRoofline.of(graphs, columns, ms, sources, weights, **options)


def fit_cpus(rows: Rows, _: Rows | None) -> CpuRoofline:
    """The model of CPUs that has learned some measurements."""
    return CpuRoofline.of(rows.graphs, rows.columns, rows.ms, rows.sources, rows.weights)


def fit_others(rows: Rows, _: Rows | None) -> NpuRoofline:
    """The model of other processors that has learned some measurements."""
    return NpuRoofline.of(rows.graphs, rows.columns, rows.ms, rows.sources, rows.weights)


def _unnamed_scripts(scripts: Sequence[Script]) -> list[Script]:
    return [replace(script, name="") for script in scripts]


CLASSES = {
    "gpu": Learned(gpu, gpu_operators, fit_gpus, _unnamed_scripts),
    "cpu": Learned(cpu, None, fit_cpus, lambda sources: [""] * len(sources)),
    "other": Learned(other, None, fit_others, lambda sources: [""] * len(sources)),
}


def family_of(reference: str) -> str:
    """Networks of one design."""
    graphs = shipped_network_graphs()
    if reference in graphs:
        return graphs.families[graphs.references.index(reference)]
    return reference.partition(":")[0]


def fold_of(name: str) -> int:
    """Fold of a chip or a family, the same in every run."""
    return zlib.crc32(name.encode()) % FOLDS


def part_file(name: str, part: str) -> Path:
    """File of a fit: the model's arrays, or the residuals of a fold."""
    return RUNS / "class-models" / f"{name}-{part}.npz"


def folds_of(name: str) -> list[Path]:
    """Files of the folds of a class that are there."""
    files = [part_file(name, part) for part in PARTS[1:]]
    return [file for file in files if file.exists()]


def learn(name: str, part: str) -> None:
    """Fit a part of a class and keep it; `whole`, or the number of a fold."""
    learned = CLASSES[name]
    rows = learned.rows()
    more = learned.more() if learned.more else None
    kept: dict[str, NDArray[Any]] = {}
    if part == "whole":
        model = learned.fit(rows, more)
        kept = {**model.tensors(), "card": np.array(json.dumps(model.described()))}
    else:
        families = {reference: family_of(reference) for reference in dict.fromkeys(rows.references)}
        is_new = np.array([fold_of(families[r]) == int(part) for r in rows.references])
        is_out = np.array([fold_of(chip) == int(part) for chip in rows.chips])
        others = None
        if more is not None:
            others = more.take(np.flatnonzero([fold_of(chip) != int(part) for chip in more.chips]))
        model = learned.fit(rows.take(np.flatnonzero(~is_out & ~is_new)), others)
        judged = rows.take(np.flatnonzero(is_out))
        logs = model.log_latency(judged.graphs, judged.columns, learned.unnamed(judged.sources))
        kept = {
            "residuals": np.log(judged.ms) - logs,
            "chips": np.array(judged.chips),
            "ways": np.array([_way(column) for column in judged.columns]),
            "is_new": is_new[is_out],
            "weights": judged.weights,
            "columns": np.array([column.key for column in judged.columns]),
            "packages": np.array([r.partition(":")[0] for r in judged.references]),
        }
    with atomic_path(part_file(name, part)) as temporary:
        np.savez(temporary, **kept)


def thinned(rows: Rows, most: int) -> NDArray[np.int64]:
    """Some of the rows: at most so many of a device in one way, by chance."""
    counts: dict[str, int] = defaultdict(int)
    kept = []
    for k in np.random.default_rng(0).permutation(len(rows.ms)):
        column = rows.columns[k]
        package = rows.references[k].partition(":")[0]
        form = f"{column.hardware.name} {column.way.text} {package}"
        counts[form] += 1
        if counts[form] <= most:
            kept.append(k)
    return np.sort(np.array(kept))


def _way(column: Setting) -> str:
    words = told(column)
    return f"{words.runtime} {words.precision}"


Residuals = dict[str, dict[str, list[float]]]


def residuals_of_folds(name: str) -> Residuals:
    """Group, as in `width_names` -> chip -> residuals of measurements on it."""
    groups: Residuals = defaultdict(lambda: defaultdict(list))
    for part in folds_of(name):
        with np.load(part) as kept:
            residuals, is_new = kept["residuals"], kept["is_new"]
            chips, ways = kept["chips"].tolist(), kept["ways"].tolist()
            judges = kept["weights"] >= LEAST_WEIGHT if name == "cpu" else np.ones_like(is_new)
        for case, mask in (("zero-shot", ~is_new), ("unfamiliar", is_new)):
            for k in np.flatnonzero(mask & judges):
                own = () if name == "other" else (ways[k], ways[k].rpartition(" ")[0])
                for way in (*own, "all"):
                    groups[f"{case} {name} {way}"][chips[k]].append(float(residuals[k]))
    return groups


def residuals_of_lines() -> Residuals:
    """Group of NPUs and of GPUs of phones and boards -> chip -> residuals of measurements on it."""
    groups: Residuals = defaultdict(lambda: defaultdict(list))
    known: Residuals = defaultdict(lambda: defaultdict(list))
    for row in read_json(RESULTS / "left_out_npus.json")["left_out"]:
        line, runtime = line_of(row["unit"], row["family"]), row["runtime"]
        for words in way_words(runtime, row["precision"]):
            group = f"other {line} {words}"
            groups[f"unfamiliar {group}"][row["chip"]] += row["residuals"]["new networks"]
            if 2 * row["known"] > row["networks"]:
                known[f"zero-shot {group}"][row["chip"]] += row["residuals"]["model"]
    for group in list(groups):
        same = group.replace("unfamiliar", "zero-shot")
        # Known networks on a few chips say too little, and new ones have errors at least as large.
        groups[same] = known[same] if len(known[same]) >= FEWEST_CHIPS else groups[group]
    return groups


def _covered(arrays: Sequence[Array]) -> float:
    """Share of the residuals of a chip in the interval of all others, mean over chips."""
    shares = []
    for k, own in enumerate(arrays):
        others = np.concatenate([array for j, array in enumerate(arrays) if j != k] or [own])
        low, high = np.interp((0.05, 0.95), LEVELS, conformal_quantiles(others))
        shares.append(float(((own >= low) & (own <= high)).mean()))
    return float(np.mean(shares))


def widths(name: str) -> tuple[dict[str, Array], dict[str, int], list[dict[str, Any]]]:
    """Quantiles of residuals of a class, chips that each is of, and rows for the results."""
    groups = residuals_of_folds(name)
    if name == "other":
        groups |= residuals_of_lines()
    found, counts, rows = {}, {}, []
    for group, by_chip in sorted(groups.items()):
        if len(by_chip) < FEWEST_CHIPS and not group.endswith(f" {name} all"):
            continue
        rng = np.random.default_rng(0)
        # Each chip counts alike.
        arrays = [rng.choice(values, MOST_RESIDUALS) for values in by_chip.values()]
        covered = _covered(arrays)
        is_line = group.split()[1] == "other" and not group.endswith(" all")
        if is_line and covered < LEAST_COVERED:
            continue
        found[group], counts[group] = conformal_quantiles(np.concatenate(arrays)), len(arrays)
        low, middle, high = np.interp((0.05, 0.5, 0.95), LEVELS, found[group])
        # Predictions stay where they are, so that no way is faster than another by a correction.
        found[group] = found[group] - middle
        rows.append(
            {
                "group": group,
                "chips": len(arrays),
                "rows": sum(map(len, by_chip.values())),
                "median_mape": float(
                    np.median([100 * np.abs(np.expm1(-a)).mean() for a in arrays])
                ),
                "upper_by_lower": float(np.exp(high - low)),
                "median": float(middle),
                "covered": covered,
            }
        )
    return found, counts, rows


def by_column(name: str) -> list[dict[str, Any]]:
    """Errors on chips that were left out, by column and package of the networks."""
    rows = []
    for part in folds_of(name):
        with np.load(part) as kept:
            pairs = list(zip(kept["packages"].tolist(), kept["columns"].tolist(), strict=True))
            residuals, is_new = kept["residuals"], kept["is_new"]
        for pair in dict.fromkeys(pairs):
            own = np.array([other == pair for other in pairs]) & ~is_new
            if own.sum() >= FEWEST_NETWORKS:
                errors = residuals[own]
                rows.append(
                    {
                        "package": pair[0],
                        "column": pair[1],
                        "networks": int(own.sum()),
                        "mape_percent": float(100 * np.abs(np.expm1(-errors)).mean()),
                        "bias_percent": float(100 * np.expm1(-np.median(errors))),
                    }
                )
    return rows


def main() -> None:
    parser = Options(__doc__, fresh=True)
    parser.add_argument("--only", choices=tuple(CLASSES))
    parser.add_argument("--part", help="whole, or the number of a fold; default: all")
    options = parser.parse_args()
    names = [options.only] if options.only else list(CLASSES)
    for name in names:
        for part in [options.part] if options.part else PARTS:
            if options.fresh or not part_file(name, part).exists():
                learn(name, part)
                print(name, part, flush=True)
    if not options.part:
        assemble()


def learned_networks(rows: Rows) -> dict[str, int]:
    """Number of networks that are learned from, by device and way, see `told_key`."""
    networks: dict[str, set[str]] = defaultdict(set)
    for reference, column in zip(rows.references, rows.columns, strict=True):
        networks[told_key(column)].add(reference)
    return {key: len(references) for key, references in networks.items()}


def assemble() -> None:
    """Write the models of all classes that are there into the shipped predictor.

    Classes without a new fit keep their models, widths and rows of the results.
    """
    checkpoint = load_checkpoint(ZOO / "network-latency")
    earlier = read_json(RESULTS / "class_models.json")
    # Models of classes of an earlier form cannot be restored, and need not be.
    card = {key: value for key, value in checkpoint.card.items() if key != "classes"}
    model: Any = restore(replace(checkpoint, card=card), "torch")
    shipped = ArchitecturePredictor("network-latency", space(card["space"]), model, card)
    known = [name for name in CLASSES if part_file(name, "whole").exists()]
    cards = dict(checkpoint.card["classes"])
    tensors = {name: checkpoint.section(f"class {name}") for name in cards}
    learned = dict(checkpoint.card["learned"])
    all_widths, counts = dict(model._intervals.widths), dict(model._intervals.counts)
    rows = [row for row in earlier["groups"] if row["group"].split()[1] not in known]
    settings = settings_of([row["column"] for row in earlier["columns"]])
    pairs = zip(earlier["columns"], settings, strict=True)
    columns = [row for row, setting in pairs if class_of(setting) not in known]
    for name in known:
        learned |= learned_networks(CLASSES[name].rows())
        with np.load(part_file(name, "whole")) as kept:
            tensors[name] = {key: kept[key] for key in kept.files if key != "card"}
            cards[name] = json.loads(str(kept["card"]))
        if len(folds_of(name)) < FEWEST_FOLDS:
            print(f"{name}: folds are missing, and widths stay as they are", flush=True)
            rows += [row for row in earlier["groups"] if row["group"].split()[1] == name]
            continue
        for group in [g for g in all_widths if len(g.split()) > 2 and g.split()[1] == name]:
            del all_widths[group]
            counts.pop(group, None)
        found, chips, own = widths(name)
        all_widths |= found
        counts |= chips
        rows += own
        columns += by_column(name) if name != "gpu" else []
    model.set_class_models(ClassModels.restored(tensors, cards, learned))
    model.set_widths(all_widths, counts)
    # Checkpoints of earlier versions lack the devices of their columns.
    model._columns = replace(model._columns, settings=settings_of(model.devices))
    shipped.save(ZOO / "network-latency", provenance=provenance())
    write_result("class_models", groups=rows, columns=columns, classes=list(cards))


def settings_of(keys: Sequence[str]) -> tuple[Setting, ...]:
    """Settings of measured columns, from the catalogue and the description of our CPU."""
    found = []
    for key in keys:
        name, batch, way = column_parts(key)
        device = hardware(CPU_DEVICE) if name.startswith("Sapphire") else hardware(name)
        found.append(Setting.of(device, int(batch), parse_way(way)))
    return tuple(found)


if __name__ == "__main__":
    main()
