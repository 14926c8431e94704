"""Trainings of networks for cluttered digits, and their latencies here, each done and stored once.

A training is a function of the parameters and the seed. Its cost is the time that this thread has
of the processor, which other programs on the machine do not stretch.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from experiments.own_space.cluttered_digits import Images, cluttered_digits
from experiments.own_space.digit_networks import EXAMPLE
from experiments.shared_campaign import append_line, read_lines

__all__ = ["BATCH", "EPOCHS", "Epoch", "Latencies", "Trainings", "latency", "trained"]

EPOCHS, BATCH_TRAINED = 9, 64
# Images of a pass that is timed; passes before, and blocks of passes.
BATCH, WARM_UP, BLOCKS, PASSES = 16, 5, 3, 15


@dataclass
class Epoch:
    """Validation accuracy after an epoch, the seconds of both, and the last one's test accuracy."""

    validation: float
    seconds: float
    test: float | None


def latency(model: nn.Module) -> float:
    """Time of a batch in ms of this thread: the median of the quickest block of passes."""
    model.eval()
    batch = EXAMPLE.repeat(BATCH, 1, 1, 1)
    times = []
    with torch.inference_mode():
        for _ in range(WARM_UP + BLOCKS * PASSES):
            start = time.thread_time()
            model(batch)
            times.append(time.thread_time() - start)
    blocks = np.reshape(times[WARM_UP:], (BLOCKS, PASSES))
    return 1000 * float(np.median(blocks, axis=1).min())


def trained(
    model: Any, lr: float, weight_decay: float, dropout: float, seed: int, epochs: int = EPOCHS
) -> Iterator[Epoch]:
    """Train a network by AdamW with one cycle of learning rates; give each epoch."""
    data = cluttered_digits()
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    model.dropout.p = dropout
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    batches = len(data.train.x) // BATCH_TRAINED
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * batches, pct_start=0.15
    )
    for epoch in range(1, epochs + 1):
        start = time.thread_time()
        model.train()
        order = torch.randperm(len(data.train.x), generator=generator)
        for rows in order[: batches * BATCH_TRAINED].view(batches, BATCH_TRAINED):
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(data.train.x[rows]), data.train.y[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
        validation = _accuracy(model, data.validation)
        seconds = time.thread_time() - start
        test = _accuracy(model, data.test) if epoch == epochs else None
        yield Epoch(validation, seconds, test)


def _accuracy(model: nn.Module, images: Images) -> float:
    model.eval()
    with torch.inference_mode():
        right = [
            (model(x).argmax(1) == y).sum().item()
            for x, y in zip(images.x.split(500), images.y.split(500), strict=True)
        ]
    return float(sum(right)) / len(images.y)


@dataclass
class Trainings:
    """The epochs of trainings, in a JSONL file.

    A training that is asked for again is read, as far as it went; it is done anew if it has to go
    on from there.
    """

    path: Path
    _stored: dict[str, list[Epoch]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row in read_lines(self.path):
            self._keep(row["key"], [Epoch(*epoch) for epoch in row["epochs"]])

    def _keep(self, key: str, epochs: list[Epoch]) -> None:
        if len(epochs) > len(self._stored.get(key, ())):
            self._stored[key] = epochs

    def run(
        self, params: Mapping[str, Any], seed: int, train: Callable[[], Iterator[Epoch]]
    ) -> Generator[Epoch, None, None]:
        """The epochs of a training; what the caller has taken when it stops is stored."""
        text = json.dumps([dict(sorted(params.items())), seed])
        key = hashlib.sha256(text.encode()).hexdigest()[:20]
        stored = self._stored.get(key, [])
        yield from stored
        epochs: list[Epoch] = []
        try:
            # Whoever asks for more than is stored gets the rest of a training from its beginning.
            for number, epoch in enumerate(train() if len(stored) < EPOCHS else ()):
                epochs.append(epoch)
                if number >= len(stored):
                    yield epoch
        finally:
            if len(epochs) > len(stored):
                rows: Any = [[round(e.validation, 5), round(e.seconds, 4), e.test] for e in epochs]
                append_line(self.path, {"key": key, "epochs": rows})
                self._keep(key, [Epoch(*row) for row in rows])


@dataclass
class Latencies:
    """Latencies that were measured, in a JSONL file: the first of each architecture counts."""

    path: Path
    _stored: dict[str, float] = field(default_factory=dict)

    def of(self, arch_id: str, model: nn.Module) -> float:
        """Latency of an architecture in ms, measured if it is not there."""
        if arch_id not in self._stored:
            self._read()
        if arch_id not in self._stored:
            append_line(self.path, {"arch_id": arch_id, "ms": round(latency(model), 4)})
            # Another process may have measured it meanwhile.
            self._read()
        return self._stored[arch_id]

    def _read(self) -> None:
        for row in read_lines(self.path):
            self._stored.setdefault(row["arch_id"], row["ms"])
