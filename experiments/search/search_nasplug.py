"""nasplug's sampler as search_quality.py runs it: no label of the task is known beforehand.

`nasplug` learns everything from the trials. `nasplug-10` has had ten random cells timed on the
device before the first trial, and keeps a limit with probability 0.9. `nasplug-once` proposes one
cell of each function also where a latency is measured. `nasplug-shipped` keeps the limit on a
latency by the package's predictor of any network, which has learned from some of the benchmark's
networks on its devices; what it observes then corrects that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np

from experiments.common import Array, cells
from experiments.devices.known import KnownLatencies
from experiments.search.search_rivals import Sampler, Trials, in_study
from experiments.search.search_tasks import Task, architectures
from nasplug import PredictorSampler, datasets
from nasplug.devices.hardware import hardware
from nasplug.predicting.architecture_predictor import ArchitecturePredictor
from nasplug.predicting.few_shot import SMALLEST_MS
from nasplug.predicting.zoo import load_shipped
from nasplug.predictors.features.runtimes import known_way
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.predictors.prediction import Prediction
from nasplug.search_spaces import Architecture, FiniteSpace, space

MEASURED = 10
# With which a limit is to hold: learned from trials alone, and known by ten measurements.
LEARNED, KNOWN = 0.5, 0.9
LEVELS = np.array([0.001, 0.01, 0.05, 0.1, 0.158655, 0.5, 0.841345, 0.9, 0.95, 0.99, 0.999])
# The way in which language models were measured.
RUNTIME = "eager bf16"
# Tells the draw of the measured cells from everything else of that seed.
STREAM = 10


def _other_devices(device: str) -> KnownLatencies:
    """Latencies of all cells on the devices of the benchmark but one, as measured."""
    table = datasets.load("nb201-latency")
    name = device.rpartition("@")[0]
    others = [key for key in table.columns if key.rpartition("@")[0] != name]
    logs = np.log(np.maximum(table[others].to_numpy(np.float64), SMALLEST_MS))
    return KnownLatencies(cells()[1], logs)


@cache
def _ten_shot(device: str, seed: int) -> tuple[Array, Array]:
    """Mean and spread of the log-latency of all cells, `(15625,)` each."""
    truth = datasets.load("nb201-latency")[device].to_numpy(np.float64)
    rows = np.random.default_rng([seed, STREAM]).choice(len(truth), MEASURED, replace=False)
    transfer = DeviceTransfer(_other_devices(device))
    _, graphs = cells()
    transfer.fit([graphs[k] for k in rows], truth[rows])
    return transfer.log_latency(graphs)


class TenShot:
    """A predictor of one device's latency by ten measurements."""

    def __init__(self, device: str, seed: int) -> None:
        self._device, self._seed = device, seed

    def predict(
        self,
        architectures: Sequence[Architecture],
        hardware: Hardware | None = None,
        batch_size: int = 1,
    ) -> Prediction:
        """Predict latencies in ms."""
        nb201: Any = space("nb201")
        rows = [nb201.index(arch) for arch in architectures]
        mean, std = _ten_shot(self._device, self._seed)
        quantiles = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
        return Prediction(
            ("latency",),
            ("ms",),
            mean[rows, None],
            std[rows, None],
            LEVELS,
            quantiles[:, None],
            (True,),
        )


@cache
def _shipped_latencies(searched: FiniteSpace, column: str) -> Prediction:
    """Latencies of all members of a space on a device and batch, by the package's predictor."""
    device, _, batch = column.rpartition("@")
    graphs = searched.to_graphs(architectures(searched))
    shipped = load_shipped(space(searched.name), "latency")
    assert isinstance(shipped, ArchitecturePredictor)
    return shipped.in_way(known_way(RUNTIME)).predict(graphs, hardware(device), int(batch))


class Shipped:
    """The package's predictor of latencies, asked once for all members of a space."""

    def __init__(self, searched: FiniteSpace, column: str) -> None:
        self._searched, self._column = searched, column

    def predict(
        self,
        architectures: Sequence[Architecture],
        hardware: Hardware | None = None,
        batch_size: int = 1,
    ) -> Prediction:
        """Predict latencies in ms, of all members in their order."""
        assert len(architectures) == len(self._searched)
        return _shipped_latencies(self._searched, self._column)


def _by_shipped(task: Task, seed: int, trials: int) -> Trials:
    """nasplug with a limit on the latency that the package predicts."""
    if task.device is None or task.limit is None:
        raise SystemExit(f"task {task.name} has no limit on a latency")
    device, _, batch = task.device.rpartition("@")
    made = _ours(
        hardware=device,
        batch_size=int(batch),
        constraints=f"latency<={task.limit}ms",
        predictors={"latency": Shipped(task.space, task.device)},
    )
    return made(task, seed, trials)


def _ours(*, knows_device: bool = False, **options: Any) -> Sampler:
    def sampler(task: Task, seed: int, trials: int) -> Trials:
        # Where latencies are measured, cells of equal function are not equal.
        settings: dict[str, Any] = {
            "equivalents": "apart" if task.apart else "once",
            "probability": LEARNED,
            "warn_independent_sampling": False,
        }
        if knows_device:
            if task.device is None:
                raise SystemExit(f"task {task.name} has no device to be measured on")
            settings["hardware"] = task.device.rpartition("@")[0]
            settings["predictors"] = {"latency": TenShot(task.device, seed)}
            settings["probability"] = KNOWN
            if task.limit is not None:
                settings["constraints"] = f"latency<={task.limit}ms"
        made = PredictorSampler(task.space, seed=seed, **{**settings, **options})
        return in_study(task, made, trials)

    return sampler


OURS: dict[str, Sampler] = {
    "nasplug": _ours(),
    "nasplug-once": _ours(equivalents="once"),
    "nasplug-10": _ours(knows_device=True),
    "nasplug-shipped": _by_shipped,
}
