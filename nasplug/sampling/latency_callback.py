"""Predicted beside measured latency while a study runs, and a device that learns from it."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nasplug.arguments import checked_count, checked_space
from nasplug.calibrating.study_device import FEWEST, device_of_study
from nasplug.devices.hardware import hardware as device_named
from nasplug.predicting.intervals import in_words
from nasplug.predictors.features.runtimes import Way, known_way
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.device_profile import Run
from nasplug.sampling.latency_limit import PREDICTED, network_of
from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import Graph, InputError, SearchSpace
from nasplug.studies.values import ATTRIBUTE

if TYPE_CHECKING:
    from optuna.study import Study

__all__ = ["MEASURED", "LatencyCallback"]

# User attribute of a trial with the latency that the user measured.
MEASURED = "latency_ms"
# A calibration whose left-out error is larger than this times that of the data sheet is not used.
WORSE = 1.1
# No latency in ms is as long as this.
LONGEST = 1e18

# A child of Optuna's logger: it is shown, and silenced, with the messages on trials.
_logger = optuna.logging.get_logger("optuna.nasplug")


class LatencyCallback:
    """Callback of a study that compares latencies which it measures with predicted ones.

    An objective tells a measured latency by `trial.set_user_attr("latency_ms", 3.1)`. The callback
    logs it beside the prediction that the trial has from `PredictorSampler` or from
    `latency_constraint`, and warns of a value that is no latency, such as NaN. After every few
    measurements it calibrates the device by all that the study has, says so, and hands the
    calibrated device to the study's `PredictorSampler`. Nothing is saved; `nasplug.calibrate` makes
    a device that lasts.

    Example:
        >>> import optuna, torch, nasplug
        >>> def build(trial):
        ...     return torch.nn.Linear(8, trial.suggest_int("width", 4, 64))
        >>> def objective(trial):
        ...     model, example = build(trial), torch.zeros(1, 8)
        ...     nasplug.latency_constraint(trial, model, example, watch.hardware, "latency<=4ms")
        ...     trial.set_user_attr("latency_ms", 0.05)  # stands for a measurement
        ...     return float(trial.params["width"])
        >>> watch = nasplug.LatencyCallback("RTX 3090", recalibrate=False)
        >>> study = optuna.create_study(direction="maximize")
        >>> study.optimize(objective, n_trials=3, callbacks=[watch])
        >>> len(watch.rows(study)), watch.hardware.name
        (3, 'RTX 3090')

    Args:
        hardware: The device that is measured.
        space: The space of the trials' architectures; needed unless trials have a prediction of
            `latency_constraint`, made by this process.
        recalibrate: Whether measurements correct the device.
        every: Measurements between two calibrations, at least three.
        batch_size: Images a forward pass of a measurement, unless the prediction tells it.
        runtime: Runtime of the measurements, as in `nasplug.predict`; the prediction's, or the
            device's usual one, if None.

    Attributes:
        hardware: The device as it is known now, for `latency_constraint` and for predictions.
    """

    def __init__(
        self,
        hardware: str | os.PathLike[str] | Hardware,
        space: str | SearchSpace | None = None,
        *,
        recalibrate: bool = True,
        every: int = 5,
        batch_size: int = 1,
        runtime: str | None = None,
    ) -> None:
        if checked_count(every, "number of measurements") < FEWEST:
            raise InputError(f"a calibration needs at least {FEWEST} measurements, not {every}")
        self._described = self.hardware = device_named(hardware)
        self._space = None if space is None else checked_space(space)
        self._recalibrate, self._every = recalibrate, every
        self._batch_size = checked_count(batch_size, "batch size")
        self._way = Way() if runtime is None else known_way(runtime)
        self._learned = 0
        self._lock = threading.Lock()

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Log a trial's latencies, and calibrate the device if there are enough new ones."""
        measured = measured_latency(trial)
        if measured is None:
            if trial.user_attrs.get(MEASURED) is not None and _is_done(trial):
                _logger.warning(
                    f"Trial {trial.number}: {MEASURED} is {trial.user_attrs[MEASURED]!r:.80}, no "
                    "latency in ms; it teaches nothing. Set it to a positive number."
                )
            return
        predicted = predicted_latency(trial)
        beside = "" if predicted is None else f", predicted {in_words(predicted)}"
        _logger.info(f"Trial {trial.number}: latency measured {measured:.4g} ms{beside}.")
        if self._recalibrate:
            with self._lock:
                self._learn(study)

    def rows(self, study: Study) -> list[dict[str, float | None]]:
        """Measured and predicted latency of each measured trial, in ms; None if not predicted."""
        rows: list[dict[str, float | None]] = []
        for trial in study.get_trials(deepcopy=False):
            measured = measured_latency(trial)
            if measured is not None:
                predicted = predicted_latency(trial) or {}
                ends = {
                    f"predicted_{end}": predicted.get(end) for end in ("mean", "lower", "upper")
                }
                rows.append({"trial": trial.number, "measured": measured, **ends})
        return rows

    def _learn(self, study: Study) -> None:
        """Calibrate the device by the study's measurements, if there are enough new ones."""
        graphs, latencies, runs = [], [], []
        for trial in study.get_trials(deepcopy=False):
            measured, graph = measured_latency(trial), self._graph(trial)
            if measured is not None and graph is not None:
                graphs.append(graph)
                latencies.append(measured)
                runs.append(self._run(trial))
        if len(latencies) < self._learned + self._every:
            return
        self._learned = len(latencies)
        name = f"{self._described.name} in this study"
        calibrated = device_of_study(self._described, graphs, latencies, runs, name)
        if calibrated is None:
            return
        device, (by_study, by_sheet) = calibrated
        if by_study > WORSE * by_sheet:
            _logger.warning(
                f"The {len(latencies)} measured latencies predict each other worse (off by a "
                f"factor of {by_study:.3g}) than {self._described.name} is known (off by a factor "
                f"of {by_sheet:.3g}); it is left as it is."
            )
            return
        self.hardware = device
        _logger.info(
            f"{self._described.name} is calibrated by {len(latencies)} latencies of this study: "
            f"left-out ones are off by a factor of {by_study:.3g}, instead of {by_sheet:.3g}; "
            "LatencyCallback(..., recalibrate=False) leaves it as it was."
        )
        sampler = study.sampler
        if isinstance(sampler, PredictorSampler) and sampler.hardware is not None:
            sampler.use_hardware(device)

    def _graph(self, trial: FrozenTrial) -> Graph | None:
        """The network of a trial: of the space, or one whose latency was predicted here."""
        told = trial.user_attrs.get(PREDICTED)
        if isinstance(told, Mapping):
            graph = network_of(str(told.get("network")))
            if graph is not None:
                return graph
        if self._space is None:
            return None
        try:
            return self._space.to_network(self._space.from_params(trial.params))
        except InputError:
            return None

    def _run(self, trial: FrozenTrial) -> Run:
        told = trial.user_attrs.get(PREDICTED)
        if not isinstance(told, Mapping):
            return Run(self._batch_size, self._way)
        size = told.get("batch_size")
        return Run(size if isinstance(size, int) and size > 0 else self._batch_size, self._way)


def measured_latency(trial: FrozenTrial) -> float | None:
    """Latency in ms that a finished trial tells; None if it tells none."""
    value = trial.user_attrs.get(MEASURED)
    # A number of numpy is a `Real`, too.
    if not _is_done(trial) or isinstance(value, bool) or not isinstance(value, Real):
        return None
    latency = float(value)
    return latency if 0 < latency < LONGEST else None


def _is_done(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def predicted_latency(trial: FrozenTrial) -> dict[str, float] | None:
    """Mean and ends of the latency that was predicted for a trial; None without a prediction."""
    told: Any = trial.user_attrs.get(PREDICTED)
    if not isinstance(told, Mapping):
        note = trial.user_attrs.get(ATTRIBUTE)
        predicted = note.get("predicted") if isinstance(note, Mapping) else None
        told = predicted.get("latency") if isinstance(predicted, Mapping) else None
    if not isinstance(told, Mapping):
        return None
    ends = {end: told.get(end) for end in ("mean", "lower", "upper")}
    if not all(isinstance(value, (int, float)) for value in ends.values()):
        return None
    return {end: float(value) for end, value in ends.items()}  # type: ignore[arg-type]
