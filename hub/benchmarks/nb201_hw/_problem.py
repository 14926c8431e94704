"""Accuracy and latency of the cells of NAS-Bench-201, both as measured, as an Optuna problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import optunahub
from numpy.typing import NDArray
from optuna.study import StudyDirection

try:
    import nasplug
except ModuleNotFoundError as error:
    message = "benchmarks/nb201_hw needs nasplug; run `pip install nasplug`"
    raise ModuleNotFoundError(message) from error
from nasplug.pareto import hypervolume, pareto_mask
from nasplug.search_spaces import InputError

Array = NDArray[np.float64]

# Image set -> accuracy of the reference point in %: well above chance, below what counts.
REFERENCE_ACCURACY = {"cifar10": 80.0, "cifar100": 50.0, "imagenet16-120": 20.0}
# What a trial's values may be, and which way.
OBJECTIVES = {"accuracy": StudyDirection.MAXIMIZE, "latency_ms": StudyDirection.MINIMIZE}


class Problem(optunahub.benchmarks.BaseProblem):
    """The 15,625 cells of NAS-Bench-201: accuracy in % and milliseconds a batch on a device.

    Nothing is predicted and nothing is noisy: a trial reads the published tables, which nasplug
    fetches once (13 MB), checks and keeps.

    Args:
        dataset: `"cifar10"`, `"cifar100"` or `"imagenet16-120"`.
        hardware: A device that was measured; see `available_hardware`.
        batch_size: Images in a batch; 1, and on GPUs also 32 and 256.
        split: Whose accuracy a trial gives, `"val"` or `"test"`.
        metric_names: What a trial's values are, in their order: `"accuracy"`, `"latency_ms"`, or
            both.
        max_latency_ms: A limit; a trial then has a constraint `latency_ms` with the milliseconds
            over it, ≤ 0 if it is met.

    Raises:
        InputError: If an argument names nothing there is, or no cell meets the limit.
    """

    available_datasets = tuple(REFERENCE_ACCURACY)

    def __init__(
        self,
        dataset: str = "cifar10",
        hardware: str = "GTX 1080 Ti",
        batch_size: int = 1,
        *,
        split: str = "val",
        metric_names: Sequence[str] = tuple(OBJECTIVES),
        max_latency_ms: float | None = None,
    ) -> None:
        if dataset not in REFERENCE_ACCURACY:
            known = ", ".join(REFERENCE_ACCURACY)
            raise InputError(f"unknown dataset {dataset!r}; there are {known}")
        if split not in ("val", "test"):
            raise InputError(f"unknown split {split!r}; there are val and test")
        names = [metric_names] if isinstance(metric_names, str) else list(metric_names)
        if not names or len(set(names)) < len(names) or not set(names) <= set(OBJECTIVES):
            raise InputError(f"metric names {names!r}; give one or both of {', '.join(OBJECTIVES)}")
        self.dataset, self.metric_names = dataset, names
        self.hardware = nasplug.hardware(hardware).name
        self.max_latency_ms = max_latency_ms
        self._space: Any = nasplug.space("nb201")
        latencies = nasplug.datasets.load("nb201-latency")
        column = f"{self.hardware}@{batch_size}"
        if column not in latencies:
            known = ", ".join(map(str, latencies))
            raise InputError(f"{column!r} was not measured; there are (device@batch) {known}")
        accuracies = nasplug.datasets.load("nb201-accuracy")
        self._columns = {
            "accuracy": accuracies[f"{dataset}_{split}"].to_numpy(np.float64),
            "latency_ms": latencies[column].to_numpy(np.float64),
        }
        if not self._feasible.any():
            least = self._columns["latency_ms"].min()
            raise InputError(
                f"no cell meets max_latency_ms={max_latency_ms!r} on {self.hardware}; the fastest "
                f"takes {least:.4g} ms"
            )

    @staticmethod
    def available_hardware() -> list[str]:
        """Devices that were measured."""
        return list(dict.fromkeys(name for name, _ in nasplug.datasets.NB201_DEVICES.values()))

    @property
    def search_space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Six categorical parameters, `op_0_1` to `op_2_3`: the operation of each edge."""
        return dict(self._space.distributions())

    @property
    def directions(self) -> list[StudyDirection]:
        """Accuracy is to be maximised, latency minimised."""
        return [OBJECTIVES[name] for name in self.metric_names]

    def evaluate(self, params: Mapping[str, Any]) -> float | list[float]:
        """The measured values of a cell: a number for one metric, else a list of both."""
        row = self._row(params)
        values = [float(self._columns[name][row]) for name in self.metric_names]
        return values if len(values) > 1 else values[0]

    def evaluate_constraints(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Milliseconds over the limit, ≤ 0 if it is met; empty without one."""
        if self.max_latency_ms is None:
            return {}
        return {"latency_ms": float(self._columns["latency_ms"][self._row(params)]) - self._limit}

    def architecture(self, params: Mapping[str, Any]) -> str:
        """The benchmark's text of a cell."""
        return str(self._space.from_params(params).text)

    @property
    def reference_point(self) -> list[float]:
        """Where the hypervolume ends, a value a metric.

        The accuracy is 80 %, 50 % or 20 % by image set, the latency that of the slowest cell.
        """
        ends = {
            "accuracy": REFERENCE_ACCURACY[self.dataset],
            "latency_ms": float(self._columns["latency_ms"].max()),
        }
        return [ends[name] for name in self.metric_names]

    def front(self) -> Array:
        """Values of the best cells that meet the limit, the fastest first; shape `(k, metrics)`.

        With one metric the best value alone.
        """
        values = self._values[self._feasible]
        # Along a front both metrics rise together, so this is the order of speed, too.
        return np.unique(values[pareto_mask(values * self._sign)], axis=0)

    def hypervolume(self, values: Iterable[Sequence[float] | None]) -> float:
        """Share of the true front's hypervolume that the values of trials dominate, 0 to 1.

        Args:
            values: Of trials that meet the limit; None, as of a failed trial, counts nothing.

        Raises:
            InputError: If the problem has one metric.
        """
        if len(self.metric_names) < 2:
            raise InputError("one metric has no hypervolume; compare with front()")
        found = np.array([v for v in values if v is not None], np.float64).reshape(-1, 2)
        end = np.array(self.reference_point) * self._sign
        whole = hypervolume(self.front() * self._sign, end)
        return hypervolume(found * self._sign, end) / whole

    @property
    def _limit(self) -> float:
        return np.inf if self.max_latency_ms is None else self.max_latency_ms

    @property
    def _sign(self) -> Array:
        return np.array([1.0 if d == StudyDirection.MINIMIZE else -1.0 for d in self.directions])

    @property
    def _values(self) -> Array:
        return np.stack([self._columns[name] for name in self.metric_names], axis=1)

    @property
    def _feasible(self) -> NDArray[np.bool_]:
        return np.asarray(self._columns["latency_ms"] <= self._limit)

    def _row(self, params: Mapping[str, Any]) -> int:
        return int(self._space.index(self._space.from_params(params)))
