"""Abilities that a predictor may have beside `Predictor`: a protocol for each, and two questions.

Ask with `isinstance(model, Explains)`. A plug-in has an ability by having its methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import Prediction
from nasplug.search_spaces import Graph

if TYPE_CHECKING:
    from nasplug.predictors.features.settings import Setting

__all__ = [
    "Explains",
    "KnowsDevices",
    "KnowsRuntimes",
    "ReadsArrays",
    "ReadsCodes",
    "TellsFamiliar",
    "is_storable",
    "predicts_latency",
    "reads_functions",
    "reads_networks",
]


@runtime_checkable
class KnowsDevices(Protocol):
    """Predicts latencies on several devices that it was trained on."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Keys of the measured devices, as `Setting.key` writes them."""

    def log_latency(
        self, graphs: Sequence[Graph], columns: Sequence[Setting]
    ) -> NDArray[np.float64]:
        """Natural logarithms of latencies in ms, `(graphs, columns)`."""


@runtime_checkable
class KnowsRuntimes(Protocol):
    """Tells in which runtimes its devices were measured, and predicts for a chosen one."""

    def measured_in(self, runtime: str) -> tuple[str, ...]:
        """Names of the devices that were measured in a runtime."""

    def alike(self, hardware: Hardware, batch_size: int, runtime: str) -> tuple[str, ...]:
        """Other runtimes whose predictions on a device are the same, for want of measurements."""


@runtime_checkable
class Explains(KnowsRuntimes, Protocol):
    """Reads any whole network and tells the share of each operator in its latency."""

    def setting(self, hardware: Hardware, batch_size: int, runtime: str | None = None) -> Setting:
        """The device, batch size and runtime that a prediction is for."""

    def groups(self, graphs: Sequence[Graph], column: Setting) -> list[str]:
        """The measured kind of network that each graph is like on a device, `""` for none."""

    def rests_on(self, graphs: Sequence[Graph], column: Setting) -> str:
        """The errors that intervals on a device reflect, in words; empty if they are not known."""

    def explain(
        self,
        graph: Graph,
        hardware: Hardware,
        batch_size: int = 1,
        runtime: str | None = None,
        mean: float | None = None,
    ) -> tuple[NDArray[np.float64], float, tuple[str, ...]]:
        """Latency of each operator, `(nodes,)`, and of what belongs to none, in ms; limits."""


@runtime_checkable
class TellsFamiliar(Protocol):
    """Tells which graphs are like those that it was trained on."""

    def familiar(self, graphs: Sequence[Any]) -> NDArray[np.bool_] | None:
        """Whether each is, `(graphs,)`; None where that is not known."""


@runtime_checkable
class ReadsArrays(Protocol):
    """Predicts members of a space of codes from arrays, without a graph of each."""

    def predict_arrays(self, cells: Any) -> Prediction:
        """Predict cells, a row each; `cells` as `SearchSpace.arrays` makes them."""

    def familiar_arrays(self, cells: Any) -> NDArray[np.bool_]:
        """Whether cells are like those that were learned, `(cells,)`."""


@runtime_checkable
class ReadsCodes(Protocol):
    """Predicts members of a space of codes from these alone."""

    def predict_codes(
        self,
        codes: NDArray[np.uint32],
        hardware: Hardware | None = None,
        batch_size: int = 1,
    ) -> Prediction | None:
        """Predict members, a row a code; None if that cannot be done."""


@runtime_checkable
class _ReadsNetworks(Protocol):
    whole_networks: bool


@runtime_checkable
class _ReadsFunctions(Protocol):
    reads_functions: bool


@runtime_checkable
class _HasKind(Protocol):
    kind: str


@runtime_checkable
class _Storable(Protocol):
    storable: bool


@runtime_checkable
class _Saves(Protocol):
    def save(self, path: Any, about: Any = None) -> None: ...


def reads_networks(model: object) -> bool:
    """Whether a predictor reads whole networks of ONNX operators, of any space."""
    return isinstance(model, _ReadsNetworks) and model.whole_networks


def reads_functions(model: object) -> bool:
    """Whether a predictor is to see equal functions as one graph."""
    return isinstance(model, _ReadsFunctions) and model.reads_functions


def is_storable(model: object) -> bool:
    """Whether `save` writes a checkpoint of a predictor."""
    return model.storable if isinstance(model, _Storable) else isinstance(model, _Saves)


def predicts_latency(model: Any) -> bool:
    """Whether what is predicted is a latency."""
    is_named = isinstance(model, _HasKind) and model.kind == "latency"
    return is_named or tuple(model.targets) == ("latency",)
