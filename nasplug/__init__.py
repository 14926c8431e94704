"""Search for networks with predicted quality and cost on a device, before any is trained or timed.

The names below load what they need on first use: `import nasplug` itself is instant.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasplug import datasets, plots
    from nasplug.calibrating.calibrate import CalibratedDevice, calibrate
    from nasplug.calibrating.suggestions import suggest_measurements
    from nasplug.devices.hardware import hardware
    from nasplug.measurements import measured
    from nasplug.measuring import MeasurementSet, measure
    from nasplug.predicting.comparison import compare
    from nasplug.predicting.devices_for import devices_for
    from nasplug.predicting.network_prediction import NetworkPrediction
    from nasplug.predicting.predict import predict
    from nasplug.predicting.zoo import create_predictor, load_predictor
    from nasplug.predictors.hardware import Hardware
    from nasplug.sampling.latency_callback import LatencyCallback
    from nasplug.sampling.latency_limit import latency_constraint
    from nasplug.sampling.sampler import PredictorSampler
    from nasplug.search_spaces import InputError, space
    from nasplug.searching.search import SearchResult, search
    from nasplug.searching.worker import worker
    from nasplug.studies.evaluation_command import Command
    from nasplug.training.train import train

    __version__: str

__all__ = [
    "CalibratedDevice",
    "Command",
    "Hardware",
    "InputError",
    "LatencyCallback",
    "MeasurementSet",
    "NetworkPrediction",
    "PredictorSampler",
    "SearchResult",
    "__version__",
    "calibrate",
    "compare",
    "create_predictor",
    "datasets",
    "devices_for",
    "hardware",
    "latency_constraint",
    "load_predictor",
    "measure",
    "measured",
    "plots",
    "predict",
    "search",
    "space",
    "suggest_measurements",
    "train",
    "worker",
]

# Imported from a checkout without being installed, two subpackages lie beside this folder.
_checkout = Path(__file__).parent.parent
if (_checkout / "setup.cfg").is_file() and (_checkout / "search_spaces").is_dir():
    __path__.append(str(_checkout))

_HOME = {
    "CalibratedDevice": "nasplug.calibrating.calibrate",
    "Command": "nasplug.studies.evaluation_command",
    "Hardware": "nasplug.predictors.hardware",
    "InputError": "nasplug.search_spaces.errors",
    "LatencyCallback": "nasplug.sampling.latency_callback",
    "MeasurementSet": "nasplug.measuring",
    "NetworkPrediction": "nasplug.predicting.network_prediction",
    "PredictorSampler": "nasplug.sampling.sampler",
    "SearchResult": "nasplug.results.result",
    "calibrate": "nasplug.calibrating.calibrate",
    "compare": "nasplug.predicting.comparison",
    "create_predictor": "nasplug.predicting.zoo",
    "devices_for": "nasplug.predicting.devices_for",
    "hardware": "nasplug.devices.hardware",
    "latency_constraint": "nasplug.sampling.latency_limit",
    "load_predictor": "nasplug.predicting.zoo",
    "measure": "nasplug.measuring",
    "measured": "nasplug.measurements",
    "predict": "nasplug.predicting.predict",
    "search": "nasplug.searching.search",
    "space": "nasplug.search_spaces.opening",
    "suggest_measurements": "nasplug.calibrating.suggestions",
    "train": "nasplug.training.train",
    "worker": "nasplug.searching.worker",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("nasplug")
    if name in ("datasets", "plots"):
        return import_module(f"nasplug.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
