"""The base of predictors that know many devices, and reach others by their descriptions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from nasplug.predictors.features.settings import Setting, alike_runtimes
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.measured_columns import MeasuredColumns
from nasplug.predictors.prediction import Array, Prediction
from nasplug.predictors.training.ensemble_predictor import EnsemblePredictor
from nasplug.search_spaces import Graph, InputError

__all__ = ["ManyDevices"]


class ManyDevices(EnsemblePredictor):
    """Latencies in ms on the devices of `_columns`, and on any other that is described."""

    kind = "latency"
    noun = "a latency predictor"
    targets = ("latency",)

    def __init__(self, config: Any, backend: str = "auto") -> None:
        super().__init__(config, backend)
        self._columns = MeasuredColumns()

    def setting(
        self, hardware: Hardware, batch_size: int = 1, runtime: str | None = None
    ) -> Setting:
        """The setting that is meant by a device, a batch size, and a way to run networks.

        The way is a `Way.text`, such as `"tensorrt fp16"`; without one it is the device's usual
        way (`usual_way`), the same at all batch sizes.

        Raises:
            InputError: If the runtime is unknown.
        """
        return self._columns.setting(hardware, batch_size, runtime)

    def measured_in(self, runtime: str) -> tuple[str, ...]:
        """Names of the devices that were measured in a way, at whatever batch size.

        Raises:
            InputError: If the runtime is unknown.
        """
        return tuple(self._columns.measured_in(runtime))

    def alike(self, hardware: Hardware, batch_size: int, runtime: str) -> tuple[str, ...]:
        """Ways in other runtimes that get the same prediction (`settings.alike_runtimes`)."""
        setting = self.setting(hardware, batch_size, runtime)
        return alike_runtimes(setting, self._measured, self._read)

    def _measured(self, column: Setting) -> bool:
        return self._columns.place(column) >= 0

    def _read(self, column: Setting) -> tuple[object, ...]:
        """All that a prediction reads of a way to run networks."""
        return column.flags

    def predict(
        self,
        graphs: Sequence[Graph],
        hardware: Hardware | None = None,
        batch_size: int = 1,
        runtime: str | None = None,
    ) -> Prediction:
        """Predict latency in ms.

        Args:
            graphs: Any number of graphs.
            hardware: The device; required.
            batch_size: Images a forward pass.
            runtime: How the networks are run, see `setting`.

        Returns:
            One column; its evidence is `"measured"` if the device was measured at this batch size
            in this runtime, or networks were `learned` there, else `"zero-shot"`. Graphs unlike
            those measured may have wider intervals.

        Raises:
            InputError: If no device is given, the batch size is out of range, or the runtime is
                unknown.
            NotFittedError: If nothing was learned or loaded.
        """
        if hardware is None:
            raise InputError("a latency needs a device; name one as hardware")
        column = self.setting(hardware, batch_size, runtime)
        self._check_fitted()
        is_column = self._measured(column)
        learned = 0 if is_column else self.learned(column)
        evidence = "measured" if is_column or learned else "zero-shot"
        return self._prediction(*self._distribution_on(graphs, column), evidence, learned)

    def learned(self, column: Setting) -> int:
        """Number of networks learned from on a device in this way, at whatever batch size.

        It counts what a model of the device's class learned; 0 without such models.
        """
        return 0

    @abstractmethod
    def _distribution_on(
        self, graphs: Sequence[Graph], column: Setting
    ) -> tuple[Array, Array, Array]:
        """Center and spread `(graphs, 1)`, and residuals `(levels, 1)`; see `Prediction`."""
