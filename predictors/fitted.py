"""The base of the predictors that learn from graphs and are kept in checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

from numpy.typing import NDArray

from nasplug.predictors.checkpoint import Checkpoint, restoring, save_checkpoint
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import Array, NotFittedError, Prediction
from nasplug.predictors.statistics.calibration import LEVELS
from nasplug.predictors.statistics.normal_scores import finite_columns
from nasplug.search_spaces import Graph, InputError

__all__ = ["FittedPredictor"]


class FittedPredictor(ABC):
    """Checks, predictions and checkpoints that predictors have in common.

    A subclass writes `fit`, with `_labels`, and `_distribution`, which `predict` asks for. For
    checkpoints it gives its entries of the card (`_card`) and its arrays (`_arrays`), which `save`
    asks for once it is fitted, and makes a predictor of them again (`_restored`).

    Attributes:
        kind: `"accuracy"` or `"latency"`.
        name: The predictor in a checkpoint's card.
        noun: The predictor in the error for a card that does not fit, such as `"a cell-gp"`.
        storable: Whether `save` writes a checkpoint.
        fewest: Graphs that `fit` needs.
    """

    kind: str = "accuracy"
    name: ClassVar[str]
    noun: ClassVar[str]
    storable: ClassVar[bool] = True
    fewest: ClassVar[int] = 0
    config: Any = None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the predicted columns."""
        targets: tuple[str, ...] = self.config.targets
        return targets

    @property
    def _unit(self) -> str:
        """The unit of all columns."""
        default = "ms" if self.kind == "latency" else "%"
        return str(getattr(self.config, "units", default))

    @property
    @abstractmethod
    def _is_fitted(self) -> bool:
        """Whether something was learned or loaded."""

    def _check_fitted(self) -> None:
        if not self._is_fitted:
            raise NotFittedError("this predictor is not fitted; call fit, or load a fitted one")

    def _labels(
        self, targets: Array, graphs: int, calibration_targets: Array | None = None
    ) -> tuple[Array, Array]:
        """Targets to learn, and those that predictions are mapped to, `(graphs, targets)` each.

        Raises:
            InputError: If shapes do not fit, values are not finite, or there are too few graphs.
        """
        values = goal = finite_columns(targets, graphs, self.targets)
        if calibration_targets is not None:
            goal = finite_columns(calibration_targets, graphs, self.targets)
        if graphs < self.fewest:
            raise InputError(
                f"{graphs} graphs are too few to learn from; give at least {self.fewest}"
            )
        return values, goal

    def predict(
        self, graphs: Sequence[Graph], hardware: Hardware | None = None, batch_size: int = 1
    ) -> Prediction:
        """Predict all targets of graphs.

        Args:
            graphs: Any number of graphs.
            hardware: Device of a latency; the one that was learned if it is left out. Accuracies do
                not depend on it.
            batch_size: Images a forward pass on that device.

        Raises:
            NotFittedError: If nothing was learned or loaded.
            InputError: If a latency was learned on another device or at another batch size, or a
                graph cannot be read, such as for an operation that was not in the training graphs.
        """
        self._check_fitted()
        if hardware is not None and self.kind == "latency":
            self._check_device(hardware, batch_size)
        return self._prediction(*self._distribution(graphs))

    def _check_device(self, hardware: Hardware, batch_size: int) -> None:  # noqa: B027
        """Refuse a device that the latencies were not measured on."""

    def _distribution(self, graphs: Sequence[Graph]) -> tuple[Array, Array, Array]:
        """Center, spread and residuals of a `Prediction`, for a `predict` that is the one above."""
        raise NotImplementedError

    def _prediction(
        self,
        center: Array,
        spread: Array,
        residuals: Array,
        evidence: str = "measured",
        learned: int = 0,
    ) -> Prediction:
        """Center and spread `(n, targets)`, and residuals `(levels, targets)`, as a prediction."""
        count = len(self.targets)
        units, log_scale = (self._unit,) * count, (self.kind == "latency",) * count
        return Prediction(
            self.targets,
            units,
            center,
            spread,
            LEVELS,
            residuals,
            log_scale,
            evidence=evidence,
            learned=learned,
        )

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write `<path>.safetensors` and its card; `about` is added to the card."""
        if not self.storable:
            self._refuse_storage()
        if not self._is_fitted:
            raise NotFittedError(
                "this predictor is not fitted, so there is nothing to save; call fit first"
            )
        save_checkpoint(path, self._arrays(), {**self._whole_card(), **(about or {})})

    def _whole_card(self) -> dict[str, Any]:
        return {"predictor": self.name, "config": self._stored_config(), **self._card()}

    def _stored_config(self) -> dict[str, Any]:
        return asdict(self.config)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, backend: str = "auto") -> Self:
        """The predictor that a checkpoint holds.

        Args:
            checkpoint: The checkpoint.
            backend: Of the predictor's layers, if it has some.

        Raises:
            InputError: If the card or the arrays do not fit this class.
        """
        with restoring(cls.noun):
            return cls._restored(checkpoint, backend)

    def _card(self) -> dict[str, Any]:
        """Entries of the card beside the configuration: what is no array."""
        self._refuse_storage()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays by name."""
        self._refuse_storage()

    @classmethod
    def _restored(cls, checkpoint: Checkpoint, backend: str) -> Self:
        """The predictor whose `_card` and `_arrays` a checkpoint holds."""
        cls._refuse_storage()

    @classmethod
    def _refuse_storage(cls) -> NoReturn:
        raise InputError(f"a {cls.name} cannot be saved as a checkpoint")
