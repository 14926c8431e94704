"""The training loop, with Lightning: early stopping, resume, one seed."""

from __future__ import annotations

import logging
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nasplug.predictors.training.config import TrainingResult
from nasplug.predictors.training.losses import disagreement, point_loss, ranking_loss
from nasplug.predictors.training.relabeling import relabeled
from nasplug.predictors.training.state import StateFiles, read_state
from nasplug.search_spaces import InputError
from nasplug.search_spaces.lazy import from_extra

with from_extra("train"):
    import lightning as L
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.predictors.layers.batch import GraphBatch
    from nasplug.predictors.training.config import Examples, TrainingConfig

__all__ = ["train"]

# Sets of at most this many nodes are collated once; a batch is then cut out of the whole.
MOST_COLLATED = 1 << 18
CHECKED_AT_ONCE = 1024
# The state is written about this often in a training.
SAVES = 20
WARM_UP = 0.1
COSINE_FLOOR = 0.1


class _Batches(torch.utils.data.Sampler[list[int]]):
    """Shuffled positions, of one group a batch; the order depends on seed and epoch only."""

    def __init__(self, examples: Examples, size: int, seed: int, shuffle: bool = True) -> None:
        self._count, self._size = len(examples.graphs), size
        self.seed, self._shuffle = seed, shuffle
        self._groups = examples.groups
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        counts = [self._count]
        if self._groups is not None:
            counts = self._groups.unique(return_counts=True)[1].tolist()
        return sum(math.ceil(count / self._size) for count in counts)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self._epoch)
        order = torch.arange(self._count)
        if self._shuffle:
            order = torch.randperm(self._count, generator=generator)
        parts = [order]
        if self._groups is not None:
            group = self._groups[order]
            parts = [order[group == g] for g in self._groups.unique()]
        batches = [batch.tolist() for part in parts for batch in part.split(self._size)]
        if self._groups is not None and self._shuffle:
            mixed = torch.randperm(len(batches), generator=generator).tolist()
            batches = [batches[k] for k in mixed]
        yield from batches


class _Best(ModelCheckpoint):
    """The state of the best epoch, in `<folder>/best.ckpt`."""

    def __init__(self, folder: str | Path | None) -> None:
        super().__init__(
            folder, monitor="validation_loss", filename="best", enable_version_counter=False
        )

    @property
    def path(self) -> Path:
        return Path(str(self.dirpath), "best.ckpt")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state, whose folder may have been moved since."""
        path = str(self.path) if state_dict["best_model_path"] else ""
        scores = state_dict["best_k_models"].values()
        moved = {
            "dirpath": self.dirpath,
            "best_model_path": path,
            "kth_best_model_path": path,
            "best_k_models": dict(zip([path], scores, strict=False)),
        }
        super().load_state_dict({**state_dict, **moved})


class _Fit(L.LightningModule):
    def __init__(self, model: Any, config: TrainingConfig, hardware: Tensor | None, steps: int):
        super().__init__()
        self.model = model
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            # A submodule, so that checkpoints hold it and a resumed run goes on averaging.
            self.average = AveragedModel(
                model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)
            ).requires_grad_(False)
        self.config = config
        self.hardware = hardware
        self.steps = steps

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # A generator state a step makes a resumed run repeat an uninterrupted one.
        seed = self.config.seed * 1_000_003 + self.global_step
        if self.device.type == "cpu":
            # The same stream as below, without queueing seeds for devices that are not used.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.average is not None:
            self.average.update_parameters(self.model)

    def _predict(self, batch: GraphBatch, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions, and the targets of the columns that are predicted."""
        model = self.model if self.average is None or self.training else self.average
        if self.hardware is None:
            return model(batch), targets
        known = torch.isfinite(targets).any(0).cpu().nonzero().flatten()
        columns = torch.arange(len(self.hardware))
        if self.training:
            hidden = torch.rand(len(columns)) < self.config.device_dropout
            columns = torch.where(hidden, -1, columns)
            most = self.config.columns_a_step
            if most is not None and len(known) > most:
                known = known[torch.randperm(len(known))[:most]]
        # A column that no graph of the batch is known of would only cost time.
        index, described = columns[known].to(self.device), self.hardware[known].to(self.device)
        return model(batch, described, index), targets[:, known.to(targets.device)]

    def training_step(self, item: tuple[GraphBatch, Tensor, Tensor], index: int) -> Tensor:
        batch, targets, weights = item
        predicted, targets = self._predict(batch, targets)
        loss = point_loss(predicted, targets, weights, self.config.loss)
        if self.config.rank_weight:
            other = torch.randperm(len(targets), device=targets.device)
            loss = loss + ranking_loss(predicted, targets, other, self.config.rank_weight)
        if self.config.consistency_weight:
            loss = loss + self.config.consistency_weight * disagreement(predicted)
        return loss

    def validation_step(self, item: tuple[GraphBatch, Tensor, Tensor], index: int) -> None:
        batch, targets, weights = item
        predicted, targets = self._predict(batch, targets)
        loss = point_loss(predicted, targets, weights, self.config.loss)
        self.log("validation_loss", loss, batch_size=len(targets), prog_bar=True)

    def configure_optimizers(self) -> Any:
        weights = list(self.model.parameters())
        matrices = [weight for weight in weights if weight.ndim > 1]
        vectors = [weight for weight in weights if weight.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        kind = torch.optim.AdamW if self.config.optimizer == "adamw" else torch.optim.Adam
        # Small batches of wide networks spend much of a step here, unless it is fused.
        optimizer = kind(groups, lr=self.config.learning_rate, fused=True)
        schedule: torch.optim.lr_scheduler.LRScheduler
        if self.config.schedule == "onecycle":
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, self.config.learning_rate, total_steps=self.steps, pct_start=WARM_UP
            )
        else:
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: _factor(step, self.steps, self.config.schedule)
            )
        stepped = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": stepped}

    def weights(self) -> dict[str, Tensor]:
        """The weights that are kept: the average if there is one."""
        model = self.model if self.average is None else self.average.module
        return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def _factor(step: int, steps: int, schedule: str) -> float:
    """Learning rate of a step over the peak, of the schedules with a linear warm-up."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    done = min(1.0, (step - warm) / max(1, steps - warm))
    if schedule == "linear":
        return 1.0 - done
    return COSINE_FLOOR + (1 - COSINE_FLOOR) * (1 + math.cos(math.pi * done)) / 2


def train(
    model: nn.Module,
    examples: Examples,
    validation: Examples | None,
    config: TrainingConfig,
    *,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> TrainingResult:
    """Train a model in place and leave it with the weights of its best epoch, or the last.

    Args:
        model: Has `collate` and a forward that takes the batch (and hardware); see
            `SiblingTransformer`. Graphs are given as its `prepare` leaves them.
        examples: What it learns from.
        validation: A split of the training budget that chooses the epoch; None, and not read, with
            `selection="last"`.
        config: How.
        folder: Where to keep the state of the training; if there is one already the training goes
            on from it. A temporary folder if it is left out.
        progress: Whether to show a progress bar; by default on a terminal only.

    Returns:
        What the training did.

    Raises:
        InputError: If there are no examples, or no validation examples to choose an epoch by.
        RuntimeError: If the training diverged.
    """
    held = len(validation.graphs) if validation is not None else 0
    if not len(examples.graphs) or (config.selection == "best" and not held):
        raise InputError(
            f"there are {len(examples.graphs)} training and {held} validation graphs; give at "
            "least one of each"
        )
    started = time.perf_counter()
    with ExitStack() as stack:
        # Without a validation split nothing has to be written to find the best weights again.
        if folder is None and config.selection == "best":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nasplug-"))
        epochs, best, loss = _run(model, examples, validation, config, folder, progress)
    return TrainingResult(epochs, best, loss, time.perf_counter() - started)


def _run(
    model: nn.Module,
    examples: Examples,
    validation: Examples | None,
    config: TrainingConfig,
    folder: str | Path | None,
    progress: bool | None,
) -> tuple[int, int, float]:
    """Train as `train` does, with the state in a folder, or nowhere if none is needed.

    Returns:
        Epochs run, the epoch that was kept, and its validation loss (NaN without a split).
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    batches = _Batches(examples, config.batch_size, config.seed)
    fit = _Fit(model, config, examples.hardware, config.epochs * len(batches))
    checks, best = None, None
    callbacks: list[L.Callback] = []
    if config.selection == "best":
        assert validation is not None
        # Groups are for large graphs, of which few fit into a batch.
        at_once = CHECKED_AT_ONCE if validation.groups is None else 2 * config.batch_size
        held = _Batches(validation, at_once, config.seed, shuffle=False)
        checks = _loader(model, validation, held)
        best = _Best(folder)
        callbacks = [best, EarlyStopping("validation_loss", patience=config.patience)]
    state = None
    if folder is not None:
        state = Path(folder, "last.ckpt")
        every = math.ceil(config.epochs / SAVES)
        # After the best epoch's, as the state tells which that is.
        callbacks.append(
            ModelCheckpoint(
                folder, filename="last", every_n_epochs=every, enable_version_counter=False
            )
        )
    with warnings.catch_warnings(), torch.random.fork_rng():
        # Lightning's advice on workers and loggers does not apply to tensors in memory.
        warnings.filterwarnings("ignore", module="lightning")
        trainer = _trainer(config, callbacks, progress)
        trainer.fit(
            fit,
            _loader(model, examples, batches, config.consistency),
            checks,
            ckpt_path=state if state is not None and state.exists() else None,
            weights_only=True,
        )
    epoch, loss = int(trainer.current_epoch) - 1, math.nan
    if best is not None:
        epoch, loss = _restore_best(fit, best)
    weights = fit.weights()
    if not all(value.isfinite().all() for value in weights.values()):
        raise RuntimeError("training diverged: a weight is not finite")
    model.load_state_dict(weights)
    model.eval()
    return int(trainer.current_epoch), epoch, loss


def _trainer(
    config: TrainingConfig, callbacks: list[L.Callback], progress: bool | None
) -> L.Trainer:
    """Lightning's loop, which logs and writes nothing but what the callbacks do."""
    show = sys.stderr.isatty() if progress is None else progress
    return L.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=config.epochs,
        callbacks=[*callbacks, *([TQDMProgressBar(leave=False)] if show else [])],
        logger=False,
        enable_checkpointing=bool(callbacks),
        gradient_clip_val=config.gradient_clip,
        enable_model_summary=False,
        enable_progress_bar=show,
        num_sanity_val_steps=0,
        plugins=[StateFiles()],
    )


def _restore_best(fit: _Fit, best: _Best) -> tuple[int, float]:
    """Give a model the weights of its best epoch; that epoch, and its validation loss."""
    if not best.best_model_path:
        raise RuntimeError("training diverged: the validation loss was never finite")
    state = read_state(best.path)
    fit.load_state_dict(state["state_dict"])
    return int(state["epoch"]), float(best.best_model_score or 0.0)


def _loader(
    model: Any, examples: Examples, batches: _Batches, consistency: str = "none"
) -> torch.utils.data.DataLoader[Any]:
    graphs = list(examples.graphs)
    count = len(graphs)
    if consistency == "relabel":
        rng = np.random.default_rng(batches.seed)
        graphs += [relabeled(graph, rng) for graph in graphs]
    is_small = sum(len(graph) for graph in graphs) <= MOST_COLLATED
    whole = model.collate(graphs) if is_small else None

    def collate(indices: list[int]) -> tuple[GraphBatch, Tensor, Tensor]:
        again = [i + len(graphs) - count for i in indices] if consistency != "none" else []
        places = indices + again
        batch = whole.select(places) if whole else model.collate([graphs[i] for i in places])
        rows = torch.tensor(indices * 2 if again else indices, dtype=torch.long)
        return batch, examples.targets[rows], examples.weights[rows]

    positions: Any = range(count)
    return torch.utils.data.DataLoader(positions, batch_sampler=batches, collate_fn=collate)
