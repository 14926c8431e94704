"""The networks of the literature by name, each with its published training recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nasplug.predictors.models.narformer_v2 import (
    NARFormerV2,
    NARFormerV2Config,
    NARFormerV2Latency,
    NARFormerV2LatencyConfig,
)
from nasplug.predictors.models.nnformer import NNFormer, NNFormerConfig
from nasplug.predictors.models.nnformer_latency import NNFormerLatency, NNFormerLatencyConfig
from nasplug.predictors.models.nnlp import NNLP, NNLPConfig
from nasplug.predictors.training.config import TrainingConfig
from nasplug.search_spaces.errors import InputError, closest

__all__ = ["NETWORKS", "Form", "form_of"]


@dataclass(frozen=True)
class Form:
    """A network for one kind of target.

    Attributes:
        network: Builds it from a config and a backend; has `prepare`, `collate` and `forward`.
        config: Its config class, with `vocabulary` and `targets`, and with `images` if it reads the
            batch size.
        recipe: How it is trained.
        scale: A target in units times this is what the network predicts; None for a network that
            predicts targets less their mean over their standard deviation.
    """

    network: Callable[[Any, str], Any]
    config: type
    recipe: TrainingConfig
    scale: float | None = 1.0


# The recipe of the NNLQP benchmark.
_NNLQP = TrainingConfig(
    epochs=50,
    batch_size=16,
    learning_rate=1e-3,
    weight_decay=0.0,
    rank_weight=0.0,
    loss="relative",
    optimizer="adam",
    schedule="linear",
    gradient_clip=None,
    selection="last",
)
# Learning rates, weights and epochs as published; epochs may be shortened, at a price.
NETWORKS: dict[str, dict[str, Form]] = {
    "nnformer": {
        "accuracy": Form(
            NNFormer,
            NNFormerConfig,
            TrainingConfig(
                epochs=3000,
                batch_size=128,
                learning_rate=1e-4,
                weight_decay=0.01,
                rank_weight=0.2,
                consistency="dropout",
                consistency_weight=1.0,
                schedule="cosine",
                ema_decay=0.99,
                gradient_clip=None,
                selection="last",
            ),
            scale=0.01,
        ),
        "latency": Form(
            NNFormerLatency,
            NNFormerLatencyConfig,
            replace(
                _NNLQP,
                weight_decay=0.01,
                consistency="dropout",
                # Published as 0.01 and a norm of 5 where the errors of both passes are added; here
                # they are averaged, which halves loss and gradient.
                consistency_weight=0.005,
                optimizer="adamw",
                gradient_clip=2.5,
            ),
        ),
    },
    "narformer-v2": {
        "accuracy": Form(
            NARFormerV2,
            NARFormerV2Config,
            replace(
                _NNLQP,
                epochs=1000,
                batch_size=8,
                learning_rate=1e-4,
                rank_weight=0.1,
                consistency="relabel",
                consistency_weight=0.5,
            ),
        ),
        "latency": Form(NARFormerV2Latency, NARFormerV2LatencyConfig, _NNLQP),
    },
}
NETWORKS["nnlp"] = {kind: Form(NNLP, NNLPConfig, _NNLQP) for kind in ("accuracy", "latency")}


def form_of(network: str, kind: str) -> Form:
    """The form of one of `NETWORKS` for `"accuracy"` or `"latency"`.

    Raises:
        InputError: If there is no such network, or it has no such form.
    """
    if network not in NETWORKS:
        raise InputError(f"unknown network {network!r}; known: {closest(network, NETWORKS)}")
    forms = NETWORKS[network]
    if kind not in forms:
        raise InputError(f"{network} predicts {' or '.join(forms)}, not {kind!r}")
    return forms[kind]
