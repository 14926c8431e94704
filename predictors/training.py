"""What a model is trained on and how; the loop itself is in `fitting`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasplug.search_spaces import Graph

__all__ = ["Examples", "TrainingConfig", "TrainingResult", "train"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Graphs with what is known of them.

    Attributes:
        graphs: n graphs.
        targets: Standardised targets, shape `(n, columns)`; NaN where unknown.
        weights: Weight of each graph in the loss, shape `(n,)`.
        hardware: Description of the device of each column, `(columns, HARDWARE_FEATURES)`, for a
            hardware-conditioned model.
    """

    graphs: Sequence[Graph]
    targets: Tensor
    weights: Tensor
    hardware: Tensor | None = None

    def select(self, indices: Sequence[int]) -> Examples:
        """The examples at these positions."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return Examples(
            [self.graphs[i] for i in indices],
            self.targets[chosen],
            self.weights[chosen],
            self.hardware,
        )


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        epochs: At most.
        batch_size: Graphs a step.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: On matrices; biases and norms have none.
        rank_weight: Weight of the pairwise term `|(p_i − p_j) − (y_i − y_j)|` beside the squared
            error (NN-Former's ranking loss).
        device_dropout: Share of device columns a step whose learned vector is hidden, so that the
            description alone has to serve.
        patience: Epochs without a better validation loss before it stops.
        seed: Decides initial weights, order and dropout; a resumed run continues the same sequence.
    """

    epochs: int = 120
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    rank_weight: float = 0.2
    device_dropout: float = 0.3
    patience: int = 30
    seed: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """What a training did: epochs run, best epoch and loss on the validation split, seconds."""

    epochs: int
    best_epoch: int
    validation_loss: float
    seconds: float


def train(
    model: nn.Module,
    examples: Examples,
    validation: Examples,
    config: TrainingConfig,
    *,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> TrainingResult:
    """Train a model in place and leave it with the weights of its best epoch.

    Args:
        model: Has `collate` and a forward that takes the batch (and hardware); see
            `SiblingTransformer`. Graphs are given as its `prepare` leaves them.
        examples: What it learns from.
        validation: A split of the training budget that chooses the epoch.
        config: How.
        folder: Where to keep the state of the training; if there is one already the training goes
            on from it. A temporary folder if it is left out.
        progress: Whether to show a progress bar; by default on a terminal only.

    Returns:
        What the training did.

    Raises:
        InputError: If there are no examples or no validation examples.
    """
    if not len(examples.graphs) or not len(validation.graphs):
        raise InputError(
            f"{len(examples.graphs)} training and {len(validation.graphs)} validation graphs; "
            "both must be at least one"
        )
    # Lightning takes seconds to import, which those who only predict need not wait for.
    from nasplug.predictors.fitting import run_training

    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="nasplug-")
        if folder is None
        else nullcontext(str(folder)) as place
    ):
        epochs, best, loss = run_training(model, examples, validation, config, place, progress)
    return TrainingResult(epochs, best, loss, time.perf_counter() - started)
