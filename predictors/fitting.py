"""The training loop, with Lightning: early stopping, resume, one seed."""

from __future__ import annotations

import logging
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.predictors.batch import GraphBatch
    from nasplug.predictors.training import Examples, TrainingConfig

__all__ = ["run_training"]


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


def run_training(
    model: nn.Module,
    examples: Examples,
    validation: Examples,
    config: TrainingConfig,
    folder: str,
    progress: bool | None,
) -> tuple[int, int, float]:
    """Train `model` in place; see `training.train`.

    Returns:
        Epochs run, the best epoch, and its validation loss.

    Raises:
        RuntimeError: If the validation loss was never finite.
    """
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
