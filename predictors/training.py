"""Train a model on graphs with Lightning: early stopping, resume, one seed."""

from __future__ import annotations

import logging
import math
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from torch import nn

from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.predictors.batch import GraphBatch
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


class _Batches(torch.utils.data.Sampler[list[int]]):
    """Shuffled positions; the order of an epoch depends on seed and epoch only."""

    def __init__(self, count: int, size: int, seed: int, shuffle: bool = True) -> None:
        self._count, self._size, self._seed, self._shuffle = count, size, seed, shuffle
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._count / self._size)

    def __iter__(self) -> Iterator[list[int]]:
        if self._shuffle:
            generator = torch.Generator().manual_seed(self._seed * 100_003 + self._epoch)
            order = torch.randperm(self._count, generator=generator).tolist()
        else:
            order = list(range(self._count))
        for start in range(0, self._count, self._size):
            yield order[start : start + self._size]


class _Fit(L.LightningModule):
    def __init__(self, model: Any, config: TrainingConfig, hardware: Tensor | None, steps: int):
        super().__init__()
        self.model = model
        self.config = config
        self.hardware = hardware
        self.steps = steps

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # A generator state a step makes a resumed run repeat an uninterrupted one.
        torch.manual_seed(self.config.seed * 1_000_003 + self.global_step)

    def _predict(self, batch: GraphBatch) -> Tensor:
        if self.hardware is None:
            result: Tensor = self.model(batch)
            return result
        columns = torch.arange(len(self.hardware))
        if self.training:
            hidden = torch.rand(len(columns)) < self.config.device_dropout
            columns = torch.where(hidden, -1, columns)
        result = self.model(batch, self.hardware.to(self.device), columns.to(self.device))
        return result

    def training_step(self, item: tuple[GraphBatch, Tensor, Tensor], index: int) -> Tensor:
        batch, targets, weights = item
        predicted = self._predict(batch)
        loss = _squared_error(predicted, targets, weights)
        if self.config.rank_weight:
            other = torch.randperm(len(targets), device=targets.device)
            gap, count = _errors(predicted - predicted[other], targets - targets[other])
            loss = loss + self.config.rank_weight * gap.abs().sum() / count
        return loss

    def validation_step(self, item: tuple[GraphBatch, Tensor, Tensor], index: int) -> None:
        batch, targets, weights = item
        loss = _squared_error(self._predict(batch), targets, weights)
        self.log("validation_loss", loss, batch_size=len(targets), prog_bar=True)

    def configure_optimizers(self) -> Any:
        named = list(self.model.parameters())
        groups = [
            {
                "params": [p for p in named if p.ndim > 1],
                "weight_decay": self.config.weight_decay,
            },
            {"params": [p for p in named if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.config.learning_rate, total_steps=self.steps, pct_start=0.1
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _errors(predicted: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction minus target, 0 where the target is unknown, and the number of known ones."""
    known = ~torch.isnan(targets)
    # Filled before the subtraction: a NaN that is masked later still poisons the gradient.
    error = torch.where(known, predicted - torch.where(known, targets, 0.0), 0.0)
    return error, known.sum().clamp(min=1)


def _squared_error(predicted: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    error, count = _errors(predicted, targets)
    return (weights[:, None] * error**2).sum() / count


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
    started = time.perf_counter()
    if folder is None:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="nasplug-") as temporary:
            epochs, best, loss = _run(model, examples, validation, config, temporary, progress)
    else:
        epochs, best, loss = _run(model, examples, validation, config, str(folder), progress)
    return TrainingResult(epochs, best, loss, time.perf_counter() - started)


def _run(
    model: nn.Module,
    examples: Examples,
    validation: Examples,
    config: TrainingConfig,
    folder: str,
    progress: bool | None,
) -> tuple[int, int, float]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    batches = _Batches(len(examples.graphs), config.batch_size, config.seed)
    checks = _Batches(len(validation.graphs), 1024, config.seed, shuffle=False)
    fit = _Fit(model, config, examples.hardware, config.epochs * len(batches))
    best = ModelCheckpoint(folder, monitor="validation_loss", save_last=True, filename="best")
    stop = EarlyStopping("validation_loss", patience=config.patience)
    show = sys.stderr.isatty() if progress is None else progress
    bar = [TQDMProgressBar(leave=False)] if show else []
    with warnings.catch_warnings(), torch.random.fork_rng():
        # Lightning's advice on workers and loggers does not apply to tensors in memory.
        warnings.filterwarnings("ignore", module="lightning")
        trainer = L.Trainer(
            accelerator="auto",
            devices=1,
            max_epochs=config.epochs,
            callbacks=[best, stop, *bar],
            logger=False,
            gradient_clip_val=1.0,
            enable_model_summary=False,
            enable_progress_bar=show,
            num_sanity_val_steps=0,
        )
        last = Path(folder, "last.ckpt")
        trainer.fit(
            fit,
            _loader(model, examples, batches),
            _loader(model, validation, checks),
            ckpt_path=last if last.exists() else None,
            weights_only=True,
        )
    if not best.best_model_path:
        raise RuntimeError("training diverged: the validation loss was never finite")
    state = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
    weights = {
        name.removeprefix("model."): value
        for name, value in state["state_dict"].items()
        if name.startswith("model.")
    }
    model.load_state_dict(weights)
    model.eval()
    return int(trainer.current_epoch), int(state["epoch"]), float(best.best_model_score or 0.0)


def _loader(model: Any, examples: Examples, batches: _Batches) -> torch.utils.data.DataLoader[Any]:
    def collate(indices: list[int]) -> tuple[GraphBatch, Tensor, Tensor]:
        chosen = examples.select(indices)
        return model.collate(chosen.graphs), chosen.targets, chosen.weights

    return torch.utils.data.DataLoader(
        list(range(len(examples.graphs))),  # type: ignore[arg-type]
        batch_sampler=batches,
        collate_fn=collate,
    )
