"""Calibrate devices on whole networks; judge by others, like and unlike the measured ones.

    python -m experiments.devices.calibrate_networks [--seeds 4]

Three predictions are compared: the data sheet's, that at the scale of the measurements (times the
median of measured over predicted), and the calibrated device's; ten networks are measured.

`rooflines`: the processor of results/cpu_latency.csv, with its networks of the ten NNLQP families.
Ten of all families are measured, or ten of one family; the rest are judged. No predictor was
trained here: the roofline of the device's data sheet is its promise.

`network-latency`: the shipped predictor, and devices that it was trained on, but described under
another name, so that what it promises of them is better than it would be of a device that nobody
measured. Ten networks of FBNet or Accel-NASBench are measured;
others of these are judged, and those of NAS-Bench-201 (FBNet's devices) or of timm (the RTX
3090). Writes results/calibrate_networks.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from experiments import RESULTS
from experiments.campaign import Options
from experiments.common import Array, write_result
from experiments.devices.known import renamed
from experiments.latency.latency_data import Source, source, timm_graphs
from nasplug import datasets, hardware, load_predictor
from nasplug.calibrating.measurements import read_latencies
from nasplug.predicting import few_shot
from nasplug.predicting.few_shot import data_sheet
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors import Hardware, Prediction
from nasplug.predictors.features.roofline import roofline_parts
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.calibrated_networks import CalibratedNetworks
from nasplug.predictors.latency.departure_priors import departure_priors
from nasplug.search_spaces import Graph, InputError, space

TABLE, DEVICE = RESULTS / "cpu_latency.csv", RESULTS / "cpu_device.toml"
MEASURED = 10
# One column of FBNet's for each kind of device.
COLUMNS = ("GTX 1080 Ti@1", "Xeon Gold 6226@1", "Galaxy A50@1", "Eyeriss@1")
ACCEL, TIMM_MODE = "RTX 3090@128 amp nhwc", "amp nhwc pt240 cu124"
MOST, DRAWS = 100, 2


class Rooflines:
    """The interface of a latency predictor, without any training."""

    kind, targets, whole_networks = "latency", ("latency",), True
    devices = tuple(
        f"{name}@1"
        for name in (
            *("GTX 1080 Ti", "RTX 2080 Ti", "Titan RTX", "V100", "Xeon Gold 6226"),
            *("Xeon Silver 4114", "Pixel 3", "Galaxy S7", "Raspberry Pi 4", "Eyeriss"),
        )
    )

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Logarithms of rooflines in ms, `(graphs, columns)`."""
        times = [
            [np.maximum(*roofline_parts(g, c.hardware, c.batch_size)).sum() for c in columns]
            for g in graphs
        ]
        return np.log(times)

    def predict(self, graphs: Sequence[Graph], hardware: Hardware, batch_size: int) -> Prediction:
        """Nothing: rooflines do not know how wrong they are."""
        raise InputError("a roofline has no interval")


class Case:
    """A device to be calibrated, which nobody knows.

    Args:
        predictor: What promises latencies from a data sheet.
        setting: The device, and batch size and way of all latencies.
    """

    def __init__(self, predictor: ArchitecturePredictor, setting: Setting) -> None:
        self.setting = replace(setting, hardware=renamed(setting.hardware))
        self._sheet = data_sheet(predictor.model)

    def learn(self, graphs: Sequence[Graph], latencies: Array) -> None:
        """Learn the device from measured networks."""
        settings = [self.setting] * len(graphs)
        self.own = CalibratedNetworks(departure_priors(), self._sheet, graphs, settings, latencies)
        self.shift = float(np.median(np.log(latencies) - self._promise(graphs)[0]))

    def _promise(self, graphs: Sequence[Graph]) -> tuple[Array, Array]:
        return self._sheet(graphs, [self.setting] * len(graphs))

    def judge(self, graphs: Sequence[Graph], latencies: Array) -> dict[str, Any]:
        """Errors on networks, and intervals."""
        truth, (sheet, half) = np.log(latencies), self._promise(graphs)
        settings = [self.setting] * len(graphs)
        predicted = self.own.predict(graphs, settings)
        mean = np.log(predicted.mean[:, 0])
        low, high = np.log(predicted.lower[:, 0]), np.log(predicted.upper[:, 0])
        errors = {"data_sheet": sheet, "scaled": sheet + self.shift, "calibrated": mean}
        return {
            "networks": len(graphs),
            "unlike": float(1 - self.own.like(graphs, settings).mean()),
            "factor": {k: float(np.exp(np.abs(truth - e).mean())) for k, e in errors.items()},
            "spearman": float(spearmanr(mean, truth)[0]),
            "mape_percent": float(100 * np.mean(np.abs(np.exp(mean - truth) - 1))),
            "coverage": float(np.mean((low <= truth) & (truth <= high))),
            "interval_factor": float(np.exp(np.median((high - low) / 2))),
            "data_sheet_interval_factor": float(np.exp(np.median(half))),
        }


def families(seeds: int) -> list[dict[str, Any]]:
    """Ten networks of all families, or of one, on a processor, by rooflines."""
    union = space("nnlqp")
    table = read_latencies(TABLE, union)
    graphs = union.to_graphs(table.archs)
    names = np.array([union.family_of(arch) for arch in table.archs])
    predictor = ArchitecturePredictor("rooflines", union, Rooflines())
    rows: list[dict[str, Any]] = []
    for learned in ("all", *dict.fromkeys(names.tolist())):
        case = Case(predictor, Setting(hardware(DEVICE), 1))
        inside = np.flatnonzero((names == learned) | (learned == "all"))
        outside = np.setdiff1d(np.arange(len(graphs)), inside)
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(inside)
            learn = order[:MEASURED]
            case.learn([graphs[k] for k in learn], table.latencies[learn])
            for judged, places in (("same", order[MEASURED:]), ("others", outside)):
                if len(places) < MEASURED:
                    continue
                about = {"predictor": "rooflines", "learned": learned, "judged": judged}
                judgement = case.judge([graphs[k] for k in places], table.latencies[places])
                rows.append({**about, "seed": seed, **judgement})
                print(rows[-1], flush=True)
    return rows


def elsewhere() -> list[dict[str, Any]]:
    """Ten networks of one benchmark, and those of another on the same device."""
    rows: list[dict[str, Any]] = []
    predictor = load_predictor("network-latency").for_space(space("nnlqp"))

    def compare(name: str, key: str, table: Source, others: dict[str, tuple[Any, Array]]) -> None:
        column = next(c for c in table.columns if c.key == key)
        case = Case(predictor, column)
        latencies = table.latencies[:, table.columns.index(column)]
        for seed in range(DRAWS):
            order = np.random.default_rng(seed).permutation(len(table.graphs))
            learn, others_of_space = order[:MEASURED], order[MEASURED : MEASURED + MOST]
            case.learn([table.graphs[k] for k in learn], latencies[learn])
            same = {
                "same": ([table.graphs[k] for k in others_of_space], latencies[others_of_space])
            }
            for judged, (graphs, truth) in {**same, **others}.items():
                about = {"predictor": "network-latency", "learned": name, "judged": judged}
                judgement = case.judge(graphs, truth)
                rows.append({**about, "column": key, "seed": seed, **judgement})
                print(rows[-1], flush=True)

    cells = source("nb201", MOST)
    keys = [column.key for column in cells.columns]
    for key in COLUMNS:
        truth = cells.latencies[:, keys.index(key)]
        usual = np.flatnonzero(truth >= few_shot.SMALLEST_MS)
        judged = {"nb201": ([cells.graphs[k] for k in usual], truth[usual])}
        compare("fbnet", key, source("fbnet", MEASURED + MOST), judged)
    compare("accel", ACCEL, source("accel", MEASURED + MOST), {"timm": timm()})
    return rows


def timm() -> tuple[list[Graph], Array]:
    """Networks of timm on the RTX 3090, in ms for as many images as Accel-NASBench's."""
    table = datasets.load("timm-latency")
    table = table[(table["device"] == "RTX 3090") & (table["mode"] == TIMM_MODE)]
    keys = zip(table["model"], table["image_size"], strict=True)
    speeds = dict(zip(keys, table["img/s"], strict=True))
    known = [key for key in timm_graphs() if key in speeds][:MOST]
    graphs = [timm_graphs()[key][0] for key in known]
    return graphs, np.array([1000 * 128 / speeds[key] for key in known])


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    rows = families(options.seeds) + elsewhere()
    digest = hashlib.sha256(TABLE.read_bytes()).hexdigest()
    sources = ("fbnet-latency", "nb201-latency", "accel", "timm-latency")
    write_result("calibrate_networks", *sources, runs=rows, table={TABLE.name: digest})


if __name__ == "__main__":
    main()
