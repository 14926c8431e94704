"""Examples that a model is trained on, and the recipe; the loop itself is in `loop`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nasplug.predictors.options import check_numbers
from nasplug.predictors.training.losses import LOSSES
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from nasplug.search_spaces import Graph

__all__ = [
    "CONSISTENCIES",
    "OPTIMIZERS",
    "SCHEDULES",
    "SELECTIONS",
    "Examples",
    "TrainingConfig",
    "TrainingResult",
]

# "dropout": each graph twice in a batch, with two draws of dropout; "relabel": each graph and a
# copy in another topological order. All terms of the loss run over the doubled batch.
CONSISTENCIES = ("none", "dropout", "relabel")
OPTIMIZERS = ("adamw", "adam")
# "onecycle": PyTorch's one-cycle; "cosine", "linear": linear warm-up over the first tenth of the
# steps, then half a cosine to a tenth of the peak, or a line to 0.
SCHEDULES = ("onecycle", "cosine", "linear")
# "best": the weights of the best epoch on the validation split; "last": those at the end.
SELECTIONS = ("best", "last")


@dataclass(frozen=True, eq=False)
class Examples:
    """Graphs with what is known of them.

    Attributes:
        graphs: n graphs.
        targets: Targets in the scale of the model, shape `(n, columns)`; NaN where unknown.
        weights: Weight of each graph in the loss, shape `(n,)`.
        hardware: Description of the device of each column, `(columns, HARDWARE_FEATURES)`, for a
            hardware-conditioned model.
        groups: Group of each graph, shape `(n,)`: a batch has graphs of one group only, such as of
            one space, whose graphs are of similar size and known on the same devices.
    """

    graphs: Sequence[Graph]
    targets: Tensor
    weights: Tensor
    hardware: Tensor | None = None
    groups: Tensor | None = None

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        targets: NDArray[np.float64],
        counts: NDArray[np.float64] | None = None,
        hardware: Tensor | None = None,
        groups: Sequence[int] | None = None,
    ) -> Examples:
        """Make examples of arrays; `counts` are the labels whose mean each target is, `(n,)`."""
        # The mean of n labels is worth more than one, but their noise is not all that errs.
        weights = np.sqrt(np.ones(len(graphs)) if counts is None else counts)
        return cls(
            graphs,
            torch.tensor(targets, dtype=torch.float32),
            torch.tensor(weights / weights.mean(), dtype=torch.float32),
            hardware,
            None if groups is None else torch.tensor(groups),
        )

    def select(self, indices: Sequence[int]) -> Examples:
        """The examples at these positions."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return Examples(
            [self.graphs[i] for i in indices],
            self.targets[chosen],
            self.weights[chosen],
            self.hardware,
            None if self.groups is None else self.groups[chosen],
        )


@dataclass(frozen=True)
class TrainingConfig:
    """Recipe of a training.

    Attributes:
        epochs: At most.
        batch_size: Graphs a step.
        learning_rate: Peak of the schedule.
        weight_decay: On matrices; biases and norms have none.
        rank_weight: Weight of the pairwise term `|(p_i − p_j) − (y_i − y_j)|` beside the squared
            error (NN-Former's ranking loss).
        device_dropout: Share of device columns a step whose learned vector is hidden, so that the
            description alone has to serve.
        columns_a_step: At most so many of the columns that are known of a batch's graphs, drawn
            anew each step; None for all.
        patience: Epochs without a better validation loss before it stops.
        seed: Decides initial weights, order and dropout; a resumed run continues the same sequence.
        loss: One of `losses.LOSSES`.
        consistency: One of `CONSISTENCIES`.
        consistency_weight: Weight of the mean absolute difference of the two predictions.
        optimizer: One of `OPTIMIZERS`.
        schedule: One of `SCHEDULES`.
        ema_decay: Decay a step of the moving average of the weights that is kept instead of the
            weights themselves; None for no average.
        gradient_clip: Largest norm of the gradient; None for no limit.
        selection: One of `SELECTIONS`.

    Raises:
        InputError: If a choice is none of those, or a number is out of range.
    """

    epochs: int = 120
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    rank_weight: float = 0.2
    device_dropout: float = 0.3
    columns_a_step: int | None = None
    patience: int = 30
    seed: int = 0
    loss: str = "squared"
    consistency: str = "none"
    consistency_weight: float = 0.0
    optimizer: str = "adamw"
    schedule: str = "onecycle"
    ema_decay: float | None = None
    gradient_clip: float | None = 1.0
    selection: str = "best"

    def __post_init__(self) -> None:
        choices = {
            "loss": LOSSES,
            "consistency": CONSISTENCIES,
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "selection": SELECTIONS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}, not one of {allowed}")
        check_numbers(self)
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise InputError(f"ema_decay is {self.ema_decay}; it must lie between 0 and 1")
        if self.consistency_weight and self.consistency == "none":
            raise InputError("consistency_weight needs consistency='dropout' or 'relabel'")


@dataclass(frozen=True)
class TrainingResult:
    """Record of a training.

    Attributes:
        epochs: Epochs run.
        best_epoch: The epoch, from 0, whose weights were kept.
        validation_loss: Its loss on the validation split; NaN where there was none.
        seconds: Wall time.
    """

    epochs: int
    best_epoch: int
    validation_loss: float
    seconds: float
